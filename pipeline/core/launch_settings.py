"""Launch settings: what `accelerate launch` started this process for, and whether this machine has the hardware."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.core.errors import InputError

YES = ("1", "true", "yes", "on", "y", "t")
PRECISIONS = ("no", "fp16", "bf16")
PARTS = "ACCELERATE_GRADIENT_ACCUMULATION_STEPS"


@dataclass(frozen=True)
class Machine:
    """The hardware of this machine."""

    gpus: int
    bf16: bool  # whether its GPUs compute in bfloat16 (Ampere and later)
    cores: int


@dataclass(frozen=True)
class LaunchSettings:
    """What accelerate's launcher leaves in the environment; without a launcher one process on whatever there is."""

    config: str  # how to call it in a message
    on_cpu: bool
    on_gpu: bool  # it must be a GPU
    n_processes: int
    n_here: int  # processes on this machine
    n_parts: int  # gradient accumulation steps
    precision: str
    sharded: bool
    refused: str  # a setting of the config that has no effect here, with what to do instead


def from_environment(environment: Mapping[str, str]) -> LaunchSettings:
    """Read what the launcher left in the environment.

    Raises
    ------
    InputError
        When the number of accumulation steps is no positive integer.
    """
    world, use_cpu = int(environment.get("WORLD_SIZE", "1")), environment.get("ACCELERATE_USE_CPU")
    on_cpu = _yes(use_cpu) or _hidden(environment)
    return LaunchSettings(
        config=environment.get("PALEO_ACCELERATE_CONFIG", "the accelerate config"),
        on_cpu=on_cpu,
        on_gpu=not on_cpu and (use_cpu is not None or world > 1),
        n_processes=world,
        n_here=int(environment.get("LOCAL_WORLD_SIZE", "1")),
        n_parts=_accumulation_steps(environment.get(PARTS, "1")),
        precision=environment.get("ACCELERATE_MIXED_PRECISION", "no"),
        sharded=_yes(environment.get("ACCELERATE_USE_FSDP")) and world > 1,
        refused=_refused(environment),
    )


def check(wanted: LaunchSettings, machine: Machine, optimiser: str = "adamw") -> None:
    """InputError when this machine cannot do what was asked; accelerate itself would do something else in silence."""
    if wanted.refused:
        raise InputError(f"{wanted.config} has {wanted.refused}")
    if wanted.precision not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise InputError(f"mixed_precision in {wanted.config} is {wanted.precision!r}; here it may be {known}")
    if wanted.sharded and optimiser != "adamw":
        raise InputError(
            f"{wanted.config} cuts weights into pieces (FSDP), which train.optimiser {optimiser!r} cannot do with its "
            "numbers; take adamw, or infra/accelerate/multi_gpu.yaml"
        )
    if wanted.on_gpu:
        _check_gpus(wanted, machine)
    elif wanted.n_here > machine.cores:
        raise InputError(
            f"{wanted.config} asks for {wanted.n_here} processes on this machine, which has "
            f"{_n(machine.cores, 'core')}; set num_processes to {machine.cores} or less"
        )
    if wanted.precision == "fp16" and (wanted.on_cpu or not machine.gpus):
        raise InputError(f"mixed_precision in {wanted.config} is fp16, which no CPU trains in; set it to bf16 or no")


def _check_gpus(wanted: LaunchSettings, machine: Machine) -> None:
    if machine.gpus < wanted.n_here:
        raise InputError(
            f"{wanted.config} asks for {_n(wanted.n_here, 'GPU')} on this machine, which has {machine.gpus}; mend its "
            "num_processes, or unset PALEO_ACCELERATE_CONFIG to train on the CPU"
        )
    if wanted.precision == "bf16" and not machine.bf16:
        raise InputError(
            f"mixed_precision in {wanted.config} is bf16, which the GPU of this machine lacks; set it to fp16 or no"
        )


def _accumulation_steps(value: str) -> int:
    if not value.strip().isdecimal() or int(value) < 1:
        raise InputError(f"{PARTS} is {value!r}; give a number from 1 on that divides train.batch_size, or unset it")
    return int(value)


def _n(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _yes(value: str | None) -> bool:
    return str(value).strip().lower() in YES


def _hidden(environment: Mapping[str, str]) -> bool:
    """Are all GPUs hidden on purpose? accelerate's launcher of several processes cannot say `use_cpu` otherwise."""
    visible = environment.get("CUDA_VISIBLE_DEVICES", "")
    return bool(visible) and all(name.strip().startswith("-") for name in visible.split(","))


def _refused(environment: Mapping[str, str]) -> str:
    """What changes how accelerate would train a model, but not how this trainer does."""
    get = environment.get
    if _yes(get("ACCELERATE_USE_DEEPSPEED")) or _yes(get("ACCELERATE_USE_MEGATRON_LM")):
        return "a distributed_type that is not trained with here; infra/accelerate/fsdp.yaml shares weights too"
    if get("ACCELERATE_DYNAMO_BACKEND", "no").lower() != "no":
        return "a dynamo_backend; drop it and set train.compile to true in params.yaml"
    if not _yes(get("ACCELERATE_USE_FSDP")):
        return ""
    if get("FSDP_VERSION", "1") != "2":
        return f"fsdp_version {get('FSDP_VERSION', '1')}; set it to 2"
    if _yes(get("FSDP_ACTIVATION_CHECKPOINTING")):
        return "fsdp_activation_checkpointing; drop it and set train.gradient_checkpointing to true in params.yaml"
    if _yes(get("FSDP_OFFLOAD_PARAMS")):
        return "fsdp_offload_params, which is not done here; drop it and take more GPUs or train.method lora"
    return ""
