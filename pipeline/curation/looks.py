"""What checks see of a picture, and what they say about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from pipeline.core.params import Curate
from pipeline.core.records import Rejection
from pipeline.curation.hashes import Hashes

Embed = Callable[[Sequence[Any]], np.ndarray]


@dataclass(frozen=True)
class Look:
    """One decoded picture: `image` may be reduced, everything else was measured on the upright original."""

    sha256: str
    name: str
    image: Image.Image
    width_px: int
    height_px: int
    sharpness: float
    pixel_sha256: str
    hashes: Hashes
    trusted: bool = False


@dataclass(frozen=True)
class Task:
    """What checks need beside the pictures: thresholds, prompts by class, and how to embed pictures and sentences.

    `embed_images` and `embed_texts` return unit rows (n, d) of one space; they are called only when there is something
    to ask.
    """

    params: Curate
    classes: Mapping[str, Sequence[str]]
    embed_images: Embed
    embed_texts: Embed


@dataclass(frozen=True)
class Findings:
    """By sha256: whom a check drops and why, what it adds to a row, and what it says in favour of a kept picture."""

    drops: dict[str, Rejection] = field(default_factory=dict)
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)
    praise: dict[str, str] = field(default_factory=dict)
