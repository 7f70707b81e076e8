"""What a drawing is made with: paint on canvas, or pencil on grey paper."""

import numpy as np
from PIL import Image, ImageFilter

PAPER = np.array((226, 222, 213), dtype=np.float32)
GRAPHITE = np.array((46, 45, 50), dtype=np.float32)


def painted(image: Image.Image, size_px: int, rng: np.random.Generator) -> Image.Image:
    """Reduce to `size_px` and let a little of the canvas's weave show."""
    small = image.resize((size_px, size_px), Image.Resampling.LANCZOS)
    weave = _field(rng, 48, size_px) * 3
    return Image.fromarray(np.clip(np.asarray(small, dtype=np.float32) + weave[..., None], 0, 255).astype(np.uint8))


def pencilled(image: Image.Image, size_px: int, rng: np.random.Generator) -> Image.Image:
    """The same picture in graphite: lighter tones, hatching where it is dark, lines where tones meet."""
    side = image.size[0] // 2
    grey = image.convert("L").resize((side, side), Image.Resampling.BOX)
    tone = np.asarray(grey, dtype=np.float32) / 255
    ink = 0.62 * np.clip(0.95 - tone, 0, 1) ** 1.15
    hand = _field(rng, 9, side)
    ink += _hatching(side, rng.uniform(0.6, 0.9), hand) * np.clip(0.85 - tone, 0, 0.45) * 0.55
    ink += _hatching(side, -0.5, hand) * np.clip(0.45 - tone, 0, 0.4) * 0.5
    ink = np.clip(ink + _edges(grey) + _field(rng, 72, side) * 0.025, 0, 1)[..., None]
    page = PAPER * (1 - ink) + GRAPHITE * ink
    return Image.fromarray(page.astype(np.uint8)).resize((size_px, size_px), Image.Resampling.LANCZOS)


def _hatching(side: int, slope: float, hand: np.ndarray) -> np.ndarray:
    """Pencil lines, about 30 to the width, between 0 and 1; `hand` bends them: no hand rules lines."""
    axis = np.arange(side, dtype=np.float32) / side
    wave = np.sin((axis[:, None] + slope * axis[None, :]) * np.float32(2 * np.pi * 30) + hand * 2.2)
    return np.clip(wave * 1.6, 0, 1)


def _edges(grey: Image.Image) -> np.ndarray:
    wide = grey.filter(ImageFilter.BoxBlur(grey.size[0] / 90))
    return np.clip((np.asarray(wide, np.float32) - np.asarray(grey, np.float32)) / 90, 0, 0.55)


def _field(rng: np.random.Generator, cells: int, side: int) -> np.ndarray:
    """Smooth noise about -1..1, the same at every size."""
    cell = Image.fromarray(rng.standard_normal((cells, cells)).astype(np.float32) * 0.6)
    return np.asarray(cell.resize((side, side), Image.Resampling.BICUBIC))
