"""ExecuTorch behind the same call as other runtimes; its Python package works on arrays of torch."""

import warnings
import weakref
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ensemble.deploy.runtime.header import KEY, ExportHeader
from ensemble.deploy.runtime.session import Session, first_line, missing

_IN_USE: weakref.WeakSet[object] = weakref.WeakSet()
"""Loaded methods of ExecuTorch, all of which compute with one pool of threads."""


def open_executorch(path: Path, threads: int | None = None) -> Session:
    """A file for ExecuTorch, on the processor.

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
        raise missing(path, "executorch", "torch") from None

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
        raise ValueError(f"{path}: ExecuTorch cannot read it ({first_line(error)}); export it again") from error
    header = ExportHeader.from_json(told, str(path))
    _IN_USE.add(forward)

    def run(image: np.ndarray) -> Mapping[str, np.ndarray]:
        given = torch.from_numpy(np.ascontiguousarray(image))  # its strides would be taken for those of the export
        try:
            found = forward.execute([given])  # pyright: ignore[reportOptionalMemberAccess]  (there, as the header is)
        except RuntimeError as error:
            shape = "x".join(map(str, given.shape[2:]))
            raise ValueError(f"{path}: ExecuTorch cannot compute an image of {shape} ({first_line(error)})") from error
        return {name: maps.numpy() for name, maps in zip(header.outputs, found, strict=True)}

    return Session(header, run)
