"""`paleo pretrain`: draw the wider world and train the embedded base model from it.

Reads nothing; writes one folder that is a Stable Diffusion pipeline and a CLIP at once. Work in progress lies in the
work folder, one file per phase, named by the settings that it depends on: a killed run goes on where it was.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from diffusers import AutoencoderKL
from PIL import Image

from pipeline.core.errors import ParamsError
from pipeline.core.records import Report
from pipeline.io import tracking
from pipeline.io.files import atomic_write
from pipeline.io.terminal import phase_progress
from pipeline.pages import pretraining as pages
from pipeline.pages import render
from pipeline.pretraining import autoencoder, clip, denoiser, export, gather, measure, progress, tokenizer
from pipeline.pretraining.denoiser import Denoiser
from pipeline.pretraining.drawings import DrawingSet, Words
from pipeline.pretraining.settings import Phase, Settings, digest
from pipeline.sources.world import captions, scenes
from pipeline.training.loop import Hooks
from pipeline.vision.clip import Clip

PHASES = ("drawings", "autoencoder", "clip", "denoiser", "finish")
NAMES = {"denoiser": "denoiser and text encoder", "finish": "the same, one heading"}
EXPORT_EVERY_S = 600
TRACK_EVERY = 10  # steps between two points of a curve in MLflow


@dataclass
class Trained:
    """What has been trained before the denoiser, with the losses of each phase."""

    clip: Clip
    vae: AutoencoderKL
    losses: dict[str, list[float]] = field(default_factory=dict)


def pretrain(
    out: Path,
    *,
    work: Path = Path(".work/pretrain"),
    page: Path | None = None,
    scale: float = 1.0,
    seed: int = 0,
    settings: Settings | None = None,
    draw: gather.Draw | None = None,
    tracked: bool = True,
) -> Report:
    """Draw, train part by part, measure, export; the page goes beside the work in progress unless told otherwise."""
    if not scale > 0:
        raise ParamsError(f"--scale {scale!r} is no share of the training; give a number above 0, such as 0.1")
    settings = (settings or Settings()).with_seed(seed).scaled(scale)
    page = page or work / "page" / "index.html"
    with reporting(settings, work, tracked) as told:
        training, held_out = gather.gather(
            draw or draw_wide, settings.drawings, work / name("drawings", settings), told.report
        )
        trained = train_autoencoder_and_clip(training, settings, work, told.report)
        model = train_denoiser(training, trained, settings, work, out, told.report)
        measured = publish(out, page, trained, model, held_out, settings, told)
    return report_of(out, page, measured)


def dry_run(scale: float = 1.0, seed: int = 0) -> Report:
    """What `pretrain` would be told, and do nothing."""
    settings = asdict(Settings().with_seed(seed).scaled(scale))
    return Report("pretrain", (json.dumps(settings, indent=2), "dry run: pretrain did nothing"))


@dataclass
class OnProgress:
    """How the work is told about: on the screen, to MLflow, and in seconds per phase."""

    report: progress.Report
    run: tracking.TrackedRun
    clock: phase_progress.Clock


def train_autoencoder_and_clip(
    training: DrawingSet, settings: Settings, work: Path, report: progress.Report
) -> Trained:
    words = tokenizer.train_tokenizer(
        [each.caption for each in training.placeholder_tokens], settings.text.vocabulary, settings.text.context
    )
    vae, vae_losses = autoencoder.train(
        training, settings.autoencoder, settings.seed, work / name("autoencoder", settings), report
    )
    model, clip_losses = clip.train(
        training, words, settings.clip, settings.text, settings.seed, work / name("clip", settings), report
    )
    losses = {"autoencoder": vae_losses, "clip": clip_losses}
    return Trained(model, vae, {phase: [row["loss"] for row in rows] for phase, rows in losses.items()})


def train_denoiser(
    training: DrawingSet, trained: Trained, settings: Settings, work: Path, out: Path, report: progress.Report
) -> Denoiser:
    """Exports now and then: an unfinished model is of use to whoever waits for it."""
    latents = autoencoder.encode(trained.vae, training), autoencoder.encode(trained.vae, training, mirrored=True)
    exported_s = -EXPORT_EVERY_S

    def offer(model: Denoiser) -> None:
        nonlocal exported_s
        if time.monotonic() - exported_s > EXPORT_EVERY_S:
            exported_s = time.monotonic()
            with atomic_write.fresh_folder(out) as folder:
                export.export(folder, trained.clip, model.components)
                atomic_write.write_text(folder / "README.md", model_card(settings, trained, model, {}, {}))

    def learn(phase: str, plan: Phase, loss_of_step: denoiser.Loss) -> Denoiser:
        place = denoiser.Work(work / name(phase, settings), hooks(phase, plan.steps, report), offer)
        return denoiser.learn(components, loss_of_step, plan, settings.denoiser.ema_decay, place)

    lessons = denoiser.Lessons(latents, training, trained.clip.tokenizer, settings.denoiser, settings.seed)
    components = denoiser.build(lessons, trained.clip.model, trained.vae, settings.text)
    first = learn("denoiser", settings.denoiser.phase, lessons.both_headings)
    trained.losses["denoiser"] = list(first.losses)
    return learn("finish", settings.finish.phase, lessons.one_heading)


def hooks(phase: str, steps: int, report: progress.Report) -> Hooks:
    """How the training loop tells about itself here."""
    return Hooks(
        report=lambda step: report(phase, step.step, steps, {"loss": step.loss}),
        say=print,
        stopping=lambda: False,
        clock=time.monotonic,
    )


def publish(
    out: Path, page: Path, trained: Trained, model: Denoiser, held_out: DrawingSet, settings: Settings, told: OnProgress
) -> dict[str, float]:
    """Export, measure what was exported, and say so: model card, card, page, MLflow."""
    told.clock.note()
    with atomic_write.fresh_folder(out) as folder:
        export.export(folder, trained.clip, model.components)
        measured = measure.measure(folder, held_out, settings.samples, settings.seed)
        atomic_write.write_text(
            folder / "README.md", model_card(settings, trained, model, measured.numbers, told.clock.seconds)
        )
        atomic_write.write_card(folder, stage="pretrain", settings=asdict(settings), numbers=measured.numbers)
    numbers = measured.numbers | {"bytes": float(folder_bytes(out)), "seconds": sum(told.clock.seconds.values())}
    atomic_write.write_text(
        page,
        pages.page(
            numbers=numbers,
            losses=trained.losses | {"finish": list(model.losses)},
            kinds=measured.kinds,
            confusion=measured.confusion.tolist(),
            samples=measured.samples,
            held_out=measured.held_out,
            reconstructed=measured.reconstructed,
        ),
    )
    told.run.metrics(numbers)
    told.run.artifact(page)
    for prompt, images in measured.samples.items():
        told.run.image(images[0], re.sub(r"\W+", "-", prompt)[:60])
    return numbers


def model_card(
    settings: Settings, trained: Trained, model: Denoiser, numbers: dict[str, float], seconds: dict[str, float]
) -> str:
    both = (model.components.unet, *model.components.text_encoders)
    modules = {"autoencoder": (trained.vae,), "clip": (trained.clip.model,), "denoiser": both, "finish": both}
    rows = []
    for phase, learnt in modules.items():
        plan = getattr(settings, phase).phase
        rows.append(
            {
                "name": NAMES.get(phase, phase),
                "steps": plan.steps,
                "batch": plan.batch,
                "rate": plan.peak_rate,
                "parameters": sum(weight.numel() for module in learnt for weight in module.parameters()),
                "seconds": f"{seconds[phase]:,.0f}" if phase in seconds else "-",
            }
        )
    drawings = settings.drawings
    return render(
        "pretraining/model_card.md",
        phases=rows,
        numbers=pages.facts(numbers),
        step=model.step,
        steps=model.phase.steps,
        count=f"{drawings.count:,}",
        held_out=drawings.held_out,
        image_px=drawings.image_px,
        seed=settings.seed,
        ema_decay=settings.denoiser.ema_decay,
    )


def report_of(out: Path, page: Path, numbers: dict[str, float]) -> Report:
    lines = [f"{name}: {value}" for name, value in pages.facts(numbers).items()]
    return Report("pretrain", (*lines, f"model: {out}", f"page: {page}"), numbers)


def folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def name(phase: str, settings: Settings) -> str:
    """The phase's file (or folder) in the work folder; other settings, other file."""
    needs = {
        "drawings": (settings.drawings,),
        "autoencoder": (settings.drawings, settings.autoencoder),
        "clip": (settings.drawings, settings.text, settings.clip),
    }
    needs["denoiser"] = (settings.drawings, settings.text, settings.autoencoder, settings.clip, settings.denoiser)
    needs["finish"] = (*needs["denoiser"], settings.finish)
    return f"{phase}-{digest(*needs[phase])}" + (".pt" if phase in ("autoencoder", "clip") else "")


@contextmanager
def reporting(settings: Settings, work: Path, tracked: bool) -> Iterator[OnProgress]:
    """Screen, clock and MLflow for the time of the work; an unfinished run of the same settings is continued."""
    identity = Path(name("finish", settings)).stem
    clock = phase_progress.Clock({phase: work / f"{Path(name(phase, settings)).stem}.seconds.json" for phase in PHASES})
    with ExitStack() as stack:
        show = stack.enter_context(phase_progress.show())
        run = stack.enter_context(
            tracking.run(
                Path.cwd(),
                tracking.RunDescription(
                    "pretrain",
                    identity,
                    {"stage": "pretrain", "settings": identity},
                    tracking.flatten(asdict(settings)),
                    continue_by="settings",
                ),
                main_process=tracked,
            )
        )

        def report(phase: str, step: int, steps: int, values: dict[str, float]) -> None:
            clock.tick(phase)
            show(phase, step, steps, values)
            if values and (step % TRACK_EVERY == 0 or step == steps):
                run.metrics({f"{phase}/{key}": value for key, value in values.items()}, step)

        yield OnProgress(report, run, clock)


NOUNS = {"flyer": "flying reptile"}
MEDIA = {"painting": "painted", "pencil": "pencil drawn"}
DOING = re.compile(
    r"(?:flying (?:in|over)|standing (?:in|by)|swimming in|drinking water from|driving a car in) the \w+"
)


def draw_wide(seed: int, index: int, size_px: int) -> tuple[Image.Image, Words]:
    """One drawing of the wider world with its description taken apart."""
    drawing = scenes.draw_wide(seed, index, size_px)
    doing = DOING.search(drawing.caption)
    components = [captions.PARTS.get(tuple(part.split(":"))) for part in drawing.components]
    return drawing.image, Words(
        drawing.caption,
        NOUNS.get(drawing.kind, drawing.kind),
        tuple(filter(None, components)),
        doing.group() if doing else "",
        drawing.background,
        MEDIA[drawing.medium],
        drawing.looks_left,
    )
