"""``CITATION.cff`` holds what its format asks for, of this version; forms for issues are forms."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
REQUIRED = {"cff-version", "message", "title", "authors"}
KNOWN = REQUIRED | {"type", "abstract", "version", "date-released", "license", "keywords", "references", "url", "doi"}
"""Keys of the Citation File Format 1.2.0, those of which we have use."""


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert REQUIRED <= set(citation) <= KNOWN
    assert citation["cff-version"] == "1.2.0"
    assert (citation["title"], citation["version"]) == (project["name"], project["version"])
    assert citation["license"] == project["license"]
    for reference in (citation, *citation["references"]):
        assert {"type", "title", "authors"} <= set(reference)
        assert all(
            {"name"} <= set(each) or {"family-names", "given-names"} <= set(each) for each in reference["authors"]
        )


def test_a_released_version_has_its_date_in_both_places():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    (when,) = re.findall(rf"^## {re.escape(citation['version'])} \((.*)\)$", changes, re.M)
    assert when == str(citation.get("date-released", "unreleased"))


def test_forms_for_issues_are_forms():
    folder = ROOT / ".github" / "ISSUE_TEMPLATE"
    forms = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in folder.glob("*.yml") if path.stem != "config"]
    assert len(forms) == 3
    for form in forms:
        assert {"name", "description", "body"} <= set(form)
        kinds = {"markdown", "textarea", "input", "dropdown", "checkboxes"}
        assert {part["type"] for part in form["body"]} <= kinds
        ids = [part["id"] for part in form["body"] if part["type"] != "markdown"]
        assert len(ids) == len(set(ids))
        assert all(part["attributes"]["label"] for part in form["body"] if part["type"] != "markdown")
