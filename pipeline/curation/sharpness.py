"""Sharp enough to learn from: the variance of the Laplacian of the grey picture at one size.

Pencil on white and soft painting have little of it compared with photographs, so the threshold is low: it is there for
pictures that were blown up from stamps, not for taste.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

import numpy as np
from PIL import Image

from pipeline.core.records import Rejection
from pipeline.curation.looks import Findings, Look, Task

MEASURED_PX = 256  # shorter side; at one size the number means the same for large and small files


def check(looks: Sequence[Look], alive: Set[str], task: Task) -> Findings:
    """Drop as `blurred` when the sharpness (the score, in squared grey levels) is below `min_sharpness`."""
    least = task.params.min_sharpness
    soft = (look for look in looks if look.sha256 in alive and look.sharpness < least)
    return Findings({look.sha256: _rejection(look, least) for look in soft})


def measure(image: Image.Image) -> float:
    """Variance of the 4-neighbour Laplacian at a shorter side of `MEASURED_PX` (smaller pictures as they are)."""
    scale = min(1.0, MEASURED_PX / min(image.size))
    size = tuple(max(1, round(side * scale)) for side in image.size)
    grey = np.asarray(image.convert("L").resize(size, Image.Resampling.BOX), dtype=np.float64)
    if min(grey.shape) < 3:
        return 0.0
    inner = grey[1:-1, 1:-1]
    return float((grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner).var())


def _rejection(look: Look, least: float) -> Rejection:
    sentence = f"It is blurred: sharpness {look.sharpness:.0f}, and at least {least:g} is asked."
    return Rejection("sharpness", "blurred", sentence, look.sharpness)
