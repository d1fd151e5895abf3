"""ONNX Runtime, OpenVINO and ExecuTorch behind one call: an image in, named arrays out."""

import warnings
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ensemble.deploy.runtime.header import KEY, ExportHeader

Run = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""From images [1 3 h w] to depth [1 1 h w], maybe error, and weights [1 k h w], by name."""


_IN_USE: weakref.WeakSet[object] = weakref.WeakSet()
"""Loaded methods of ExecuTorch, all of which compute with one pool of threads."""


@dataclass(frozen=True)
class Session:
    """A file, ready to compute, and what it says of itself."""

    header: ExportHeader
    run: Run


def open_onnx(path: Path, threads: int | None = None) -> Session:
    """A file for ONNX Runtime, on the processor.

    Raises:
        ValueError: The package is missing, or the file is none of ours.
    """
    try:
        import onnxruntime  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise _missing(path, "onnxruntime", "onnx") from None

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its classes have no common one
        raise ValueError(f"{path}: ONNX Runtime cannot read it ({_first_line(error)}); export it again") from error
    header = ExportHeader.from_json(session.get_modelmeta().custom_metadata_map.get(KEY, ""), str(path))

    def run(image: np.ndarray) -> Mapping[str, np.ndarray]:
        said = session.run(list(header.outputs), {"image": image})
        return {name: np.asarray(maps) for name, maps in zip(header.outputs, said, strict=True)}

    return Session(header, run)


def open_openvino(path: Path, threads: int | None = None) -> Session:
    """A file for OpenVINO, on the processor; it computes in 32 bits unless it was exported to do otherwise.

    Raises:
        ValueError: The package is missing, or the file is none of ours.
    """
    try:
        import openvino  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise _missing(path, "openvino", "openvino") from None

    core = openvino.Core()
    try:
        model = core.read_model(str(path))
        text = model.get_rt_info(KEY).astype(str) if model.has_rt_info(KEY) else ""
    except RuntimeError as error:
        raise ValueError(f"{path}: OpenVINO cannot read it ({_first_line(error)}); export it again") from error
    header = ExportHeader.from_json(text, str(path))
    hints = {"INFERENCE_PRECISION_HINT": "bf16" if header.precision == "bf16" else "f32"}
    if threads is not None:
        hints["INFERENCE_NUM_THREADS"] = str(threads)
    try:
        compiled = core.compile_model(model, "CPU", hints)
    except RuntimeError as error:
        raise ValueError(f"{path}: OpenVINO cannot run it on this processor ({_last_line(error)})") from error

    def run(image: np.ndarray) -> Mapping[str, np.ndarray]:
        found = compiled([image])
        return {name: np.array(found[compiled.output(name)]) for name in header.outputs}

    return Session(header, run)


def open_executorch(path: Path, threads: int | None = None) -> Session:
    """A file for ExecuTorch, on the processor; its Python package, alone among these, works on arrays of torch.

    Args:
        path: Of the file.
        threads: For every such file of this process: there is one pool of them.

    Raises:
        ValueError: The package is missing, the file is none of ours, or files in use have another number of threads.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what its own modules import
            import torch
            from executorch.extension.pybindings import portable_lib  # pyright: ignore[reportMissingImports]
            from executorch.runtime import Runtime  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise _missing(path, "executorch", "executorch") from None

    count: int = portable_lib._threadpool_get_thread_count()
    if threads not in (None, count):
        if _IN_USE:
            raise ValueError(
                f"{path}: ExecuTorch has one pool of threads in a process, and files in use have {count} of them; "
                f"expected {count}, found {threads}: open it in a process of its own"
            )
        portable_lib._unsafe_reset_threadpool(threads)  # methods keep the pool that they were loaded with, which goes
    try:
        program = Runtime.get().load_program(path)
        said = program.load_method(KEY) if KEY in program.method_names else None
        forward = program.load_method("forward") if "forward" in program.method_names else None
        told = "" if said is None or forward is None else str(said.execute([])[0])
    except RuntimeError as error:
        raise ValueError(f"{path}: ExecuTorch cannot read it ({_first_line(error)}); export it again") from error
    header = ExportHeader.from_json(told, str(path))
    _IN_USE.add(forward)

    def run(image: np.ndarray) -> Mapping[str, np.ndarray]:
        given = torch.from_numpy(np.ascontiguousarray(image))  # its strides would be taken for those of the export
        found = forward.execute([given])  # pyright: ignore[reportOptionalMemberAccess]  (it has a header, so it is there)
        return {name: maps.numpy() for name, maps in zip(header.outputs, found, strict=True)}

    return Session(header, run)


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


def _missing(path: Path, package: str, extra: str) -> ValueError:
    return ValueError(f"{path}: such files need {package}.\nRun: pip install 'stackdepth[{extra}]'")


def _last_line(error: Exception) -> str:
    """What was wrong: where it was noticed stands before it."""
    return str(error).strip().rpartition("\n")[2] or type(error).__name__


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
