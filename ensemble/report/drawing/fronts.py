"""Error over cost: what a set of learners buys, and the front of sets that no other set beats in both."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from ensemble.report.drawing.figures import write_figure
from ensemble.report.drawing.names import Name, write_names
from ensemble.settings.members import member_of
from ensemble.stacking.composition import ComposedSet, Composition, Kind

SIZE = (8.0, 4.8)
"""Inches."""

STYLES: dict[Kind, dict[str, Any]] = {
    "alone": {"color": "0.6", "marker": "o", "markersize": 4},
    "rival": {"color": "tab:orange", "marker": "D", "markersize": 6},
    "chosen": {"color": "tab:blue", "marker": "o", "markersize": 7},
}
LABELS: dict[Kind, str] = {
    "alone": "a candidate alone",
    "rival": "always compared",
    "chosen": "chosen for a budget",
}
NAMED_ALONE = 3
"""Candidates alone that are named: the best seeds of the best learners."""


def draw_composition(path: Path, found: Composition) -> None:
    """Error as a share of that of the mean of all, over milliseconds, with 95 % intervals of sets (PNG)."""
    write_figure(figure_of(found), path)


def figure_of(found: Composition) -> Figure:
    """The same before it is a file."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    for kind in LABELS:
        _draw(axes, found.of_kind(kind), kind)
    front = front_of(found.sets)
    axes.step(*zip(*map(_point, front), strict=True), where="post", color="0.25", lw=1, zorder=1, label="front")
    axes.margins(x=0.14, y=0.08)
    axes.axhline(100, color="0.8", lw=0.8, zorder=0)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g} %"))
    axes.set_xlim(left=0)
    axes.set_xlabel("milliseconds an image, one CPU thread")
    axes.set_ylabel("error, mean of all candidates = 100 %")
    axes.legend(frameon=False, fontsize=8)
    write_names(axes, _names(found), points=[*map(_point, found.sets)], lines=[*_steps(front), *_bars(found)])
    return figure


def front_of(sets: Sequence[ComposedSet]) -> list[ComposedSet]:
    """Sets than which none is both cheaper and better, the cheapest first; of equal ones the first."""
    found: list[ComposedSet] = []
    for each in sorted(sets, key=_point):
        if not found or _point(each)[1] < _point(found[-1])[1]:
            found.append(each)
    return found


def _names(found: Composition) -> list[Name]:
    """What is named: sets that were chosen, rivals, and the best candidates alone."""
    named = [(each, each.name) for kind in ("chosen", "rival") for each in found.of_kind(kind)]
    named += [(each, each.text) for each in _best_alone(found)]
    return [
        Name(text, _point(each), "black" if each.kind == "alone" else STYLES[each.kind]["color"])
        for each, text in named
    ]


Line = tuple[tuple[float, float], tuple[float, float]]


def _steps(front: Sequence[ComposedSet]) -> list[Line]:
    """The front as lines along the axes: over to the next set, then down to it."""
    found: list[Line] = []
    for (x, y), (next_x, next_y) in itertools.pairwise(map(_point, front)):
        found += [((x, y), (next_x, y)), ((next_x, y), (next_x, next_y))]
    return found


def _bars(found: Composition) -> list[Line]:
    """The intervals that are drawn."""
    sets = [*found.of_kind("rival"), *found.of_kind("chosen")]
    return [((_point(each)[0], _ends(each)[0]), (_point(each)[0], _ends(each)[1])) for each in sets]


def _best_alone(found: Composition) -> list[ComposedSet]:
    ordered = sorted(found.of_kind("alone"), key=lambda each: _point(each)[1])
    best = {member_of(each.text).learner: each for each in reversed(ordered)}
    return [each for each in ordered if each in best.values()][:NAMED_ALONE]


def _point(each: ComposedSet) -> tuple[float, float]:
    """Milliseconds, and percent of the error of the mean of all."""
    return each.cost.milliseconds, 100 * (1 - each.against_all.gain)


def _ends(each: ComposedSet) -> tuple[float, float]:
    """The 95 % interval of ``_point``'s percent."""
    return 100 * (1 - each.against_all.high), 100 * (1 - each.against_all.low)


def _draw(axes: Axes, sets: Sequence[ComposedSet], kind: Kind) -> None:
    """Points of one kind, with intervals but for candidates alone, whose many bars would hide the rest."""
    if not sets:
        return
    across, up = zip(*map(_point, sets), strict=True)
    style: dict[str, Any] = {"linestyle": "none", "label": LABELS[kind], "zorder": 3, **STYLES[kind]}
    bars = abs(np.array([*map(_ends, sets)]).T - up)
    axes.errorbar(across, up, yerr=None if kind == "alone" else bars, elinewidth=1, capsize=3, **style)
