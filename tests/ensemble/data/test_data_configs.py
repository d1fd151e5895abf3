"""The committed data settings are what the published protocol says."""

import pytest

from ensemble.data import SOURCES
from ensemble.settings.kinds import facts_of, kinds_on_disk, known_kinds
from ensemble.settings.layers import Choice, config_folder, learner_settings
from ensemble.settings.schema import DataSettings
from ensemble.settings.trees import read_yaml


def read(name: str) -> DataSettings:
    return DataSettings(**read_yaml(config_folder() / "data" / f"{name}.yaml")["data"])


@pytest.mark.parametrize("name", known_kinds())
def test_settings_load_and_name_their_source(name: str):
    assert read(name).kind == name


def test_nyu_crops_come_from_the_published_box():
    settings = read("nyu")
    assert (settings.size, settings.crop) == ((480, 640), (416, 544))
    assert settings.crop_region == (45, 43, 427, 565)
    assert (settings.min_depth, settings.max_depth) == (1e-3, 10.0)


@pytest.mark.parametrize("name", known_kinds())
def test_kinds_say_what_their_frames_are(name: str):
    facts, bare = facts_of(name), DataSettings(kind=name)
    known = ((352, 1216), 80.0) if name == "kitti" else ((480, 640), 10.0)
    assert (bare.size, bare.max_depth) == (facts.frame, facts.max_depth) == known
    near, far = {"folder": (0.1, 10.0), "kitti": (2.0, 60.0)}.get(name, (0.1, 20.0))
    assert bare.likely_depth == facts.likely_depth == (near, far)
    assert DataSettings(kind=name, max_depth=8 * known[1]).likely_depth == (near, 8 * far)
    assert DataSettings(kind=name, max_depth=known[1] / 10).likely_depth == pytest.approx((near / 10, far / 10))
    assert bare.reader in SOURCES
    assert kinds_on_disk() == ("folder", "kitti", "nyu")
    assert (facts.variable, facts.title) == {
        "folder": ("FOLDER_ROOT", "own data"),
        "kitti": ("KITTI_ROOT", "KITTI"),
        "nyu": ("NYU_ROOT", "NYU Depth v2"),
        "rooms": (None, "generated rooms"),
    }[name]


def test_stored_settings_of_an_unknown_kind_name_the_known_ones():
    with pytest.raises(ValueError, match=r"data.kind .*'kitty'.*Known: folder, kitti, nyu, rooms"):
        DataSettings.model_validate_json('{"kind": "kitty"}')


def test_facts_are_no_settings():
    assert learner_settings("bts", Choice(config=config_folder() / "data" / "nyu.yaml")).data.kind == "nyu"
