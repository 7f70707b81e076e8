"""Latent cache: what frozen networks compute of pictures and sentences is kept under `.work/cache/`.

Files are named by everything that decides their content, so none is ever stale, and carry a checksum: a file that was
truncated, changed or swapped is computed again. Each picture and each sentence goes through its network alone: in a
batch its last bits would depend on its neighbours, and so on what was cached before.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import PIL
import torch
import transformers
from PIL import Image, UnidentifiedImageError
from safetensors import SafetensorError, safe_open

from pipeline.core.errors import InputError
from pipeline.core.lineage import digest_bytes, digest_json, digest_tree
from pipeline.diffusion import noise, objective
from pipeline.families.guidance import GUIDANCE_SCALE, guided
from pipeline.families.model_components import Conditioning, ModelComponents
from pipeline.methods.tensor_files import write_tensors
from pipeline.training.data.buckets import Shape, centre_crop

FORMAT = 2  # of the entries; counted up when the code below computes others
RESIZE = "lanczos, covers the shape, centre crop; beside it the mirror image"  # in the cache keys
LIBRARIES = (torch.__version__, diffusers.__version__, transformers.__version__, PIL.__version__)
PRIOR_STEPS, PRIOR_BATCH = 20, 4
ENCODING_PICTURES, GENERATING_PRIOR = "encoding pictures", "drawing prior pictures"  # as progress names them
Tensors = dict[str, torch.Tensor]
OnProgress = Callable[[str, int, int], None]  # what is computed, how many are done, of how many


@dataclass(frozen=True)
class TrainingImage:
    """A picture to train on: the bytes of its file, its caption, and the bytes of its mask if it has one.

    `sentences` are what the caption templates give, where that is more than the caption.
    """

    file_name: str
    content: bytes
    caption: str
    sentences: tuple[str, ...] = ()
    mask: bytes | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels; InputError when the file cannot be read as a picture."""
        with open_image(self.file_name, self.content) as image:
            return image.height, image.width


@dataclass(frozen=True)
class LatentCache:
    """A folder of tensors by what decides them.

    `model` is the digest of the base's weights, `vae` of its autoencoder's alone, `precision` that of the computation.
    `log` takes the warning that nothing can be written.
    """

    folder: Path
    model: str
    precision: str
    vae: str
    log: Callable[[str], None] = lambda line: None

    def get(self, kind: str, decided_by: Any, components: ModelComponents, compute: Callable[[], Tensors]) -> Tensors:
        """The tensors that `compute` gives, in memory; an entry that is missing or damaged is computed again."""
        # Other hardware, other versions and, on a CPU, another number of threads round differently.
        threads = torch.get_num_threads() if components.device.type == "cpu" else 0
        environment = [components.device.type, threads, str(components.dtype), self.precision, LIBRARIES]
        key = digest_json([FORMAT, kind, decided_by, environment])
        path = self.folder / kind / f"{key[:32]}.safetensors"
        if (found := _read(path, key)) is not None:
            return found
        tensors = {name: tensor.cpu() for name, tensor in compute().items()}
        try:
            write_tensors(path, tensors, {"seal": _checksum(key, tensors)})
        except OSError as error:
            self.log(
                f"nothing can be written to {self.folder} ({error.strerror}); training continues, and what is "
                "encoded now will be encoded again by the next training"
            )
        return tensors


def vae_digest(folder: Path) -> str:
    """Digest of the autoencoder in a diffusers folder: bases that share it share latents."""
    return digest_tree(folder / "vae", ("*.safetensors", "*.json"))


def _read(path: Path, key: str) -> Tensors | None:
    """An entry's tensors; None when there is none, or it is damaged or not of this key."""
    try:
        with safe_open(path, "pt") as entry:
            tensors = {name: entry.get_tensor(name) for name in entry.keys()}  # noqa: SIM118 - it has no iterator
            checksum = (entry.metadata() or {}).get("seal")
    except (FileNotFoundError, SafetensorError):
        return None
    return tensors if checksum == _checksum(key, tensors) else None


def _checksum(key: str, tensors: Tensors) -> str:
    """sha256 of the key and of every tensor's name, type, shape and bytes."""
    checksum = hashlib.sha256(key.encode())
    for name, tensor in sorted(tensors.items()):
        checksum.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        checksum.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return checksum.hexdigest()


def picture_latents(
    cache: LatentCache,
    components: ModelComponents,
    pictures: Sequence[TrainingImage],
    shape: Shape,
    on_progress: OnProgress = lambda what, done, total: None,
) -> torch.Tensor:
    """(n, 2, c, h, w) in memory: each picture, fitted to the shape, and its mirror image, scaled for the UNet."""
    rows = []
    for picture in pictures:
        key = [digest_bytes(picture.content), RESIZE, list(shape), cache.vae]
        rows.append(cache.get("latents", key, components, partial(_encode, components, picture, shape))["latents"])
        on_progress(ENCODING_PICTURES, len(rows), len(pictures))
    return torch.stack(rows)


def prior_latents(
    cache: LatentCache,
    components: ModelComponents,
    prompt: str,
    n: int,
    shape: Shape,
    seed: int,
    on_progress: OnProgress = lambda what, done, total: None,
) -> torch.Tensor:
    """(n, 2, c, h, w) in memory: pictures of the class by the base itself; they stand for their mirror images too.

    They are cached a few at a time, so that a training that was killed does not begin again.
    """
    generated: list[torch.Tensor] = []
    for first in range(0, n, PRIOR_BATCH):
        numbers = range(first, min(first + PRIOR_BATCH, n))
        key = [cache.model, components.family.name, prompt, list(numbers), list(shape), seed]
        key += [PRIOR_STEPS, GUIDANCE_SCALE]
        compute = partial(_prior, components, prompt, numbers, shape, seed)
        generated += cache.get("prior", key, components, compute)["latents"]
        on_progress(GENERATING_PRIOR, len(generated), n)
    latents = torch.stack(generated)
    return torch.stack([latents, latents], dim=1)


def conditioning(
    cache: LatentCache,
    components: ModelComponents,
    sentences: Sequence[str],
    on_progress: OnProgress = lambda what, done, total: None,
) -> Conditioning:
    """The sentences, encoded by a frozen text encoder."""
    rows: list[Tensors] = []
    for text in sentences:
        key = [cache.model, components.family.name, text]
        rows.append(cache.get("prompts", key, components, partial(_conditioning, components, text)))
        on_progress("encoding captions", len(rows), len(sentences))
    pooled = torch.cat([row["pooled"] for row in rows]) if "pooled" in rows[0] else None
    return Conditioning(torch.cat([row["states"] for row in rows]), pooled).to(components.device)


def fit(picture: TrainingImage, shape: Shape) -> torch.Tensor:
    """(3, h, w) in -1..1: scaled until it covers the shape, the middle kept."""
    image = open_image(picture.file_name, picture.content)
    crop = centre_crop((image.height, image.width), shape)
    scaled_size = (crop.scaled_width, crop.scaled_height)
    image = decode_image(picture.file_name, image).resize(scaled_size, Image.Resampling.LANCZOS)
    pixels = np.array(image.crop(crop.box), dtype=np.float32)
    return torch.from_numpy(pixels / 127.5 - 1).permute(2, 0, 1)


def open_image(file_name: str, content: bytes) -> Image.Image:
    """A picture of which only the header was read."""
    try:
        return Image.open(io.BytesIO(content))
    except (UnidentifiedImageError, OSError, ValueError):
        raise _unreadable(file_name) from None


def decode_image(file_name: str, image: Image.Image, mode: str = "RGB") -> Image.Image:
    try:
        return image.convert(mode)
    except (OSError, ValueError, SyntaxError):  # what Pillow raises for a broken PNG
        raise _unreadable(file_name) from None


def _unreadable(file_name: str) -> InputError:
    return InputError(f"{file_name!r} is no readable picture; run `paleo curate` again")


@torch.no_grad()
def encode_pixels(components: ModelComponents, pixels: torch.Tensor) -> torch.Tensor:
    """(3, h, w) in -1..1 -> (2, c, h, w): the mean of the posterior, scaled, of the picture and its mirror image."""
    both = torch.stack([pixels, pixels.flip(-1)]).to(components.device, components.vae.dtype)
    settings = components.vae.config
    return (components.vae.encode(both).latent_dist.mode() - (settings.shift_factor or 0)) * settings.scaling_factor


@torch.no_grad()
def generate_prior(
    components: ModelComponents, prompt: str, numbers: Sequence[int], shape: Shape, seed: int
) -> torch.Tensor:
    """Latents (n, c, h, w) of pictures of a prompt: DDIM with guidance; a picture's number decides its noise."""
    both = components.family.encode_prompt(components, ["", prompt])
    latent = (components.latent_channels, *(side // components.pixels_per_latent for side in shape))
    start = [torch.randn(latent, generator=noise.generator(seed, "prior", number)) for number in numbers]
    return objective.ddim(
        objective.from_config(components.scheduler),
        torch.stack(start).to(components.device, components.dtype),
        PRIOR_STEPS,
        guided(components, both, [1] * len(numbers)),
    )


def _encode(components: ModelComponents, picture: TrainingImage, shape: Shape) -> Tensors:
    return {"latents": encode_pixels(components, fit(picture, shape))}


def _prior(components: ModelComponents, prompt: str, numbers: Sequence[int], shape: Shape, seed: int) -> Tensors:
    return {"latents": generate_prior(components, prompt, numbers, shape, seed)}


@torch.no_grad()
def _conditioning(components: ModelComponents, text: str) -> Tensors:
    encoded = components.family.encode_prompt(components, [text])
    return (
        {"states": encoded.states} if encoded.pooled is None else {"states": encoded.states, "pooled": encoded.pooled}
    )
