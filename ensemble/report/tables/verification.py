"""Tables of cached predictions and of runs that were read and held against their checksums."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.filesize import decimal

from ensemble.predictions.store.verify import CheckedStore
from ensemble.runs.verify import CheckedRun
from ensemble.tables import Column, Row, Table, plain_table


def stores_table(stores: Sequence[CheckedStore]) -> Table:
    """Cached predictions that were read, one row for each store."""
    return _table("store", ("shards", "frames"), [store.to_plain() for store in stores])


def runs_table(runs: Sequence[CheckedRun]) -> Table:
    """Folders of runs, studies and evaluations that were read, one row for each."""
    return _table("folder", ("files",), [run.to_plain() for run in runs])


def _table(what: str, counted: Sequence[str], plain: Sequence[Mapping[str, Any]]) -> Table:
    names = ("damaged", "unreadable") if any(each["unreadable"] for each in plain) else ("damaged",)
    rows = []
    for each in plain:
        faults = [len(each[name]) for name in names]
        counts = (*(each[name] for name in counted), decimal(each["bytes"]), *faults)
        rows.append(Row.of(each["store"], *map(str, counts), tone="worse" if any(faults) else ""))
    return plain_table((what, *counted, "size", *(Column(name, priority=1) for name in names)), rows)
