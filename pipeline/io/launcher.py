"""`paleo train` with PALEO_ACCELERATE_CONFIG starts what `dvc repro` starts: accelerate's launcher with that config."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.core import accelerate_config
from pipeline.core.accelerate_config import VARIABLE, AccelerateConfig
from pipeline.core.errors import InputError
from pipeline.io.threads import ACCELERATE, LAUNCHED, NUMBER, TORCHRUN

# Ours, for processes that `command` starts; those of accelerate and torchrun, for processes that others start (dvc,
# Slurm). They are never set by hand, as ACCELERATE_MIXED_PRECISION is.
LAUNCH_MARKS = (LAUNCHED, ACCELERATE, TORCHRUN)
SHUTDOWN_TIMEOUT = "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"  # seconds in which torchrun's processes may save after SIGTERM


def command(
    environment: Mapping[str, str], root: Path, arguments: Sequence[str]
) -> tuple[list[str], Mapping[str, str]] | None:
    """The command line and environment that launch `paleo` with these arguments.

    None where PALEO_ACCELERATE_CONFIG is not set, or this process was launched already.

    Raises
    ------
    InputError
        When the named config is no file, no YAML, not one that accelerate takes, or requests GPUs that are not here.
    """
    if any(mark in environment for mark in LAUNCH_MARKS):
        return None
    file = accelerate_config.named_file(environment, root)
    if file is None:
        return None
    _check_gpus(accelerate_config.read(file))
    options = ["--config_file", str(file), "-m", "pipeline", *arguments]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", *options]
    words, variables = _without_launcher(file, options) or (launcher, environment)
    threads = {NUMBER: environment[NUMBER]} if NUMBER in environment else {}
    others = {name: value for name, value in variables.items() if name != NUMBER}  # accelerate sets a number of its own
    return words, {SHUTDOWN_TIMEOUT: "110", **others, **threads, LAUNCHED: "1"}


def _without_launcher(file: Path, options: Sequence[str]) -> tuple[list[str], Mapping[str, str]] | None:
    """What accelerate would start for a config of one process; None for several.

    Its launcher would stay as the parent process and does not pass SIGTERM on.
    """
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_simple_launcher_cmd_env

    try:
        args = _validate_launch_command(launch_command_parser().parse_args(options))[0]
        if args.multi_gpu or args.use_fsdp or args.use_deepspeed or args.use_megatron_lm or args.tpu:
            return None
        words, variables = prepare_simple_launcher_cmd_env(args)
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{file} is no config that accelerate takes: {' '.join(str(error).split())}") from error
    return words, variables


def _check_gpus(config: AccelerateConfig) -> None:
    """Checked here for several processes, each of which would report it, or wait for other machines."""
    wanted = config.gpus_per_machine
    if wanted > 1 and wanted > (found := _n_gpus()):
        raise InputError(
            f"{config.file} asks for {wanted} GPUs on this machine, which has {found or 'none'}; correct its "
            f"num_processes, or unset {VARIABLE} to train on what there is"
        )


def _n_gpus() -> int:
    import torch

    return torch.cuda.device_count()
