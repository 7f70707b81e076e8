"""Loss masks: where in a picture the loss counts, as grey pictures beside the curated ones, drawn by people.

White counts 1, black counts `train.masks.background_weight`. Each mask becomes weights of its latent cells with a mean
of one: a picture with a small animal counts as much as one that it fills, and the learning rate keeps its meaning.
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
from pipeline.training.data.buckets import Crop
from pipeline.training.data.latent_cache import LatentCache, TrainingImage, decode_image, open_image

EIGHT_BIT_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")  # of Pillow
RESIZE = "box, as the picture, means of cells"  # in the cache keys


def assign_masks(
    pictures: Sequence[TrainingImage],
    masks: Mapping[str, bytes],
    folder: Path,
    background_weight: float,
    picture_names: Collection[str],
) -> tuple[TrainingImage, ...]:
    """The pictures with their masks, which are given by file name; `folder` is for messages.

    Raises
    ------
    InputError
        When a mask belongs to none of `picture_names`, cannot be read, has another aspect ratio than its picture or
        would mask all of it.
    """
    stems = {PurePosixPath(name).stem for name in picture_names}
    if unknown := [name for name in masks if not name.endswith(".png") or PurePosixPath(name).stem not in stems]:
        raise InputError(
            f"{folder}/{min(unknown)} is the mask of no curated picture; masks are PNGs named as the pictures in "
            "data/curated/*/train: rename it or remove it"
        )
    for picture in pictures:
        if mask := masks.get(mask_name(picture)):
            _check(picture, mask, f"{folder}/{mask_name(picture)}", background_weight)
    return tuple(replace(picture, mask=masks.get(mask_name(picture))) for picture in pictures)


def mask_digests(pictures: Sequence[TrainingImage]) -> dict[str, dict[str, str]]:
    """What of the masks decides the weights: `masks` by file name; empty without any."""
    found = {picture.file_name: digest_bytes(picture.mask) for picture in pictures if picture.mask}
    return {"masks": found} if found else {}


def mask_name(picture: TrainingImage) -> str:
    return f"{PurePosixPath(picture.file_name).stem}.png"


def _check(picture: TrainingImage, mask: bytes, name: str, background_weight: float) -> None:
    image = open_image(name, mask)
    (height, width), (mask_height, mask_width) = picture.size, (image.height, image.width)
    # A smaller mask was rounded to whole pixels.
    if abs(mask_width * height - mask_height * width) > height + width:
        raise InputError(
            f"{name} is {mask_width} x {mask_height} pixels and its picture {width} x {height}: the sides have another "
            "ratio; draw it on the curated picture"
        )
    if image.mode not in EIGHT_BIT_MODES:
        raise InputError(f"{name} has the mode {image.mode!r}; save it as a PNG with 8 bits of grey")
    if background_weight == 0 and decode_image(name, image, "L").getextrema()[1] == 0:
        raise InputError(f"{name} is black, and train.masks.background_weight is 0: nothing of its picture would count")


def mask_weights(
    cache: LatentCache,
    components: ModelComponents,
    pictures: Sequence[TrainingImage],
    crops: Sequence[Crop],
    background_weight: float,
    sides: int,
) -> torch.Tensor | None:
    """(n, sides, 1, h, w) with a mean of one each, of the pictures and their mirror images; None without any mask."""
    if background_weight == 1 or not any(picture.mask for picture in pictures):
        return None
    rows = []
    for picture, crop in zip(pictures, crops, strict=True):
        white = _whiteness(cache, components, picture.mask, picture.file_name, crop)
        weights = background_weight + (1 - background_weight) * white
        if not weights.any():
            raise InputError(
                f"the mask of {picture.file_name} is black where the picture is kept, and "
                f"train.masks.background_weight is 0: "
                "nothing of it would count; draw it nearer to the middle, or let black count a little"
            )
        rows.append(torch.stack([weights, weights.flip(-1)])[:sides, None] / weights.mean())
    return torch.stack(rows)


def _whiteness(
    cache: LatentCache, components: ModelComponents, mask: bytes | None, file_name: str, crop: Crop
) -> torch.Tensor:
    """(h, w) in 0..1: how white the mask is above each latent cell; without a mask all of it."""
    unit_px = components.pixels_per_latent
    if not mask:
        return torch.ones([edge // unit_px for edge in crop.shape])
    key = [digest_bytes(mask), [crop.scaled_height, crop.scaled_width, *crop.box], unit_px, RESIZE]
    return cache.get("masks", key, components, lambda: {"white": downsample(mask, file_name, crop, unit_px)})["white"]


def downsample(mask: bytes, file_name: str, crop: Crop, unit_px: int) -> torch.Tensor:
    """The mask cropped as its picture, then averaged over squares of `unit_px` pixels."""
    grey = decode_image(file_name, open_image(file_name, mask), "L")
    grey = grey.resize((crop.scaled_width, crop.scaled_height), Image.Resampling.BOX).crop(crop.box)
    pixels = torch.from_numpy(np.array(grey, dtype=np.float32) / 255)
    return torch.nn.functional.avg_pool2d(pixels[None], unit_px)[0]
