"""Depth maps from elsewhere become the rows of a learner: proved to be metres, brought to size, kept in the cache.

Frames to test on come from ``ensemble.evaluation.held_out_rows`` alone; their truth is read nowhere here.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from base_learners import LEARNERS
from ensemble.console import messages, progress
from ensemble.data.division import Division, Experiment, open_experiment
from ensemble.data.formats.maps import DepthFile, aligned, as_metres, find_depth_maps, mended_by, read_numbers
from ensemble.data.source import Frame
from ensemble.predictions.foreign.checks import CheckedMaps, ImportRequest, check_maps, model_of, resized
from ensemble.predictions.foreign.record import ImportedRole, read_roles, write_roles
from ensemble.predictions.foreign.scale import Stored, alignment_of
from ensemble.predictions.learners import frame_settings, imported_model
from ensemble.predictions.predict import writer_of
from ensemble.runs.claims import differing_keys
from ensemble.runs.names import BEST_SINGLE, SEED_MEAN
from ensemble.runs.paths import FULL, Outputs, Run, fold_model
from ensemble.runs.records import stored_settings
from ensemble.runs.seals import write_checked
from ensemble.settings.schema import ImportSettings
from ensemble.settings.trees import SettingsError
from meta.combiners import FITTED_COMBINERS
from meta.fusion import COMBINERS


def check_free_name(name: str) -> None:
    """Refuse a name, of imported depth or of a fit of the meta-learner, that stands for another row of the tables.

    Raises:
        SettingsError: It is that of a network, a combiner or a bound.
    """
    taken = {*LEARNERS, *COMBINERS, *FITTED_COMBINERS, BEST_SINGLE, SEED_MEAN, "oracle"}
    if name in taken:
        raise SettingsError(f"{name!r}: {', '.join(sorted(taken))} are other rows of the tables; choose another name")


def import_depth(request: ImportRequest, outputs: Outputs, frames: Sequence[Frame] | None = None) -> None:
    """Check all depth maps of a role, then put them into the cache as rows of a learner; goes on where it stopped.

    Frames are given for those to test on; those of training follow from the settings.

    Raises:
        ValueError: A map is missing, doubled, damaged or of another size, depth is not in metres or has no scale, or
            the role was imported from other maps; the message holds the command that mends it.
    """
    settings = request.settings
    experiment = open_experiment(outputs, settings)
    models = _frames_by_model(request, experiment.division, frames)
    every = [frame for part in models.values() for frame in part]
    others = {frame.id for frame in experiment.source.frames} - {frame.id for frame in every}
    with mended_by(request.command(outputs)):
        files = find_depth_maps(request.place, [frame.id for frame in every], others=others, what=request.role)
    stored = _stored(request, outputs)
    checked = check_maps(request, experiment, models, files)
    alignment = alignment_of(request, outputs, stored, checked)
    settings = settings.model_copy(update={"alignment": alignment})
    _record(settings, experiment, stored)
    for model, part in models.items():
        _store(replace(request, settings=settings), experiment, model, part, files, checked)


def _frames_by_model(
    request: ImportRequest, division: Division, frames: Sequence[Frame] | None
) -> dict[str, tuple[Frame, ...]]:
    """The frames of each model whose rows are imported: all folds at once where the role is ``oof``."""
    fold = request.settings.fold
    if frames is not None:
        return {model_of(fold): tuple(frames)}
    if request.role == "oof":
        folds = range(division.folds.count) if fold is None else (fold,)
        return {fold_model(each): division.of_role("oof", each) for each in folds}
    return {model_of(fold): division.of_role(request.role, fold)}


def _stored(request: ImportRequest, outputs: Outputs) -> dict[str, tuple[ImportSettings, dict[str, ImportedRole]]]:
    """Settings and roles of every model imported under this name; refused where settings or alignment were others."""
    settings = request.settings
    folder = outputs.learner_run(settings.experiment, settings.learner).folder.parent
    runs = [Run(path.parent) for path in sorted(folder.glob("*/settings.json"))]
    stored = {run.folder.name: (stored_settings(ImportSettings, run.settings), read_roles(run)) for run in runs}
    aligned = {old.alignment is not None for old, roles in stored.values() if set(roles) - {request.role}}
    for old, _ in stored.values():
        differing = differing_keys(frame_settings(old.data), frame_settings(settings.data), "data.")
        differing += [f"--unit: {old.unit} against {settings.unit}"] if old.unit != settings.unit else []
        if aligned - {request.align}:
            differing.append(f"--align-on fit: {next(iter(aligned))} against {request.align}")
        if differing:
            raise SettingsError(
                f"{folder}: {settings.learner} was imported with something else ({'; '.join(differing)}). "
                "Import all its roles alike, or give it another name; to start over, remove this folder"
            )
    return stored


def _record(settings: ImportSettings, experiment: Experiment, stored: Stored) -> None:
    """Put the learner on record, and a new alignment on all its models: rows made with another one are stale then."""
    if FULL not in stored:
        _begin(settings.model_copy(update={"fold": None}), experiment, {})
    for model, (old, _) in stored.items():
        if old.alignment != settings.alignment:
            run = experiment.outputs.learner_run(settings.experiment, settings.learner, model)
            _write(run.settings, old.model_copy(update={"alignment": settings.alignment}))


def _begin(settings: ImportSettings, experiment: Experiment, roles: Mapping[str, ImportedRole]) -> None:
    run = experiment.outputs.learner_run(settings.experiment, settings.learner, model_of(settings.fold))
    write_checked(run.sources, (json.dumps(experiment.sources(settings.fold), indent=2) + "\n").encode())
    write_roles(run, roles)
    _write(run.settings, settings)


def _write(path: Path, settings: ImportSettings) -> None:
    write_checked(path, (json.dumps(settings.model_dump(mode="json"), indent=2) + "\n").encode())


def _store(
    request: ImportRequest,
    experiment: Experiment,
    model: str,
    frames: Sequence[Frame],
    files: Mapping[str, DepthFile],
    checked: CheckedMaps,
) -> None:
    """Write the rows of one model that are not there yet."""
    data, alignment, outputs = request.settings.data, request.settings.alignment, experiment.outputs
    fold = None if model == FULL else int(model.removeprefix("fold-"))
    settings = request.settings.model_copy(update={"fold": fold})
    run = outputs.learner_run(settings.experiment, settings.learner, model)
    roles: dict[str, ImportedRole] = {}
    with suppress(ValueError):
        roles = read_roles(run)
    median = float(np.median([checked.median[frame.id] for frame in frames]))
    entry = ImportedRole(
        folder=str(request.place.absolute()), content=checked.content[model], frames=len(frames), median=median
    )
    roles = {**roles, request.role: entry}
    learner = imported_model(settings, run, roles)
    clipped = 0
    mend = request.command(outputs)
    with writer_of(learner, experiment, frames, request.role, rebuild=request.rebuild, mend=mend) as writer:
        _begin(settings, experiment, roles)
        missing = set(writer.missing())
        for frame in progress([frame for frame in frames if frame.id in missing], "importing"):
            with mended_by(mend):
                metres = as_metres(read_numbers(files[frame.id]), settings.unit)
            if alignment is not None:
                metres, held = aligned(metres, alignment, data)
                clipped += held
            writer.append(frame.id, resized(metres, data.size))
    there = len(frames) - len(missing)
    messages.print(
        f"{request.role}: {len(missing)} frames imported as {settings.learner}/{model}"
        + (f", {there} were there" if there else "")
        + (f"; {clipped} pixels clipped into {data.min_depth:g} .. {data.max_depth:g} m" if clipped else "")
    )
