"""What a frozen network says about a picture or a sentence is computed once, and kept under `.work/cache/`.

Files are named by everything that decides their content, so nothing is ever stale. Each picture and each sentence goes
through its network alone: in a batch its last bits would depend on its neighbours, and so on what was cached before.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from safetensors import SafetensorError
from safetensors.torch import load_file

from pipeline.core.errors import InputError
from pipeline.core.lineage import digest_bytes, digest_json, digest_tree
from pipeline.diffusion import noise, objective
from pipeline.families import FAMILIES
from pipeline.families.parts import Conditioning, Parts
from pipeline.training.trainable import write_tensors

RESIZE = "lanczos, shortest side, centre crop"
PRIOR_STEPS, PRIOR_GUIDANCE, PRIOR_BATCH = 20, 3.0, 4
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Picture:
    """A picture to learn from: the bytes of its file and its sentence."""

    file_name: str
    content: bytes
    caption: str


@dataclass(frozen=True)
class Cache:
    """A folder of tensors by content; `model` is the digest of the base's weights, `precision` of the computation."""

    folder: Path
    model: str
    precision: str

    def get(self, kind: str, decided_by: Any, parts: Parts, make: Callable[[], Tensors]) -> Tensors:
        """The tensors that `make` gives; a file that cannot be read is made again."""
        where = [parts.device.type, str(parts.dtype), self.precision]  # other hardware rounds otherwise
        path = self.folder / kind / f"{digest_json([decided_by, where])[:32]}.safetensors"
        try:
            return load_file(path, device=str(parts.device))
        except (FileNotFoundError, SafetensorError):
            tensors = make()
            write_tensors(path, tensors, {})
            return tensors


def picture_latents(cache: Cache, parts: Parts, pictures: Sequence[Picture], side_px: int) -> torch.Tensor:
    """(n, 2, c, h, w): each picture and its mirror image, as the UNet sees them."""
    vae = digest_tree(parts.folder / "vae", ("*.safetensors", "*.json"))

    def latents_of(picture: Picture) -> torch.Tensor:
        key = [digest_bytes(picture.content), RESIZE, side_px, vae]
        return cache.get("latents", key, parts, lambda: {"latents": encode(parts, square(picture, side_px))})["latents"]

    return torch.stack([latents_of(picture) for picture in pictures])


def prior_latents(cache: Cache, parts: Parts, prompt: str, n: int, side_px: int, seed: int) -> torch.Tensor:
    """(n, 2, c, h, w): what the base itself draws of the class; they have no mirror images, so each stands twice."""
    key = [cache.model, parts.family, prompt, n, side_px, seed, PRIOR_STEPS, PRIOR_GUIDANCE, PRIOR_BATCH]
    drawn = cache.get("prior", key, parts, lambda: {"latents": draw(parts, prompt, n, side_px, seed)})["latents"]
    return torch.stack([drawn, drawn], dim=1)


def conditioning(cache: Cache, parts: Parts, sentences: Sequence[str]) -> Conditioning:
    """The sentences as a frozen text encoder reads them."""
    rows = [
        cache.get("prompts", [cache.model, parts.family, text], parts, lambda text=text: _encoded(parts, text))
        for text in sentences
    ]
    pooled = torch.cat([row["pooled"] for row in rows]) if "pooled" in rows[0] else None
    return Conditioning(torch.cat([row["states"] for row in rows]), pooled)


def square(picture: Picture, side_px: int) -> torch.Tensor:
    """(3, side, side) in -1..1: the shortest side scaled, the middle kept."""
    try:
        image = Image.open(io.BytesIO(picture.content)).convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError):
        raise InputError(f"{picture.file_name!r} is no readable picture; run `paleo curate` again") from None
    scale = side_px / min(image.size)
    width_px, height_px = (max(side_px, round(edge * scale)) for edge in image.size)
    left, top = (width_px - side_px) // 2, (height_px - side_px) // 2
    image = image.resize((width_px, height_px), Image.Resampling.LANCZOS)
    pixels = np.array(image.crop((left, top, left + side_px, top + side_px)), dtype=np.float32)
    return torch.from_numpy(pixels / 127.5 - 1).permute(2, 0, 1)


@torch.no_grad()
def encode(parts: Parts, pixels: torch.Tensor) -> torch.Tensor:
    """(3, h, w) in -1..1 -> (2, c, h, w): the mean of the posterior, scaled, of the picture and its mirror image."""
    both = torch.stack([pixels, pixels.flip(-1)]).to(parts.device, parts.vae.dtype)
    settings = parts.vae.config
    return (parts.vae.encode(both).latent_dist.mode() - (settings.shift_factor or 0)) * settings.scaling_factor


@torch.no_grad()
def draw(parts: Parts, prompt: str, n: int, side_px: int, seed: int) -> torch.Tensor:
    """n latents (n, c, h, w) of pictures of a prompt: DDIM with guidance, the noise by counter."""
    family, process = FAMILIES[parts.family], objective.from_config(parts.scheduler)
    edge = side_px // parts.pixels_per_latent
    both = family.encode_prompt(parts, ["", prompt])

    def predict(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        rows = torch.tensor([0] * len(t) + [1] * len(t), device=parts.device)
        blind, told = family.predict(parts, torch.cat([x_t, x_t]), torch.cat([t, t]), both[rows]).chunk(2)
        return blind + PRIOR_GUIDANCE * (told - blind)

    shape = (parts.latent_channels, edge, edge)
    start = [torch.randn(shape, generator=noise.generator(seed, "prior", number)) for number in range(n)]
    return torch.cat([
        objective.ddim(process, torch.stack(group).to(parts.device, parts.dtype), PRIOR_STEPS, predict)
        for group in _groups(start, PRIOR_BATCH)
    ])  # fmt: skip


@torch.no_grad()
def _encoded(parts: Parts, text: str) -> Tensors:
    made = FAMILIES[parts.family].encode_prompt(parts, [text])
    return {"states": made.states} if made.pooled is None else {"states": made.states, "pooled": made.pooled}


def _groups(items: list, size: int) -> Iterator[list]:
    return (items[start : start + size] for start in range(0, len(items), size))
