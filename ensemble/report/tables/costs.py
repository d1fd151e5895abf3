"""The table of what networks cost, beside the figures they were published with."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ensemble.tables import Row, Table, table_of
from ensemble.training.cost import BYTES_PER_PARAMETER, COUNTER, PUBLISHED_SIZE, ProfileRow, spelt_size
from ensemble.training.speed import Speed


def profile_table(rows: Sequence[ProfileRow]) -> Table:
    """One line per network, and below it the published figures where there are any; a size of its own behind a name."""
    sizes = {row.profile.size for row in rows}
    one = len(sizes) == 1
    here = f"G mul-adds {spelt_size(*sizes)}" if one else "G mul-adds"
    headings = ("network", "parameters", "MB", here, f"G mul-adds {spelt_size(PUBLISHED_SIZE)}", "ms", "frames/s")
    return table_of(headings, (("", _lines(row, sized=not one)) for row in rows), caption=_caption(rows))


def speed_table(rows: Sequence[Speed]) -> Table:
    """One line per network or stack: what one image took on average over many, and how much that varied."""
    sizes = {row.size for row in rows}
    lines = [
        Row.of(
            f"{row.title}, {spelt_size(row.size)}" if len(sizes) > 1 else row.title,
            f"{row.parameters:,}",
            f"{row.megabytes:.2f}",
            _billions(row.mul_adds),
            f"{row.milliseconds:.1f}",
            f"{row.deviation:.1f}",
            f"{row.frames_per_second:.2f}",
        )
        for row in rows
    ]
    headings = ("network", "parameters", "MB", "G mul-adds", "ms", "± ms", "frames/s")
    here = f" of {spelt_size(*sizes)}" if len(sizes) == 1 else ""
    caption = (
        f"{rows[0].images} random images{here}, one after the other, float32, {rows[0].device}: mean and standard "
        f"deviation.\nMultiply-adds: {COUNTER}."
    )
    return table_of(headings, [("", lines)], caption=caption)


def _lines(row: ProfileRow, *, sized: bool) -> Iterator[Row]:
    """Ours, and the published one."""
    count, deviation, published = row.mul_adds_published_size, row.deviation_percent, row.published
    told = "-" if count is None else _billions(count)
    told += "" if deviation is None else f" ({round(deviation, 1) + 0.0:+.1f} %)"
    own = row.profile
    title = f"{row.title}, {spelt_size(own.size)}" if sized else row.title
    yield _line(title, own.parameters, _billions(own.mul_adds), told, own.frames_per_second)
    if published is not None:
        counts = ("-", _billions(published.mul_adds))
        yield replace(_line("  published", published.parameters, *counts, published.frames_per_second), tone="quiet")


def _line(title: str, parameters: int, here: str, there: str, rate: float | None) -> Row:
    megabytes = f"{BYTES_PER_PARAMETER * parameters / 1e6:.2f}"
    times = ("-", "-") if rate is None else (f"{1e3 / rate:.1f}", f"{rate:.2f}")
    return Row.of(title, f"{parameters:,}", megabytes, here, there, *times)


def _billions(count: float) -> str:
    return f"{count / 1e9:.3g}" if count < 1e7 else f"{count / 1e9:.2f}"


def _caption(rows: Sequence[ProfileRow]) -> str:
    ways = {
        f"{row.profile.device}{', channels_last' if row.profile.channels_last else ''}, median of {row.profile.repeats}"
        for row in rows
    }
    lines = [f"One image, float32, {'; '.join(sorted(ways))}.", f"Multiply-adds: {COUNTER}."]
    if any(row.published is not None for row in rows):
        lines.append("Published: parameters recounted, mul-adds by torchinfo, time on a GTX 1080 Ti.")
    return "\n".join(lines)
