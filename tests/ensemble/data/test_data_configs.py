"""The committed data settings are what the published protocol says."""

import pytest

from ensemble.settings.layers import config_folder
from ensemble.settings.schema import DataSettings
from ensemble.settings.trees import read_yaml


def read(name: str) -> DataSettings:
    return DataSettings(**read_yaml(config_folder() / "data" / f"{name}.yaml")["data"])


@pytest.mark.parametrize("name", ["rooms", "nyu"])
def test_settings_load_and_name_their_source(name: str):
    assert read(name).kind == name


def test_nyu_crops_come_from_the_published_box():
    settings = read("nyu")
    assert (settings.size, settings.crop) == ((480, 640), (416, 544))
    assert settings.crop_region == (45, 43, 427, 565)
    assert (settings.min_depth, settings.max_depth) == (1e-3, 10.0)
