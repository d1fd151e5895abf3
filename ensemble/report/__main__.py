"""``python -m ensemble.report``: the report of one or several evaluations; reads files, runs no network."""

from pathlib import Path
from typing import Annotated

import typer

from ensemble import options
from ensemble.commands import completion
from ensemble.console import messages, print_json, results
from ensemble.report.finding import find_evaluation
from ensemble.runs.paths import outputs
from ensemble.settings.schema import MOST_FRAMES
from ensemble.settings.trees import check_name

app = options.application("The report of evaluations: Markdown, LaTeX, CSV and one HTML page.")


@app.command()
def report(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN|DIR",
            autocompletion=completion.evaluations,
            help="Evaluated runs, or folders with their scores; of one protocol.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            callback=options.new_folder,
            help="Folder to write to. Default: that of a single run, else of the experiment.",
        ),
    ] = None,
    by: Annotated[
        str,
        typer.Option(metavar="scene|image", help="What is resampled: scene, or image as if images were independent."),
    ] = "scene",
    resamples: Annotated[
        int, typer.Option(metavar="N", min=100, max=MOST_FRAMES, help="Of the paired bootstrap.")
    ] = 10_000,
    published: Annotated[bool, typer.Option(help="Show the published rows below ours (other data, no match).")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print scores and all differences as JSON as well.")] = False,
    cache_dir: options.CacheDir = None,
) -> None:
    """Write report.md, report.tex, report.csv, report_pairs.csv and a self-contained report.html."""
    check_name(by, ("scene", "image"), "unit to resample")
    where = outputs(cache_dir)

    found = list(dict.fromkeys(find_evaluation(where, name) for name in runs))

    from ensemble.report.writing import write_report

    written = write_report(
        found, where, out=out, by="image" if by == "image" else "scene", resamples=resamples, published=published
    )
    if json:
        print_json(written.json)
    else:
        for sentence in written.summary:
            results.print(sentence, soft_wrap=True)
    messages.print(f"{', '.join(written.names)}: {written.folder}")


if __name__ == "__main__":
    options.run(app)
