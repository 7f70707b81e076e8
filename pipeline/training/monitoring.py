"""A look at a training on its way: the loss on pictures that it never learns from, and what it draws.

A look is a pure function of the weights. Its noise goes by counters, it asks for no gradients and puts back what it
moves, so a training with looks takes the same steps as one without. Looks lie beside the saved state:

.work/train/<lineage id>/looks/step-000050/
    look.json               settings, held-out losses by timestep, prompts and seeds
    01-s1.png …             first prompt, seed 1
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pipeline.core.lineage import digest_bytes, digest_json
from pipeline.core.prompts import fill_prompt
from pipeline.core.records import MonitoringReport, Preview, Subject
from pipeline.core.training_params import Monitor
from pipeline.diffusion import noise, objective
from pipeline.diffusion.objective import Objective
from pipeline.families.model_components import Conditioning, ModelComponents
from pipeline.training.data.latent_cache import TrainingImage
from pipeline.training.denoising_loss import EncodePrompts
from pipeline.training.guidance import guided

RECORD = "look.json"
CELLS_AT_ONCE = 2**16  # of latents in a batch: 16 pictures of 64 x 64, which fill a GPU; a step needs more memory


@dataclass(frozen=True)
class HeldOut:
    """A picture that is never learnt from: latents (c, h, w), the row of its sentence, the digest of its file."""

    latents: torch.Tensor
    text: int
    digest: str


@dataclass(frozen=True)
class PreviewSpec:
    """A picture to draw at every look; `text` is the row of its prompt among the sentences."""

    number: int
    prompt: str
    text: int
    seed: int


@dataclass(frozen=True)
class Monitoring:
    """What all looks of a training share.

    `prompts` gives the sentences as the text encoder reads them now, the empty one first; `timesteps` are those of the
    held-out loss; a picture is drawn in `draw_steps` from latents of `shape` (c, h, w).
    """

    folder: Path
    components: ModelComponents
    objective: Objective
    prompts: EncodePrompts
    held_out: tuple[HeldOut, ...]
    timesteps: tuple[int, ...]
    previews: tuple[PreviewSpec, ...]
    draw_steps: int
    shape: tuple[int, int, int]
    seed: int
    autocast: Callable[[], AbstractContextManager[None]] = nullcontext
    writes: bool = True  # does this process write the record?
    log: Callable[[str], None] = lambda line: None  # takes the warning that a record could not be written
    compiled: bool = False  # then monitoring, whose batches have sizes of their own, runs uncompiled

    @property
    def settings(self) -> str:
        """A digest of all that decides a look, apart from the weights."""
        pictures = [(one.digest, one.text) for one in self.held_out]
        wanted = [(one.prompt, one.text, one.seed) for one in self.previews]
        return digest_json([pictures, self.timesteps, wanted, self.draw_steps, self.shape, self.seed])[:16]


def is_enabled(look: Monitor, holdout: Sequence[TrainingImage]) -> bool:
    """Do the params want to see anything?"""
    return bool(chosen(look, holdout) or (look.prompts and look.seeds))


def chosen(look: Monitor, holdout: Sequence[TrainingImage]) -> tuple[TrainingImage, ...]:
    """The held-out pictures that a look asks about: the first ones, and none when it asks for no timestep."""
    return tuple(holdout[: look.pictures]) if look.timesteps else ()


def sentences_of(look: Monitor, subject: Subject, holdout: Sequence[TrainingImage]) -> tuple[str, ...]:
    """Everything that a look says to the text encoder, once; the empty sentence first."""
    captions = [picture.caption for picture in chosen(look, holdout)]
    return tuple(dict.fromkeys(["", *captions, *_prompts(look, subject)]))


def held_out_of(
    pictures: Sequence[TrainingImage], latents: Sequence[torch.Tensor], sentences: Sequence[str]
) -> tuple[HeldOut, ...]:
    """The pictures with their latents (c, h, w) each."""
    return tuple(
        HeldOut(one, sentences.index(picture.caption), digest_bytes(picture.content))
        for picture, one in zip(pictures, latents, strict=True)
    )


def previews_of(look: Monitor, subject: Subject, sentences: Sequence[str]) -> tuple[PreviewSpec, ...]:
    """Every prompt with every seed."""
    return tuple(
        PreviewSpec(number, prompt, sentences.index(prompt), seed)
        for number, prompt in enumerate(_prompts(look, subject), start=1)
        for seed in look.seeds
    )


def _prompts(look: Monitor, subject: Subject) -> list[str]:
    return [fill_prompt(prompt, name=subject.name, class_noun=subject.class_noun) for prompt in look.prompts]


def centres(n: int, n_timesteps: int) -> tuple[int, ...]:
    """The middles of n equal parts of the schedule, without repetition."""
    return tuple(dict.fromkeys(int((part + 0.5) * n_timesteps / n) for part in range(n)))


def monitor(view: Monitoring, step: int) -> MonitoringReport:
    """Measure and draw, or read what was seen at this step before."""
    seen = read(view.folder, step, view.settings)
    if seen is None:
        seen = _seen(view, step)
        if view.writes:
            _keep(view, seen)
    start = seen if step == 0 else read(view.folder, 0, view.settings)
    return replace(seen, before=start.losses if start else {})


def read(folder: Path, step: int, settings: str) -> MonitoringReport | None:
    """An earlier look with the same settings; None when there is none that is whole."""
    place = folder / f"step-{step:06d}"
    try:
        record = json.loads((place / RECORD).read_text(encoding="utf-8"))
        if record["settings"] != settings:
            return None
        previews = tuple(Preview(**row, content=b"") for row in record["previews"])
        drawn = tuple(replace(one, content=(place / one.file_name).read_bytes()) for one in previews)
        return MonitoringReport(step, {int(t): loss for t, loss in record["losses"].items()}, previews=drawn)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def earlier(folder: Path, steps: Sequence[int]) -> tuple[MonitoringReport, ...]:
    """The looks before the first step and at some others that share their settings; what is missing is left out."""
    settings = _settings_of(folder / "step-000000")
    start = read(folder, 0, settings)
    if start is None:
        return ()
    found = (read(folder, step, settings) for step in (0, *steps))
    return tuple(replace(one, before=start.losses) for one in found if one)


def _settings_of(place: Path) -> str:
    try:
        return str(json.loads((place / RECORD).read_text(encoding="utf-8"))["settings"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _seen(view: Monitoring, step: int) -> MonitoringReport:
    eager = torch.compiler.set_stance("force_eager") if view.compiled else nullcontext()
    with torch.no_grad(), view.autocast(), eager:
        told = view.prompts(view.components, slice(None))
        losses = held_out_losses(view, told)
        latents = _draw(view, told)
    return MonitoringReport(step, losses, previews=_previews(view, latents, step))


def held_out_losses(view: Monitoring, told: Conditioning) -> dict[int, float]:
    """Mean squared error of the model's answers, by timestep; the same noise for the same picture and timestep."""
    found: dict[int, list[torch.Tensor]] = {t: [] for t in view.timesteps}
    for batch in _batches(view):
        for (_, t), loss in zip(batch, _errors(view, told, batch), strict=True):
            found[t].append(loss)
    return {t: torch.stack(losses).double().mean().item() for t, losses in found.items() if losses}


def _batches(view: Monitoring) -> Iterator[list[tuple[HeldOut, int]]]:
    """Each picture with each timestep; pictures of one shape go together."""
    for shape in dict.fromkeys(one.latents.shape for one in view.held_out):
        cells = [(one, t) for t in view.timesteps for one in view.held_out if one.latents.shape == shape]
        yield from _groups(cells, shape)


def _errors(view: Monitoring, told: Conditioning, batch: Sequence[tuple[HeldOut, int]]) -> torch.Tensor:
    """(n,) mean squared errors."""
    device = view.components.device
    clean = torch.stack([one.latents for one, _ in batch]).to(device)
    e = torch.stack([_noise(view, one, t) for one, t in batch]).to(device)
    t = torch.tensor([t for _, t in batch], device=device)
    rows = torch.tensor([one.text for one, _ in batch], device=device)
    noisy = view.objective.add_noise(clean, e, t)
    predicted = view.components.family.predict(view.components, noisy, t, told[rows])
    return (predicted.float() - view.objective.target(clean, e, t).float()).square().flatten(1).mean(1)


def _noise(view: Monitoring, one: HeldOut, t: int) -> torch.Tensor:
    return torch.randn(one.latents.shape, generator=noise.generator(view.seed, f"held out {one.digest}", t))


def _draw(view: Monitoring, told: Conditioning) -> list[torch.Tensor]:
    """Latents (c, h, w) of the wanted pictures; a seed's noise is the one that `paleo sample` begins with."""
    drawn: list[torch.Tensor] = []
    for group in _groups(view.previews, view.shape, rows_each=2):
        generators = [torch.Generator().manual_seed(one.seed) for one in group]
        start = torch.stack([torch.randn(view.shape, generator=generator) for generator in generators])
        texts = [one.text for one in group]
        drawn += objective.ddim(
            view.objective, start.to(view.components.device), view.draw_steps, guided(view.components, told, texts)
        )
    return drawn


def _previews(view: Monitoring, latents: Sequence[torch.Tensor], step: int) -> tuple[Preview, ...]:
    with _near(view.components):
        images = [_decoded(view.components, one) for one in latents]
    return tuple(
        Preview(one.number, one.prompt, one.seed, _png(image, one, step))
        for one, image in zip(view.previews, images, strict=True)
    )


@contextmanager
def _near(components: ModelComponents) -> Iterator[None]:
    """While it is open, the autoencoder is where the pictures are; a training keeps it out of the GPU's memory."""
    before = next(components.vae.parameters()).device
    components.vae.to(components.device)
    try:
        yield
    finally:
        components.vae.to(before)


@torch.no_grad()
def _decoded(components: ModelComponents, latents: torch.Tensor) -> Image.Image:
    """One picture at a time: decoding takes more memory than a step of the denoiser."""
    settings = components.vae.config
    clean = latents[None].to(components.vae.dtype) / settings.scaling_factor + (settings.shift_factor or 0)
    pixels = components.vae.decode(clean, return_dict=False)[0][0].float()
    levels = (pixels.nan_to_num() / 2 + 0.5).clamp(0, 1).mul(255).round().byte()
    return Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())


def _png(image: Image.Image, wanted: PreviewSpec, step: int) -> bytes:
    texts = PngInfo()
    for key, value in {"prompt": wanted.prompt, "seed": wanted.seed, "step": step}.items():
        texts.add_text(key, str(value))
    sink = io.BytesIO()
    image.save(sink, "PNG", pnginfo=texts)
    return sink.getvalue()


def _keep(view: Monitoring, seen: MonitoringReport) -> None:
    """When it cannot be written, the training goes on."""
    final = view.folder / f"step-{seen.step:06d}"
    building = final.with_name(f".{final.name}")
    try:
        _write(view, seen, building, final)
    except OSError as error:
        shutil.rmtree(building, ignore_errors=True)
        view.log(
            f"the look at step {seen.step} could not be written ({error.strerror}); the training goes on, "
            "and its tables and previews will lack it"
        )


def _write(view: Monitoring, seen: MonitoringReport, building: Path, final: Path) -> None:
    """A folder, complete or absent."""
    for folder in (building, final):
        shutil.rmtree(folder, ignore_errors=True)
    building.mkdir(parents=True)
    for one in seen.previews:
        (building / one.file_name).write_bytes(one.content)
    (building / RECORD).write_text(json.dumps(_record(view, seen), indent=2) + "\n", encoding="utf-8")
    os.replace(building, final)


def _record(view: Monitoring, seen: MonitoringReport) -> dict[str, Any]:
    previews = [{"number": one.number, "prompt": one.prompt, "seed": one.seed} for one in seen.previews]
    return {"settings": view.settings, "losses": dict(seen.losses), "previews": previews}


def _groups(items: Sequence, shape: Sequence[int], rows_each: int = 1) -> Iterator[list]:
    """As many at once as CELLS_AT_ONCE allows."""
    size = max(1, CELLS_AT_ONCE // (shape[-1] * shape[-2] * rows_each))
    return (list(items[start : start + size]) for start in range(0, len(items), size))
