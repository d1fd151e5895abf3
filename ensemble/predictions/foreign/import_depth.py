"""Depth maps from elsewhere become the rows of a learner: proved to be metres, brought to size, kept in the cache.

Frames to test on come from ``ensemble.evaluation.held_out_rows`` alone; their truth is read nowhere here.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from base_learners import LEARNERS
from ensemble.console import counted, messages, progress
from ensemble.data.division import Division, Experiment, open_experiment
from ensemble.data.formats.maps import DepthFile, aligned, as_read, find_depth_maps, mended_by, read_numbers
from ensemble.data.source import Frame
from ensemble.predictions.foreign.checks import CheckedMaps, ImportRequest, check_maps, model_of, resized
from ensemble.predictions.foreign.record import ImportedRole, read_roles, write_roles
from ensemble.predictions.foreign.scale import Stored, alignment_of, say_doubts
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


@dataclass(frozen=True)
class CheckedImport:
    """An import of which nothing is written yet, and nothing is left to be refused for."""

    request: ImportRequest  # with the alignment that was decided
    experiment: Experiment
    models: Mapping[str, Sequence[Frame]]  # the frames of each model whose rows are imported
    files: Mapping[str, DepthFile]  # by frame
    checked: CheckedMaps
    doubted: bool

    def entry(self, model: str) -> ImportedRole:
        """What is put on record for one model."""
        frames = [frame.id for frame in self.models[model]]
        median = float(np.median([self.checked.median[frame] for frame in frames]))
        profiles = [self.checked.profiles[frame] for frame in frames]
        same = len({*map(len, profiles)}) == 1
        return ImportedRole(
            folder=str(self.request.place.absolute()),
            content=self.checked.content[model],
            frames=len(frames),
            median=median,
            doubted=self.doubted,
            rows=tuple(np.mean(profiles, axis=0).round(4).tolist()) if same else (),
        )


def import_depth(request: ImportRequest, outputs: Outputs, frames: Sequence[Frame] | None = None) -> None:
    """Check all depth maps of a role, then put them into the cache as rows of a learner; goes on where it stopped.

    Frames are given for those to test on; those of training follow from the settings.

    Raises:
        ValueError: A map is missing, doubled, damaged or of another size, depth is not in metres or has no scale, or
            the role was imported from other maps; the message holds the command that mends it.
    """
    write_import(check_import(request, outputs, frames))


def check_import(
    request: ImportRequest,
    outputs: Outputs,
    frames: Sequence[Frame] | None = None,
    *,
    before: Sequence[CheckedImport] = (),
) -> CheckedImport:
    """Look at all depth maps of a role; ``before`` are those that will be written first.

    Raises:
        ValueError: As ``import_depth`` says.
    """
    settings = request.settings
    experiment = before[0].experiment if before else open_experiment(outputs, settings, write=False)
    models = _frames_by_model(request, experiment.division, frames)
    every = [frame for part in models.values() for frame in part]
    others = {frame.id for frame in experiment.source.frames} - {frame.id for frame in every}
    with mended_by(request.command(outputs)):
        files = find_depth_maps(request.place, [frame.id for frame in every], others=others, what=request.role)
    stored = _with(before, _stored(request, outputs))
    request = _with_size(request, files[every[0].id], stored)
    checked = check_maps(request, experiment, models, files)
    _refuse_others(request, outputs, stored, checked)
    alignment = alignment_of(request, outputs, stored, checked)
    doubted = say_doubts(request, checked)
    settings = request.settings.model_copy(update={"alignment": alignment})
    return CheckedImport(replace(request, settings=settings), experiment, models, files, checked, doubted)


def write_import(found: CheckedImport) -> None:
    """Put the rows of a role into the cache, and the learner on record."""
    request, outputs = found.request, found.experiment.outputs
    found.experiment.keep_folds()
    _record(request.settings, found.experiment, _stored(request, outputs))
    for model in found.models:
        _store(found, model)


def _with(before: Sequence[CheckedImport], stored: Stored) -> Stored:
    """What will be on record once the imports before are written."""
    found = dict(stored)
    for one in before:
        settings = one.request.settings
        changes = {"alignment": settings.alignment, "rays": settings.rays}
        found = {model: (old.model_copy(update=changes), roles) for model, (old, roles) in found.items()}
        for model in one.models:
            _, roles = found.get(model, (settings, {}))
            found[model] = settings, {**roles, one.request.role: one.entry(model)}
    return found


def _with_size(request: ImportRequest, file: DepthFile, stored: Stored) -> ImportRequest:
    """The request with the size of maps that the camera of distances is told in pixels of: that of the first one."""
    rays = request.settings.rays
    if rays is None:
        return request
    known = next((old.rays.size for old, _ in stored.values() if old.rays is not None), None)
    height, width = known or read_numbers(file, told=True).shape
    rays = rays.model_copy(update={"size": (height, width)})
    return replace(request, settings=request.settings.model_copy(update={"rays": rays}))


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


def _stored(request: ImportRequest, outputs: Outputs) -> Stored:
    """Settings and roles of every model imported under this name; refused where settings or alignment were others."""
    settings = request.settings
    folder = outputs.learner_run(settings.experiment, settings.learner).folder.parent
    runs = [Run(path.parent) for path in sorted(folder.glob("*/settings.json"))]
    stored = {run.folder.name: (stored_settings(ImportSettings, run.settings), read_roles(run)) for run in runs}
    aligned = {old.alignment is not None for old, roles in stored.values() if set(roles) - {request.role}}
    for old, _ in stored.values():
        differing = differing_keys(frame_settings(old.data), frame_settings(settings.data), "data.")
        differing += [f"--unit: {old.unit} against {settings.unit}"] if old.unit != settings.unit else []
        differing += [f"--inverse: {old.inverse} against {settings.inverse}"] if old.inverse != settings.inverse else []
        cameras = [rays and rays.model_copy(update={"size": None}) for rays in (old.rays, settings.rays)]
        differing += ["--ray: {} against {}".format(*cameras)] if cameras[0] != cameras[1] else []
        if aligned - {request.align}:
            differing.append(f"--align-on fit: {next(iter(aligned))} against {request.align}")
        if differing:
            raise SettingsError(
                f"{folder}: {settings.learner} was imported with something else ({'; '.join(differing)}). "
                "Import all its roles alike, or give it another name; to start over, remove this folder"
            )
    return stored


def _refuse_others(request: ImportRequest, outputs: Outputs, stored: Stored, checked: CheckedMaps) -> None:
    """Stop where a role has other maps under this name, unless they are to be thrown away."""
    role, name = request.role, request.settings.learner
    for model, content in checked.content.items():
        before = stored[model][1].get(role) if model in stored and not request.rebuild else None
        if before is not None and before.content != content:
            raise ValueError(
                f"{request.place}: {name} has other maps of {role} frames already, of {before.folder}; give these "
                f"another name, or put them in the place of those.\nRun: {request.command(outputs)} --rebuild"
            )


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


def _store(found: CheckedImport, model: str) -> None:
    """Write the rows of one model that are not there yet."""
    request, experiment, frames = found.request, found.experiment, found.models[model]
    data, outputs = request.settings.data, experiment.outputs
    fold = None if model == FULL else int(model.removeprefix("fold-"))
    settings = request.settings.model_copy(update={"fold": fold})
    run = outputs.learner_run(settings.experiment, settings.learner, model)
    roles: dict[str, ImportedRole] = {}
    with suppress(ValueError):
        roles = read_roles(run)
    roles = {**roles, request.role: found.entry(model)}
    learner = imported_model(settings, run, roles)
    clipped = 0
    mend = request.command(outputs)
    with writer_of(learner, experiment, frames, request.role, rebuild=request.rebuild, mend=mend) as writer:
        _begin(settings, experiment, roles)
        missing = set(writer.missing())
        for frame in progress([frame for frame in frames if frame.id in missing], "importing"):
            with mended_by(mend):
                values = as_read(read_numbers(found.files[frame.id], told=True), settings)
            metres, held = aligned(values, settings)
            clipped += held
            writer.append(frame.id, resized(metres, data.size))
    there = len(frames) - len(missing)
    messages.print(
        f"{request.role}: {counted(len(missing), 'frame')} imported as {settings.learner}/{model}"
        + (f", {counted(there, 'was', 'were')} there" if there else "")
        + (f"; {counted(clipped, 'pixel')} clipped into {data.min_depth:g} .. {data.max_depth:g} m" if clipped else "")
    )
