"""ONNX Runtime, OpenVINO and ExecuTorch behind one call: an image in, named arrays out."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ensemble.deploy.runtime.header import KEY, ExportHeader
from ensemble.deploy.runtime.session import Session, first_line, last_line, missing


def open_onnx(path: Path, threads: int | None = None) -> Session:
    """A file for ONNX Runtime, on the processor.

    Raises:
        ValueError: The package is missing, or the file is none of ours.
    """
    try:
        import onnxruntime  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise missing(path, "onnxruntime") from None

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails is raised
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its classes have no common one
        raise ValueError(f"{path}: ONNX Runtime cannot read it ({first_line(error)}); export it again") from error
    header = ExportHeader.from_json(session.get_modelmeta().custom_metadata_map.get(KEY, ""), str(path))

    def run(image: np.ndarray) -> Mapping[str, np.ndarray]:
        try:
            said = session.run(list(header.outputs), {"image": image})
        except Exception as error:  # likewise; a graph of any size may hold what was true of one
            height, width = image.shape[-2:]
            raise ValueError(
                f"{path.name}: ONNX Runtime cannot compute an image of {height}x{width} ({first_line(error)}); "
                f"export it for one size (--size {height}x{width})"
            ) from error
        return {name: np.asarray(maps) for name, maps in zip(header.outputs, said, strict=True)}

    return Session(header, run)


def open_openvino(path: Path, threads: int | None = None) -> Session:
    """A file for OpenVINO, on the processor; it computes in 32 bits unless it was exported to do otherwise.

    Raises:
        ValueError: The package or the file of the weights is missing, or the file is none of ours.
    """
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise ValueError(
            f"{path}: {weights.name}, its weights, is missing beside it; copy it there as well, or export it again"
        )
    try:
        import openvino  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise missing(path, "openvino") from None

    core = openvino.Core()
    try:
        model = core.read_model(str(path))
        text = model.get_rt_info(KEY).astype(str) if model.has_rt_info(KEY) else ""
    except RuntimeError as error:
        raise ValueError(f"{path}: OpenVINO cannot read it ({first_line(error)}); export it again") from error
    header = ExportHeader.from_json(text, str(path))
    hints = {"INFERENCE_PRECISION_HINT": "bf16" if header.precision == "bf16" else "f32"}
    if threads is not None:
        hints["INFERENCE_NUM_THREADS"] = str(threads)
    try:
        compiled = core.compile_model(model, "CPU", hints)
    except RuntimeError as error:
        raise ValueError(f"{path}: OpenVINO cannot run it on this processor ({last_line(error)})") from error

    def run(image: np.ndarray) -> Mapping[str, np.ndarray]:
        found = compiled([image])
        return {name: np.array(found[compiled.output(name)]) for name in header.outputs}

    return Session(header, run)


def open_executorch(path: Path, threads: int | None = None) -> Session:
    """A file for ExecuTorch, whose Python package wants torch, so it is opened outside of this folder.

    Raises:
        ValueError: As in ``ensemble.deploy.executorch_session.open_executorch``.
    """
    from ensemble.deploy import executorch_session

    return executorch_session.open_executorch(path, threads)


RUNTIMES: Mapping[str, Callable[..., Session]] = {
    "onnx": open_onnx,
    "openvino": open_openvino,
    "executorch": open_executorch,
}
"""How a file is opened, by the name of its runtime."""

ENDINGS: Mapping[str, str] = {".onnx": "onnx", ".xml": "openvino", ".pte": "executorch"}
"""Which runtime a file is for, by the ending of its name."""


def runtime_of(path: Path, asked: str | None) -> str | None:
    """The runtime for a file; ``None`` where it is no exported one.

    Raises:
        ValueError: There is no such runtime, or it does not read such a file.
    """
    ending = ENDINGS.get(path.suffix.lower())
    if asked is None:
        return ending
    if asked not in RUNTIMES:
        raise ValueError(f"runtime {asked!r}: expected one of {', '.join(RUNTIMES)}")
    if ending != asked:
        raise ValueError(
            f"{path}: expected a file for {asked}, whose name ends in "
            f"{next(end for end, runtime in ENDINGS.items() if runtime == asked)}; "
            f"python -m ensemble.export {asked} makes one"
        )
    return asked
