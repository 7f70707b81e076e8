"""The accelerate config that a training is launched with: what it requests of each machine. accelerate is not imported.

PALEO_ACCELERATE_CONFIG names the file; infra/accelerate/ has some.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core import yaml_text
from pipeline.core.errors import InputError, ParamsError

VARIABLE, DEFAULT = "PALEO_ACCELERATE_CONFIG", "infra/accelerate/cpu.yaml"
SEVERAL_CPU_PROCESSES = ("MULTI_GPU", "FSDP")  # distributed types with which accelerate starts more than one


@dataclass(frozen=True)
class AccelerateConfig:
    """The settings that decide what hardware is needed; `file` names the config in messages."""

    file: str
    on_cpu: bool
    num_processes: int
    num_machines: int
    gpu_ids: tuple[str, ...] = ()  # as CUDA_VISIBLE_DEVICES takes them; empty: any
    distributed_type: str = ""

    @property
    def processes_per_machine(self) -> int:
        return self.num_processes // self.num_machines

    @property
    def gpus_per_machine(self) -> int:
        return 0 if self.on_cpu else self.processes_per_machine


def named_file(environment: Mapping[str, str], root: Path) -> Path | None:
    """The file that PALEO_ACCELERATE_CONFIG names, from the current folder or from `root`; None where it names none.

    Raises
    ------
    InputError
        When there is no such file.
    """
    name = environment.get(VARIABLE, "")
    if not name:
        return None
    file = next((path for path in (Path(name), root / name) if path.is_file()), None)
    if file is None:
        raise InputError(f"{VARIABLE} is {name!r}, which is no file; infra/accelerate/ has some, or unset it")
    return file


def read(path: Path) -> AccelerateConfig:
    """Read and check a config.

    Raises
    ------
    InputError
        When the file is no YAML or has no settings, a number is none, `gpu_ids` is not quoted or does not match
        `num_processes`, or several processes on the CPU are requested in a way that accelerate ignores.
    """
    file, settings = str(path), _settings(path)
    config = AccelerateConfig(
        file=file,
        on_cpu=bool(settings.get("use_cpu")),
        num_processes=_number(file, settings, "num_processes"),
        num_machines=_number(file, settings, "num_machines"),
        gpu_ids=_gpu_ids(file, settings.get("gpu_ids")),
        distributed_type=str(settings.get("distributed_type", "")),
    )
    _check(config)
    return config


def _settings(path: Path) -> dict[str, Any]:
    try:
        settings = yaml_text.load(path.read_text(encoding="utf-8"), str(path))
    except ParamsError as error:
        raise InputError(str(error)) from None
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(settings, dict):
        raise InputError(f"{path} is no accelerate config: it has no settings; see infra/accelerate/")
    return settings


def _number(file: str, settings: dict[str, Any], key: str) -> int:
    value = settings.get(key, 1)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{file}: {key} is {value!r}; give a number from 1 on")
    return value


def _gpu_ids(file: str, value: object) -> tuple[str, ...]:
    if value in (None, "all"):
        return ()
    if not isinstance(value, str):
        raise InputError(f"{file}: gpu_ids is {value!r}, but accelerate wants it in quotes; write gpu_ids: '{value}'")
    return tuple(name.strip() for name in value.split(","))


def _check(config: AccelerateConfig) -> None:
    file, here = config.file, config.processes_per_machine
    if config.num_processes % config.num_machines:
        raise InputError(
            f"{file}: num_processes is {config.num_processes}, which {config.num_machines} machines cannot share; "
            "correct one of the two"
        )
    if config.on_cpu:
        hidden = bool(config.gpu_ids) and all(name.startswith("-") for name in config.gpu_ids)
        # accelerate would start one process only, or train on GPUs that were not leased
        if here > 1 and not (hidden and config.distributed_type in SEVERAL_CPU_PROCESSES):
            raise InputError(
                f"{file}: accelerate starts {here} processes on the CPU only with the distributed_type and gpu_ids of "
                "infra/accelerate/cpu_2.yaml; copy them from there"
            )
    elif config.gpu_ids and len(config.gpu_ids) != here:
        raise InputError(
            f"{file}: gpu_ids names {len(config.gpu_ids)}, num_processes asks for {here} on this machine; correct one "
            "of the two"
        )
