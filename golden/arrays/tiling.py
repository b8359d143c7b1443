"""How the rows of a layer are cut into arrays: on channel borders where a kernel fits."""

from dataclasses import dataclass

__all__ = ["RowTile", "row_tiles"]


@dataclass(frozen=True)
class RowTile:
    """Rows that one array sums: input channels of each group, and window taps of each channel.

    Taps are numbered row-major over the window; the ranges are half open.
    """

    first_channel: int
    last_channel: int
    first_tap: int
    last_tap: int

    @property
    def rows(self) -> int:
        """Word lines that take part."""
        return (self.last_channel - self.first_channel) * (self.last_tap - self.first_tap)


def row_tiles(channels: int, taps: int, rows: int) -> tuple[RowTile, ...]:
    """The fewest tiles of at most ``rows`` rows for windows of ``taps`` over ``channels``.

    Channels are spread evenly, so that the sums of all tiles need about the same converter range.
    A window with more taps than an array has rows is cut within each channel.
    """
    for name, value in (("channels", channels), ("taps", taps), ("rows", rows)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value!r}")
    if taps <= rows:
        return tuple(RowTile(a, b, 0, taps) for a, b in _evenly(channels, rows // taps))
    return tuple(RowTile(channel, channel + 1, a, b)
                 for channel in range(channels) for a, b in _evenly(taps, rows))


def _evenly(count: int, most: int) -> list[tuple[int, int]]:
    """Ranges of at most ``most`` that cover ``count``, of nearly equal length."""
    parts = -(-count // most)
    borders = [count * i // parts for i in range(parts + 1)]
    return list(zip(borders[:-1], borders[1:], strict=True))
