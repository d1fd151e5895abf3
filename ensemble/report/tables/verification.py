"""Tables of cached predictions and of runs that were read and held against their checksums."""

from collections.abc import Sequence

from rich.filesize import decimal

from ensemble.predictions.store.verify import CheckedStore
from ensemble.runs.verify import CheckedRun
from ensemble.tables import Column, Row, Table, plain_table


def stores_table(stores: Sequence[CheckedStore]) -> Table:
    """What was read, one row for each store."""
    rows = []
    for plain in (store.to_plain() for store in stores):
        counts = (plain["shards"], plain["frames"], decimal(plain["bytes"]), len(plain["damaged"]))
        rows.append(Row.of(plain["store"], *map(str, counts), tone="worse" if plain["damaged"] else ""))
    return plain_table(("store", "shards", "frames", "size", Column("damaged", priority=1)), rows)


def runs_table(runs: Sequence[CheckedRun]) -> Table:
    """Folders of runs and folds that were read, one row for each."""
    rows = []
    for run in runs:
        sealed = "yes" if run.sealed else "no"
        counts = (str(run.files + run.unsealed), decimal(run.bytes), sealed, str(len(run.complaints)))
        rows.append(Row.of(run.name, *counts, tone="worse" if run.complaints else ""))
    return plain_table(("run", "files", "size", "sealed", Column("damaged", priority=1)), rows)
