"""What the training's accelerate config asks of this machine, and what the machine has."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from flows.errors import FlowError

VARIABLE, DEFAULT = "PALEO_ACCELERATE_CONFIG", "infra/accelerate/cpu.yaml"


@dataclass(frozen=True)
class HardwareRequest:
    """Of this machine: so many GPUs (0: the CPU), or the very ones in `ids`, which the config's `gpu_ids` names."""

    file: str
    gpus: int
    ids: tuple[str, ...] = ()


def requested() -> HardwareRequest:
    """Read the config that the train stage is launched with; FlowError when it cannot be read or meant."""
    file = os.environ.get(VARIABLE, DEFAULT)
    config = _read(file)
    here = _processes_here(file, config)
    ids = tuple(_names(file, config.get("gpu_ids")))
    if config.get("use_cpu"):
        _check_cpu(file, config, here, ids)
        return HardwareRequest(file, 0)
    if ids and len(ids) != here:
        raise FlowError(f"{file}: gpu_ids names {len(ids)}, num_processes asks for {here} on this machine; mend one")
    return HardwareRequest(file, here, ids)


def check() -> HardwareRequest:
    """`asked`, and FlowError unless this machine has it; called before anything is started."""
    wanted, there = requested(), available()
    known = {lock_name(name) for name in there}
    if absent := [name for name in wanted.ids if lock_name(name) not in known]:
        have = f"has {', '.join(there)}" if there else "has none"
        raise FlowError(f"{wanted.file} names GPU {absent[0]} in gpu_ids, but this machine {have}{_limited()}; mend it")
    if wanted.gpus > len(there):
        raise FlowError(
            f"{wanted.file} asks for {_n(wanted.gpus)} on this machine, which has {len(there)}{_limited()}; mend its "
            f"num_processes, or unset {VARIABLE} to train on the CPU"
        )
    return wanted


@cache
def available() -> list[str]:
    """The ids that CUDA_VISIBLE_DEVICES or the driver names; none without NVIDIA's driver."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return list(_of_driver())
    names = [name.strip() for name in visible.split(",") if name.strip()]
    return [name for name in names if not name.startswith("-")]


def lock_name(gpu: str) -> str:
    """One name for a GPU whether it is called by its number or its UUID."""
    return _of_driver().get(gpu, gpu).replace("/", "-")


@cache
def _of_driver() -> dict[str, str]:
    """UUIDs by number, as nvidia-smi tells them."""
    if not shutil.which("nvidia-smi"):
        return {}
    query = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True)
    rows = [line.split(",") for line in done.stdout.splitlines()] if done.returncode == 0 else []
    return {row[0].strip(): row[1].strip() for row in rows if len(row) == 2}


def _read(file: str) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if not Path(file).is_file():
        if VARIABLE not in os.environ:  # a project without the default one says so when it trains
            return {"use_cpu": True}
        raise FlowError(f"{VARIABLE} is {file!r}, which is no file; infra/accelerate/ has some, or unset it")
    try:
        config = YAML(typ="safe").load(Path(file).read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError, OSError) as error:
        raise FlowError(f"{file} is no valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(config, dict):
        raise FlowError(f"{file} is no accelerate config: it has no settings; see infra/accelerate/")
    return config


def _processes_here(file: str, config: dict[str, Any]) -> int:
    processes, machines = _number(file, config, "num_processes"), _number(file, config, "num_machines")
    if processes % machines:
        raise FlowError(f"{file}: num_processes is {processes}, which {machines} machines cannot share; mend one")
    return processes // machines


def _number(file: str, config: dict[str, Any], key: str) -> int:
    value = config.get(key, 1)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise FlowError(f"{file}: {key} is {value!r}; give a number from 1 on")
    return value


def _names(file: str, ids: object) -> list[str]:
    """`gpu_ids` as a list; empty: any will do."""
    if ids in (None, "all"):
        return []
    if not isinstance(ids, str):
        raise FlowError(f"{file}: gpu_ids is {ids!r}, but accelerate wants it in quotes; write gpu_ids: '{ids}'")
    return [name.strip() for name in ids.split(",")]


def _check_cpu(file: str, config: dict[str, Any], here: int, ids: tuple[str, ...]) -> None:
    """accelerate would start one process only, or train on GPUs that nobody leased."""
    hidden = bool(ids) and all(name.startswith("-") for name in ids)
    if here > 1 and not (hidden and config.get("distributed_type") in ("MULTI_GPU", "FSDP")):
        raise FlowError(
            f"{file}: accelerate starts {here} processes on the CPU only when told as in "
            "infra/accelerate/cpu_2.yaml; take over its distributed_type and gpu_ids"
        )


def _limited() -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "" if visible is None else f" (CUDA_VISIBLE_DEVICES={visible})"


def _n(number: int) -> str:
    return f"{number} GPU{'' if number == 1 else 's'}"
