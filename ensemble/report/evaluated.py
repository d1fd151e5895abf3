"""What is drawn of an evaluation once it is done, from its files alone: tables for documents and the picture grid."""

from ensemble.evaluation.results.gallery import read_galleries
from ensemble.evaluation.results.protocols import read_protocols
from ensemble.evaluation.results.scores import read_scores
from ensemble.report.tables.protocols import protocol_tables, protocols_markdown
from ensemble.report.tables.scores import score_document, score_table
from ensemble.runs.paths import Run
from ensemble.runs.seals import write_sealed
from ensemble.tables import Table


def draw_evaluation(out: Run, *, published: bool = False) -> list[Table]:
    """Put tables, and pictures where stacks were scored, beside the numbers of an evaluation; returns those to show.

    ``published`` adds the rows of the published study to what is handed back; files go without them.

    Raises:
        ValueError: A file of the evaluation is missing, damaged, or of another version.
    """
    scores = read_scores(out.scores)
    tables = [score_table(scores, published=published)]
    write_sealed(out.table, score_document(scores).encode(), beside=False)
    if out.protocols.is_file():
        comparison = read_protocols(out.protocols)
        tables += protocol_tables(comparison)
        write_sealed(out.protocols_table, protocols_markdown(comparison).encode(), beside=False)
    if out.picture_arrays.is_file():
        from ensemble.report.drawing.picture_grid import picture_grid

        (gallery,) = read_galleries(out.picture_arrays)
        picture_grid([image.row for image in gallery.images], out.pictures, gallery.learners)
    return tables
