"""Tables of cached predictions and of runs that were read and held against their checksums."""

from collections.abc import Sequence

from rich.filesize import decimal

from ensemble.predictions.store.verify import CheckedStore
from ensemble.runs.verify import CheckedRun
from ensemble.tables import Column, Row, Table, plain_table


def stores_table(stores: Sequence[CheckedStore]) -> Table:
    """What was read, one row for each store."""
    rows, some_unreadable = [], any(store.unreadable for store in stores)
    for plain in (store.to_plain() for store in stores):
        faults = (len(plain["damaged"]), *([len(plain["unreadable"])] if some_unreadable else []))
        counts = (plain["shards"], plain["frames"], decimal(plain["bytes"]), *faults)
        rows.append(Row.of(plain["store"], *map(str, counts), tone="worse" if any(faults) else ""))
    faults = [Column(name, priority=1) for name in ("damaged", *(["unreadable"] if some_unreadable else []))]
    return plain_table(("store", "shards", "frames", "size", *faults), rows)


def runs_table(runs: Sequence[CheckedRun]) -> Table:
    """Folders of runs and folds that were read, one row for each."""
    rows = []
    for run in runs:
        sealed = "yes" if run.sealed else "no"
        counts = (str(run.files + run.unsealed), decimal(run.bytes), sealed, str(len(run.complaints)))
        rows.append(Row.of(run.name, *counts, tone="worse" if run.complaints else ""))
    return plain_table(("run", "files", "size", "sealed", Column("damaged", priority=1)), rows)
