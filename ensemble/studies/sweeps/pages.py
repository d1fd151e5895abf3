"""A sweep as one table and one picture, and as numbers for other programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from ensemble.metrics.statistics import few_scenes
from ensemble.report.drawing.figures import write_figure
from ensemble.report.wording import duration, heading, interval, number
from ensemble.runs.files import write_text
from ensemble.studies.sweeps.sweep import Interval, SweepRow, front_of
from ensemble.studies.sweeps.sweep_file import SweepSettings
from ensemble.tables import Cell, Table, plain_table, records
from ensemble.tables.markdown import markdown_table
from ensemble.tables.sheet import csv_table

SIZE = (8.0, 4.8)
"""Inches of the picture."""

COLUMNS = (
    *("arm", "metric", "value", "low", "high", "change", "change_low", "change_high", "parameters", "megabytes"),
    *("mul_adds", "milliseconds", "frames_per_second", "seconds", "front", "settings"),
)


def sweep_table(sweep: SweepSettings, rows: Sequence[SweepRow]) -> Table:
    """One line per arm in the order of the file, those of the front in bold: error, scene intervals and cost."""
    front = [row.arm.name for row in front_of(rows, sweep.metric)]
    lines = [
        [
            Cell(row.arm.name, best=row.arm.name in front),
            number(row.error.mean),
            _ends(row.error),
            *_change(row.change),
            *(f"{row.scores[metric]:.4f}" for metric in ("d1", "rmse")),
            f"{row.cost.parameters / 1e6:.2f}",
            f"{row.cost.megabytes:.1f}",
            f"{row.cost.mul_adds / 1e9:.3f}",
            f"{row.cost.milliseconds:.1f}",
            f"{row.cost.frames_per_second:.2f}",
            duration(row.seconds),
        ]
        for row in rows
    ]
    headings = ["arm", heading(sweep.metric), "95 % interval", "against the first", "95 % interval", "d1", "RMSE"]
    headings += ["M parameters", "MB", "G mul-adds", "ms", "frames/s", "training"]
    return plain_table(headings, lines, caption=_caption(sweep, rows))


def write_sweep(sweep: SweepSettings, rows: Sequence[SweepRow], folder: Path) -> list[str]:
    """Write table, picture and numbers; the names of the files."""
    folder.mkdir(parents=True, exist_ok=True)
    about = f"{sweep.about}\n\n" if sweep.about else ""
    page = f"# {sweep.name}\n\n{about}{markdown_table(sweep_table(sweep, rows))}\n\n![sweep](sweep.png)\n"
    write_text(folder / "sweep.md", page)
    write_text(folder / "sweep.csv", csv_table(records(COLUMNS, (_record(sweep, row, rows) for row in rows))))
    write_text(folder / "sweep.json", json.dumps(sweep_tree(sweep, rows), indent=2))
    draw_sweep(folder / "sweep.png", sweep, rows)
    return ["sweep.md", "sweep.csv", "sweep.json", "sweep.png"]


def sweep_tree(sweep: SweepSettings, rows: Sequence[SweepRow]) -> dict[str, Any]:
    """Arms as plain data."""
    return {
        "sweep": sweep.name,
        "learner": sweep.learner,
        "metric": sweep.metric,
        "budget": f"{sweep.budget.amount:g} {sweep.budget.unit}",
        "front": [row.arm.name for row in front_of(rows, sweep.metric)],
        "arms": [
            {
                "arm": row.arm.name,
                "answers": dict(row.arm.answers),
                "scores": dict(row.scores),
                "error": asdict(row.error),
                "change": None if row.change is None else asdict(row.change),
                "cost": asdict(row.cost),
                "seconds": row.seconds,
            }
            for row in rows
        ],
    }


def draw_sweep(path: Path, sweep: SweepSettings, rows: Sequence[SweepRow]) -> None:
    """Error over milliseconds with 95 % intervals over scenes, and the front (PNG)."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    front = front_of(rows, sweep.metric)
    across = [(row.cost.milliseconds, row.error.mean) for row in front]
    axes.step(*zip(*across, strict=True), where="post", color="0.25", lw=1, zorder=1, label="front")
    for row in rows:
        on_front = row in front
        bars = (
            None
            if row.error.low is None or row.error.high is None
            else [
                [max(row.error.mean - row.error.low, 0)],
                [max(row.error.high - row.error.mean, 0)],
            ]
        )
        colour = "tab:blue" if on_front else "0.6"
        axes.errorbar(
            row.cost.milliseconds, row.error.mean, yerr=bars, fmt="o", color=colour, elinewidth=0.8, capsize=2
        )
        if on_front or len(rows) <= 16:
            point = (row.cost.milliseconds, row.error.mean)
            axes.annotate(row.arm.name, point, xytext=(6, 5), textcoords="offset points", fontsize=8)
    axes.margins(x=0.14)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_xlabel(f"milliseconds an image, {rows[0].cost.device}")
    axes.set_ylabel(f"{heading(sweep.metric)}, validation scenes")
    axes.legend(frameon=False, fontsize=8)
    write_figure(figure, path)


def _record(sweep: SweepSettings, row: SweepRow, rows: Sequence[SweepRow]) -> dict[str, Any]:
    change = row.change or Interval(0.0)
    return {
        "arm": row.arm.name,
        "metric": sweep.metric,
        "value": row.error.mean,
        "low": row.error.low,
        "high": row.error.high,
        "change": change.mean,
        "change_low": change.low,
        "change_high": change.high,
        **{key: getattr(row.cost, key) for key in COLUMNS[8:13]},
        "seconds": row.seconds,
        "front": row in front_of(rows, sweep.metric),
        "settings": json.dumps(dict(row.arm.answers)),
    }


def _ends(found: Interval) -> str:
    return "-" if found.low is None or found.high is None else f"{number(found.low)} .. {number(found.high)}"


def _change(found: Interval | None) -> list[str]:
    if found is None:
        return ["-", "-"]
    ends = "-" if found.low is None or found.high is None else interval(found.low, found.high)
    return [number(found.mean, signed=True), ends]


def _caption(sweep: SweepSettings, rows: Sequence[SweepRow]) -> str:
    sizes = {"x".join(map(str, row.cost.size)) for row in rows}
    lines = [
        f"{sweep.learner}, {sweep.budget.amount:g} {sweep.budget.unit.replace('_', ' ')} an arm; validation scenes, on "
        "which checkpoints were chosen too.",
        f"Cost of one image of {', '.join(sorted(sizes))}, float32, {rows[0].cost.device}, median of "
        f"{rows[0].cost.repeats}.",
    ]
    if rows[0].error.low is None:
        lines.append("Fewer than two validation scenes: no intervals.")
    else:
        lines.append(
            "Intervals: bootstrap over scenes, 10,000 resamples; bold: no other arm is both faster and better."
            f"{few_scenes(rows[0].scenes)}"
        )
    return " ".join(lines)
