"""Tables on pages that hold everything within themselves: ``table.html.jinja``, and the pages that it stands on."""

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from ensemble.tables.table import Table


def page_template(name: str, *packages: str) -> Template:
    """A template out of the first package that has it; what it is given is escaped, and it may call ``html_table``."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, ".") for package in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["html_table"] = html_table
    return environment.get_template(name)


def html_table(table: Table, kind: str = "", label: str = "") -> Markup:
    """Title, headings and sections of a table of a class ``kind``; the caption is left to the page.

    With a label the table may be scrolled sideways, and that is how readers of screens call it.
    """
    template = page_template("table.html.jinja", "ensemble.tables")
    return Markup(template.render(table=table, kind=kind, label=label).rstrip())
