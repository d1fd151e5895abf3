"""The compression report as tables, documents and files."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from ensemble.deploy.compression.measuring import Measured
from ensemble.deploy.compression.report import CompressionReport
from ensemble.metrics.formulas import METRICS, TABLE_METRICS
from ensemble.metrics.statistics import few_scenes
from ensemble.report.drawing.compression import CompressionPoint, draw_compression
from ensemble.runs.files import write_text
from ensemble.tables import Cell, Column, Row, Table, plain_table, records
from ensemble.tables.markdown import markdown_table
from ensemble.tables.sheet import csv_table

RUNTIME_TITLES = {"onnx": "ONNX Runtime", "openvino": "OpenVINO"}
COSTS = (
    "recipe",
    "runtime",
    "MB",
    "MB zipped",
    "weights not 0, M",
    "mul-adds, G",
    "ms",
    "of fp32",
    "peak MB",
    "gap, m",
)


def costs_table(report: CompressionReport) -> Table:
    """What every file costs; recipes without a file stand below, with the reason."""
    rows = [Row.of(row.recipe, *_costs(row), note=row.note) for row in report.rows]
    rows += [Row.of(name, "not met", *["-"] * (len(COSTS) - 2), tone="quiet") for name in report.unmet]
    return plain_table(COSTS, rows, title=f"{report.name}: what recipes cost", caption=_caption(report))


def scores_table(report: CompressionReport) -> Table:
    """The eight metrics, and below each the 95 % interval of its difference from ``fp32``."""
    columns = [Column("recipe", align="left"), *(Column(METRICS[name].label) for name in TABLE_METRICS)]
    rows = [Row.of(row.recipe, *(_score(row, name) for name in TABLE_METRICS)) for row in report.rows if row.means]
    told = f"{report.images} at {report.size[0]}x{report.size[1]}, all pixels with depth, no mirrored image."
    note = " In brackets: 95 % of the resampled differences from fp32, over scenes." + few_scenes(report.scenes)
    return plain_table(columns, rows, title=f"{report.name}: what recipes cost in depth", caption=told + note)


def sheet(report: CompressionReport) -> Table:
    """One row per recipe, every number to its last digit."""
    lines = [dict(_flat(row)) for row in report.rows]
    lines += [{"recipe": name, "note": f"not met, because {reason}"} for name, reason in report.unmet.items()]
    return records(tuple(dict.fromkeys(name for line in lines for name in line)), lines)


def write_report(report: CompressionReport, folder: Path) -> tuple[str, ...]:
    """``compression.md``, ``.csv``, ``.json``, and ``.png`` where depth is known; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = [costs_table(report), *([scores_table(report)] if report.rows[0].means else [])]
    picture = folder / "compression.png" if report.rows[0].means else None
    if picture is not None:
        draw_compression(picture, [_point(row) for row in report.rows], f"{report.name}, {_size(report)}")
    shown = ["![d1 over time](compression.png)\n"] if picture else []
    parts = [f"# {report.name}, compressed\n", *map(markdown_table, tables), *shown, _notes(report)]
    write_text(folder / "compression.md", "\n".join(parts))
    write_text(folder / "compression.csv", csv_table(sheet(report)))
    write_text(folder / "compression.json", f"{report.to_json()}\n")
    return ("compression.md", "compression.csv", "compression.json", *(["compression.png"] if picture else []))


def lessons(report: CompressionReport) -> list[str]:
    """What masks and clusters hide, in sentences with the figures of this report."""
    plain = report.rows[0]
    return [
        f"{row.recipe}: the file has {row.weight.stored / plain.weight.stored:.2f} of the bytes of fp32 and takes "
        f"{row.time.ratio:.2f} of its time; zipped it has {row.weight.zipped / plain.weight.zipped:.2f} of the bytes."
        for row in report.rows
        if row.recipe.startswith(("prune-", "kmeans-"))
    ]


def _notes(report: CompressionReport) -> str:
    notes = [f"{row.recipe}: {row.note}." for row in report.rows if row.note]
    notes += [f"{name}: not met, because {reason}" for name, reason in report.unmet.items()]
    return "".join(f"- {each}\n" for each in [*lessons(report), *notes])


def _caption(report: CompressionReport) -> str:
    return (
        f"{_size(report)}, one image, one thread, processor time: medians over rounds in which the files take turns; "
        "time is of the fp32 file of the same runtime. Peak memory is that of a process which runs one image. The gap "
        "is the mean difference of depth from fp32. Weights are factors of convolutions and matrix products. Ranges of "
        f"8 bits that are told beforehand are those of {report.calibrated}."
    )


def _costs(row: Measured) -> tuple[str, ...]:
    return (
        *(RUNTIME_TITLES[row.runtime], f"{row.weight.stored / 1e6:.2f}", f"{row.weight.zipped / 1e6:.2f}"),
        *(f"{row.nonzero / 1e6:.2f}", f"{row.mul_adds / 1e9:.3f}", f"{row.time.milliseconds:.1f}"),
        *(f"{row.time.ratio:.2f}x", f"{row.peak_megabytes:.0f}", f"{row.mean_gap:.3f}"),
    )


def _score(row: Measured, metric: str) -> Cell:
    text, found = f"{row.means[metric]:.3f}", row.against.get(metric)
    if found is None:
        return Cell(text)
    tone = "" if found.better is None else "better" if found.better == "first" else "worse"
    return Cell(f"{text} [{found.low:+.3f} {found.high:+.3f}]", tone=tone)


def _flat(row: Measured) -> Iterator[tuple[str, object]]:
    plain: Mapping[str, object] = {
        "recipe": row.recipe,
        "runtime": row.runtime,
        "bytes": row.weight.stored,
        "bytes_zipped": row.weight.zipped,
        "weights_not_zero": row.nonzero,
        "mul_adds": row.mul_adds,
        "milliseconds": row.time.milliseconds,
        "time_of_fp32": row.time.ratio,
        "peak_megabytes": row.peak_megabytes,
        "mean_gap_m": row.mean_gap,
    }
    yield from plain.items()
    for metric, mean in row.means.items():
        yield metric, mean
        if found := row.against.get(metric):
            yield from ((f"{metric}_difference", found.difference), (f"{metric}_low", found.low))
            yield f"{metric}_high", found.high
    yield "note", row.note


def _point(row: Measured) -> CompressionPoint:
    found = row.against.get("d1")
    interval = None if found is None else (found.low - found.difference, found.high - found.difference)
    return CompressionPoint(row.recipe, row.runtime, row.time.milliseconds, row.means["d1"], interval)


def _size(report: CompressionReport) -> str:
    return f"{report.size[0]}x{report.size[1]}"
