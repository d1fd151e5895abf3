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


def test_the_notebook_is_a_page_too(hooks: ModuleType):
    page = hooks.notebook_page((DOCS / hooks.NOTEBOOK).read_text(encoding="utf-8"))
    assert page.startswith("# The first hour, in Python\n")
    assert '```python\nfor learner in ("bts", "ldrn"):\n    stackdepth("base", "train", learner' in page
    assert "[Download the notebook](notebooks/first_hour.ipynb)" in hooks.on_page_markdown(page)
    first_hour = (DOCS / "first_hour.md").read_text(encoding="utf-8")
    assert "[notebook](first_hour_notebook.md)" in hooks.on_page_markdown(first_hour)


def test_a_value_stays_in_one_line_with_its_deviation(hooks: ModuleType):
    shown = hooks.on_page_markdown("| stack d | .65 ± .01 ▲ [\u2212.1, +.2] |\nfree ± 1")
    assert hooks.unbroken(r"| `fit \|oof` | a |") == "| `fit |oof` | a |"
    assert shown == "| stack d | .65\u00a0±\u00a0.01\u00a0▲ [\u2212.1,\u00a0+.2] |\nfree ± 1"


def build(settings: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """As ``make docs`` does; ``--quiet`` would keep warnings from those who count them, and so from failing."""
    (recipe,) = [
        line for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines() if "mkdocs build" in line
    ]
    words = recipe.partition("mkdocs ")[2].split()
    command = [sys.executable, "-m", "mkdocs", *words, "--config-file", str(settings), "--site-dir", str(site)]
    return subprocess.run(
        command, cwd=site, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )


@pytest.mark.slow
def test_a_broken_link_is_an_error(tmp_path: Path):
    (tmp_path / "docs").mkdir()
    settings, site = tmp_path / "mkdocs.yml", tmp_path / "site"
    site.mkdir()
    whole = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    (strict,) = re.findall(r"^strict: .*$", whole, re.M)
    settings.write_text(f"site_name: small\n{strict}\n", encoding="utf-8")
    page = tmp_path / "docs" / "index.md"
    page.write_text("[whole](index.md)\n", encoding="utf-8")
    assert build(settings, site).returncode == 0
    page.write_text("[broken](nowhere.md)\n", encoding="utf-8")
    broken = build(settings, site)
    assert broken.returncode == 1
    assert "nowhere.md" in broken.stderr


@pytest.mark.slow
def test_the_site_reads_without_a_network(tmp_path: Path):
    built = build(ROOT / "mkdocs.yml", tmp_path)
    assert built.returncode == 0, built.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 20
    for path in [*pages, *tmp_path.rglob("*.css")]:
        assert not BROUGHT.search(path.read_text(encoding="utf-8")), path
    assert (tmp_path / "search" / "search_index.js").is_file()
