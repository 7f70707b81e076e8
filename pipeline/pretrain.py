"""`paleo pretrain`: draw the wider world and train the embedded base model from it.

Reads nothing; writes one folder that is a Stable Diffusion pipeline and a CLIP at once. Work in progress lies in the
work folder, one file per phase, named by the settings that it depends on: a killed run goes on where it was.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.core.records import Report
from pipeline.families import clip as clip_family
from pipeline.io import outputs
from pipeline.sources.world import captions, scenes
from pipeline.training.pretraining import autoencoder, clip, denoiser, export, gather, measure, progress, tokenizer
from pipeline.training.pretraining.drawings import DrawingSet, Words
from pipeline.training.pretraining.settings import Settings, digest

EXPORT_EVERY_S = 600


@dataclass
class Parts:
    """What has been trained so far, with the losses of each phase."""

    clip: clip_family.Clip
    vae: object
    losses: dict[str, list[dict[str, float]]] = field(default_factory=dict)


def pretrain(out: Path, *, work: Path = Path(".work/pretrain"), page: Path | None = None, scale: float = 1.0, seed: int = 0,
             settings: Settings | None = None, draw: gather.Draw | None = None) -> Report:
    """Draw, train part by part, export, measure; the page goes beside the work in progress unless told otherwise."""
    settings = (settings or Settings()).with_seed(seed).scaled(scale)
    with reporting(settings) as report:
        training, held_out = gather.gather(draw or draw_wide, settings.drawings, work / name("drawings", settings), report)
        parts = train_clip_and_autoencoder(training, settings, work, report)
        train_denoiser(training, parts, settings, work, out, report)
    return None


def train_clip_and_autoencoder(training: DrawingSet, settings: Settings, work: Path, report: progress.Report) -> Parts:
    words = tokenizer.train_tokenizer([each.caption for each in training.words], settings.text.vocabulary, settings.text.context)
    vae, vae_losses = autoencoder.train(training, settings.autoencoder, settings.seed, work / name("autoencoder", settings), report)
    model, clip_losses = clip.train(training, words, settings.clip, settings.text, settings.seed, work / name("clip", settings), report)
    return Parts(model, vae, {"autoencoder": vae_losses, "clip": clip_losses})


def train_denoiser(training: DrawingSet, parts: Parts, settings: Settings, work: Path, out: Path, report: progress.Report) -> None:
    """Exports now and then: an unfinished model is of use to whoever waits for it."""
    latents = autoencoder.encode(parts.vae, training), autoencoder.encode(parts.vae, training, mirrored=True)
    exported_s = -EXPORT_EVERY_S

    def saved(state: progress.Optimisation) -> None:
        nonlocal exported_s
        if state.done or time.monotonic() - exported_s > EXPORT_EVERY_S:
            exported_s = time.monotonic()
            write_model(out, parts, state)

    state = denoiser.train(latents, training, parts.clip.model, parts.clip.tokenizer, settings.denoiser, settings.text,
                           settings.seed, work / name("denoiser", settings), report, saved)
    if not (out / "model_index.json").is_file():
        write_model(out, parts, state)


def write_model(out: Path, parts: Parts, state: progress.Optimisation) -> None:
    with outputs.fresh_folder(out) as folder:
        export.export(folder, parts.clip, parts.vae, state)


def name(phase: str, settings: Settings) -> str:
    """The phase's file (or folder) in the work folder; other settings, other file."""
    needs = {"drawings": (settings.drawings,), "autoencoder": (settings.drawings, settings.autoencoder),
             "clip": (settings.drawings, settings.text, settings.clip)}
    parts = needs.get(phase, (settings.drawings, settings.text, settings.autoencoder, settings.clip, settings.denoiser))
    return f"{phase}-{digest(*parts)}" + ("" if phase == "drawings" else ".pt")


@contextmanager
def reporting(settings: Settings) -> Iterator[progress.Report]:
    began_s, last_s = time.monotonic(), {}

    def report(phase: str, step: int, steps: int, values: dict[str, float]) -> None:
        now_s = time.monotonic()
        if step == steps or now_s - last_s.get(phase, -10) > 10:
            last_s[phase] = now_s
            shown = " ".join(f"{key} {value:.4f}" for key, value in values.items())
            print(f"{now_s - began_s:7.0f} s  {phase} {step}/{steps}  {shown}", flush=True)

    yield report


NOUNS = {"flyer": "flying reptile"}
MEDIA = {"painting": "painted", "pencil": "pencil drawn"}
DOING = re.compile(r"(?:flying (?:in|over)|standing (?:in|by)|swimming in|drinking water from|driving a car in) the \w+")


def draw_wide(seed: int, index: int, size_px: int) -> tuple[Image.Image, Words]:
    """One drawing of the wider world with its description taken apart."""
    drawing = scenes.draw_wide(seed, index, size_px)
    doing = DOING.search(drawing.caption)
    parts = [captions.PARTS.get(tuple(part.split(":"))) for part in drawing.parts]
    return drawing.image, Words(drawing.caption, NOUNS.get(drawing.kind, drawing.kind), tuple(filter(None, parts)),
                                doing.group() if doing else "", drawing.background, MEDIA[drawing.medium])
