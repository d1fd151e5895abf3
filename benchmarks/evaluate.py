"""What scoring stacks takes of the processor, here and in the checkout of another commit."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.spent import checkouts_of, spent_in_turn, unpack_experiment
from benchmarks.tables import REPORTED, Table, Target, write_section
from ensemble.runs.paths import Outputs


def main(
    before: Annotated[Path | None, typer.Option(help="Checkout of an earlier commit, to run in turn.")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="A copy of a cache with fitted stacks. Default: a small experiment of 4 frames.")
    ] = None,
    stacks: Annotated[str, typer.Option(help="Stacks to score, RUN[,RUN...].")] = "meta-d",
    repeats: Annotated[int, typer.Option(min=1, help="Rounds.")] = 3,
) -> None:
    """Measures ``meta evaluate`` with the calibration of every stack and writes its section."""
    with tempfile.TemporaryDirectory() as folder:
        if cache is None:
            unpack_experiment(Path(folder))
        where, names = Outputs((cache or Path(folder) / "cache").resolve()), stacks.split(",")

        def forget() -> None:
            for name in names:
                where.find_run(name).uncertainty.unlink(missing_ok=True)

        words = ("-m", "ensemble.meta", "evaluate", *names, "--cache-dir", str(where.root))
        checkouts = checkouts_of(before)
        found = spent_in_turn({"evaluate": words}, checkouts, repeats=repeats, before_each=forget)
    took = {checkout: found["evaluate", checkout] for checkout in checkouts}
    seconds = took["now"].seconds
    share = seconds / took["before"].seconds if before else None
    measured = (
        f"{seconds:.1f} s" if share is None else f"{share:.0%} ({took['before'].seconds:.1f} and {seconds:.1f} s)"
    )
    what = f"processor time of `meta evaluate` of {len(names)} stacks with their calibration"
    wanted = REPORTED if share is None else "at most half of before"
    rows = [(name, f"{each.seconds:.1f}", f"{each.megabytes:.0f}") for name, each in took.items()]
    write_section(
        "evaluate",
        "Evaluation",
        targets=[Target(what, wanted, measured, None if share is None else share <= 0.5)],
        parts=[Table(("commit", "processor, s", "peak MB"), rows)],
    )


if __name__ == "__main__":
    typer.run(main)
