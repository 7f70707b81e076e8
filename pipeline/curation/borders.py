"""Cropping plain borders: bars of a film frame, the page around a scanned plate. They are no part of the picture.

A white ground around an animal is part of its drawing: a border is only what ends at a straight edge.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from PIL import Image, ImageChops

PLAIN_LEVELS = 12  # how far a border's pixels may lie apart: what JPEG makes of one colour
SPECK_SHARE = 0.02  # of a border's line, that may be otherwise: dust, a page number
EDGE_LEVELS = 30  # how far what is behind a border's edge lies from its colour: more than a vignette or a gradient
EDGE_SHARE = 0.6  # of the line behind a border that must be so: a straight edge, no wing tip
EDGE_DEPTH = 0.01  # of the side, at least two lines: where that edge is searched
MIN_THICKNESS = 0.01  # of the side; thinner ones are left alone
MAX_NESTED = 3  # a frame in a frame in a frame

Box = tuple[int, int, int, int]


def crop(image: Image.Image) -> Image.Image:
    """An RGB picture without its plain borders; the same object when it has none."""
    for _ in range(MAX_NESTED):
        box = _inner_box(image)
        if box == (0, 0, *image.size):
            break
        image = image.crop(box)
    return image


def _inner_box(image: Image.Image) -> Box:
    """The picture within borders of one colour, that of the first side which is plain from end to end."""
    whole = (0, 0, *image.size)
    colour = next(filter(None, map(_plain_colour, _outer_lines(image))), None)
    if colour is None:
        return whole
    distance = _distance_levels(image, colour)
    rows, columns = (np.flatnonzero((distance > PLAIN_LEVELS).mean(axis=axis) > SPECK_SHARE) for axis in (1, 0))
    if not len(rows) or not len(columns):
        return whole
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return _with_straight_edges(distance > EDGE_LEVELS, box)


def _outer_lines(image: Image.Image) -> list[Image.Image]:
    """Top, bottom, left and right, one pixel thick."""
    width, height = image.size
    boxes = ((0, 0, width, 1), (0, height - 1, width, height), (0, 0, 1, height), (width - 1, 0, width, height))
    return [image.crop(box) for box in boxes]


def _plain_colour(line: Image.Image) -> tuple[int, ...] | None:
    """The middle colour of a line whose pixels are nearly the same; None when they are not."""
    ranges = cast(tuple[tuple[int, int], ...], line.getextrema())  # one for each of the bands of RGB
    if any(high - low > PLAIN_LEVELS for low, high in ranges):
        return None
    return tuple((low + high) // 2 for low, high in ranges)


def _distance_levels(image: Image.Image, colour: tuple[int, ...]) -> np.ndarray:
    """(height, width), in grey levels: how far the channel that differs most lies from the colour."""
    red, green, blue = ImageChops.difference(image, Image.new("RGB", image.size, colour)).split()
    return np.asarray(ImageChops.lighter(ImageChops.lighter(red, green), blue))


def _with_straight_edges(other: np.ndarray, box: Box) -> Box:
    """`box` where its sides are straight edges and not too thin to matter; elsewhere the picture's own side."""
    inside = other[box[1] : box[3], box[0] : box[2]]
    height, width = other.shape
    # Each seen as one whose border is above: the lines just behind it come first.
    turned = (inside.T, inside, inside.T[::-1], inside[::-1])
    whole, thickness = (0, 0, width, height), (box[0], box[1], width - box[2], height - box[3])
    sides = (width, height, width, height)
    cut = [
        thick > MIN_THICKNESS * side and _is_edge(lines, side) for lines, thick, side in zip(turned, thickness, sides)
    ]
    left, top, right, bottom = (inner if one else outer for one, inner, outer in zip(cut, box, whole))
    return left, top, right, bottom


def _is_edge(lines: np.ndarray, side_px: int) -> bool:
    near = lines[: max(2, round(EDGE_DEPTH * side_px))]
    return bool(near.mean(axis=1).max() > EDGE_SHARE)
