"""A supersampled canvas: filled shapes with light from the upper left, brush texture, fine outlines."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from .shapes import Points

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Mark:
    """One shape. `points` in the drawing's unit; `width` of the line as a share of the frame; `alpha` 0..255.

    `fill` is the colour in the light, `to` in the shade; `strokes` brush strokes are laid inside the shape.
    """

    points: Points
    fill: Colour | None = None
    to: Colour | None = None
    line: Colour | None = None
    width: float = 0.007
    alpha: int = 255
    strokes: int = 0


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """`a` with `share` (0..1) of `b`."""
    red, green, blue = (int(round(p + (q - p) * share)) for p, q in zip(a, b))
    return red, green, blue


def dark(colour: Colour, share: float) -> Colour:
    """`colour` with `share` of a warm black: pure black looks dead on a painting."""
    return mix(colour, (26, 20, 28), share)


def light(colour: Colour, share: float) -> Colour:
    """`colour` with `share` of a warm white."""
    return mix(colour, (255, 250, 238), share)


def jitter(colour: Colour, rng: np.random.Generator, amount: float = 12) -> Colour:
    """`colour` moved by up to `amount` per channel."""
    red, green, blue = (int(v) for v in np.clip(np.array(colour) + rng.uniform(-amount, amount, 3), 0, 255))
    return red, green, blue


def blob(points: Points, colour: Colour, shade: float = 0.32, strokes: int = 0, width: float = 0.007) -> Mark:
    """A shaded shape of one colour with an outline of its own dark tone."""
    return Mark(points, light(colour, 0.14), dark(colour, shade), dark(colour, 0.68), width, strokes=strokes)


def stroke(points: Points, colour: Colour, width: float = 0.007, alpha: int = 255) -> Mark:
    """An open line."""
    return Mark(points, None, None, colour, width, alpha)


def moved(marks: list[Mark], matrix: np.ndarray, offset: tuple[float, float] = (0, 0)) -> list[Mark]:
    """Marks under an affine map."""
    return [replace(m, points=m.points @ np.asarray(matrix).T + offset) for m in marks]


def bounds(marks: list[Mark]) -> tuple[np.ndarray, np.ndarray]:
    """The upper left and the lower right corner of all marks."""
    every = np.vstack([m.points for m in marks])
    return every.min(0), every.max(0)


def fitted(marks: list[Mark], box: tuple[float, float, float, float], stand: bool = False) -> list[Mark]:
    """Marks scaled into `box` (left, top, right, bottom; shares of the frame), centred, or on its floor if `stand`."""
    low, high = bounds(marks)
    size = np.array([box[2] - box[0], box[3] - box[1]])
    scale = float((size / np.maximum(high - low, 1e-6)).min())
    spare = size - (high - low) * scale
    shift = np.array(box[:2]) + spare * (0.5, 1.0 if stand else 0.5) - low * scale
    return moved(marks, np.eye(2) * scale, tuple(shift))


class Canvas:
    """A square picture; positions and widths are shares of its side, so that one drawing works at every size."""

    def __init__(self, side_px: int, rng: np.random.Generator):
        self.side = side_px
        self.rng = rng
        self.image = Image.new("RGB", (side_px, side_px), (235, 235, 235))

    def wash(self, top: Colour, bottom: Colour, start: float = 0.0, end: float = 1.0) -> None:
        """A vertical gradient between heights `start` and `end`."""
        first, last = int(start * self.side), max(int(end * self.side), int(start * self.side) + 1)
        t = np.linspace(0, 1, last - first)[:, None]
        column = (np.array(top) * (1 - t) + np.array(bottom) * t).astype(np.uint8)[:, None, :]
        self.image.paste(Image.fromarray(column).resize((self.side, last - first)), (0, first))

    def add(self, marks: list[Mark]) -> None:
        """Paint marks in their order."""
        for mark in marks:
            if mark.fill is not None:
                self._fill(mark)
            if mark.line is not None:
                self._line(mark)

    def soft(self, shapes: list[Points], colour: Colour, blur: float, alpha: int = 200) -> None:
        """Blurred shapes of one colour (clouds, shadows, glow); `blur` as a share of the frame."""
        small = 96
        mask = Image.new("L", (small, small))
        pen = ImageDraw.Draw(mask)
        for shape in shapes:
            pen.polygon([tuple(p) for p in shape * small], fill=alpha)
        mask = mask.filter(ImageFilter.GaussianBlur(blur * small)).resize(self.image.size, Image.Resampling.BICUBIC)
        self.image.paste(colour, (0, 0), mask)

    def brush(self, count: int, length: float = 0.07, slope: float = 0.15, alpha: int = 70) -> None:
        """Short strokes in the colours that are already there: what makes a gradient look painted."""
        pen = ImageDraw.Draw(self.image, "RGBA")
        for x, y, size, tilt, tone in self.rng.random((count, 5)):
            here: Any = self.image.getpixel((int(x * self.side), int(y * self.side)))
            colour = light(here, 0.25 * tone) if tone > 0.5 else dark(here, 0.25 * (0.5 - tone))
            dx, dy = length * (0.4 + size), length * (tilt - 0.5) * 2 * slope
            ends = [(x - dx) * self.side, (y - dy) * self.side, (x + dx) * self.side, (y + dy) * self.side]
            pen.line(ends, fill=(*colour, alpha), width=max(1, int(self.side * 0.012 * (0.5 + size))))

    def _fill(self, mark: Mark) -> None:
        points = mark.points * self.side
        low = np.floor(points.min(0)).astype(int)
        low, high = np.clip(low, 0, self.side), np.clip(np.ceil(points.max(0)).astype(int) + 1, 0, self.side)
        if (high <= low).any():
            return
        (left, top), (width, height) = (int(v) for v in low), (int(v) for v in high - low)
        mask = Image.new("L", (width, height))
        ImageDraw.Draw(mask).polygon([tuple(p) for p in points - low], fill=mark.alpha)
        self.image.paste(self._tile(mark, (width, height)), (left, top), mask)

    def _tile(self, mark: Mark, size: tuple[int, int]) -> Image.Image:
        if mark.to is None and not mark.strokes:
            return Image.new("RGB", size, mark.fill)
        t = np.linspace(0, 1, 16)
        t = np.clip(0.75 * t[:, None] + 0.25 * t[None, :], 0, 1)[..., None]
        tone = np.array(mark.fill) * (1 - t) + np.array(mark.to or mark.fill) * t
        tile = Image.fromarray(tone.astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
        self._strokes(tile, mark)
        return tile

    def _strokes(self, tile: Image.Image, mark: Mark) -> None:
        pen, (w, h) = ImageDraw.Draw(tile, "RGBA"), tile.size
        reach = self.side * 0.035
        fill: Any = mark.fill  # a mark with strokes is filled
        for x, y, tone, tilt in self.rng.random((mark.strokes, 4)):
            colour = light(fill, 0.45) if tone > 0.5 else dark(mark.to or fill, 0.3)
            x, y, dy = x * w, y * h, reach * (tilt - 0.3)
            pen.line([x - reach, y - dy, x + reach, y + dy], fill=(*colour, 80), width=max(1, int(self.side * 0.007)))

    def _line(self, mark: Mark) -> None:
        points = [tuple(p) for p in mark.points * self.side]
        if mark.fill is not None:
            points += points[:2]
        pen = ImageDraw.Draw(self.image, "RGBA" if mark.alpha < 255 else None)
        colour = (*mark.line, mark.alpha) if mark.line and mark.alpha < 255 else mark.line
        pen.line(points, fill=colour, width=max(1, round(mark.width * self.side)), joint="curve")

    def text(self, words: str, x: float, y: float, height: float, colour: Colour = (40, 40, 48)) -> None:
        """Words with their left middle at (x, y), `height` as a share of the frame, in the font that Pillow brings."""
        font = ImageFont.load_default(size=max(4, height * self.side))
        ImageDraw.Draw(self.image).text((x * self.side, y * self.side), words, colour, font, anchor="lm")
