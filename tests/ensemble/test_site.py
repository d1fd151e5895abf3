"""The site of the documents: pages of the root, links that lead somewhere, and nothing that a network would bring."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from pages import DOCS, ROOT

BROUGHT = re.compile(
    r"<(?:script|img|iframe)[^>]*\ssrc=\"?(https?:)?//|<link[^>]*\shref=\"?(https?:)?//|@import|url\(https?:"
)
"""What a browser would fetch from elsewhere while it shows a page."""


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hooks", DOCS / "_site" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_becomes_two_pages(hooks: ModuleType):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    front, commands = hooks.split_at_commands(readme)
    assert commands.startswith("# Commands\n")
    assert "`python -m ensemble.base train LEARNER`" in commands
    assert "`python -m ensemble.base train LEARNER`" not in front
    assert len(front) + len(commands) == pytest.approx(len(readme), abs=100)
    with pytest.raises(ValueError, match=r"expected a section '## Commands'"):
        hooks.split_at_commands(front)


def test_links_to_files_become_links_to_pages(hooks: ModuleType):
    text = "[a](docs/results.md#x) [b](ARCHITECTURE.md) [c](configs/data/folder.yaml)"
    assert hooks.as_page(text) == "[a](results.md#x) [b](architecture.md) [c](settings.md)"
    assert hooks.on_page_markdown("[d](../CONTRIBUTING.md#tests)") == "[d](contributing.md#tests)"


def test_a_value_stays_in_one_line_with_its_deviation(hooks: ModuleType):
    shown = hooks.on_page_markdown("| stack d | .65 ± .01 ▲ [\u2212.1, +.2] |\nfree ± 1")
    assert hooks.unbroken(r"| `fit \|oof` | a |") == "| `fit |oof` | a |"
    assert shown == "| stack d | .65\u00a0±\u00a0.01\u00a0▲ [\u2212.1,\u00a0+.2] |\nfree ± 1"


@pytest.mark.slow
def test_the_site_reads_without_a_network(tmp_path: Path):
    build = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--config-file", ROOT / "mkdocs.yml"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(
        [*map(str, build), "--site-dir", str(tmp_path)], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 20
    for path in [*pages, *tmp_path.rglob("*.css")]:
        assert not BROUGHT.search(path.read_text(encoding="utf-8")), path
    assert (tmp_path / "search" / "search_index.js").is_file()
