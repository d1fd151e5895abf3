"""The camera that a run was trained with, kept in the run: its photographs count as taken by it, wherever data are."""

import json

from ensemble.data import open_source
from ensemble.data.intrinsics import Intrinsics
from ensemble.data.splits import training_frames
from ensemble.runs.launched import is_first
from ensemble.runs.paths import Run
from ensemble.runs.seals import read_text, write_sealed
from ensemble.settings.schema import DataSettings


def training_focal(data: DataSettings, run: Run) -> float | None:
    """Focal length of the training camera in pixels of the working size; ``None`` where it is not known.

    That of its kind of data, or of the first frame to fit, which is kept in the run for when data are elsewhere.

    Raises:
        ValueError: What was kept is damaged.
    """
    facts, size = data.facts, data.size
    if facts.focal is not None:
        return Intrinsics(*facts.focal, 0, 0).resized(facts.frame, size).focal
    if run.camera.is_file():
        return _kept(run)
    try:
        source = open_source(data)
        raw = source.read(training_frames(source, data).fit[0])
    except (OSError, ValueError):  # the data are elsewhere; a stack needs none to predict
        return None
    height, width = raw.depth.shape
    focal = None if raw.intrinsics is None else raw.intrinsics.resized((height, width), size).focal
    write_sealed(run.camera, (json.dumps({"focal": focal}) + "\n").encode())
    return focal


def keep_focal(data: DataSettings, run: Run) -> None:
    """Keep it in a run that is complete, while the data are there; of processes that train together the first does."""
    if is_first():
        training_focal(data, run)


def _kept(run: Run) -> float | None:
    try:
        focal = json.loads(read_text(run.camera))["focal"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{run.camera}: expected the focal length of the training camera as JSON, found something else; remove it"
        ) from error
    return None if focal is None else float(focal)
