"""The table of cached predictions that were read and held against their checksums."""

from collections.abc import Sequence

from rich.filesize import decimal

from ensemble.predictions.store.verify import CheckedStore
from ensemble.tables import Column, Row, Table, plain_table


def stores_table(stores: Sequence[CheckedStore]) -> Table:
    """What was read, one row for each store."""
    rows = []
    for plain in (store.to_plain() for store in stores):
        counts = (plain["shards"], plain["frames"], decimal(plain["bytes"]), len(plain["damaged"]))
        rows.append(Row.of(plain["store"], *map(str, counts), tone="worse" if plain["damaged"] else ""))
    return plain_table(("store", "shards", "frames", "size", Column("damaged", priority=1)), rows)
