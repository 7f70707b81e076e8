"""`paleo pretrain`: render the drawings of the wider world and train the embedded base model on them.

Reads nothing; writes one folder that is a Stable Diffusion pipeline and a CLIP at once. Work in progress lies in the
work folder, one file per phase, named by the settings that it depends on: a killed run goes on where it was.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
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
from pipeline.pretraining import autoencoder, clip, denoiser, measure, tokenizer
from pipeline.pretraining.denoiser import Denoiser
from pipeline.pretraining.drawings import Description, DrawingSet
from pipeline.pretraining.optimisation import OnProgress
from pipeline.pretraining.render_drawings import Draw, render_drawings
from pipeline.pretraining.save_model import save_model
from pipeline.pretraining.settings import Phase, Settings, digest
from pipeline.sources.world import captions, scenes
from pipeline.training.loop import Hooks
from pipeline.vision.clip import Clip

PHASES = ("drawings", "autoencoder", "clip", "denoiser", "finish")
TITLES = {"denoiser": "denoiser and text encoder", "finish": "the same, one heading"}
EXPORT_INTERVAL_S = 600
TRACKING_INTERVAL = 10  # steps between two points of a curve in MLflow


@dataclass
class TrainedComponents:
    """What is trained before the denoiser, with the losses of each phase."""

    clip: Clip
    vae: AutoencoderKL
    losses: dict[str, list[float]] = field(default_factory=dict)


@dataclass
class Reporting:
    """Where progress goes: the screen and MLflow (`on_progress`), the MLflow run, and the seconds of each phase."""

    on_progress: OnProgress
    run: tracking.TrackedRun
    timer: phase_progress.PhaseTimer


def pretrain(
    out: Path,
    *,
    work: Path = Path(".work/pretrain"),
    page: Path | None = None,
    scale: float = 1.0,
    seed: int = 0,
    settings: Settings | None = None,
    draw: Draw | None = None,
    tracked: bool = True,
) -> Report:
    """Render, train each phase, measure, export; without `page` the page goes beside the work in progress."""
    if not scale > 0:
        raise ParamsError(f"--scale {scale!r} is no share of the training; give a number above 0, such as 0.1")
    settings = (settings or Settings()).with_seed(seed).scaled(scale)
    page = page or work / "page" / "index.html"
    with _reporting(settings, work, tracked) as reporting:
        drawings_folder = work / state_name("drawings", settings)
        training, held_out = render_drawings(
            draw or draw_wide, settings.drawings, drawings_folder, reporting.on_progress
        )
        trained = _train_autoencoder_and_clip(training, settings, work, reporting.on_progress)
        model = _train_denoiser(training, trained, settings, work, out, reporting.on_progress)
        numbers = _publish(out, page, trained, model, held_out, settings, reporting)
    lines = [f"{name}: {value}" for name, value in pages.facts(numbers).items()]
    return Report("pretrain", (*lines, f"model: {out}", f"page: {page}"), numbers)


def dry_run(scale: float = 1.0, seed: int = 0) -> Report:
    """The settings of `pretrain`, and nothing done."""
    settings = asdict(Settings().with_seed(seed).scaled(scale))
    return Report("pretrain", (json.dumps(settings, indent=2), "dry run: pretrain did nothing"))


def state_name(phase: str, settings: Settings) -> str:
    """The phase's file (or folder) in the work folder; other settings, other file."""
    needs: dict[str, tuple[object, ...]] = {
        "drawings": (settings.drawings,),
        "autoencoder": (settings.drawings, settings.autoencoder),
        "clip": (settings.drawings, settings.text, settings.clip),
    }
    needs["denoiser"] = (settings.drawings, settings.text, settings.autoencoder, settings.clip, settings.denoiser)
    needs["finish"] = (*needs["denoiser"], settings.finish)
    return f"{phase}-{digest(*needs[phase])}" + (".pt" if phase in ("autoencoder", "clip") else "")


def _train_autoencoder_and_clip(
    training: DrawingSet, settings: Settings, work: Path, on_progress: OnProgress
) -> TrainedComponents:
    text = settings.text
    clip_tokenizer = tokenizer.train_tokenizer(
        [each.caption for each in training.descriptions], text.vocabulary, text.context
    )
    vae, vae_losses = autoencoder.train(
        training, settings.autoencoder, settings.seed, work / state_name("autoencoder", settings), on_progress
    )
    model, clip_losses = clip.train(
        training, clip_tokenizer, settings.clip, text, settings.seed, work / state_name("clip", settings), on_progress
    )
    losses = {"autoencoder": vae_losses, "clip": clip_losses}
    return TrainedComponents(model, vae, {phase: [row["loss"] for row in rows] for phase, rows in losses.items()})


def _train_denoiser(
    training: DrawingSet, trained: TrainedComponents, settings: Settings, work: Path, out: Path, on_progress: OnProgress
) -> Denoiser:
    """Exports the unfinished model now and then, so that it can be used meanwhile."""
    latents = autoencoder.encode(trained.vae, training), autoencoder.encode(trained.vae, training, mirrored=True)
    exported_s = float("-inf")

    def export_intermediate(model: Denoiser) -> None:
        nonlocal exported_s
        if time.monotonic() - exported_s > EXPORT_INTERVAL_S:
            exported_s = time.monotonic()
            with atomic_write.fresh_folder(out) as folder:
                save_model(folder, trained.clip, model.components)
                atomic_write.write_text(folder / "README.md", model_card(settings, trained, model, {}, {}))

    def train(phase: str, plan: Phase, step_loss: denoiser.StepLoss) -> Denoiser:
        hooks = Hooks(
            on_step=lambda report: on_progress(phase, report.step, plan.steps, {"loss": report.loss}),
            log=print,
            should_stop=lambda: False,
            clock=time.monotonic,
        )
        run = denoiser.PhaseRun(work / state_name(phase, settings), hooks, export_intermediate)
        return denoiser.train_phase(components, step_loss, plan, settings.denoiser.ema_decay, run)

    examples = denoiser.TrainingExamples(latents, training, trained.clip.tokenizer, settings.denoiser, settings.seed)
    components = denoiser.build(examples, trained.clip.model, trained.vae, settings.text)
    first = train("denoiser", settings.denoiser.phase, examples.loss_with_both_headings)
    trained.losses["denoiser"] = list(first.losses)
    return train("finish", settings.finish.phase, examples.loss_with_one_heading)


def _publish(
    out: Path,
    page: Path,
    trained: TrainedComponents,
    model: Denoiser,
    held_out: DrawingSet,
    settings: Settings,
    reporting: Reporting,
) -> dict[str, float]:
    """Export, measure what was exported, and write model card, card and page; the numbers also go to MLflow."""
    timer, run = reporting.timer, reporting.run
    timer.save()
    with atomic_write.fresh_folder(out) as folder:
        save_model(folder, trained.clip, model.components)
        measured = measure.measure(folder, held_out, settings.samples, settings.seed)
        card = model_card(settings, trained, model, measured.numbers, timer.seconds)
        atomic_write.write_text(folder / "README.md", card)
        atomic_write.write_card(folder, stage="pretrain", settings=asdict(settings), numbers=measured.numbers)
    numbers = measured.numbers | {"bytes": float(folder_bytes(out)), "seconds": sum(timer.seconds.values())}
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
    run.metrics(numbers)
    run.artifact(page)
    for prompt, images in measured.samples.items():
        run.image(images[0], re.sub(r"\W+", "-", prompt)[:60])
    return numbers


def model_card(
    settings: Settings,
    trained: TrainedComponents,
    model: Denoiser,
    numbers: Mapping[str, float],
    seconds: Mapping[str, float],
) -> str:
    """README.md of the exported folder; without `numbers` and `seconds` for an unfinished model."""
    both = (model.components.unet, *model.components.text_encoders)
    phases = {
        "autoencoder": (settings.autoencoder.phase, (trained.vae,)),
        "clip": (settings.clip.phase, (trained.clip.model,)),
        "denoiser": (settings.denoiser.phase, both),
        "finish": (settings.finish.phase, both),
    }
    rows = [
        {
            "name": TITLES.get(name, name),
            "steps": phase.steps,
            "batch": phase.batch,
            "rate": phase.peak_rate,
            "parameters": sum(weight.numel() for module in modules for weight in module.parameters()),
            "seconds": f"{seconds[name]:,.0f}" if name in seconds else "-",
        }
        for name, (phase, modules) in phases.items()
    ]
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


def folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@contextmanager
def _reporting(settings: Settings, work: Path, tracked: bool) -> Iterator[Reporting]:
    """Screen, timer and MLflow for the time of the work; an unfinished run of the same settings is continued."""
    identity = Path(state_name("finish", settings)).stem
    files = {phase: work / f"{Path(state_name(phase, settings)).stem}.seconds.json" for phase in PHASES}
    timer = phase_progress.PhaseTimer(files)
    with ExitStack() as stack:
        display = stack.enter_context(phase_progress.progress_display())
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

        def on_progress(phase: str, step: int, steps: int, values: Mapping[str, float]) -> None:
            timer.add_to(phase)
            display(phase, step, steps, values)
            if values and (step % TRACKING_INTERVAL == 0 or step == steps):
                run.metrics({f"{phase}/{key}": value for key, value in values.items()}, step)

        yield Reporting(on_progress, run, timer)


NOUNS = {"flyer": "flying reptile"}
MEDIA = {"painting": "painted", "pencil": "pencil drawn"}
DOING = re.compile(
    r"(?:flying (?:in|over)|standing (?:in|by)|swimming in|drinking water from|driving a car in) the \w+"
)


def draw_wide(seed: int, index: int, size_px: int) -> tuple[Image.Image, Description]:
    """One drawing of the wider world with its description."""
    drawing = scenes.draw_wide(seed, index, size_px)
    doing = DOING.search(drawing.caption)
    features = (part.partition(":") for part in drawing.parts)  # tail:vane
    parts = (captions.PARTS.get((feature, value)) for feature, _, value in features)
    return drawing.image, Description(
        drawing.caption,
        NOUNS.get(drawing.kind, drawing.kind),
        tuple(filter(None, parts)),
        doing.group() if doing else "",
        drawing.background,
        MEDIA[drawing.medium],
        drawing.looks_left,
    )
