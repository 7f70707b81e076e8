"""The training loop. It knows neither families nor methods by name, no clock, no files but the state's.

loss = mean |prediction - target|^2        over the whole batch, whatever number of processes shares it
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import torch
import torch.nn.functional as F
from accelerate import Accelerator

from pipeline.core.errors import Interrupted, PaleoError, ParamsError
from pipeline.core.params import Train
from pipeline.core.records import StepReport
from pipeline.diffusion.objective import Objective
from pipeline.families.parts import Conditioning, Parts
from pipeline.training.batches import Batch, Draw, Examples, batch_at
from pipeline.training.state import Damaged, Saves, put_back
from pipeline.training.trainable import Trainable

COLUMNS = ("loss", "learning_rate", "gradient_norm")
GPU_LOOKS_EVERY = 10  # steps; reading a number makes the CPU wait for the GPU


@dataclass(frozen=True)
class Hooks:
    """What the loop is handed from outside: whom to tell, when to stop, what time it is (s)."""

    report: Callable[[StepReport], None]
    say: Callable[[str], None]
    stopping: Callable[[], bool]
    clock: Callable[[], float]


@dataclass(frozen=True)
class Job:
    """One training: what learns, from what, and how."""

    family: ModuleType
    trainable: Trainable
    objective: Objective
    examples: Examples
    prompts: Callable[[Parts, torch.Tensor], Conditioning]  # rows of the sentences -> what the UNet reads
    write_snapshot: Callable[[Path, int], None]
    train: Train
    seed: int


def run(job: Job, accelerator: Accelerator, saves: Saves, hooks: Hooks) -> list[list[float]]:
    """Train to the last step, going on from a saved state; returns the values of COLUMNS for every step.

    Raises
    ------
    Interrupted
        When `hooks.stopping` says so: the step was finished and the state is saved.
    PaleoError
        When the loss is no finite number.
    """
    work = _Work(job, accelerator, saves, hooks)
    step = work.resume()
    while step < job.train.steps:
        work.take(step)
        step += 1
        if step in job.train.snapshots:
            work.snapshot(step)
        stop = work.told_to_stop() and step < job.train.steps
        if stop or (step % job.train.save_every_steps == 0 and step < job.train.steps):
            work.save(step)
        if stop:
            raise Interrupted(f"interrupted at step {step} of {job.train.steps}; saved; run again to continue")
    work.tell()
    return work.history


def rate_at(train: Train, step: int) -> float:
    """Learning rate of the step that follows `step` finished ones: a linear rise, then constant."""
    return train.learning_rate * min(1.0, (step + 1) / max(1, train.warmup_steps))


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
            "share evenly; change it, or num_processes and gradient_accumulation_steps in the accelerate config"
        )
    size = batch_size // (n_processes * n_parts)
    start = process * n_parts * size
    return [range(start + part * size, start + (part + 1) * size) for part in range(n_parts)]


class _Work:
    """The moving parts of a training."""

    def __init__(self, job: Job, accelerator: Accelerator, saves: Saves, hooks: Hooks):
        self.job, self.accelerator, self.saves, self.hooks = job, accelerator, saves, hooks
        self.weights = list(job.trainable.parameters.values())
        # fused: one pass over the memory instead of a dozen, which is most of what AdamW costs on a CPU.
        self.optimiser = torch.optim.AdamW(
            self.weights, lr=job.train.learning_rate, weight_decay=job.train.weight_decay, fused=True
        )
        self.parts, self.stepper = _prepare(job, accelerator, self.optimiser)
        train, n_parts = job.train, accelerator.gradient_accumulation_steps
        self.draw = Draw(job.seed, train.batch_size, train.mirror, train.caption_dropout, train.prior.weight)
        self.slots = share(train.batch_size, accelerator.num_processes, n_parts, accelerator.process_index)
        self.history: list[list[float]] = []
        self.untold: list[torch.Tensor] = []
        self.since = hooks.clock()

    def resume(self) -> int:
        """Take up the saved state; returns the number of steps it has behind it."""
        try:
            saved = self.saves.load(self.job.train.snapshots)
        except Damaged as error:
            self.hooks.say(f"the saved state in {self.saves.folder} is damaged ({error}); training starts again")
            saved = None
        if not saved:
            return 0
        step, tensors = saved
        put_back(tensors, step, self.job.trainable, self.optimiser)
        self.history = tensors["history"].tolist()
        self.hooks.say(f"continuing from step {step} of {self.job.train.steps}")
        self.since = self.hooks.clock()
        return step

    def take(self, step: int) -> None:
        """One optimiser step on the whole batch."""
        rate = rate_at(self.job.train, step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        losses = [self._backward(slots, last=slots is self.slots[-1], step=step) for slots in self.slots]
        norm = self.accelerator.clip_grad_norm_(self.weights, self.job.train.max_gradient_norm)
        self.stepper.step()
        self.stepper.zero_grad(set_to_none=True)
        self.untold.append(torch.stack([torch.stack(losses).mean(), norm]))
        if self.accelerator.device.type == "cpu" or len(self.untold) >= GPU_LOOKS_EVERY:
            self.tell()

    def _backward(self, slots: range, last: bool, step: int) -> torch.Tensor:
        """Gradients of some slots; with several processes they are exchanged after the last part only."""
        batch = batch_at(step, slots, self.job.examples, self.draw, self.job.objective.n_timesteps)
        modules = () if last else (self.parts.unet, *self.parts.text_encoders)
        with _unsynchronised(self.accelerator, modules):
            with self.accelerator.autocast():
                loss = self._loss(batch)
            self.accelerator.backward(loss)
        return loss.detach()

    def _loss(self, batch: Batch) -> torch.Tensor:
        clean, noise, t = batch.clean, batch.noise, batch.timesteps
        prompts = self.job.prompts(self.parts, batch.texts)
        noisy = self.job.objective.add_noise(clean, noise, t)
        predicted = self.job.family.predict(self.parts, noisy, t, prompts)
        return F.mse_loss(predicted.float(), self.job.objective.target(clean, noise, t))

    def tell(self) -> None:
        """Report the steps since the last time; here, and only here, the CPU waits for the numbers."""
        if not self.untold:
            return
        rows = self.accelerator.reduce(torch.stack(self.untold), "mean").tolist()
        self.untold.clear()
        now = self.hooks.clock()
        seconds, self.since = (now - self.since) / len(rows), now
        for loss, norm in rows:
            self._tell_step(loss, norm, seconds)

    def _tell_step(self, loss: float, norm: float, seconds: float) -> None:
        finished = len(self.history)
        if not math.isfinite(loss):
            raise PaleoError(f"the loss of step {finished + 1} is {loss}; lower train.learning_rate")
        report = StepReport(
            step=finished + 1, loss=loss, learning_rate=rate_at(self.job.train, finished), gradient_norm=norm,
            seconds=seconds, images_per_second=self.job.train.batch_size / max(seconds, 1e-9),
        )  # fmt: skip
        self.history.append([getattr(report, column) for column in COLUMNS])
        self.hooks.report(report)

    def snapshot(self, step: int) -> None:
        self.tell()
        if self.accelerator.is_main_process:
            self.saves.write_snapshot(step, lambda folder: self.job.write_snapshot(folder, step))
        self.accelerator.wait_for_everyone()

    def save(self, step: int) -> None:
        self.tell()
        if self.accelerator.is_main_process:
            history = torch.tensor(self.history, dtype=torch.float64)
            self.saves.save(step, self.job.trainable, self.optimiser, history)
        self.accelerator.wait_for_everyone()

    def told_to_stop(self) -> bool:
        """Was any process told to stop? All must leave at the same step."""
        told = self.hooks.stopping()
        if self.accelerator.num_processes == 1:
            return told
        flag = torch.tensor(float(told), device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag, "sum"))


def _prepare(job: Job, accelerator: Accelerator, optimiser: torch.optim.Optimizer):
    """The parts as the forward pass uses them (wrapped when there are several processes), and the optimiser."""
    parts = job.trainable.parts
    if accelerator.device.type == "cuda":  # tensor cores want channels side by side; on a CPU it changes nothing
        parts.unet.to(memory_format=torch.channels_last)
    wrapped: Mapping[int, torch.nn.Module] = {
        id(module): accelerator.prepare_model(module) for module in job.trainable.modules.values()
    }
    text_encoders = tuple(wrapped.get(id(encoder), encoder) for encoder in parts.text_encoders)
    prepared = replace(parts, unet=wrapped.get(id(parts.unet), parts.unet), text_encoders=text_encoders)
    return prepared, accelerator.prepare_optimizer(optimiser)


def _unsynchronised(accelerator: Accelerator, modules: Iterable[torch.nn.Module]) -> ExitStack:
    """While it is open, the processes keep the gradients of these modules to themselves."""
    stack = ExitStack()
    for module in modules:
        stack.enter_context(accelerator.no_sync(module))
    return stack
