"""Pages of the site that are files of the repository's root: the README in two pages, and what contributors read.

Links among those files are written for a reader of the repository; here they become links among pages.
"""

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
COMMANDS = "## Commands\n"
PAGES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "RELEASING.md": "releasing.md",
    "CHANGELOG.md": "changelog.md",
    "ensemble/pretrained/README.md": "nyu_small.md",
    "configs/data/folder.yaml": "settings.md",
}
"""Pages by the file of the repository that they show."""
NOTEBOOK, NOTEBOOK_PAGE = "notebooks/first_hour.ipynb", "first_hour_notebook.md"


def on_config(config: Any) -> Any:
    """Leave out the page for what is not found, which looks for its style at the root of a server and nowhere else."""
    config.theme.static_templates.discard("404.html")
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the root."""
    for source, page in PAGES.items():
        if source.endswith(".md") and source != "README.md":
            files.append(File.generated(config, page, content=as_page(_read(source))))
    front, commands = split_at_commands(_read("README.md"))
    files.append(File.generated(config, "index.md", content=as_page(front)))
    files.append(File.generated(config, "commands.md", content=as_page(commands)))
    files.append(File.generated(config, NOTEBOOK_PAGE, content=notebook_page(_read(f"docs/{NOTEBOOK}"))))
    files.append(File.generated(config, "CITATION.cff", abs_src_path=str(ROOT / "CITATION.cff")))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Turn links of ``docs/`` that leave the folder into links among pages."""
    for source, page in PAGES.items():
        markdown = markdown.replace(f"](../{source}", f"]({page}")
    markdown = markdown.replace(f"[notebook]({NOTEBOOK})", f"[notebook]({NOTEBOOK_PAGE})")
    return "\n".join(unbroken(line) if line.startswith("|") else line for line in markdown.split("\n"))


def unbroken(row: str) -> str:
    """A row of a table, in which a value stays in one line with its deviation and marks, and an interval in another.

    A bar in code is told from one between cells here, so it needs no backslash as it does elsewhere.
    """
    row = re.sub(r"`[^`]*`", lambda code: code.group().replace("\\|", "|"), row)
    row = re.sub(r" (?=[±▲▼†‡])|(?<=±) ", "\u00a0", row)
    return re.sub(r"(\[[\u2212+.\d]+,) (?=[\u2212+.\d]+\])", "\\1\u00a0", row)


def split_at_commands(readme: str) -> tuple[str, str]:
    """The README without its section of commands, and that section as a page of its own.

    Raises:
        ValueError: There is no such section, or none after it.
    """
    before, found, rest = readme.partition(f"\n{COMMANDS}")
    after = rest.find("\n## ")
    if not found or after < 0:
        raise ValueError(f"README.md: expected a section {COMMANDS.strip()!r} with another one after it")
    front = (before + rest[after:]).replace("](#commands)", "](commands.md)")
    commands = rest[:after].replace("](#", "](README.md#")  # to other parts of it
    return front, f"# Commands\n{commands}\n"


def as_page(text: str) -> str:
    """A file of the root, with links to other files turned into links to their pages."""
    for source, page in PAGES.items():
        text = text.replace(f"]({source}", f"]({page}")
    text = text.replace("](docs/browser/)", "](browser/index.html)")
    return re.sub(r"\]\(docs/", "](", text)


def notebook_page(notebook: str) -> str:
    """A notebook as a page, with a link to the file itself: its text, and its code in blocks."""
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(notebook)["cells"]]
    title, *rest = [text if kind == "markdown" else f"```python\n{text}\n```" for kind, text in cells]
    return "\n\n".join([title, f"[Download the notebook]({NOTEBOOK})", *rest]) + "\n"


def _read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")
