"""Out of memory: which params to change, and by how much.

What a step needs is what it has whatever the batch (weights, gradients, the optimiser's numbers) and what the forward
pass keeps of each example, which grows with the area of the pictures. After a failure both are measured: everything of
the failed step is let go, and one example is put through again, counting what is kept of it.
"""

from __future__ import annotations

import gc
import math
import re
import resource
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import torch
from accelerate import Accelerator

from pipeline.core.errors import PaleoError
from pipeline.core.training_params import Train
from pipeline.families.model_components import ModelComponents
from pipeline.methods.trainable import Trainable
from pipeline.training.checkpoint.state import CheckpointStore
from pipeline.training.distributed import memory_savings
from pipeline.training.loop import TrainingJob

OF_OPTIMISER = {"adamw": 8, "adamw8bit": 2, "adafactor": 0, "prodigy": 16}  # bytes for each weight that learns
SPARE = 0.95  # of the room, since memory is never filled without gaps
FAILED = re.compile(
    r"can't allocate memory|cannot allocate memory|out of memory|bad_alloc|could not create a memory", re.IGNORECASE
)
ASKED = re.compile(r"tried to allocate ([\d.]+) ?(bytes|[KMGT]i?B)", re.IGNORECASE)
UNITS = {"b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


@dataclass(frozen=True)
class MemoryEstimate:
    """In bytes: the room there is, what is needed whatever the batch, and what one example needs beside.

    `checkpointed`: what it would need with gradient checkpointing; `at_once`: examples that are computed together.
    """

    room: int
    fixed: int
    example: int
    checkpointed: int
    at_once: int

    def step(self, example: float | None = None) -> float:
        return self.fixed + (self.example if example is None else example) * self.at_once

    @property
    def share(self) -> float:
        """Of what the examples need: how much there is."""
        return max(0.0, SPARE * self.room - self.fixed) / max(1, self.example * self.at_once)


@contextmanager
def explained(
    train: Train, accelerator: Accelerator, saves: CheckpointStore, job: TrainingJob | None = None
) -> Iterator[None]:
    """While it is open, an allocation that fails ends in a PaleoError that says what to change.

    Without a `job` nothing was loaded yet that could be measured.
    """
    try:
        yield
        return
    except (torch.OutOfMemoryError, MemoryError) as error:
        failure = _let_go(error)
    except RuntimeError as error:
        if not FAILED.search(str(error)):
            raise
        failure = _let_go(error)
    kept = f"; the state of step {saves.step} is kept" if saves.step else ""
    if job is None:
        raise PaleoError(f"out of memory before the first step{_wanted(failure)}; {_smaller(train)}{kept}")
    raise PaleoError(f"out of memory: {advice(train, measure(train, accelerator, job, failure))}{kept}")


def advice(train: Train, bill: MemoryEstimate) -> str:
    """What a step needs, what there is, and three params that would change it."""
    needs = (
        f"a step needs about {_size(bill.step())}, {_size(bill.fixed)} of it for weights and optimiser, and there are "
        f"{_size(bill.room)}"
    )
    if bill.fixed >= SPARE * bill.room:
        return f"{needs}; neither batch nor size would help: {_join(_lighter(train, bill))}"
    ways = [*_checkpointing(train, bill), *_batch(train, bill), *_side(train, bill), *_lighter(train, bill)]
    return f"{needs}; {_join(ways[:3])}"


def measure(train: Train, accelerator: Accelerator, job: TrainingJob, failure: str) -> MemoryEstimate:
    """What is needed and what there is, after the failed step was let go."""
    for weight in job.trainable.parameters.values():
        weight.grad = None
    at_once = train.batch_size // (accelerator.num_processes * accelerator.gradient_accumulation_steps)
    loaded, learns = _loaded(job.trainable)
    if accelerator.device.type == "cuda":
        torch.cuda.empty_cache()
        room = torch.cuda.mem_get_info(accelerator.device)[0] + torch.cuda.memory_reserved(accelerator.device)
    else:
        room = _free_on_cpu() + loaded
    fixed = loaded + learns * (4 + OF_OPTIMISER.get(train.optimiser, 8) + (4 if train.ema_decay else 0))
    least = max(asked(failure) // at_once, (room - fixed) // at_once)  # or it would not have failed
    whole, checkpointed = _of_example(job, accelerator)
    # What was never computed, or failed again, is judged by what is usual: a third is kept.
    return MemoryEstimate(room, fixed, max(whole, least), checkpointed or max(whole, least) // 3, at_once)


def asked(failure: str) -> int:
    """Bytes that could not be had, as the message says; 0 when it does not."""
    match = ASKED.search(failure)
    return int(float(match[1]) * UNITS[match[2][0].lower()]) if match else 0


def _let_go(error: BaseException) -> str:
    """The message; the frames that the error came through hold what did not fit."""
    traceback.clear_frames(error.__traceback__)
    gc.collect()
    return str(error)


def _loaded(trainable: Trainable) -> tuple[int, int]:
    """Bytes of all weights on the device of the training, and the number of those that learn."""
    components = trainable.components
    weights = [weight for part in (components.unet, *components.text_encoders) for weight in part.parameters()]
    here = [weight for weight in weights if weight.device.type == components.device.type]
    learns = sum(weight.numel() for weight in trainable.parameters.values())
    return sum(weight.numel() * weight.element_size() for weight in here), learns


def _free_on_cpu() -> int:
    free, limit = psutil.virtual_memory().available, resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        free = min(free, limit - psutil.Process().memory_info().vms)
    return max(0, free)


def _of_example(job: TrainingJob, accelerator: Accelerator) -> tuple[int, int]:
    """Bytes that the forward pass keeps of one example, without and with checkpointing; zeros where it cannot be told.

    Checkpointing computes one block at a time again; half of the saving is counted, to be on the safe side.
    """
    if job.sharded:  # it would take all processes to compute
        return 0, 0
    try:
        whole = _kept(job, accelerator)
        memory_savings.checkpoint(job.trainable)
        return whole, (whole + _kept(job, accelerator)) // 2
    except (torch.OutOfMemoryError, MemoryError, RuntimeError):
        return 0, 0


def _kept(job: TrainingJob, accelerator: Accelerator) -> int:
    kept: dict[int, int] = {weight.untyped_storage().data_ptr(): 0 for weight in _weights(job.trainable.components)}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept.setdefault(storage.data_ptr(), storage.nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor), accelerator.autocast():
        loss = job.loss(job.trainable.components, 0, [0])
    del loss
    return sum(kept.values())


def _weights(components: ModelComponents) -> Iterator[torch.Tensor]:
    for part in (components.unet, *components.text_encoders):
        yield from part.parameters()


def _checkpointing(train: Train, bill: MemoryEstimate) -> list[str]:
    if train.gradient_checkpointing:
        return []
    return [f"train.gradient_checkpointing from false to true (then about {_size(bill.step(bill.checkpointed))})"]


def _batch(train: Train, bill: MemoryEstimate) -> list[str]:
    fitting = max(1, min(int(bill.at_once * bill.share), bill.at_once // 2))
    fewer = max((n for n in range(1, fitting + 1) if bill.at_once % n == 0), default=1)
    parts = bill.at_once // fewer
    if parts == 1:
        return []
    return [
        f"train.batch_size from {train.batch_size} to {train.batch_size // parts} (or in {parts} times as many "
        f"parts by ACCELERATE_GRADIENT_ACCUMULATION_STEPS, which keeps the result)"
    ]


def _side(train: Train, bill: MemoryEstimate) -> list[str]:
    side, unit = train.resolution_px, _unit(train.resolution_px)
    smaller = max(unit, min(side - unit, int(side * math.sqrt(bill.share)) // unit * unit))
    return [f"train.resolution_px from {side} to {smaller}"] if smaller < side else []


def _unit(side_px: int) -> int:
    """Steps that every base can divide: of a size that fits the side."""
    return 64 if side_px >= 256 else 8


def _lighter(train: Train, bill: MemoryEstimate) -> list[str]:
    """What makes weights and optimiser smaller."""
    ways = []
    if train.method in ("dreambooth", "full"):
        ways.append("train.method to lora, which learns a hundredth of the weights")
    if OF_OPTIMISER.get(train.optimiser, 0) > 2:
        ways.append(f"train.optimiser from {train.optimiser} to adamw8bit")
    if train.ema_decay:
        ways.append(f"train.ema_decay from {train.ema_decay} to 0")
    return [*ways, "base.path to a smaller model"]


def _smaller(train: Train) -> str:
    side, unit = train.resolution_px, _unit(train.resolution_px)
    ways = [f"train.resolution_px from {side} to {max(unit, side // 2 // unit * unit)}"]
    if train.prior.kind == "pictures" and train.prior.images:
        ways.append(f"train.prior.images from {train.prior.images} to 0")
    return _join([*ways, "base.path to a smaller model"])


def _wanted(failure: str) -> str:
    return f" ({_size(asked(failure))} could not be had)" if asked(failure) else ""


def _join(ways: list[str]) -> str:
    return "change " + (", ".join(ways[:-1]) + " or " if ways[:-1] else "") + ways[-1]


def _size(n_bytes: float) -> str:
    if n_bytes < 1e9:
        return f"{n_bytes / 1e6:.0f} MB"
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes < 1e12 else f"{n_bytes / 1e12:,.0f} TB"
