"""The table of cached predictions that were read and held against their checksums."""

from collections.abc import Sequence

from rich.filesize import decimal

from ensemble.predictions.store.verify import CheckedStore
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
