"""Tables on pages that hold everything within themselves: ``table.html.jinja``, and the pages that it stands on."""

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from ensemble.tables.table import Table


def page_template(name: str, *packages: str) -> Template:
    """A template out of the first package that has it.

    What it is given is escaped; it may call ``html_table``, and filter by ``sentence``.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, ".") for package in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["html_table"] = html_table
    environment.filters["sentence"] = sentence
    return environment.get_template(name)


def sentence(text: str) -> Markup:
    """A sentence, escaped, whose commands between backticks are set as code."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if odd % 2 else part for odd, part in enumerate(parts)
    )


def html_table(table: Table, kind: str = "", label: str = "") -> Markup:
    """Title, headings and sections of a table of a class ``kind``; the caption is left to the page.

    With a label the table may be scrolled sideways, and that is how readers of screens call it.
    """
    template = page_template("table.html.jinja", "ensemble.tables")
    return Markup(template.render(table=table, kind=kind, label=label).rstrip())
