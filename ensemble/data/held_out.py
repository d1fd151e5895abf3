"""The frames that scores are made on; kept apart because training code may not import this module."""

from ensemble.data.source import Frame, FrameSource
from ensemble.data.splits import frames_not_tested_on
from ensemble.settings.schema import DataSettings


def test_frames(source: FrameSource, settings: DataSettings) -> tuple[Frame, ...]:
    """Frames to score on, by ``data.test``: the source's own test split, or scenes taken out of its training split.

    Raises:
        ValueError: There are none, or one of their scenes also occurs in training.
    """
    trained_on = set(frames_not_tested_on(source, settings))
    split = "test" if settings.test == "official" else "train"
    test = [frame for frame in source.frames if frame.split == split and frame not in trained_on]
    if not test:
        raise ValueError(
            f"{source.name}: expected test frames of its own with data.test=official, found none; "
            "set data.test=held-out to test on scenes of the training split"
        )
    return tuple(sorted(test, key=lambda frame: frame.id))
