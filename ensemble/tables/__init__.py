"""Tables: what stands in one (``table``), and one writer each for terminal, Markdown, LaTeX, CSV and HTML.

Nothing here knows what a cell means: scores, costs and studies are filled in by those who have them.
"""

from ensemble.tables.table import Cell, Column, Mark, Row, Section, Table, plain_table, records, table_of

__all__ = ["Table", "Section", "Row", "Cell", "Column", "Mark", "table_of", "plain_table", "records"]
