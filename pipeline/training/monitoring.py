"""Monitoring of a training: the loss on held-out pictures by timestep, and previews of fixed prompts and seeds.

What is monitored is a pure function of the weights. Its noise is counter-based, it computes no gradients and restores
what it changes, so a training with monitoring takes the same steps as one without. The files lie beside the saved
state:

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
from typing import Any, TypeVar

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pipeline.core import strict_json
from pipeline.core.lineage import digest_bytes, digest_json
from pipeline.core.prompts import fill_prompt
from pipeline.core.records import MonitoringReport, Preview, Subject
from pipeline.core.training_params import Monitor
from pipeline.diffusion import noise, objective
from pipeline.diffusion.objective import Objective
from pipeline.families.guidance import guided
from pipeline.families.model_components import Conditioning, ModelComponents
from pipeline.training.data.latent_cache import TrainingImage
from pipeline.training.denoising_loss import EncodePrompts

RECORD = "look.json"
MAX_BATCH_CELLS = 2**16  # of latents: 16 pictures of 64 x 64, which fill a GPU; a training step needs more memory
T = TypeVar("T")


@dataclass(frozen=True)
class HeldOutImage:
    """A picture that is never trained on: latents (c, h, w), the row of its caption, the digest of its file."""

    latents: torch.Tensor
    text: int
    digest: str


@dataclass(frozen=True)
class PreviewSpec:
    """A picture to draw at every monitored step; `text` is the row of its prompt among the sentences."""

    number: int
    prompt: str
    text: int
    seed: int


@dataclass(frozen=True)
class Monitoring:
    """What all monitored steps of a training share.

    `encode_prompts` gives the sentences, encoded by the text encoder as it is now, the empty one first; `timesteps` are
    those of the held-out loss; a preview is drawn in `sampling_steps` from latents of `latent_shape` (c, h, w).
    """

    folder: Path
    components: ModelComponents
    objective: Objective
    encode_prompts: EncodePrompts
    held_out: tuple[HeldOutImage, ...]
    timesteps: tuple[int, ...]
    previews: tuple[PreviewSpec, ...]
    sampling_steps: int
    latent_shape: tuple[int, int, int]
    seed: int
    autocast: Callable[[], AbstractContextManager[None]] = nullcontext
    writes_files: bool = True  # False in all processes but one
    log: Callable[[str], None] = lambda line: None  # takes the warning that a record could not be written
    compiled: bool = False  # then monitoring, whose batches have sizes of their own, runs uncompiled

    @property
    def settings_digest(self) -> str:
        """A digest of all that decides a report, apart from the weights."""
        pictures = [(image.digest, image.text) for image in self.held_out]
        previews = [(spec.prompt, spec.text, spec.seed) for spec in self.previews]
        parts = [pictures, self.timesteps, previews, self.sampling_steps, self.latent_shape, self.seed]
        return digest_json(parts)[:16]


def is_enabled(params: Monitor, holdout: Sequence[TrainingImage]) -> bool:
    """Do the params ask for a held-out loss that can be measured, or for previews?"""
    return bool(monitored_pictures(params, holdout) or (params.prompts and params.seeds))


def monitored_pictures(params: Monitor, holdout: Sequence[TrainingImage]) -> tuple[TrainingImage, ...]:
    """The held-out pictures whose loss is measured: the first ones, and none without timesteps."""
    return tuple(holdout[: params.pictures]) if params.timesteps else ()


def monitored_sentences(params: Monitor, subject: Subject, holdout: Sequence[TrainingImage]) -> tuple[str, ...]:
    """Every caption and prompt once, the empty one first."""
    captions = [picture.caption for picture in monitored_pictures(params, holdout)]
    return tuple(dict.fromkeys(["", *captions, *_prompts(params, subject)]))


def held_out_images(
    pictures: Sequence[TrainingImage], latents: Sequence[torch.Tensor], sentences: Sequence[str]
) -> tuple[HeldOutImage, ...]:
    """The pictures with their latents (c, h, w) each."""
    return tuple(
        HeldOutImage(own_latents, sentences.index(picture.caption), digest_bytes(picture.content))
        for picture, own_latents in zip(pictures, latents, strict=True)
    )


def preview_specs(params: Monitor, subject: Subject, sentences: Sequence[str]) -> tuple[PreviewSpec, ...]:
    """Every prompt with every seed."""
    return tuple(
        PreviewSpec(number, prompt, sentences.index(prompt), seed)
        for number, prompt in enumerate(_prompts(params, subject), start=1)
        for seed in params.seeds
    )


def _prompts(params: Monitor, subject: Subject) -> list[str]:
    return [fill_prompt(prompt, name=subject.name, class_noun=subject.class_noun) for prompt in params.prompts]


def interval_midpoints(n: int, n_timesteps: int) -> tuple[int, ...]:
    """The midpoints of n equal intervals of the timesteps, without repetition."""
    return tuple(dict.fromkeys(int((number + 0.5) * n_timesteps / n) for number in range(n)))


def monitor(monitoring: Monitoring, step: int) -> MonitoringReport:
    """Measure and draw, or read the report of this step that was written before."""
    report = read_report(monitoring.folder, step, monitoring.settings_digest)
    if report is None:
        report = _measure(monitoring, step)
        if monitoring.writes_files:
            _write_or_warn(monitoring, report)
    start = report if step == 0 else read_report(monitoring.folder, 0, monitoring.settings_digest)
    return replace(report, before=start.losses if start else {})


def read_report(folder: Path, step: int, settings_digest: str) -> MonitoringReport | None:
    """A report that was written with the same settings; None when there is none that is complete."""
    place = folder / f"step-{step:06d}"
    try:
        record = strict_json.parse((place / RECORD).read_bytes())
        if record["settings"] != settings_digest:
            return None
        previews = tuple(Preview(**row, content=b"") for row in record["previews"])
        drawn = tuple(replace(preview, content=(place / preview.file_name).read_bytes()) for preview in previews)
        return MonitoringReport(step, {int(t): loss for t, loss in record["losses"].items()}, previews=drawn)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def read_reports(folder: Path, steps: Sequence[int]) -> tuple[MonitoringReport, ...]:
    """The reports of step 0 and of `steps` with the same settings; those that are missing are left out."""
    settings_digest = _read_settings_digest(folder / "step-000000")
    start = read_report(folder, 0, settings_digest)
    if start is None:
        return ()
    reports = (read_report(folder, step, settings_digest) for step in (0, *steps))
    return tuple(replace(report, before=start.losses) for report in reports if report)


def _read_settings_digest(place: Path) -> str:
    try:
        return str(strict_json.parse((place / RECORD).read_bytes())["settings"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _measure(monitoring: Monitoring, step: int) -> MonitoringReport:
    eager = torch.compiler.set_stance("force_eager") if monitoring.compiled else nullcontext()
    with torch.no_grad(), monitoring.autocast(), eager:
        prompts = monitoring.encode_prompts(monitoring.components, slice(None))
        losses = held_out_losses(monitoring, prompts)
        latents = _draw_previews(monitoring, prompts)
    return MonitoringReport(step, losses, previews=_previews(monitoring, latents, step))


def held_out_losses(monitoring: Monitoring, prompts: Conditioning) -> dict[int, float]:
    """Mean squared error of the predictions, by timestep; the same noise for the same picture and timestep."""
    by_timestep: dict[int, list[torch.Tensor]] = {t: [] for t in monitoring.timesteps}
    for batch in _held_out_batches(monitoring):
        for (_, t), loss in zip(batch, _squared_errors(monitoring, prompts, batch), strict=True):
            by_timestep[t].append(loss)
    return {t: torch.stack(losses).double().mean().item() for t, losses in by_timestep.items() if losses}


def _held_out_batches(monitoring: Monitoring) -> Iterator[list[tuple[HeldOutImage, int]]]:
    """Each picture with each timestep; a batch has pictures of one shape."""
    for shape in dict.fromkeys(image.latents.shape for image in monitoring.held_out):
        images = [image for image in monitoring.held_out if image.latents.shape == shape]
        yield from _chunks([(image, t) for t in monitoring.timesteps for image in images], shape)


def _squared_errors(
    monitoring: Monitoring, prompts: Conditioning, batch: Sequence[tuple[HeldOutImage, int]]
) -> torch.Tensor:
    """(n,) mean squared errors."""
    device = monitoring.components.device
    clean = torch.stack([image.latents for image, _ in batch]).to(device)
    e = torch.stack([_noise(monitoring, image, t) for image, t in batch]).to(device)
    t = torch.tensor([t for _, t in batch], device=device)
    rows = torch.tensor([image.text for image, _ in batch], device=device)
    noisy = monitoring.objective.add_noise(clean, e, t)
    predicted = monitoring.components.family.predict(monitoring.components, noisy, t, prompts[rows])
    return (predicted.float() - monitoring.objective.target(clean, e, t).float()).square().flatten(1).mean(1)


def _noise(monitoring: Monitoring, image: HeldOutImage, t: int) -> torch.Tensor:
    generator = noise.generator(monitoring.seed, f"held out {image.digest}", t)
    return torch.randn(image.latents.shape, generator=generator)


def _draw_previews(monitoring: Monitoring, prompts: Conditioning) -> list[torch.Tensor]:
    """Latents (c, h, w) of the previews; a seed gives the noise with which `paleo sample` begins."""
    components, shape = monitoring.components, monitoring.latent_shape
    drawn: list[torch.Tensor] = []
    for chunk in _chunks(monitoring.previews, shape, rows_each=2):
        generators = [torch.Generator().manual_seed(spec.seed) for spec in chunk]
        start = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
        predict = guided(components, prompts, [spec.text for spec in chunk])
        drawn += objective.ddim(monitoring.objective, start.to(components.device), monitoring.sampling_steps, predict)
    return drawn


def _previews(monitoring: Monitoring, latents: Sequence[torch.Tensor], step: int) -> tuple[Preview, ...]:
    with _vae_on_device(monitoring.components):
        images = [_decode(monitoring.components, each) for each in latents]
    return tuple(
        Preview(spec.number, spec.prompt, spec.seed, _png(image, spec, step))
        for spec, image in zip(monitoring.previews, images, strict=True)
    )


@contextmanager
def _vae_on_device(components: ModelComponents) -> Iterator[None]:
    """While it is open, the autoencoder is on the device; a training keeps it out of the GPU's memory."""
    before = next(components.vae.parameters()).device
    components.vae.to(components.device)
    try:
        yield
    finally:
        components.vae.to(before)


@torch.no_grad()
def _decode(components: ModelComponents, latents: torch.Tensor) -> Image.Image:
    """One picture at a time: decoding takes more memory than a step of the denoiser."""
    config = components.vae.config
    clean = latents[None].to(components.vae.dtype) / config.scaling_factor + (config.shift_factor or 0)
    pixels = components.vae.decode(clean, return_dict=False)[0][0].float()
    levels = (pixels.nan_to_num() / 2 + 0.5).clamp(0, 1).mul(255).round().byte()
    return Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())


def _png(image: Image.Image, spec: PreviewSpec, step: int) -> bytes:
    metadata = PngInfo()
    for key, value in {"prompt": spec.prompt, "seed": spec.seed, "step": step}.items():
        metadata.add_text(key, str(value))
    stream = io.BytesIO()
    image.save(stream, "PNG", pnginfo=metadata)
    return stream.getvalue()


def _write_or_warn(monitoring: Monitoring, report: MonitoringReport) -> None:
    """When it cannot be written, the training continues."""
    final = monitoring.folder / f"step-{report.step:06d}"
    building = final.with_name(f".{final.name}")
    try:
        _write(report, monitoring.settings_digest, building, final)
    except OSError as error:
        shutil.rmtree(building, ignore_errors=True)
        monitoring.log(
            f"the monitoring of step {report.step} could not be written ({error.strerror}); training continues, "
            "and its tables and previews will lack this step"
        )


def _write(report: MonitoringReport, settings_digest: str, building: Path, final: Path) -> None:
    """A folder, complete or absent."""
    for folder in (building, final):
        shutil.rmtree(folder, ignore_errors=True)
    building.mkdir(parents=True)
    for preview in report.previews:
        (building / preview.file_name).write_bytes(preview.content)
    previews = [{"number": one.number, "prompt": one.prompt, "seed": one.seed} for one in report.previews]
    record: dict[str, Any] = {"settings": settings_digest, "losses": dict(report.losses), "previews": previews}
    (building / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    os.replace(building, final)


def _chunks(items: Sequence[T], shape: Sequence[int], rows_each: int = 1) -> Iterator[list[T]]:
    """Chunks of as many items as MAX_BATCH_CELLS allows for latents of this shape."""
    size = max(1, MAX_BATCH_CELLS // (shape[-1] * shape[-2] * rows_each))
    return (list(items[start : start + size]) for start in range(0, len(items), size))
