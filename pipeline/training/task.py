"""From what the stage has read to a job for the loop: parts, examples, sentences, method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache as once
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from accelerate import Accelerator

from pipeline.core.errors import Interrupted, ParamsError
from pipeline.core.params import Train
from pipeline.core.records import MonitoringReport, Subject
from pipeline.families import family
from pipeline.families.model_components import Conditioning, tokenise
from pipeline.methods import keeps_base, method
from pipeline.methods.trainable import Trainable
from pipeline.training import monitoring, preflight
from pipeline.training.checkpoint.identity import Identity
from pipeline.training.data import latent_cache
from pipeline.training.data.batches import Examples, SamplingSettings
from pipeline.training.data.dataset import Prior, Tools, gather, held_out
from pipeline.training.data.latent_cache import LatentCache, Told, TrainingImage, vae_digest
from pipeline.training.denoising_loss import DenoisingLoss, Prompts
from pipeline.training.distributed import memory_savings
from pipeline.training.loop import LoopSettings, TrainingJob
from pipeline.training.lr_schedules import learning_rate_at
from pipeline.training.monitoring import Monitoring
from pipeline.training.optimisers import optimiser

LEAVING = "interrupted while preparing; what is encoded is kept; run again to continue"
Made = TypeVar("Made")
DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class TrainingTask:
    """What decides a training. `prior_prompt` is filled in; `stamp` goes into every snapshot.

    `identity` is what a resume compares.
    """

    family: str
    base: Path
    subject: Subject
    pictures: tuple[TrainingImage, ...]
    holdout: tuple[TrainingImage, ...]
    prior_prompt: str
    train: Train
    seed: int
    stamp: dict[str, str]
    identity: Identity


def without_bytes(task: TrainingTask) -> TrainingTask:
    """The same, with nothing left of its pictures but names and sentences: all that is wanted once they are encoded."""
    pictures, holdout = (
        tuple(replace(picture, content=b"", mask=None) for picture in some) for some in (task.pictures, task.holdout)
    )
    return replace(task, pictures=pictures, holdout=holdout)


def prepare(
    task: TrainingTask,
    accelerator: Accelerator,
    folder: Path,
    looks_folder: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
    told: Told = lambda *_: None,
    sharded: bool = False,
    mark: Callable[[str], None] = lambda part: None,
    stopping: Callable[[], bool] = lambda: False,
) -> TrainingJob:
    """Load the base, look at every picture and sentence once (`folder` is the cache), attach the method.

    Without a `looks_folder` nothing is measured or drawn on the way. `say` hears warnings, `told` how far the cache is,
    `mark` when a part of a step is done; `stopping` is asked whether to leave, after each thing that was cached.
    `sharded`: each process will keep a piece of the weights that learn (FSDP). The job holds no picture's bytes.

    Raises
    ------
    Interrupted
        In all processes, when one of them was told to stop.
    InputError, ParamsError
        When the base cannot be loaded or params do not fit it.
    """
    preflight.check(task.family, task.base, task.train, task.subject, task.pictures, say)
    told("loading the base", 0, 1)
    parts = family(task.family).load(task.base, accelerator.device)
    told("loading the base", 1, 1)
    learns = method(task.train.method)
    vae = vae_digest(task.base)
    # The same words are said once, however many pictures cannot be kept.
    store = LatentCache(folder, task.stamp["base_digest"], accelerator.mixed_precision, vae, once(say))
    tools = Tools(parts, store, task.seed, accelerator.autocast, _heeding(told, stopping))
    examples, frozen, looks_at = _in_turn(accelerator, partial(_encoded, task, tools, accelerator, looks_folder, say))
    parts.vae.to("cpu")  # everything is encoded
    dtype = DTYPES.get(accelerator.mixed_precision, torch.float32)
    trainable = learns.attach(parts, task.train, task.subject, task.seed, dtype)
    prompts = _prompts(trainable, examples.sentences, frozen)
    lesson = replace(_lesson(task, trainable, examples, prompts, accelerator, sharded), mark=mark)
    memory_savings.apply(trainable, task.train, sharded=sharded)
    return TrainingJob(
        trainable,
        lesson,
        optimiser=_optimiser(task.train),
        plan=plan_of(task.train),
        write_snapshot=_snapshots(task.train, task.stamp, trainable),
        seen=lesson.seen,
        look=looks_at(trainable),
        sharded=sharded,
    )


def _heeding(told: Told, stopping: Callable[[], bool]) -> Told:
    """`told`, which ends the preparation when it is to stop: what it is told of has just been cached."""

    def tell(what: str, done: int, total: int) -> None:
        told(what, done, total)
        if stopping():
            raise Interrupted(LEAVING)

    return tell


def _in_turn(accelerator: Accelerator, make: Callable[[], Made]) -> Made:
    """What `make` gives, first in the main process, then in the others, which find in the cache what it computed.

    When it is interrupted in one process, all raise: the others would wait for it for ever.
    """
    made, interrupted = None, None
    for turn in (True, False):
        if accelerator.is_main_process is turn:
            try:
                made = make()
            except Interrupted as error:
                interrupted = error
        # Here the others wait.
        left = accelerator.reduce(torch.tensor(float(interrupted is not None), device=accelerator.device), "sum")
        if left:
            raise interrupted or Interrupted(LEAVING)
    return made


def _encoded(
    task: TrainingTask, tools: Tools, accelerator: Accelerator, looks_folder: Path | None, say: Callable[[str], None]
) -> tuple[Examples, Conditioning | None, Callable[[Trainable], Callable[[int], MonitoringReport | None]]]:
    """All that goes through a frozen network, once: examples, their sentences if those are not learnt, looks."""
    examples = gather(task.train, task.pictures, _prior(task), tools)
    learns_text = method(task.train.method).learns_text(task.train)
    frozen = (
        None if learns_text else latent_cache.conditioning(tools.store, tools.parts, examples.sentences, tools.told)
    )
    return examples, frozen, _looks(task, tools, accelerator, looks_folder, say)


def plan_of(train: Train) -> LoopSettings:
    """What of the params is the loop's."""
    return LoopSettings(
        steps=train.steps,
        batch_size=train.batch_size,
        snapshots=train.snapshots,
        save_every_steps=train.save_every_steps,
        rate=partial(learning_rate_at, train),
        max_gradient_norm=train.max_gradient_norm,
        ema_decay=train.ema_decay,
        keep_states=train.keep_states,
    )


def _optimiser(train: Train) -> Callable[[Trainable], torch.optim.Optimizer]:
    make = optimiser(train.optimiser)
    return lambda trainable: make(trainable.optimised(train.weight_decay), train.learning_rate)


def _prior(task: TrainingTask) -> Prior | None:
    """What stands for the class; None where nothing does."""
    prior = task.train.prior
    images = 0 if prior.kind == "teacher" else prior.images
    if keeps_base(task.train.method) or not prior.weight or (prior.kind == "pictures" and not images):
        return None
    return Prior(task.prior_prompt, images)


def _lesson(
    task: TrainingTask,
    trainable: Trainable,
    examples: Examples,
    prompts: Prompts,
    accelerator: Accelerator,
    sharded: bool,
) -> DenoisingLoss:
    """What the loop asks for; with `prior.kind: teacher` the base as it was gives answers."""
    train, teaches = task.train, _prior(task) is not None and task.train.prior.kind == "teacher"
    if teaches and trainable.teacher is None:
        raise ParamsError(
            f"train.prior.kind is 'teacher', which train.method {train.method!r} has none of; "
            "take 'pictures' or a weight of 0"
        )
    draw = SamplingSettings(
        task.seed,
        train.batch_size,
        train.horizontal_flip,
        train.caption_dropout,
        train.prior.weight,
        train.loss.noise_offset,
        train.loss.timesteps,
    )
    return DenoisingLoss(
        family(task.family),
        preflight.process_of(train, trainable.parts.scheduler).to(accelerator.device),
        train.loss,
        examples,
        draw,
        prompts,
        trainable.teacher if teaches else None,
        in_step=sharded,
    )


def _looks(
    task: TrainingTask, tools: Tools, accelerator: Accelerator, folder: Path | None, say: Callable[[str], None]
) -> Callable[[Trainable], Callable[[int], MonitoringReport | None]]:
    """Encode what looks are to see; what comes back gives the looks of a model that the method has been put into."""
    train, subject, seed, parts = task.train, task.subject, task.seed, tools.parts
    settings = train.monitor
    pictures = monitoring.chosen(settings, task.holdout)
    sentences = monitoring.sentences_of(settings, subject, task.holdout)
    if folder is None or not monitoring.is_enabled(settings, task.holdout):
        return lambda trainable: lambda step: None
    process, edge = preflight.process_of(train, parts.scheduler), train.resolution_px // parts.pixels_per_latent
    latents = [one.to(parts.device) for one in held_out(train, pictures, tools)]
    learns_text = method(train.method).learns_text(train)
    frozen = None if learns_text else latent_cache.conditioning(tools.store, parts, sentences, tools.told)
    shown = monitoring.held_out_of(pictures, latents, sentences)

    def of(trainable: Trainable) -> Callable[[int], MonitoringReport]:
        view = Monitoring(
            folder,
            trainable.parts,
            process,
            prompts=_prompts(trainable, sentences, frozen),
            held_out=shown,
            timesteps=monitoring.centres(settings.timesteps, process.n_timesteps) if shown else (),
            wanted=monitoring.previews_of(settings, subject, sentences),
            draw_steps=settings.steps,
            shape=(parts.latent_channels, edge, edge),
            seed=seed,
            autocast=accelerator.autocast,
            keeps=accelerator.is_main_process,
            say=say,
            compiled=train.compile,
        )
        return partial(monitoring.monitor, view)

    return of


def _prompts(trainable: Trainable, sentences: Sequence[str], frozen: Conditioning | None) -> Prompts:
    return _learnt(trainable, sentences) if frozen is None else _frozen(frozen, trainable)


def _learnt(trainable: Trainable, sentences: Sequence[str]) -> Prompts:
    """The sentences are encoded at every step, by the text encoder as it is then."""
    tokens = tokenise(trainable.parts, sentences)
    encode = family(trainable.parts.family).encode_tokens
    return lambda now, rows: encode(now, tuple(ids[rows] for ids in tokens))


def _frozen(encoded: Conditioning, trainable: Trainable) -> Prompts:
    """The sentences were encoded once; the text encoder only takes up memory."""
    for encoder in trainable.parts.text_encoders:
        encoder.to("cpu")
    return lambda _, rows: encoded[rows]


def _snapshots(train: Train, stamp: Mapping[str, str], trainable: Trainable) -> Callable[[Path, int], None]:
    dtype = getattr(torch, train.save_dtype)

    def write(folder: Path, step: int) -> None:
        method(train.method).save(trainable, folder, dtype, {**stamp, "step": str(step)})

    return write
