"""From what the stage has read to a job for the loop: parts, examples, sentences, method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator

from pipeline.core.errors import ParamsError
from pipeline.core.params import Train
from pipeline.core.records import LookReport, Subject
from pipeline.diffusion import objective
from pipeline.families import family
from pipeline.families.parts import Conditioning, Parts, tokenise
from pipeline.training import cache, check_fit, looks, method
from pipeline.training.batches import Draw, Examples
from pipeline.training.cache import Cache, Picture
from pipeline.training.lesson import Lesson, Prompts
from pipeline.training.looks import View
from pipeline.training.loop import Job, Plan
from pipeline.training.optimisers import optimiser
from pipeline.training.rates import rate_at
from pipeline.training.trainable import Trainable

DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Task:
    """What decides a training. `prior_prompt` is filled in; `stamp` goes into every snapshot."""

    family: str
    base: Path
    subject: Subject
    pictures: tuple[Picture, ...]
    holdout: tuple[Picture, ...]
    prior_prompt: str
    train: Train
    seed: int
    stamp: dict[str, str]


def prepare(task: Task, accelerator: Accelerator, folder: Path, looks_folder: Path | None = None) -> Job:
    """Load the base, look at every picture and sentence once (`folder` is the cache), attach the method.

    Without a `looks_folder` nothing is measured or drawn on the way.

    Raises
    ------
    InputError, ParamsError
        When the base cannot be loaded or params do not fit it.
    """
    check_fit(task.family, task.base, task.train)
    parts = family(task.family).load(task.base, accelerator.device)
    _check_side(parts, task.train.resolution_px)
    process = objective.from_config(parts.scheduler)
    learns = method(task.train.method)
    # The other processes wait, and then find in the cache what the first has computed.
    store = Cache(folder, task.stamp["base_digest"], accelerator.mixed_precision)
    with accelerator.main_process_first():
        examples = _examples(task, parts, store, accelerator)
        frozen = None if learns.learns_text(task.train) else cache.conditioning(store, parts, examples.sentences)
        looks_at = _looks(task, parts, store, accelerator, looks_folder)
    parts.vae.to("cpu")  # everything is encoded
    dtype = DTYPES.get(accelerator.mixed_precision, torch.float32)
    trainable = learns.attach(parts, task.train, task.subject, task.seed, dtype)
    prompts = _prompts(trainable, examples.sentences, frozen)
    train = task.train
    draw = Draw(task.seed, train.batch_size, train.mirror, train.caption_dropout, train.prior.weight)
    lesson = Lesson(family(task.family), process, examples, draw, prompts)
    return Job(
        trainable, lesson, optimiser=_optimiser(train), plan=plan_of(train),
        write_snapshot=_snapshots(task, trainable), seen=lesson.seen,
        look=looks_at(trainable),
    )  # fmt: skip


def plan_of(train: Train) -> Plan:
    """What of the params is the loop's."""
    return Plan(
        steps=train.steps, batch_size=train.batch_size, snapshots=train.snapshots,
        save_every_steps=train.save_every_steps, rate=partial(rate_at, train),
        max_gradient_norm=train.max_gradient_norm, ema_decay=train.ema_decay, keep_states=train.keep_states,
    )  # fmt: skip


def _optimiser(train: Train) -> Callable[[Trainable], torch.optim.Optimizer]:
    make = optimiser(train.optimiser)
    return lambda trainable: make(trainable.optimised(train.weight_decay), train.learning_rate)


def _check_side(parts: Parts, side_px: int) -> None:
    unit = parts.pixels_per_latent
    if side_px % unit:
        near = " or ".join(str(side) for side in (side_px // unit * unit, (side_px // unit + 1) * unit) if side)
        raise ParamsError(f"train.resolution_px is {side_px}, but this base needs a multiple of {unit}; take {near}")


def _examples(task: Task, parts: Parts, store: Cache, accelerator: Accelerator) -> Examples:
    side_px, prior = task.train.resolution_px, task.train.prior
    latents = [cache.picture_latents(store, parts, task.pictures, side_px)]
    captions = [picture.caption for picture in task.pictures]
    if prior.images and prior.weight:
        with accelerator.autocast():
            drawn = cache.prior_latents(store, parts, task.prior_prompt, prior.images, side_px, task.seed)
        latents.append(drawn.float())
        captions += [task.prior_prompt] * prior.images
    sentences = ("", *dict.fromkeys(caption for caption in captions if caption))
    texts = tuple(sentences.index(caption) for caption in captions)
    names = [picture.file_name for picture in task.pictures] + ["a prior picture"] * (
        len(captions) - len(task.pictures)
    )
    return Examples(torch.cat(latents), texts, sentences, n_pictures=len(task.pictures), names=tuple(names))


def _looks(
    task: Task, parts: Parts, store: Cache, accelerator: Accelerator, folder: Path | None
) -> Callable[[Trainable], Callable[[int], LookReport | None]]:
    """Encode what looks are to see; what comes back gives the looks of a model that the method has been put into."""
    settings, side_px = task.train.look, task.train.resolution_px
    pictures = looks.chosen(settings, task.holdout)
    sentences = looks.sentences_of(settings, task.subject, task.holdout)
    if folder is None or not looks.wanted_at_all(settings, task.holdout):
        return lambda trainable: lambda step: None
    process, edge = objective.from_config(parts.scheduler), side_px // parts.pixels_per_latent
    latents = cache.picture_latents(store, parts, pictures, side_px)[:, 0] if pictures else ()
    learns_text = method(task.train.method).learns_text(task.train)
    frozen = None if learns_text else cache.conditioning(store, parts, sentences)

    def of(trainable: Trainable) -> Callable[[int], LookReport]:
        view = View(
            folder, trainable.parts, process, prompts=_prompts(trainable, sentences, frozen),
            held_out=looks.held_out_of(pictures, latents, sentences),
            timesteps=looks.centres(settings.timesteps, process.n_timesteps) if pictures else (),
            wanted=looks.wanted_of(settings, task.subject, sentences), draw_steps=settings.steps, shape=(parts.latent_channels, edge, edge), seed=task.seed,
            autocast=accelerator.autocast, keeps=accelerator.is_main_process,
        )  # fmt: skip
        return partial(looks.look, view)

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


def _snapshots(task: Task, trainable: Trainable) -> Callable[[Path, int], None]:
    dtype = getattr(torch, task.train.save_dtype)

    def write(folder: Path, step: int) -> None:
        method(task.train.method).save(trainable, folder, dtype, {**task.stamp, "step": str(step)})

    return write
