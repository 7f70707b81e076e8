"""What a frozen network says about a picture or a sentence is computed once, and kept under `.work/cache/`.

Files are named by everything that decides their content, so nothing is ever stale, and sealed: what was cut short,
changed or put in another's place is made again. Each picture and each sentence goes through its network alone: in a
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
from pipeline.families.model_components import Conditioning, ModelComponents
from pipeline.methods.tensor_files import write_tensors
from pipeline.training.data.buckets import Shape, cut
from pipeline.training.guidance import GUIDANCE, guided

FORMAT = 2  # of the entries; higher when the code below gives others
RESIZE = "lanczos, covers the shape, centre crop; beside it the mirror image"
LIBRARIES = (torch.__version__, diffusers.__version__, transformers.__version__, PIL.__version__)
PRIOR_STEPS, PRIOR_BATCH = 20, 4
ENCODING, DRAWING = "encoding pictures", "drawing prior pictures"  # what is on_progress
Tensors = dict[str, torch.Tensor]
OnProgress = Callable[[str, int, int], None]  # what is being made, how many of it are there, of how many


@dataclass(frozen=True)
class TrainingImage:
    """A picture to learn from: the bytes of its file, its sentence, and the bytes of its mask if it has one.

    `sentences` are what the templates make of its caption, if there is more than the one sentence.
    """

    file_name: str
    content: bytes
    caption: str
    sentences: tuple[str, ...] = ()
    mask: bytes | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels; InputError when the file is no picture."""
        with opened(self.file_name, self.content) as image:
            return image.height, image.width


@dataclass(frozen=True)
class LatentCache:
    """A folder of tensors by content.

    `model` is the digest of the base's weights, `vae` of its autoencoder's alone, `precision` of the computation.
    `say` hears that nothing can be kept.
    """

    folder: Path
    model: str
    precision: str
    vae: str
    say: Callable[[str], None] = lambda line: None

    def get(self, kind: str, decided_by: Any, components: ModelComponents, make: Callable[[], Tensors]) -> Tensors:
        """The tensors that `make` gives, in memory; what cannot be read, or is not what was written, is made again."""
        # Other hardware and other versions round otherwise.
        where = [components.device.type, str(components.dtype), self.precision, LIBRARIES]
        key = digest_json([FORMAT, kind, decided_by, where])
        path = self.folder / kind / f"{key[:32]}.safetensors"
        if (found := _read(path, key)) is not None:
            return found
        tensors = {name: tensor.cpu() for name, tensor in make().items()}
        try:
            write_tensors(path, tensors, {"seal": _seal(key, tensors)})
        except OSError as error:
            self.say(
                f"nothing can be kept in {self.folder} ({error.strerror}); the training goes on, and what is "
                "encoded now will be encoded again in the next one"
            )
        return tensors


def vae_digest(folder: Path) -> str:
    """Of the autoencoder in a diffusers folder: bases that share it share latents."""
    return digest_tree(folder / "vae", ("*.safetensors", "*.json"))


def _read(path: Path, key: str) -> Tensors | None:
    """An entry's tensors, if it is whole and the key's own."""
    try:
        with safe_open(path, "pt") as entry:
            tensors = {name: entry.get_tensor(name) for name in entry.keys()}  # noqa: SIM118 - it has no iterator
            seal = (entry.metadata() or {}).get("seal")
    except (FileNotFoundError, SafetensorError):
        return None
    return tensors if seal == _seal(key, tensors) else None


def _seal(key: str, tensors: Tensors) -> str:
    """sha256 of the key and of every tensor's name, type, shape and bytes."""
    seal = hashlib.sha256(key.encode())
    for name, tensor in sorted(tensors.items()):
        seal.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        seal.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())
    return seal.hexdigest()


def picture_latents(
    cache: LatentCache,
    components: ModelComponents,
    pictures: Sequence[TrainingImage],
    shape: Shape,
    on_progress: OnProgress = lambda what, done, total: None,
) -> torch.Tensor:
    """(n, 2, c, h, w) in memory: each picture, made to fit, and its mirror image, as the UNet sees them."""
    rows = []
    for picture in pictures:
        key = [digest_bytes(picture.content), RESIZE, list(shape), cache.vae]
        made = cache.get(
            "latents", key, components, lambda picture=picture: {"latents": encode(components, fit(picture, shape))}
        )
        rows.append(made["latents"])
        on_progress(ENCODING, len(rows), len(pictures))
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
    """(n, 2, c, h, w) in memory: what the base itself draws of the class; their mirror images are themselves.

    They are kept as they are drawn, a few at a time, so that who was killed does not begin again.
    """
    drawn: list[torch.Tensor] = []
    for first in range(0, n, PRIOR_BATCH):
        numbers = range(first, min(first + PRIOR_BATCH, n))
        key = [cache.model, components.family.name, prompt, list(numbers), list(shape), seed, PRIOR_STEPS, GUIDANCE]
        make = partial(draw, components, prompt, numbers, shape, seed)
        drawn += cache.get("prior", key, components, lambda make=make: {"latents": make()})["latents"]
        on_progress(DRAWING, len(drawn), n)
    latents = torch.stack(drawn)
    return torch.stack([latents, latents], dim=1)


def conditioning(
    cache: LatentCache,
    components: ModelComponents,
    sentences: Sequence[str],
    on_progress: OnProgress = lambda what, done, total: None,
) -> Conditioning:
    """The sentences as a frozen text encoder reads them."""
    rows: list[Tensors] = []
    for text in sentences:
        key = [cache.model, components.family, text]
        rows.append(cache.get("prompts", key, components, lambda text=text: _encoded(components, text)))
        on_progress("reading sentences", len(rows), len(sentences))
    pooled = torch.cat([row["pooled"] for row in rows]) if "pooled" in rows[0] else None
    return Conditioning(torch.cat([row["states"] for row in rows]), pooled).to(components.device)


def fit(picture: TrainingImage, shape: Shape) -> torch.Tensor:
    """(3, h, w) in -1..1: scaled until it covers the shape, the middle kept."""
    image = opened(picture.file_name, picture.content)
    how = cut((image.height, image.width), shape)
    image = decoded(picture.file_name, image).resize((how.scaled_width, how.scaled_height), Image.Resampling.LANCZOS)
    pixels = np.array(image.crop(how.box), dtype=np.float32)
    return torch.from_numpy(pixels / 127.5 - 1).permute(2, 0, 1)


def opened(file_name: str, content: bytes) -> Image.Image:
    """A picture of which only the header was read."""
    try:
        return Image.open(io.BytesIO(content))
    except (UnidentifiedImageError, OSError, ValueError):
        raise _unreadable(file_name) from None


def decoded(file_name: str, image: Image.Image, mode: str = "RGB") -> Image.Image:
    try:
        return image.convert(mode)
    except (OSError, ValueError, SyntaxError):  # Pillow's word for a broken PNG
        raise _unreadable(file_name) from None


def _unreadable(file_name: str) -> InputError:
    return InputError(f"{file_name!r} is no readable picture; run `paleo curate` again")


@torch.no_grad()
def encode(components: ModelComponents, pixels: torch.Tensor) -> torch.Tensor:
    """(3, h, w) in -1..1 -> (2, c, h, w): the mean of the posterior, scaled, of the picture and its mirror image."""
    both = torch.stack([pixels, pixels.flip(-1)]).to(components.device, components.vae.dtype)
    settings = components.vae.config
    return (components.vae.encode(both).latent_dist.mode() - (settings.shift_factor or 0)) * settings.scaling_factor


@torch.no_grad()
def draw(components: ModelComponents, prompt: str, numbers: Sequence[int], shape: Shape, seed: int) -> torch.Tensor:
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


@torch.no_grad()
def _encoded(components: ModelComponents, text: str) -> Tensors:
    made = components.family.encode_prompt(components, [text])
    return {"states": made.states} if made.pooled is None else {"states": made.states, "pooled": made.pooled}
