"""Aspect-ratio bucketing: the shapes that pictures have in training, and how a picture is cropped to one of them.

A shape is (height, width) in pixels. All have about the area of the square, never more, so that none needs more
memory; Stable Diffusion XL was trained on such a list (Podell et al. 2023, appendix I).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path

from pipeline.core.errors import ParamsError
from pipeline.core.training_params import Train
from pipeline.core.weight_files import read_json

Shape = tuple[int, int]


def bucket_shapes(side_px: int, max_aspect: float, step_px: int) -> list[Shape]:
    """The square first, then every other shape of sides in whole steps, from the highest to the widest."""
    found = {(side_px, side_px)}
    for short in range(step_px, side_px, step_px) if max_aspect > 1 else ():
        long = side_px * side_px // short // step_px * step_px
        if short < long <= short * max_aspect:
            found |= {(short, long), (long, short)}
    return sorted(found, key=lambda shape: (shape[0] != shape[1], -shape[0], shape[1]))


def nearest_shape(size: tuple[int, int], shapes: Sequence[Shape]) -> Shape:
    """The shape to which a picture of (height, width) loses least by cropping; the square if two are equal."""
    height, width = size
    return min(shapes, key=lambda shape: abs(log(height / width * shape[1] / shape[0])))


@dataclass(frozen=True)
class Crop:
    """A picture of (`height`, `width`), scaled until it covers a shape, of which the middle is kept; all in pixels."""

    height: int
    width: int
    scaled_height: int
    scaled_width: int
    shape: Shape

    @property
    def top(self) -> int:
        return (self.scaled_height - self.shape[0]) // 2

    @property
    def left(self) -> int:
        return (self.scaled_width - self.shape[1]) // 2

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, upper, right, lower, as Pillow crops."""
        return self.left, self.top, self.left + self.shape[1], self.top + self.shape[0]

    def size_ids(self, flipped: bool) -> list[int]:
        """The size conditions of SDXL: original height and width, crop top and left, target height and width."""
        left = self.scaled_width - self.shape[1] - self.left if flipped else self.left
        return [self.height, self.width, self.top, left, *self.shape]


def centre_crop(size: tuple[int, int], shape: Shape) -> Crop:
    """The crop of a picture of (height, width) to the shape."""
    height, width = size
    scale = max(shape[0] / height, shape[1] / width)
    scaled = (max(edge, round(of * scale)) for of, edge in zip(size, shape, strict=True))
    scaled_height, scaled_width = scaled
    return Crop(height, width, scaled_height, scaled_width, shape)


def check_sides(train: Train, base: Path) -> None:
    """ParamsError unless every side of a shape is a multiple of one cell of the base's autoencoder."""
    unit_px = 2 ** (len(read_json(base, "vae/config.json").get("block_out_channels", (0,))) - 1)
    side_px, step_px = train.resolution_px, train.buckets.step_px
    if side_px % unit_px:
        raise ParamsError(
            f"train.resolution_px is {side_px}, but this base needs a multiple of {unit_px}; "
            f"take {_nearest_multiples(side_px, unit_px)}"
        )
    if train.buckets.max_aspect == 1:
        return
    if step_px % unit_px:
        raise ParamsError(
            f"train.buckets.step_px is {step_px}, but this base needs a multiple of {unit_px}; "
            f"take {_nearest_multiples(step_px, unit_px)}"
        )
    if side_px % step_px:
        raise ParamsError(
            f"train.resolution_px is {side_px}, which is no multiple of train.buckets.step_px {step_px}; "
            f"take {_nearest_multiples(side_px, step_px)}"
        )


def _nearest_multiples(number: int, unit: int) -> str:
    return " or ".join(str(near) for near in (number // unit * unit, (number // unit + 1) * unit) if near)
