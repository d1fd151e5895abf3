"""Networks that come with the package: every name is a saved learner and an int8 ONNX file of it, beside its card.

Nothing else belongs here: how they were trained stands in the card, and what reads them lies in ``ensemble.deploy``.
"""

from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parent

PRETRAINED: Mapping[str, str] = {"nyu-small": "FastDepth on MobileNetV2, for rooms: NYU Depth v2, 96x128"}
"""What there is, in a few words each."""

DEFAULT = "nyu-small"

ENDINGS: Mapping[str | None, str] = {None: ".stack", "onnx": ".onnx"}
"""Of the files, by the runtime that is asked for."""


def pretrained(source: Path | str, runtime: str | None = None) -> Path:
    """The file of a name, or the path itself where it is no name of ours, or where something of that name lies here.

    Raises:
        ValueError: There is no such network for the runtime.
    """
    name = str(source)
    if name not in PRETRAINED or Path(name).exists():
        return Path(source)
    if runtime not in ENDINGS:
        known = ", ".join(end for end in ENDINGS if end)
        raise ValueError(f"--runtime {runtime}: {name} comes for torch, which is the default, and for {known}")
    return FOLDER / (name + ENDINGS[runtime])
