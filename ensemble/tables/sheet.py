"""A table as comma-separated values, of which a spreadsheet runs none."""

import csv
import io

from ensemble.tables.table import Table

_FORMULA = ("=", "+", "-", "@")
"""How cells begin that spreadsheets take for a formula."""


def csv_table(table: Table) -> str:
    """Headings and rows; text that looks like a formula begins with an apostrophe."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(column.heading for column in table.columns)
    writer.writerows([_harmless(cell.text) for cell in row.cells] for row in table.rows)
    return stream.getvalue()


def _harmless(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n")  # csv does not quote a lone carriage return
    return f"'{text}" if text.lstrip().startswith(_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
