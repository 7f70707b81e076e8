"""Where in a picture its loss counts: grey pictures beside the curated ones, drawn by people.

White counts 1, black counts `train.masks.background_weight`. Each mask becomes weights of its latent cells with a mean
of one: a picture with a small animal teaches as much as one that it fills, and the learning rate stays what it was.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image

from pipeline.core.errors import InputError
from pipeline.core.lineage import digest_bytes
from pipeline.families.model_components import ModelComponents
from pipeline.training.data.buckets import Cut
from pipeline.training.data.latent_cache import LatentCache, TrainingImage, decoded, opened

GREY = ("1", "L", "LA", "P", "RGB", "RGBA")  # modes of Pillow that have 8 bits
RESIZE = "box, as the picture, means of cells"


def assigned(
    pictures: Sequence[TrainingImage],
    masks: Mapping[str, bytes],
    folder: Path,
    background_weight: float,
    known: Collection[str],
) -> tuple[TrainingImage, ...]:
    """The pictures with their masks (by file name, of `folder`); every mask's name must be `known` as a picture's.

    Raises
    ------
    InputError
        When a mask belongs to no picture, is none, has another aspect ratio or leaves nothing to learn from.
    """
    stems = {PurePosixPath(name).stem for name in known}
    if unknown := [name for name in masks if not name.endswith(".png") or PurePosixPath(name).stem not in stems]:
        name = min(unknown)
        raise InputError(
            f"{folder}/{name} is the mask of no curated picture; masks are PNGs named as the pictures in "
            "data/curated/*/train: rename it or take it away"
        )
    for picture in pictures:
        if mask := masks.get(mask_name(picture)):
            _check(picture, mask, f"{folder}/{mask_name(picture)}", background_weight)
    return tuple(replace(picture, mask=masks.get(mask_name(picture))) for picture in pictures)


def digests(pictures: Sequence[TrainingImage]) -> dict[str, dict[str, str]]:
    """What of the masks decides the weights: nothing when there are none."""
    found = {picture.file_name: digest_bytes(picture.mask) for picture in pictures if picture.mask}
    return {"masks": found} if found else {}


def mask_name(picture: TrainingImage) -> str:
    return f"{PurePosixPath(picture.file_name).stem}.png"


def _check(picture: TrainingImage, mask: bytes, name: str, background_weight: float) -> None:
    image = opened(name, mask)
    (height, width), (mask_height, mask_width) = picture.size, (image.height, image.width)
    # A smaller mask was rounded to whole pixels.
    if abs(mask_width * height - mask_height * width) > height + width:
        raise InputError(
            f"{name} is {mask_width} x {mask_height} pixels and its picture {width} x {height}: the sides have another "
            "ratio; draw it on the curated picture"
        )
    if image.mode not in GREY:
        raise InputError(f"{name} has the mode {image.mode!r}; save it as a PNG with 8 bits of grey")
    if background_weight == 0 and decoded(name, image, "L").getextrema()[1] == 0:
        raise InputError(f"{name} is black, and train.masks.background_weight is 0: nothing of its picture would count")


def weights(
    store: LatentCache,
    components: ModelComponents,
    pictures: Sequence[TrainingImage],
    cuts: Sequence[Cut],
    background_weight: float,
    sides: int,
) -> torch.Tensor | None:
    """(n, sides, 1, h, w) with a mean of one each, of the pictures and their mirror images; None without any mask."""
    if background_weight == 1 or not any(picture.mask for picture in pictures):
        return None
    unit = components.pixels_per_latent
    rows = []
    for picture, how in zip(pictures, cuts, strict=True):
        white = (
            _white(store, components, picture, how)
            if picture.mask
            else torch.ones([edge // unit for edge in how.shape])
        )
        counted = background_weight + (1 - background_weight) * white
        if not counted.any():
            raise InputError(
                f"the mask of {picture.file_name} is black where the picture is kept, and "
                f"train.masks.background_weight is 0: "
                "nothing of it would count; draw it nearer to the middle, or let black count a little"
            )
        rows.append(torch.stack([counted, counted.flip(-1)])[:sides, None] / counted.mean())
    return torch.stack(rows)


def _white(store: LatentCache, components: ModelComponents, picture: TrainingImage, how: Cut) -> torch.Tensor:
    """(h, w) in 0..1: how white the mask is above each latent cell."""
    unit = components.pixels_per_latent
    key = [digest_bytes(picture.mask), [how.scaled_height, how.scaled_width, *how.box], unit, RESIZE]
    return store.get("masks", key, components, lambda: {"white": cells(picture, how, unit)})["white"]


def cells(picture: TrainingImage, how: Cut, unit: int) -> torch.Tensor:
    """The mask cut as its picture was, then averaged over squares of `unit` pixels."""
    grey = decoded(picture.file_name, opened(picture.file_name, picture.mask), "L")
    grey = grey.resize((how.scaled_width, how.scaled_height), Image.Resampling.BOX).crop(how.box)
    pixels = torch.from_numpy(np.array(grey, dtype=np.float32) / 255)
    return torch.nn.functional.avg_pool2d(pixels[None], unit)[0]
