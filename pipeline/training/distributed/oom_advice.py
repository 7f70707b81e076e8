"""OOM advice: after out of memory, which params to change and by how much.

What a step needs is what it has whatever the batch (weights, gradients, optimiser state) and the activations that the
forward pass keeps of each example, which grow with the area of the pictures. After a failure both are measured:
everything of the failed step is released, and one example is computed again, counting the activations it keeps.
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
from pipeline.training.optimisers import optimiser

USABLE_SHARE = 0.95  # of the available memory, since memory is never filled without gaps
OOM_ERROR = re.compile(
    r"can't allocate memory|cannot allocate memory|out of memory|bad_alloc|could not create a memory", re.IGNORECASE
)
REQUESTED = re.compile(r"tried to allocate ([\d.]+) ?(bytes|[KMGT]i?B)", re.IGNORECASE)
UNITS = {"b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


@dataclass(frozen=True)
class MemoryEstimate:
    """In bytes: `available`, `fixed` whatever the batch, and what one example needs, also with gradient checkpointing.

    `micro_batch` examples are computed together; `trained_share` of the weights are trained.
    """

    available: int
    fixed: int
    per_example: int
    per_example_checkpointed: int
    micro_batch: int
    trained_share: float

    def step(self, per_example: int | None = None) -> int:
        return self.fixed + (self.per_example if per_example is None else per_example) * self.micro_batch

    @property
    def fitting_share(self) -> float:
        """The share of what the examples need that is available."""
        left = USABLE_SHARE * self.available - self.fixed
        return max(0.0, left) / max(1, self.per_example * self.micro_batch)


@contextmanager
def oom_explained(
    train: Train, accelerator: Accelerator, store: CheckpointStore, job: TrainingJob | None = None
) -> Iterator[None]:
    """While it is open, an allocation that fails becomes a PaleoError that says what to change.

    Without a `job` nothing is loaded yet that could be measured.
    """
    try:
        yield
        return
    except (torch.OutOfMemoryError, MemoryError) as error:
        failure = _release_frames(error)
    except RuntimeError as error:
        if not OOM_ERROR.search(str(error)):
            raise
        failure = _release_frames(error)
    kept = f"; the state of step {store.step} is kept" if store.step else ""
    if job is None:
        requested = f" ({_size(requested_bytes(failure))} could not be allocated)" if requested_bytes(failure) else ""
        raise PaleoError(f"out of memory before the first step{requested}; {_advice_before_training(train)}{kept}")
    raise PaleoError(f"out of memory: {advice(train, estimate(train, accelerator, job, failure))}{kept}")


def advice(train: Train, memory: MemoryEstimate) -> str:
    """What a step needs, what there is, and three params that would change it."""
    needs = (
        f"a step needs about {_size(memory.step())}, {_size(memory.fixed)} of it for weights and optimiser, and there "
        f"are {_size(memory.available)}"
    )
    lighter = _lighter_weights(train, memory)
    if memory.fixed >= USABLE_SHARE * memory.available:
        return f"{needs}; neither batch nor size would help: {_change(lighter)}"
    ways = []
    if not train.gradient_checkpointing:
        then = _size(memory.step(memory.per_example_checkpointed))
        ways.append(f"train.gradient_checkpointing from false to true (then about {then})")
    if (parts := _more_parts(memory)) > 1:
        ways.append(
            f"train.batch_size from {train.batch_size} to {train.batch_size // parts} (or in {parts} times as many "
            f"parts by ACCELERATE_GRADIENT_ACCUMULATION_STEPS, which keeps the result)"
        )
    if (side := _fitting_side_px(train.resolution_px, memory)) < train.resolution_px:
        ways.append(f"train.resolution_px from {train.resolution_px} to {side}")
    return f"{needs}; {_change([*ways, *lighter][:3])}"


def estimate(train: Train, accelerator: Accelerator, job: TrainingJob, failure: str) -> MemoryEstimate:
    """What is needed and what there is, after everything of the failed step was released."""
    for weight in job.trainable.parameters.values():
        weight.grad = None
    micro_batch = train.batch_size // (accelerator.num_processes * accelerator.gradient_accumulation_steps)
    loaded, n_weights, n_trained = _weights_on_device(job.trainable)
    if accelerator.device.type == "cuda":
        torch.cuda.empty_cache()
        available = torch.cuda.mem_get_info(accelerator.device)[0] + torch.cuda.memory_reserved(accelerator.device)
    else:
        available = _available_on_cpu() + loaded
    bytes_per_trained = 4 + optimiser(train.optimiser).state_bytes + (4 if train.ema_decay else 0)
    fixed = loaded + n_trained * bytes_per_trained
    least = max(requested_bytes(failure) // micro_batch, (available - fixed) // micro_batch)  # or it would have fitted
    plain, checkpointed = _bytes_per_example(job, accelerator)
    # What was never computed, or failed again, is estimated by what is usual: a third is kept.
    return MemoryEstimate(
        available,
        fixed,
        per_example=max(plain, least),
        per_example_checkpointed=checkpointed or max(plain, least) // 3,
        micro_batch=micro_batch,
        trained_share=n_trained / max(1, n_weights),
    )


def requested_bytes(failure: str) -> int:
    """Bytes that could not be allocated, by the error message; 0 when it does not say."""
    match = REQUESTED.search(failure)
    return int(float(match[1]) * UNITS[match[2][0].lower()]) if match else 0


def _release_frames(error: BaseException) -> str:
    """The message; the frames that the error came through hold what did not fit."""
    traceback.clear_frames(error.__traceback__)
    gc.collect()
    return str(error)


def _weights_on_device(trainable: Trainable) -> tuple[int, int, int]:
    """Bytes of all weights on the device of the training, the number of all weights, and of those that are trained."""
    weights = list(_weights(trainable.components))
    device = trainable.components.device.type
    loaded = sum(weight.numel() * weight.element_size() for weight in weights if weight.device.type == device)
    n_trained = sum(weight.numel() for weight in trainable.parameters.values())
    return loaded, sum(weight.numel() for weight in weights), n_trained


def _weights(components: ModelComponents) -> Iterator[torch.Tensor]:
    for part in (components.unet, *components.text_encoders):
        yield from part.parameters()


def _available_on_cpu() -> int:
    free, limit = psutil.virtual_memory().available, resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        free = min(free, limit - psutil.Process().memory_info().vms)
    return max(0, free)


def _bytes_per_example(job: TrainingJob, accelerator: Accelerator) -> tuple[int, int]:
    """Bytes of one example's activations, without and with gradient checkpointing; zeros where it cannot be measured.

    Checkpointing computes one block at a time again; half of the saving is counted, to be on the safe side.
    """
    if job.sharded:  # it would take all processes to compute
        return 0, 0
    try:
        plain = _activation_bytes(job, accelerator)
        memory_savings.enable_gradient_checkpointing(job.trainable)
        return plain, (plain + _activation_bytes(job, accelerator)) // 2
    except (torch.OutOfMemoryError, MemoryError, RuntimeError):
        return 0, 0


def _activation_bytes(job: TrainingJob, accelerator: Accelerator) -> int:
    """What the forward pass of one example keeps for the backward pass."""
    kept: dict[int, int] = {weight.untyped_storage().data_ptr(): 0 for weight in _weights(job.trainable.components)}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept.setdefault(storage.data_ptr(), storage.nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor), accelerator.autocast():
        loss = job.loss(job.trainable.components, 0, [0])
    del loss
    return sum(kept.values())


def _more_parts(memory: MemoryEstimate) -> int:
    """Into how many equal parts a micro-batch must be split to fit."""
    fitting = max(1, min(int(memory.micro_batch * memory.fitting_share), memory.micro_batch // 2))
    smaller = max((n for n in range(1, fitting + 1) if memory.micro_batch % n == 0), default=1)
    return memory.micro_batch // smaller


def _fitting_side_px(side_px: int, memory: MemoryEstimate) -> int:
    unit = _side_unit_px(side_px)
    return max(unit, min(side_px - unit, int(side_px * math.sqrt(memory.fitting_share)) // unit * unit))


def _side_unit_px(side_px: int) -> int:
    """A unit that the autoencoder of every base divides evenly, of a size that suits the side."""
    return 64 if side_px >= 256 else 8


def _lighter_weights(train: Train, memory: MemoryEstimate) -> list[str]:
    """What makes weights and optimiser state smaller."""
    ways = []
    if memory.trained_share > 0.5:
        ways.append("train.method to lora, which learns a hundredth of the weights")
    if optimiser(train.optimiser).state_bytes > optimiser("adamw8bit").state_bytes:
        ways.append(f"train.optimiser from {train.optimiser} to adamw8bit")
    if train.ema_decay:
        ways.append(f"train.ema_decay from {train.ema_decay} to 0")
    return [*ways, "base.path to a smaller model"]


def _advice_before_training(train: Train) -> str:
    side, unit = train.resolution_px, _side_unit_px(train.resolution_px)
    ways = [f"train.resolution_px from {side} to {max(unit, side // 2 // unit * unit)}"]
    if train.prior.kind == "pictures" and train.prior.images:
        ways.append(f"train.prior.images from {train.prior.images} to 0")
    return _change([*ways, "base.path to a smaller model"])


def _change(ways: list[str]) -> str:
    return "change " + (", ".join(ways[:-1]) + " or " if ways[:-1] else "") + ways[-1]


def _size(n_bytes: float) -> str:
    if n_bytes < 1e9:
        return f"{n_bytes / 1e6:.0f} MB"
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes < 1e12 else f"{n_bytes / 1e12:,.0f} TB"
