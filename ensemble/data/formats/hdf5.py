"""Opens HDF5 files that may come from anywhere: nothing outside of a file is read, and nothing missing becomes zeros.

HDF5 can point into other files (external links, external storage, virtual datasets) and silently fills what was never
written with zeros. Members are therefore looked at before they are opened, step by step along their path.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import h5py
import numpy as np
from h5py import h5d, h5g, h5l, h5o, h5r, h5z  # pyright: ignore[reportAttributeAccessIssue]

from ensemble.data.formats import LARGEST_MEMBER_BYTES
from ensemble.runs.refusals import expect_file, refuse_unreadable

PARSE_ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError, MemoryError)
_LZF, _BITSHUFFLE, _ZSTD = 32000, 32008, 32015
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_HEAD_BYTES, _ADDRESS_BYTES = 64, 8
_SUPERBLOCKS = {0: (13, 24, 40), 1: (13, 28, 44), 2: (9, 12, 28), 3: (9, 12, 28)}
"""By version, where the first bytes tell the width of addresses, the base address and the end of the file."""
_FILTERS = {h5z.FILTER_SHUFFLE, h5z.FILTER_DEFLATE, h5z.FILTER_FLETCHER32, _LZF, _BITSHUFFLE, _ZSTD}


class ForeignError(ValueError):
    """A member points out of its file."""


class MissingError(ValueError):
    """There is no such member."""


@contextmanager
def opened(content: Path | bytes, where: str) -> Iterator[h5py.File]:
    """An HDF5 file, or the content of one, open for the length of a block.

    What goes wrong inside the block with reading the file ends as a message that names it.

    Raises:
        UnreadableError: The system refuses to read it.
        ValueError: It is cut short, or what is read in the block is damaged or points outside.
    """
    try:
        if isinstance(content, Path):
            expect_file(content)
        # Locks are of no use to readers and some network disks have none; no content at all would make a new file.
        file = (
            h5py.File(content, "r", locking=False)
            if isinstance(content, Path)
            else h5py.File.in_memory(content or b"\0")
        )
    except PARSE_ERRORS as error:
        refuse_unreadable(where, error)
        raise ValueError(f"{where}: damaged or cut short ({error}); expected an HDF5 file, fetch it again") from error
    try:
        with file:
            yield file
    except ForeignError as error:
        raise ValueError(f"{where}: {error}; nothing outside of the file is read, take the original file") from error
    except PARSE_ERRORS as error:
        refuse_unreadable(where, error)
        raise ValueError(f"{where}: damaged or not as expected ({error}); take the original file") from error


def check_end(head: bytes, size: int, where: str) -> None:
    """Refuses what is no HDF5 file or shorter than its first 64 bytes tell, without opening it.

    Source: HDF5 File Format Specification 3.0, section II.A; files with a user block or short addresses are let pass.
    """
    if len(head) < _HEAD_BYTES or not head.startswith(_SIGNATURE):
        raise ValueError(f"{where}: damaged or cut short at {size} bytes; expected an HDF5 file, fetch it again")
    width_at, base_at, end_at = _SUPERBLOCKS.get(head[8], (0, 0, 0))
    if head[width_at] != _ADDRESS_BYTES or any(head[base_at : base_at + _ADDRESS_BYTES]):
        return
    expected = int.from_bytes(head[end_at : end_at + _ADDRESS_BYTES], "little")
    if size < expected:
        raise ValueError(f"{where}: cut short at {size} of {expected} bytes; fetch it again")


def member(file: h5py.File, name: str) -> h5py.Dataset:
    """A dataset by its path, once it is sure that it lies in this file and was written.

    Raises:
        ForeignError: A step of the path is a soft or external link, or the data are stored elsewhere.
        ValueError: There is no such dataset, or parts of it were never written.
    """
    return checked(_walk(file, name), name)


def member_names(file: h5py.File, folder: str) -> set[str]:
    """The names in a group; nothing where there is no such group. A soft or external link is refused."""
    try:
        group = _walk(file, folder)
    except MissingError:
        return set()
    if not isinstance(group, h5g.GroupID):
        return set()
    return {name.decode("utf-8", "replace") for name in h5py.Group(group).id}


def referred(file: h5py.File, reference: h5r.Reference, name: str) -> h5py.Dataset:
    """The dataset that an object reference in ``name`` points to; references cannot leave the file."""
    return checked(h5r.dereference(reference, file.id), name)


def checked(opened_object: h5g.GroupID | h5d.DatasetID, name: str) -> h5py.Dataset:
    """A dataset whose data lie in its own file, all of them.

    Raises:
        ForeignError: Its data lie in other files.
        ValueError: It is no dataset, uses a filter that is not known, is huge, or was not written.
    """
    if not isinstance(opened_object, h5d.DatasetID):
        raise ValueError(f"'{name}' is not a dataset")
    plan = opened_object.get_create_plist()
    if plan.get_layout() == h5d.VIRTUAL:
        raise ForeignError(f"'{name}' is a virtual dataset, which reads other files")
    if plan.get_external_count():
        raise ForeignError(f"'{name}' is stored in another file")
    unknown = {plan.get_filter(number)[0] for number in range(plan.get_nfilters())} - _FILTERS
    if unknown:
        raise ValueError(f"'{name}' uses the unknown filters {sorted(unknown)}")
    _require_written(opened_object, plan, name)
    return h5py.Dataset(opened_object)


def read_all(dataset: h5py.Dataset, name: str) -> np.ndarray:
    """All values of a dataset, refusing one that claims more bytes than any frame has."""
    _require_affordable(math.prod(dataset.shape) * dataset.dtype.itemsize, f"'{name}'")
    return np.asarray(dataset[()])


def read_row(dataset: h5py.Dataset, index: int, name: str) -> np.ndarray:
    """One row of a dataset, refusing one that claims more bytes than any frame has."""
    _require_affordable(math.prod(dataset.shape[1:]) * dataset.dtype.itemsize, f"a row of '{name}'")
    return np.asarray(dataset[index])


def _require_affordable(claimed: int, what: str) -> None:
    if claimed > LARGEST_MEMBER_BYTES:
        raise ValueError(f"{what} claims {claimed} bytes, expected at most {LARGEST_MEMBER_BYTES}")


def _walk(file: h5py.File, name: str) -> h5g.GroupID | h5d.DatasetID:
    """What a path leads to, one step after the other, so that no link is ever followed."""
    reached = file.id
    for step in PurePosixPath(name.lstrip("/")).parts:
        encoded = step.encode("utf-8")
        if not isinstance(reached, h5g.GroupID) or not reached.links.exists(encoded):
            raise MissingError(f"'{name}' is missing")
        if reached.links.get_info(encoded).type != h5l.TYPE_HARD:
            raise ForeignError(f"'{name}' is a soft or external link")
        reached = h5o.open(reached, encoded)
    return reached


def _require_written(dataset: h5d.DatasetID, plan: h5py.h5p.PropDCID, name: str) -> None:
    """HDF5 gives zeros for what was never written."""
    if not math.prod(dataset.shape):
        return
    if plan.get_layout() == h5d.CHUNKED:
        chunk = plan.get_chunk()
        _require_affordable(math.prod(chunk) * dataset.dtype.itemsize, f"a chunk of '{name}'")
        expected = math.prod(-(-length // step) for length, step in zip(dataset.shape, chunk, strict=True))
        if dataset.get_num_chunks() != expected:
            raise ValueError(
                f"'{name}' has {dataset.get_num_chunks()} of {expected} chunks, the rest was never written"
            )
    elif not dataset.get_storage_size():
        raise ValueError(f"'{name}' was never written")
