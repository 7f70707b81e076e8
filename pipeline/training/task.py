"""A training run up to its first step: load the base, encode pictures and captions, attach the method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache as once
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator

from pipeline.core.errors import Interrupted, ParamsError
from pipeline.core.records import MonitoringReport
from pipeline.core.training_params import Train
from pipeline.families.model_components import Conditioning, ModelComponents, tokenise
from pipeline.methods.trainable import Trainable
from pipeline.training import monitoring, preflight
from pipeline.training.data import latent_cache
from pipeline.training.data.batches import EncodedDataset, SamplingSettings
from pipeline.training.data.dataset import EncodingContext, encode_dataset, encode_held_out, shapes_of
from pipeline.training.data.latent_cache import LatentCache, OnProgress, vae_digest
from pipeline.training.denoising_loss import DenoisingLoss, EncodePrompts
from pipeline.training.distributed import memory_savings
from pipeline.training.loop import LoopSettings, TrainingJob
from pipeline.training.lr_schedules import learning_rate_at
from pipeline.training.monitoring import Monitoring
from pipeline.training.optimisers import optimiser
from pipeline.training.training_run import TrainingRun

INTERRUPTED = "interrupted while preparing; what is encoded is kept; run again to continue"
DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
MonitorStep = Callable[[int], MonitoringReport | None]
T = TypeVar("T")


@dataclass(frozen=True)
class Callbacks:
    """What preparation reports, and when it stops.

    `log` takes warnings, `on_progress` how far encoding is, `mark` the end of a part of a step; `should_stop` is polled
    after each thing that was cached.
    """

    log: Callable[[str], None] = lambda line: None
    on_progress: OnProgress = lambda what, done, total: None
    mark: Callable[[str], None] = lambda part: None
    should_stop: Callable[[], bool] = lambda: False

    def progress(self, what: str, done: int, total: int) -> None:
        """Report, and raise Interrupted when preparation is to stop: what is reported has just been cached."""
        self.on_progress(what, done, total)
        if self.should_stop():
            raise Interrupted(INTERRUPTED)


@dataclass(frozen=True)
class _Encoded:
    """What went through a frozen network: the data set, its captions if the text encoder is frozen, monitoring."""

    dataset: EncodedDataset
    captions: Conditioning | None
    monitor: Callable[[Trainable], MonitorStep]


@dataclass(frozen=True)
class _Preparation:
    run: TrainingRun
    accelerator: Accelerator
    context: EncodingContext
    monitoring_dir: Path | None
    log: Callable[[str], None] = field(default=lambda line: None)

    def encode(self) -> _Encoded:
        run, context = self.run, self.context
        dataset = encode_dataset(run.train, run.pictures, run.prior, context)
        return _Encoded(dataset, self._captions(dataset.sentences), self._monitoring())

    def _captions(self, sentences: Sequence[str]) -> Conditioning | None:
        if self.run.trains_text_encoder:
            return None
        context = self.context
        return latent_cache.conditioning(context.cache, context.components, sentences, context.on_progress)

    def _monitoring(self) -> Callable[[Trainable], MonitorStep]:
        """Encode what is monitored; the result makes the `monitor(step)` of a model that the method is attached to."""
        run, context = self.run, self.context
        params, components = run.train.monitor, context.components
        if self.monitoring_dir is None or not monitoring.is_enabled(params, run.holdout):
            return lambda trainable: lambda step: None
        pictures = monitoring.monitored_pictures(params, run.holdout)
        sentences = monitoring.monitored_sentences(params, run.subject, run.holdout)
        process = preflight.forward_process(run.train, components.scheduler)
        latents = [each.to(components.device) for each in encode_held_out(shapes_of(run.train), pictures, context)]
        captions, held_out = self._captions(sentences), monitoring.held_out_images(pictures, latents, sentences)
        edge = run.train.resolution_px // components.pixels_per_latent
        settings: dict[str, Any] = {
            "folder": self.monitoring_dir,
            "objective": process,
            "held_out": held_out,
            "timesteps": monitoring.interval_midpoints(params.timesteps, process.n_timesteps) if held_out else (),
            "previews": monitoring.preview_specs(params, run.subject, sentences),
            "sampling_steps": params.steps,
            "latent_shape": (components.latent_channels, edge, edge),
            "seed": run.seed,
            "autocast": self.accelerator.autocast,
            "writes_files": self.accelerator.is_main_process,
            "log": self.log,
            "compiled": run.train.compile,
        }

        def monitor_of(trainable: Trainable) -> MonitorStep:
            encode_prompts = _prompt_encoder(trainable, sentences, captions)
            attached = Monitoring(components=trainable.components, encode_prompts=encode_prompts, **settings)
            return partial(monitoring.monitor, attached)

        return monitor_of


def prepare(
    run: TrainingRun,
    accelerator: Accelerator,
    cache_dir: Path,
    monitoring_dir: Path | None = None,
    callbacks: Callbacks = Callbacks(),  # noqa: B008 (frozen)
    *,
    sharded: bool = False,
) -> TrainingJob:
    """Load the base, encode every picture and caption once (into `cache_dir`), attach the method.

    Without a `monitoring_dir` nothing is measured or drawn during training. `sharded`: each process will keep a shard
    of the trained weights (FSDP). The job holds no picture's bytes.

    Raises
    ------
    Interrupted
        In all processes, when `should_stop` is true in one of them.
    InputError, ParamsError
        When the base cannot be loaded or params do not fit it.
    """
    preflight.check(run, callbacks.log)
    callbacks.progress("loading the base", 0, 1)
    components = run.family.load(run.base, accelerator.device)
    callbacks.progress("loading the base", 1, 1)
    # Each warning once, however many pictures cannot be cached.
    cache = LatentCache(
        cache_dir, run.metadata["base_digest"], accelerator.mixed_precision, vae_digest(run.base), once(callbacks.log)
    )
    context = EncodingContext(components, cache, run.seed, accelerator.autocast, callbacks.progress)
    encoded = _main_process_first(
        accelerator, _Preparation(run, accelerator, context, monitoring_dir, callbacks.log).encode
    )
    components.vae.to("cpu")  # everything is encoded
    dtype = DTYPES.get(accelerator.mixed_precision, torch.float32)
    trainable = run.method.attach(components, run.train, run.subject, run.seed, dtype)
    loss = replace(_loss(run, trainable, encoded, accelerator, sharded=sharded), mark=callbacks.mark)
    memory_savings.apply(trainable, run.train, sharded=sharded)
    return TrainingJob(
        trainable,
        loss,
        optimiser=_optimiser(run.train),
        settings=loop_settings(run.train),
        write_snapshot=partial(_write_snapshot, run.without_bytes(), trainable),
        examples_of=loss.examples_of,
        monitor=encoded.monitor(trainable),
        sharded=sharded,
    )


def loop_settings(train: Train) -> LoopSettings:
    """The params that the loop itself needs."""
    return LoopSettings(
        steps=train.steps,
        batch_size=train.batch_size,
        snapshots=train.snapshots,
        save_every_steps=train.save_every_steps,
        learning_rate=partial(learning_rate_at, train),
        max_gradient_norm=train.max_gradient_norm,
        ema_decay=train.ema_decay,
        keep_states=train.keep_states,
    )


def _main_process_first(accelerator: Accelerator, make: Callable[[], T]) -> T:
    """What `make` returns, first in the main process, then in the others, which find its results in the cache.

    When it is interrupted in one process, all raise: the others would wait for it for ever.
    """
    made: T | None = None
    interrupted: Interrupted | None = None
    for main_process_turn in (True, False):
        if accelerator.is_main_process is main_process_turn:
            try:
                made = make()
            except Interrupted as error:
                interrupted = error
        # Here the others wait.
        stopped = accelerator.reduce(torch.tensor(float(interrupted is not None), device=accelerator.device), "sum")
        if stopped:
            raise interrupted or Interrupted(INTERRUPTED)
    assert made is not None
    return made


def _loss(
    run: TrainingRun, trainable: Trainable, encoded: _Encoded, accelerator: Accelerator, *, sharded: bool
) -> DenoisingLoss:
    """The denoising loss; with `prior.kind: teacher` the frozen base gives the targets of prior examples."""
    train = run.train
    if run.uses_teacher and trainable.teacher is None:
        raise ParamsError(
            f"train.prior.kind is 'teacher', which train.method {train.method!r} does not have; "
            "take 'pictures' or a weight of 0"
        )
    sampling = SamplingSettings(
        run.seed,
        train.batch_size,
        train.horizontal_flip,
        train.caption_dropout,
        train.prior.weight,
        train.loss.noise_offset,
        train.loss.timesteps,
    )
    return DenoisingLoss(
        preflight.forward_process(train, trainable.components.scheduler).to(accelerator.device),
        train.loss,
        encoded.dataset,
        sampling,
        _prompt_encoder(trainable, encoded.dataset.sentences, encoded.captions),
        trainable.teacher if run.uses_teacher else None,
        teacher_always=sharded,
    )


def _prompt_encoder(trainable: Trainable, sentences: Sequence[str], encoded: Conditioning | None) -> EncodePrompts:
    """Rows of the sentences -> conditioning: encoded before, or at every step by the text encoder as it is then."""
    if encoded is not None:
        for encoder in trainable.components.text_encoders:
            encoder.to("cpu")  # it would only take up memory
        return lambda _, rows: encoded[rows]
    tokens = tokenise(trainable.components, sentences)

    def encode(components: ModelComponents, rows: Any) -> Conditioning:
        return components.family.encode_tokens(components, tuple(ids[rows] for ids in tokens))

    return encode


def _optimiser(train: Train) -> Callable[[Trainable], torch.optim.Optimizer]:
    make = optimiser(train.optimiser).make
    return lambda trainable: make(trainable.optimiser_groups(train.weight_decay), train.learning_rate)


def _write_snapshot(run: TrainingRun, trainable: Trainable, folder: Path, step: int) -> None:
    dtype = getattr(torch, run.train.save_dtype)
    run.method.save(trainable, folder, dtype, {**run.metadata, "step": str(step)})
