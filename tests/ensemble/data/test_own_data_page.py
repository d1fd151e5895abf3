"""The page of own data does the whole job on a folder of somebody's images."""

from pathlib import Path

import pytest
import yaml
from command_lines import TINY, done
from own_data import write_own
from pages import blocks, commands


@pytest.mark.slow
def test_own_data_do_the_whole_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write_own(tmp_path / "photos")
    shown, small = yaml.safe_load(blocks("own_data.md", "yaml")[0]), yaml.safe_load(TINY)
    data = {**shown["data"], "size": [40, 64], "folds": 2}  # the shape of these frames, and two folds of few rooms
    config = {**small, **shown, "data": data}
    Path("own.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    for tool, *words in commands("own_data.md"):
        answer = done(tool, *("2" if word == "5" else word for word in words))
    assert "report.html" in answer.out + answer.err
    assert Path("cache/runs/own/two/report.html").is_file()
