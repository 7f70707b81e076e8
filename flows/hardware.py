"""The GPUs that the training's accelerate config requests, and those that this machine has."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from flows.errors import FlowError
from pipeline.core import accelerate_config
from pipeline.core.accelerate_config import DEFAULT, VARIABLE, AccelerateConfig
from pipeline.core.errors import InputError


def requested() -> AccelerateConfig:
    """The config that the train stage is launched with; FlowError when it cannot be read or does not make sense."""
    try:
        file = accelerate_config.named_file(os.environ, Path()) or Path(DEFAULT)
        if not file.is_file():  # a project without the default config: its training reports that
            return AccelerateConfig(str(file), on_cpu=True, num_processes=1, num_machines=1)
        return accelerate_config.read(file)
    except InputError as error:
        raise FlowError(str(error)) from None


def check() -> AccelerateConfig:
    """The requested config; FlowError unless this machine has its GPUs. Called before anything is started."""
    wanted, present = requested(), available()
    if wanted.on_cpu:
        return wanted
    present_locks = {lock_name(gpu) for gpu in present}
    if missing := [gpu for gpu in wanted.gpu_ids if lock_name(gpu) not in present_locks]:
        have = f"has {', '.join(present)}" if present else "has none"
        raise FlowError(
            f"{wanted.file} names GPU {missing[0]} in gpu_ids, but this machine {have}{_visible()}; correct it"
        )
    if wanted.gpus_per_machine > len(present):
        number = wanted.gpus_per_machine
        raise FlowError(
            f"{wanted.file} asks for {number} GPU{'' if number == 1 else 's'} on this machine, which has "
            f"{len(present)}{_visible()}; correct its num_processes, or unset {VARIABLE} to train on the CPU"
        )
    return wanted


@cache
def available() -> list[str]:
    """The ids that CUDA_VISIBLE_DEVICES lists, else those of the driver; none without NVIDIA's driver."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return list(_driver_uuids())
    names = [name.strip() for name in visible.split(",") if name.strip()]
    return [name for name in names if not name.startswith("-")]


def lock_name(gpu: str) -> str:
    """One name for a GPU, whether it is given by its number or its UUID."""
    return _driver_uuids().get(gpu, gpu).replace("/", "-")


@cache
def _driver_uuids() -> dict[str, str]:
    """UUIDs by number, as nvidia-smi lists them."""
    if not shutil.which("nvidia-smi"):
        return {}
    query = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True)
    rows = [line.split(",") for line in done.stdout.splitlines()] if done.returncode == 0 else []
    return {row[0].strip(): row[1].strip() for row in rows if len(row) == 2}


def _visible() -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "" if visible is None else f" (CUDA_VISIBLE_DEVICES={visible})"
