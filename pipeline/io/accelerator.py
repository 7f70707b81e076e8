"""The process that trains: its accelerator, its hardware, stop requests, memory in use.

`accelerate launch` describes the process in the environment; without it there is one process on the hardware found.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING

from pipeline.core.launch_settings import LaunchSettings, Machine, check, from_environment
from pipeline.io import threads

if TYPE_CHECKING:
    from accelerate import Accelerator

WAIT_HOURS = 12  # for another process
PR_SET_PDEATHSIG = 1


def launch_settings(optimiser: str) -> LaunchSettings:
    """The launch settings of this process; InputError when this machine, or the optimiser, cannot meet them."""
    settings = from_environment(os.environ)
    check(settings, _machine(), optimiser)
    return settings


@contextmanager
def accelerated(settings: LaunchSettings) -> Iterator[Accelerator]:
    """An accelerator on the hardware that the accelerate config names, or without one on what is found."""
    import torch
    from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs

    handlers = [
        # Layers of SDXL's text encoders behind the one that is used get no gradient.
        DistributedDataParallelKwargs(find_unused_parameters=True),
        # The others wait while one fills the cache; accelerate would give up after ten minutes.
        InitProcessGroupKwargs(timeout=timedelta(hours=WAIT_HOURS)),
    ]
    # accelerate would shard one model only; training.distributed.fsdp shards all that are trained.
    with _without_variable("ACCELERATE_USE_FSDP"):
        accelerator = Accelerator(cpu=settings.on_cpu, kwargs_handlers=handlers)
    if accelerator.device.type == "cpu":
        torch.set_num_threads(threads.number_of_threads(os.environ, settings.n_here))
    else:
        torch.set_float32_matmul_precision("high")  # TF32: what is in full precision is several times as fast
    _end_with_launcher()
    try:
        yield accelerator
    finally:
        accelerator.end_training()


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """While it is open, SIGTERM and the first Ctrl-C only make the yielded function return true.

    A second Ctrl-C raises KeyboardInterrupt.
    """
    received: list[int] = []

    def record(number: int, _frame: object) -> None:
        if number == signal.SIGINT and received:
            raise KeyboardInterrupt
        received.append(number)

    before = {number: signal.signal(number, record) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def environment_of(accelerator: Accelerator) -> dict[str, str]:
    """Device, threads, precision, libraries: a training may go on with others, but not to the same bytes."""
    import torch

    libraries = ("torch", "diffusers", "transformers", "peft", "accelerate")
    hardware = {"device": accelerator.device.type, "mixed precision": accelerator.mixed_precision}
    if accelerator.device.type == "cpu":
        hardware["number of threads"] = str(torch.get_num_threads())
    return hardware | {name: version(name) for name in libraries}


def peak_memory_mb(accelerator: Accelerator) -> Callable[[], float]:
    """A function that returns the peak memory so far: of the GPU, or of this process."""
    if accelerator.device.type == "cuda":
        import torch

        return lambda: torch.cuda.max_memory_allocated(accelerator.device) / 1e6
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes elsewhere
    return lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _machine() -> Machine:
    import torch

    n_gpus = torch.cuda.device_count()
    bf16 = bool(n_gpus) and torch.cuda.get_device_capability()[0] >= 8
    return Machine(n_gpus, bf16, threads.cores())


def _end_with_launcher() -> None:
    """Linux: torchrun starts each process in a session of its own, where it would outlive a killed torchrun."""
    if threads.TORCHRUN in os.environ and sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def _without_variable(name: str) -> Iterator[None]:
    value = os.environ.pop(name, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[name] = value
