"""The training loop. It knows neither families nor methods, no optimiser by name, no clock, no files but the state's.

A step is: the loss of every slot of its batch, backward, clip, optimise, average. Whatever number of processes and
components shares the slots, the result is that of the whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors import SafetensorError

from pipeline.core.errors import Interrupted, PaleoError, ParamsError
from pipeline.core.records import MonitoringReport, StepReport
from pipeline.families.model_components import ModelComponents
from pipeline.methods.trainable import Trainable
from pipeline.training.checkpoint import streaming
from pipeline.training.checkpoint.state import CheckpointStore, TrainingState
from pipeline.training.distributed.ddp import wrap
from pipeline.training.distributed.fsdp import whole
from pipeline.training.ema import EMA
from pipeline.training.nan_guard import FP16_SKIPS, blame, skipping, sound
from pipeline.training.timing import StepTimer

COLUMNS = ("loss", "learning_rate", "gradient_norm")
GPU_LOOKS_EVERY = 10  # steps; reading a number makes the CPU wait for the GPU
SLOW_SECONDS = 1.0  # a step; beside it, such a wait is nothing


@dataclass(frozen=True)
class Hooks:
    """Callbacks of the loop; `clock` in seconds, `memory_mb` in use at most so far."""

    on_step: Callable[[StepReport], None]
    log: Callable[[str], None]
    should_stop: Callable[[], bool]
    clock: Callable[[], float]
    on_monitoring: Callable[[MonitoringReport], None] = lambda report: None
    memory_mb: Callable[[], float] = lambda: 0.0


@dataclass(frozen=True)
class LoopSettings:
    """How long, how fast, and when to keep something; `rate` gives the learning rate after so many steps."""

    steps: int
    batch_size: int
    snapshots: tuple[int, ...]
    save_every_steps: int
    learning_rate: Callable[[int], float]
    max_gradient_norm: float
    ema_decay: float = 0.0
    keep_states: int = 2


@dataclass(frozen=True)
class TrainingJob:
    """One training: what learns, from what, and how.

    `loss(components, step, slots)` is a mean over slots; `examples_of(step)` names the examples of a step;
    `monitor(step)` measures and draws before the first step and at each snapshot, and changes nothing; `sharded`: each
    process keeps a shard of the weights that learn (FSDP) instead of all of them.
    """

    trainable: Trainable
    loss: Callable[[ModelComponents, int, Sequence[int]], torch.Tensor]
    optimiser: Callable[[Trainable], torch.optim.Optimizer]
    settings: LoopSettings
    write_snapshot: Callable[[Path, int], None]
    examples_of: Callable[[int], list[str]] = lambda step: []
    monitor: Callable[[int], MonitoringReport | None] = lambda step: None
    sharded: bool = False


def train_to_end(
    job: TrainingJob, accelerator: Accelerator, saves: CheckpointStore, hooks: Hooks, spent: StepTimer | None = None
) -> TrainingState:
    """Train to the last step, going on from a saved state; returns how far it is: to the end.

    Raises
    ------
    Interrupted
        When `hooks.should_stop` says so: the step was finished and the state is saved.
    PaleoError
        When a loss or gradient is no finite number; nothing of that step is written.
    """
    work = _Work(job, accelerator, saves, hooks, spent or StepTimer(hooks.clock))
    work.look(0)  # a training that goes on has seen it, unless somebody removed it or wants to see something else
    settings, step = job.settings, work.resume()
    while step < settings.steps:
        work.take(step)
        step += 1
        if step in settings.snapshots:
            work.snapshot(step)
        stop = work.told_to_stop() and step < settings.steps
        due = step % settings.save_every_steps == 0 and step < settings.steps
        saved = (stop or due) and work.save(step)
        if stop:
            how = "saved" if saved else "not saved"
            raise Interrupted(f"interrupted at step {step} of {settings.steps}; {how}; run again to continue")
    work.tell()
    return work.progress


def share(batch_size: int, n_processes: int, n_parts: int, process: int) -> list[range]:
    """The slots of one process, in equal parts that are computed one after the other.

    Raises
    ------
    ParamsError
        When the batch cannot be shared evenly.
    """
    if batch_size % (n_processes * n_parts):
        raise ParamsError(
            f"train.batch_size is {batch_size}, which {n_processes} processes with {n_parts} accumulation steps cannot "
            "share evenly; change it, num_processes in the accelerate config, or ACCELERATE_GRADIENT_ACCUMULATION_STEPS"
        )
    size = batch_size // (n_processes * n_parts)
    start = process * n_parts * size
    return [range(start + part * size, start + (part + 1) * size) for part in range(n_parts)]


class _Work:
    """The mutable state of a training."""

    def __init__(
        self, job: TrainingJob, accelerator: Accelerator, saves: CheckpointStore, hooks: Hooks, spent: StepTimer
    ):
        self.job, self.accelerator, self.saves, self.hooks, self.spent = job, accelerator, saves, hooks, spent
        settings = job.settings
        self.slots = share(
            settings.batch_size,
            accelerator.num_processes,
            accelerator.gradient_accumulation_steps,
            accelerator.process_index,
        )
        self.wrapped = wrap(job.trainable, accelerator, sharded=job.sharded)
        self.weights = list(job.trainable.parameters.values())
        optimiser = job.optimiser(job.trainable)  # after sharding, which puts other parameters in the place of ours
        self.stepper = accelerator.prepare_optimizer(optimiser)
        average = EMA(job.trainable.parameters, settings.ema_decay) if settings.ema_decay else None
        self.progress = TrainingState(job.trainable, optimiser, average, accelerator.scaler)
        self.untold: list[torch.Tensor] = []
        self.since = hooks.clock()
        self.seconds = math.inf  # of a step, as last told
        self.slow = True  # was it above SLOW_SECONDS on any process? The same on all of them

    def resume(self) -> int:
        """Take up the saved state; returns the number of steps it has behind it."""
        step = self.saves.load(self.progress, self.job.settings.snapshots, self.hooks.log)
        found = self.accelerator.gather(torch.tensor([step], device=self.accelerator.device)).tolist()
        if len(set(found)) > 1:
            raise PaleoError(
                f"the processes go on from different steps ({', '.join(map(str, found))}): "
                f"{self.saves.folder} must lie on a disk that all machines share"
            )
        if self.accelerator.is_main_process:
            self.saves.drop_beyond(step, self.hooks.log)
        if step:
            self.hooks.log(f"continuing from step {step} of {self.job.settings.steps}")
        self.since = self.hooks.clock()
        return step

    def take(self, step: int) -> None:
        """One optimiser step on the whole batch."""
        self.spent.begin()
        rate = self.job.settings.learning_rate(step)
        for group in self.progress.optimiser.param_groups:
            group["lr"] = rate * group["lr_factor"]
        losses = [self._backward(slots, last=slots is self.slots[-1], step=step) for slots in self.slots]
        norm = self._clip()
        self.untold.append(torch.stack([torch.stack(losses).mean(), norm]))
        if self.accelerator.device.type == "cpu" and not norm.isfinite():
            self.tell()  # it ends here, while the weights are still good enough to find the picture by
        self.stepper.step()
        self.stepper.zero_grad(set_to_none=True)
        if self.progress.average:
            self.progress.average.update(step + 1)
        self.spent.mark("steps/optimiser")
        if self.accelerator.device.type == "cpu" or len(self.untold) >= GPU_LOOKS_EVERY:
            self.tell()

    def _clip(self) -> torch.Tensor:
        """Shrink the gradients to the largest norm allowed; returns the norm that they had.

        On a CPU, where asking is free, they are left alone when torch would multiply them by one.
        """
        most = self.job.settings.max_gradient_norm
        if self.accelerator.device.type != "cpu" or self.wrapped.cut:
            return whole(self.accelerator.clip_grad_norm_(self.weights, most))
        norm = torch.nn.utils.get_total_norm([weight.grad for weight in self.weights if weight.grad is not None])
        if most / (norm + 1e-6) < 1:
            torch.nn.utils.clip_grads_with_norm_(self.weights, most, norm)
        return norm

    def _backward(self, slots: range, last: bool, step: int) -> torch.Tensor:
        """Gradients of some slots; with several processes they are exchanged after the last part only."""
        if not last:
            with self.wrapped.alone(self.accelerator):
                return self._gradients(slots, step)
        return self._gradients(slots, step)

    def _gradients(self, slots: range, step: int) -> torch.Tensor:
        with self.accelerator.autocast():
            loss = self.job.loss(self.wrapped.components, step, slots)
        self.spent.mark("steps/forward")
        self.accelerator.backward(loss)
        self.spent.mark("steps/backward")
        return loss.detach()

    def tell(self) -> None:
        """Report the steps since the last time; here, and only here, the CPU waits for the numbers."""
        if not self.untold:
            return
        rows = self.accelerator.reduce(torch.stack(self.untold), "mean").tolist()
        self.untold.clear()
        self.spent.read()
        now = self.hooks.clock()
        seconds, self.since = (now - self.since) / len(rows), now
        self.seconds = seconds
        self.spent.add("steps", seconds * len(rows))
        for loss, norm in rows:
            self._tell_step(loss, norm, seconds)

    def _tell_step(self, loss: float, norm: float, seconds: float) -> None:
        history, settings = self.progress.history, self.job.settings
        finished = len(history)
        norms = [row[COLUMNS.index("gradient_norm")] for row in history[-FP16_SKIPS:]]
        if not math.isfinite(loss) or not (math.isfinite(norm) or skipping(norms, self.progress.scaler)):
            raise PaleoError(self._blame(finished, loss, norm))
        report = StepReport(
            step=finished + 1,
            loss=loss,
            learning_rate=settings.learning_rate(finished),
            gradient_norm=norm,
            seconds=seconds,
            images_per_second=settings.batch_size / max(seconds, 1e-9),
            memory_mb=self.hooks.memory_mb(),
        )
        history.append([getattr(report, column) for column in COLUMNS])
        self.hooks.on_step(report)

    def _blame(self, finished: int, loss: float, norm: float) -> str:
        why = blame(finished + 1, loss, norm, self.job.examples_of(finished), self._guilty(finished))
        return f"{why}; the state of step {self.saves.step} is as it was" if self.saves.step else why

    @torch.no_grad()
    def _guilty(self, step: int) -> list[bool]:
        """For each slot of a step: is its own loss no finite number?"""
        with self.accelerator.autocast():
            losses = [self.job.loss(self.wrapped.components, step, [slot]) for part in self.slots for slot in part]
        return (~self.accelerator.gather(torch.stack(losses)).isfinite()).tolist()

    def _check_weights(self, step: int) -> None:
        """Nothing is written of weights that a step has spoilt, although all its numbers were finite."""
        if self.accelerator.reduce((~sound(self.weights)).float(), "sum"):
            raise PaleoError(f"step {step} made weights that are no finite numbers; lower train.learning_rate")

    def snapshot(self, step: int) -> None:
        self.tell()
        self._check_weights(step)
        with self._apart("snapshots"), self.progress.shown(), self.wrapped.whole(self.accelerator):
            if self.accelerator.is_main_process:
                self._write_snapshot(step)
        self.look(step)

    def _write_snapshot(self, step: int) -> None:
        try:
            self.saves.write_snapshot(step, lambda folder: self.job.write_snapshot(folder, step))
        except (OSError, SafetensorError) as error:  # the latter when the disk is full
            raise PaleoError(
                f"the snapshot of step {step} could not be written ({error}); make room and run again: "
                f"it goes on from step {self.saves.step or 0}"
            ) from error

    def look(self, step: int) -> None:
        with self._apart("looks"), self.progress.shown():
            if self.accelerator.is_main_process or self.wrapped.cut:  # whoever has a piece must help to compute
                report = self.job.monitor(step)
                if report and self.accelerator.is_main_process:
                    self.hooks.on_monitoring(report)

    def save(self, step: int) -> bool:
        """Returns whether it was possible; when the disk is full, a training that may yet end well goes on."""
        self.tell()
        self._check_weights(step)
        with self._apart("saving"):
            if self.accelerator.is_main_process:
                return self._save(step)
            if self.wrapped.cut:
                streaming.take_part(self.progress.tensors())
        return True

    def _save(self, step: int) -> bool:
        try:
            self.saves.save(step, self.progress, self.job.settings.keep_states)
        except OSError as error:
            left = f"that of step {self.saves.step} is still there" if self.saves.step else "there is none before it"
            self.hooks.log(f"the state of step {step} could not be saved ({error.strerror or error}); {left}")
            return False
        return True

    @contextmanager
    def _apart(self, what: str) -> Iterator[None]:
        """Something beside the steps: its seconds are counted apart, and the processes wait for each other."""
        with self.spent.on(what):
            yield
            self.accelerator.wait_for_everyone()
        self.since = self.hooks.clock()

    def told_to_stop(self) -> bool:
        """Was any process told to stop? All must leave at the same step.

        Several GPUs with quick steps ask each other only where they wait for numbers anyway.
        """
        told = self.hooks.should_stop()
        if self.accelerator.num_processes == 1:
            return told
        if self.untold and not self.slow:
            return False
        mine = torch.tensor([float(told), float(self.seconds > SLOW_SECONDS)], device=self.accelerator.device)
        anyone, slow = self.accelerator.reduce(mine, "sum").tolist()
        self.slow = slow > 0
        return anyone > 0
