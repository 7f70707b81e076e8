"""The training loop. It depends on no family, method or optimiser, on no clock, and on no files but the states.

A step is: the loss of every slot of its batch, backward, clip, optimise, update the EMA. Whatever number of processes
and parts shares the slots, the result is that of the whole batch.
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
from pipeline.training.distributed.fsdp import full_tensor
from pipeline.training.ema import EMA
from pipeline.training.nan_guard import MAX_FP16_SKIPS, all_finite, may_skip_step, non_finite_message
from pipeline.training.timing import StepTimer

HISTORY_COLUMNS = ("loss", "learning_rate", "gradient_norm")
GPU_REPORT_EVERY = 10  # steps; reading a number makes the CPU wait for the GPU
SLOW_STEP_S = 1.0  # beside such a step that wait is negligible


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
    """How long, how fast, and when to save; `learning_rate` gives the rate after so many finished steps."""

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
    """One training: what is trained, on what, and how.

    `loss(components, step, slots)` is a mean over slots; `examples_of(step)` names the examples of a step;
    `monitor(step)` measures and draws before the first step and at each snapshot, and changes nothing; `sharded`: each
    process keeps a shard of the trained weights (FSDP) instead of all of them.
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
    job: TrainingJob, accelerator: Accelerator, store: CheckpointStore, hooks: Hooks, timer: StepTimer | None = None
) -> TrainingState:
    """Train to the last step, from the newest saved state or from the start; returns the state at the end.

    Raises
    ------
    Interrupted
        When `hooks.should_stop` is true: the step was finished and the state is saved.
    PaleoError
        When a loss or gradient is NaN or infinite; nothing of that step is written.
    """
    loop = _Loop(job, accelerator, store, hooks, timer or StepTimer(hooks.clock))
    loop.monitor(0)  # a resumed training reads it, unless it was removed or its settings changed
    settings, step = job.settings, loop.resume()
    while step < settings.steps:
        loop.take_step(step)
        step += 1
        if step in settings.snapshots:
            loop.snapshot(step)
        stop = loop.stop_requested() and step < settings.steps
        due = step % settings.save_every_steps == 0 and step < settings.steps
        saved = (stop or due) and loop.save(step)
        if stop:
            how = "saved" if saved else "not saved"
            raise Interrupted(f"interrupted at step {step} of {settings.steps}; {how}; run again to continue")
    loop.report_steps()
    return loop.state


def split_batch(batch_size: int, n_processes: int, n_parts: int, process: int) -> list[range]:
    """The slots of one process, in equal parts whose gradients are accumulated.

    Raises
    ------
    ParamsError
        When the batch cannot be divided evenly.
    """
    if batch_size % (n_processes * n_parts):
        raise ParamsError(
            f"train.batch_size is {batch_size}, which {n_processes} processes with {n_parts} accumulation steps cannot "
            "share evenly; change it, num_processes in the accelerate config, or ACCELERATE_GRADIENT_ACCUMULATION_STEPS"
        )
    size = batch_size // (n_processes * n_parts)
    start = process * n_parts * size
    return [range(start + part * size, start + (part + 1) * size) for part in range(n_parts)]


class _Loop:
    """The mutable state of a training, and what is done with it."""

    def __init__(
        self, job: TrainingJob, accelerator: Accelerator, store: CheckpointStore, hooks: Hooks, timer: StepTimer
    ):
        self.job, self.accelerator, self.store, self.hooks, self.timer = job, accelerator, store, hooks, timer
        settings = job.settings
        self.slots = split_batch(
            settings.batch_size,
            accelerator.num_processes,
            accelerator.gradient_accumulation_steps,
            accelerator.process_index,
        )
        self.wrapped = wrap(job.trainable, accelerator, sharded=job.sharded)
        self.weights = list(job.trainable.parameters.values())
        optimiser = job.optimiser(job.trainable)  # after sharding, which puts other parameters in the place of ours
        self.prepared_optimiser = accelerator.prepare_optimizer(optimiser)
        ema = EMA(job.trainable.parameters, settings.ema_decay) if settings.ema_decay else None
        self.state = TrainingState(job.trainable, optimiser, ema, accelerator.scaler)
        self.unreported: list[torch.Tensor] = []  # (loss, gradient norm) of the steps since the last report
        self.last_report_s = hooks.clock()
        self.step_s = math.inf  # of a step, as last reported
        self.slow = True  # was it above SLOW_STEP_S on any process? The same on all of them

    def resume(self) -> int:
        """Restore the saved state; returns the number of its finished steps."""
        step = self.store.load(self.state, self.job.settings.snapshots, self.hooks.log)
        steps = self.accelerator.gather(torch.tensor([step], device=self.accelerator.device)).tolist()
        if len(set(steps)) > 1:
            raise PaleoError(
                f"the processes continue from different steps ({', '.join(map(str, steps))}): "
                f"{self.store.folder} must lie on a disk that all machines share"
            )
        if self.accelerator.is_main_process:
            self.store.set_aside_after(step, self.hooks.log)
        if step:
            self.hooks.log(f"continuing from step {step} of {self.job.settings.steps}")
        self.last_report_s = self.hooks.clock()
        return step

    def take_step(self, step: int) -> None:
        """One optimiser step on the whole batch."""
        self.timer.start_step()
        rate = self.job.settings.learning_rate(step)
        for group in self.state.optimiser.param_groups:
            group["lr"] = rate * group["lr_factor"]
        losses = [self._backward(slots, last=slots is self.slots[-1], step=step) for slots in self.slots]
        norm = self._clip()
        self.unreported.append(torch.stack([torch.stack(losses).mean(), norm]))
        if self.accelerator.device.type == "cpu" and not norm.isfinite():
            self.report_steps()  # training ends here, while the weights can still show which picture is the cause
        self.prepared_optimiser.step()
        self.prepared_optimiser.zero_grad(set_to_none=True)
        if self.state.ema:
            self.state.ema.update(step + 1)
        self.timer.mark("steps/optimiser")
        if self.accelerator.device.type == "cpu" or len(self.unreported) >= GPU_REPORT_EVERY:
            self.report_steps()

    def _clip(self) -> torch.Tensor:
        """Clip the gradients to the largest norm allowed; returns the norm that they had.

        On a CPU, where reading the norm is free, they are left alone when torch would multiply them by one.
        """
        max_norm = self.job.settings.max_gradient_norm
        if self.accelerator.device.type != "cpu" or self.wrapped.sharded:
            return full_tensor(self.accelerator.clip_grad_norm_(self.weights, max_norm))
        norm = torch.nn.utils.get_total_norm([weight.grad for weight in self.weights if weight.grad is not None])
        if max_norm / (norm + 1e-6) < 1:
            torch.nn.utils.clip_grads_with_norm_(self.weights, max_norm, norm)
        return norm

    def _backward(self, slots: range, last: bool, step: int) -> torch.Tensor:
        """Gradients of some slots; with several processes they are exchanged after the last part only."""
        if not last:
            with self.wrapped.no_sync(self.accelerator):
                return self._gradients(slots, step)
        return self._gradients(slots, step)

    def _gradients(self, slots: range, step: int) -> torch.Tensor:
        with self.accelerator.autocast():
            loss = self.job.loss(self.wrapped.components, step, slots)
        self.timer.mark("steps/forward")
        self.accelerator.backward(loss)
        self.timer.mark("steps/backward")
        return loss.detach()

    def report_steps(self) -> None:
        """Report the steps since the last time; here, and only here, the CPU waits for the numbers."""
        if not self.unreported:
            return
        rows = self.accelerator.reduce(torch.stack(self.unreported), "mean").tolist()
        self.unreported.clear()
        self.timer.read_gpu_events()
        now_s = self.hooks.clock()
        self.step_s, self.last_report_s = (now_s - self.last_report_s) / len(rows), now_s
        self.timer.add("steps", self.step_s * len(rows))
        for loss, norm in rows:
            self._report_step(loss, norm)

    def _report_step(self, loss: float, norm: float) -> None:
        history, settings = self.state.history, self.job.settings
        finished = len(history)
        norms = [row[HISTORY_COLUMNS.index("gradient_norm")] for row in history[-MAX_FP16_SKIPS:]]
        if not math.isfinite(loss) or not (math.isfinite(norm) or may_skip_step(norms, self.state.scaler)):
            raise PaleoError(self._non_finite_message(finished, loss, norm))
        report = StepReport(
            step=finished + 1,
            loss=loss,
            learning_rate=settings.learning_rate(finished),
            gradient_norm=norm,
            seconds=self.step_s,
            images_per_second=settings.batch_size / max(self.step_s, 1e-9),
            memory_mb=self.hooks.memory_mb(),
        )
        history.append([getattr(report, column) for column in HISTORY_COLUMNS])
        self.hooks.on_step(report)

    def _non_finite_message(self, finished: int, loss: float, norm: float) -> str:
        examples, is_bad = self.job.examples_of(finished), self._non_finite_slots(finished)
        message = non_finite_message(finished + 1, loss, norm, examples, is_bad)
        return f"{message}; the state of step {self.store.step} is as it was" if self.store.step else message

    @torch.no_grad()
    def _non_finite_slots(self, step: int) -> list[bool]:
        """For each slot of a step: is its own loss NaN or infinite?"""
        with self.accelerator.autocast():
            losses = [self.job.loss(self.wrapped.components, step, [slot]) for part in self.slots for slot in part]
        bad: list[bool] = (~self.accelerator.gather(torch.stack(losses)).isfinite()).tolist()
        return bad

    def _check_weights(self, step: int) -> None:
        """PaleoError when the step made weights NaN or infinite, although its loss and gradient were finite."""
        if self.accelerator.reduce((~all_finite(self.weights)).float(), "sum"):
            raise PaleoError(f"step {step} made weights that are no finite numbers; lower train.learning_rate")

    def snapshot(self, step: int) -> None:
        self.report_steps()
        self._check_weights(step)
        with self._beside_steps("snapshots"), self.state.ema_applied(), self.wrapped.full_state_dicts(self.accelerator):
            if self.accelerator.is_main_process:
                self._write_snapshot(step)
        self.monitor(step)

    def _write_snapshot(self, step: int) -> None:
        try:
            self.store.write_snapshot(step, lambda folder: self.job.write_snapshot(folder, step))
        except (OSError, SafetensorError) as error:  # the latter when the disk is full
            raise PaleoError(
                f"the snapshot of step {step} could not be written ({error}); make room and run again: "
                f"it continues from step {self.store.step or 0}"
            ) from error

    def monitor(self, step: int) -> None:
        with self._beside_steps("monitoring"), self.state.ema_applied():
            if self.accelerator.is_main_process or self.wrapped.sharded:  # all shards are needed to compute
                report = self.job.monitor(step)
                if report and self.accelerator.is_main_process:
                    self.hooks.on_monitoring(report)

    def save(self, step: int) -> bool:
        """Returns whether it was possible; when the disk is full, training continues without a saved state."""
        self.report_steps()
        self._check_weights(step)
        with self._beside_steps("saving"):
            if self.accelerator.is_main_process:
                return self._save(step)
            if self.wrapped.sharded:
                streaming.join_gathering(self.state.tensors())
        return True

    def _save(self, step: int) -> bool:
        try:
            self.store.save(step, self.state, self.job.settings.keep_states)
        except OSError as error:
            kept = f"that of step {self.store.step} is still there" if self.store.step else "there is none before it"
            self.hooks.log(f"the state of step {step} could not be saved ({error.strerror or error}); {kept}")
            return False
        return True

    @contextmanager
    def _beside_steps(self, kind: str) -> Iterator[None]:
        """Work beside the steps: its seconds are counted as `kind`, and the processes wait for each other."""
        with self.timer.measure(kind):
            yield
            self.accelerator.wait_for_everyone()
        self.last_report_s = self.hooks.clock()

    def stop_requested(self) -> bool:
        """Was any process requested to stop? All must leave at the same step.

        Several GPUs with quick steps exchange this only where they wait for numbers anyway.
        """
        requested = self.hooks.should_stop()
        if self.accelerator.num_processes == 1:
            return requested
        if self.unreported and not self.slow:
            return False
        own = torch.tensor([float(requested), float(self.step_s > SLOW_STEP_S)], device=self.accelerator.device)
        n_requested, n_slow = self.accelerator.reduce(own, "sum").tolist()
        self.slow = n_slow > 0
        return bool(n_requested > 0)
