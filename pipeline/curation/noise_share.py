"""How much of a grey picture is noise: where the grey of a pixel says nothing about the one beside or below it.

Of pictures, whatever they show, neighbours are alike; grass and gravel come nearest to noise, with a correlation of
0.1 to 0.4 at `MEASURED_PX`. Of noise, of shifted rows and of stripes it is zero, in both directions or in one. Grain
and the dots of a print hide the likeness of single pixels, but not that of averages; noise has none at any scale.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

PIECE_PX = 64  # side of the pieces that are judged; small ones of a meadow have hardly more correlation than noise
MAX_CORRELATION = 0.1  # of noise, between neighbouring pixels
AVERAGED_PX = 4  # side of the squares whose averages are compared too
MAX_CORRELATION_OF_AVERAGES = 0.3  # of fewer values, hence the wider bound
SCATTERED_PX = 8  # side of the squares that garbage may consist of: the blocks of a JPEG
MAX_CORRELATION_OF_SCATTERED = 0.35  # of their averages over the whole picture; photographs have 0.45 and more
MIN_DEVIATION = 3.0  # grey levels; a plain piece with JPEG's own traces is no noise


def noise_share(grey: Image.Image) -> float:
    """The share of a picture (mode L) that is noise, by the area of its pieces; all of it when its blocks are."""
    levels = np.asarray(grey, dtype=np.float32)
    blocks = _averages(levels, SCATTERED_PX)
    if min(blocks.shape) > 1 and blocks.std() > MIN_DEVIATION and _likeness(blocks) < MAX_CORRELATION_OF_SCATTERED:
        return 1.0
    rows, columns = (np.array_split(np.arange(side), max(1, side // PIECE_PX)) for side in levels.shape)
    pieces = [levels[row[0] : row[-1] + 1, column[0] : column[-1] + 1] for row in rows for column in columns]
    return sum(piece.size for piece in pieces if _is_noise(piece)) / levels.size


def _is_noise(piece: np.ndarray) -> bool:
    if min(piece.shape) < 2 or piece.std() < MIN_DEVIATION:
        return False
    if _likeness(piece) >= MAX_CORRELATION:
        return False
    averages = _averages(piece, AVERAGED_PX)
    return min(averages.shape) < 2 or _likeness(averages) < MAX_CORRELATION_OF_AVERAGES


def _averages(levels: np.ndarray, side_px: int) -> np.ndarray:
    """Of the whole squares of this side."""
    rows, columns = (side // side_px for side in levels.shape)
    whole = levels[: rows * side_px, : columns * side_px]
    return whole.reshape(rows, side_px, columns, side_px).mean(axis=(1, 3))


def _likeness(piece: np.ndarray) -> float:
    """The correlation of neighbours beside each other or below each other, whichever is less."""
    return min(_correlation(piece[:, 1:], piece[:, :-1]), _correlation(piece[1:], piece[:-1]))


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's; that of a plain piece, which has none, is zero."""
    first, second = one - one.mean(), other - other.mean()
    scale = float(np.sqrt(np.square(first).mean() * np.square(second).mean()))
    return float((first * second).mean()) / scale if scale > 0 else 0.0
