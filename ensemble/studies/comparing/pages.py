"""A comparison of studies as a table for the terminal, Markdown, CSV, pictures and one HTML page."""

import base64
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ensemble.console import counted
from ensemble.metrics.formulas import METRICS
from ensemble.metrics.statistics import few_scenes
from ensemble.report.documents import pairs_report
from ensemble.report.wording import difference_cells, duration, heading, number
from ensemble.runs.files import write_bytes, write_text
from ensemble.runs.locks import PATIENCE, StoreLock
from ensemble.studies.comparing.comparison import ArmResult, Comparison
from ensemble.studies.comparing.drawings import budget_picture, importances, pareto_front, pool_pictures
from ensemble.studies.comparing.merging import Pool
from ensemble.studies.comparing.sheets import arms_sheet, trials_sheet
from ensemble.studies.design.study_file import StudySettings
from ensemble.tables import Table, plain_table
from ensemble.tables.html import page_template
from ensemble.tables.markdown import markdown_table

CAPTIONS = {
    "importances": "Importance of every parameter for the metric (PED-ANOVA)",
    "parallel": "All complete trials, parameters side by side",
    "slices": "The metric over every parameter",
    "pareto": "Trials that no other beats in every objective",
}


def arm_table(found: Comparison, *, apart: bool = False) -> Table:
    """The arms, best first; ``apart`` gives pruned and failed trials columns of their own, too many for 80 letters."""
    metric = METRICS[found.metric]
    units = {study.budget.unit.replace("_", " ") for study in found.studies}
    trials = ["trials", "pruned", "failed"] if apart else ["trials (pruned, failed)"]
    headings = ["arm", heading(found.metric), "95 % interval", "plain mean", *trials]
    headings += [f"spent ({' or '.join(sorted(units))})", "learners"]
    sign = -1 if metric.higher_is_better else 1
    ordered = sorted(found.arms, key=lambda arm: (arm.value is None, sign * (arm.value or 0.0)))
    lines = [_cells(found, arm, apart=apart) for arm in ordered]
    return plain_table(headings, lines, caption=" ".join(_notes(found)))


def write_comparison(found: Comparison, folder: Path) -> list[str]:
    """Write Markdown, CSV of arms, pairs and trials, pictures and the page; the names of the files."""
    pictures: dict[str, bytes] = {"budget.png": budget_picture(found)}
    for study, pool in _pools(found):
        for name, content in pool_pictures(study, pool).items():
            pictures[_picture_name(study, pool, name)] = content
    files = {
        "compare.md": markdown_page(found, pictures).encode(),
        "compare.csv": arms_sheet(found).encode(),
        "compare_pairs.csv": pairs_report(found.differences).encode(),
        "compare_trials.csv": trials_sheet(found).encode(),
        "compare.html": html_page(found, pictures).encode(),
        **pictures,
    }
    decided = {
        study.name: {pool.title: importances(study, pool) for pool in found.pools[study.name]}
        for study in found.studies
    }
    with StoreLock(folder, patience=PATIENCE, keep=False):
        for name, content in files.items():
            write_bytes(folder / name, content)
        write_text(folder / "importances.json", json.dumps(decided, indent=2) + "\n")
    return [*files, "importances.json"]


def markdown_page(found: Comparison, pictures: Collection[str]) -> str:
    """The comparison for a document."""
    parts = [f"# {', '.join(study.name for study in found.studies)}"]
    parts += [study.about for study in found.studies if study.about]
    parts += [markdown_table(arm_table(found, apart=True)), "## Best settings", markdown_table(_best_table(found))]
    if found.differences:
        parts += ["## Differences", markdown_table(difference_table(found))]
    if (ended := ended_table(found)).rows:
        parts += ["## Pruned and failed trials", markdown_table(ended)]
    parts += ["## Value over budget", "![Best value of every arm over the budget it has spent](budget.png)"]
    for study, pool in _pools(found):
        parts += [f"## {study.name}: {pool.title}", pool.covers]
        if decided := importances(study, pool):
            parts.append(markdown_table(_importance_table(decided)))
        if pool.is_whole and (front := pareto_front(study, pool)):
            parts += ["### Pareto front", markdown_table(_front_table(front))]
        drawn = {_picture_name(study, pool, name): caption for name, caption in CAPTIONS.items()}
        parts += [f"![{caption}]({quote(name)})" for name, caption in drawn.items() if name in pictures]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def html_page(found: Comparison, pictures: dict[str, bytes]) -> str:
    """The whole comparison as one page that asks nobody for anything."""
    studies = [
        {
            "name": study.name,
            "about": study.about,
            "pools": [_pool(study, pool, pictures) for pool in found.pools[study.name]],
            "front": _front_table(pareto_front(study, found.pools[study.name][0])),
            "sampler": f"{study.sampler.kind}, seed {study.sampler.seed}; pruner {study.pruner.kind}",
        }
        for study in found.studies
    ]
    return page_template("compare.html.jinja", "ensemble.studies.comparing", "ensemble.report").render(
        title=", ".join(study.name for study in found.studies),
        arms=arm_table(found, apart=True),
        notes=_notes(found),
        budget=_uri(pictures["budget.png"]),
        best=_best_table(found),
        differences=difference_table(found),
        ended=ended_table(found),
        studies=studies,
    )


def difference_table(found: Comparison) -> Table:
    """Every pair of arms."""
    lines = [
        [f"{_short(found, each.first)} against {_short(found, each.second)}", *difference_cells(each)]
        for each in found.differences
    ]
    return plain_table(["first against second", "difference", "95 % interval", "p", "first is"], lines)


def ended_table(found: Comparison) -> Table:
    """Pruned and failed trials and failed repeats with their reasons."""
    lines: list[list[str]] = []
    for arm in found.arms:
        name = _short(found, arm.name)
        ended = [trial for trial in arm.trials if trial.state in ("pruned", "failed")]
        lines += [[f"{name} #{trial.number}", trial.state, f"{trial.spent:g}", trial.reason] for trial in ended]
        lines += [[f"{name} from seed {seed}", "failed", "-", reason] for seed, reason in arm.failed_repeats.items()]
    return plain_table(["trial", "state", "spent", "reason"], lines)


def _cells(found: Comparison, arm: ArmResult, *, apart: bool) -> list[str]:
    value = "-" if arm.value is None else number(arm.value)
    if arm.deviation is not None:
        value += f" ± {number(arm.deviation)}"
    ends = "-" if arm.low is None or arm.high is None else f"{number(arm.low)} .. {number(arm.high)}"
    trials = [sum(trial.finished for trial in arm.trials), arm.count("pruned"), arm.count("failed")]
    return [
        _short(found, arm.name),
        value,
        ends,
        "-" if arm.plain_mean is None else number(arm.plain_mean),
        *(map(str, trials) if apart else ["{} ({}, {})".format(*trials)]),
        f"{arm.spent:g}",
        "unknown" if arm.learners_seconds is None else duration(arm.learners_seconds or None),
    ]


def _best_table(found: Comparison) -> Table:
    lines = [
        [
            _short(found, arm.name),
            "-" if arm.best is None else f"#{arm.best.number}",
            "; ".join(f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in numbers)
            if (numbers := list(arm.numbers.items()))
            else "-",
        ]
        for arm in found.arms
    ]
    return plain_table(["arm", "trial", "settings"], lines)


def _notes(found: Comparison) -> list[str]:
    notes = [f"Budget: {found.budget}.", f"{found.frames} validation frames of {found.scenes} scenes."]
    if found.scenes >= 2:
        told = "Intervals and p-values: paired bootstrap over scenes, 10,000 resamples"
        if found.differences:
            told += f"; p-values corrected over the {counted(len(found.differences), 'pair')} of arms (Holm)"
        notes.append(f"{told}.{few_scenes(found.scenes)}")
    else:
        notes.append("Fewer than two validation scenes: no intervals.")
    if found.seeds:
        notes.append("Values are means over the repeats, ± is their standard deviation.")
        if failed := sum(len(arm.failed_repeats) for arm in found.arms):
            notes.append(f"{failed} repeats failed and are left out.")
    else:
        notes.append(
            "A best trial was chosen on these scenes, so its value flatters; give --seeds 1,2,3 to fit it again."
        )
    told = "Learners: time that training the learners and the teachers below took beforehand, not part of the budget"
    if any(arm.learners_seconds is None for arm in found.arms):
        told += "; unknown where one came as a file or as depth maps, or is not there any more"
    return [*notes, f"{told}."]


def _pools(found: Comparison) -> Iterator[tuple[StudySettings, Pool]]:
    return ((study, pool) for study in found.studies for pool in found.pools[study.name])


def _pool(study: StudySettings, pool: Pool, pictures: Mapping[str, bytes]) -> dict[str, Any]:
    """A pool for the page."""
    names = {_picture_name(study, pool, name): caption for name, caption in CAPTIONS.items()}
    return {
        "title": pool.title,
        "covers": pool.covers,
        "importances": _importance_table(importances(study, pool)),
        "pictures": [
            {"caption": f"{caption}: {pool.title}", "source": _uri(pictures[name])}
            for name, caption in names.items()
            if name in pictures
        ],
    }


def _picture_name(study: StudySettings, pool: Pool, name: str) -> str:
    return f"{study.name}-{pool.prefix}{name}.png"


def _importance_table(decided: Mapping[str, float]) -> Table:
    return plain_table(["parameter", "importance"], [[name, f"{value:.2f}"] for name, value in decided.items()])


def _front_table(front: Sequence[dict[str, Any]]) -> Table:
    keys = list(dict.fromkeys(key for row in front for key in row))
    cells = [
        [f"{row[key]:.4g}" if isinstance(row.get(key), float) else str(row.get(key, "-")) for key in keys]
        for row in front
    ]
    return plain_table(keys, cells)


def _short(found: Comparison, name: str) -> str:
    return name.partition("/")[2] if len(found.studies) == 1 else name


def _uri(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
