"""The table of what was composed for every budget, beside its rivals and the best members alone."""

from ensemble.metrics.formulas import TABLE_METRICS
from ensemble.metrics.statistics import few_scenes
from ensemble.stacking.composition import SEEDS, ComposedSet, Composition, Gain
from ensemble.tables import Cell, Column, Table, table_of
from ensemble.tables.table import Tone

SHOWN_ALONE = 5
"""Members alone, the best ones first."""

TITLES = {"chosen": "chosen for a budget", "rival": "always compared", "alone": "alone, the best ones"}


def composition_table(found: Composition) -> Table:
    """Gains over the mean of all candidates and over seeds of the best learner; significant ones have a colour."""
    groups = {kind: list(found.of_kind(kind)) for kind in ("chosen", "rival", "alone")}
    groups["alone"] = sorted(groups["alone"], key=lambda each: -each.against_all.gain)[:SHOWN_ALONE]
    columns = (
        Column("set", align="left"),
        Column("members", align="left", priority=0),
        Column("ms", priority=7),
        Column("G", priority=2),
        Column("M", priority=1),
        Column("gain %", priority=6),
        Column("95 % interval", priority=5),
        Column("over seeds %", priority=4),
        Column("its interval", priority=3),
    )
    return table_of(
        columns,
        ((TITLES[kind], [_line(each) for each in sets]) for kind, sets in groups.items()),
        title=f"Compositions of {len(found.of_kind('alone'))} candidates of {found.experiment}",
        caption=_caption(found),
    )


def sentence(each: ComposedSet, found: Composition) -> str:
    """What a person must know of a chosen set."""
    everything, *_ = found.of_kind("rival")
    told = f"{each.name}: {each.text}: gain over the {everything.name} {_told(each.against_all)}"
    if each.against_seeds is not None:
        told += f", over {each.seeds} {_told(each.against_seeds)}"
    return f"{told}. {each.agreeing} of {found.folds} folds, left out one at a time, leave the same set."


def _told(gain: Gain) -> str:
    told = f"{_percent(gain.gain)} % [{_percent(gain.low)}, {_percent(gain.high)}]"
    if gain.better is None:
        return told
    worse = f", worse on {gain.worse}" if gain.worse else ""
    return f"{told}, significantly better on {gain.better} of {len(TABLE_METRICS)} metrics{worse}"


def _line(each: ComposedSet) -> list[str | Cell]:
    cost, name = each.cost, each.name if each.kind != "alone" else each.text
    members = each.text if each.kind == "chosen" else ""
    numbers = [f"{cost.milliseconds:.1f}", f"{cost.giga_mul_adds:.2f}", f"{cost.million_parameters:.1f}"]
    return [name, members, *numbers, *_cells(each.against_all), *_cells(each.against_seeds)]


def _cells(gain: Gain | None) -> list[str | Cell]:
    if gain is None:
        return ["", ""]
    return [Cell(_percent(gain.gain), tone=_tone(gain)), f"{_percent(gain.low)} .. {_percent(gain.high)}"]


def _tone(gain: Gain) -> Tone:
    return "better" if gain.better and not gain.worse else "worse" if gain.worse and not gain.better else ""


def _percent(share: float) -> str:
    return f"{100 * share:+.1f}"


def _caption(found: Composition) -> str:
    return (
        f"Out-of-fold rows, {found.frames} frames of {found.scenes} scenes. Sets are means in logs; a set costs what "
        "its distinct members cost (ms on one CPU thread, G multiply-adds, M parameters; imported depth is free). "
        f"Gain: share of the error of the mean of all that is gone, mean over {len(TABLE_METRICS)} metrics; over "
        f"seeds: of that of as many seeds of the best learner as the budget buys, at most {SEEDS}. The frames of each "
        f"of {found.folds} folds are judged by what the other folds have chosen (leave-one-fold-out), rivals too; the "
        f"members shown are chosen by all frames. Intervals: paired bootstrap over scenes.{few_scenes(found.scenes)}"
    )
