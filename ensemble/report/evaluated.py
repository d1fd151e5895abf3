"""What is drawn of an evaluation once it is done, from its files alone: tables for documents and the picture grid."""

from ensemble.evaluation.results.gallery import read_galleries
from ensemble.evaluation.results.protocols import read_protocols
from ensemble.evaluation.results.scores import read_scores
from ensemble.report.tables.protocols import protocols_markdown
from ensemble.report.tables.scores import score_document
from ensemble.runs.files import write_text
from ensemble.runs.paths import Run


def draw_evaluation(out: Run) -> None:
    """Put the tables, and the pictures where stacks were scored, beside the numbers that an evaluation wrote.

    Raises:
        ValueError: A file of the evaluation is missing, damaged, or of another version.
    """
    write_text(out.table, score_document(read_scores(out.scores)))
    if out.protocols.is_file():
        write_text(out.protocols_table, protocols_markdown(read_protocols(out.protocols)))
    if out.picture_arrays.is_file():
        from ensemble.report.drawing.picture_grid import picture_grid

        (gallery,) = read_galleries(out.picture_arrays)
        picture_grid([image.row for image in gallery.images], out.pictures, gallery.learners)
