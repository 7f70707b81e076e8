"""`paleo train` with PALEO_ACCELERATE_CONFIG starts what `dvc repro` starts: accelerate's launcher with that config."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.core.errors import InputError

VARIABLE = "PALEO_ACCELERATE_CONFIG"
# Ours, for those whom `command` starts; those of accelerate and torchrun, for those whom others start (dvc, Slurm).
# Nobody sets these by hand, as people do with ACCELERATE_MIXED_PRECISION.
MARK = "PALEO_LAUNCHED"
LAUNCHED = (MARK, "ACCELERATE_DYNAMO_USE_FULLGRAPH", "TORCHELASTIC_RUN_ID")
PATIENCE = "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"  # seconds that torchrun gives its processes to save, told to stop


def command(
    environment: Mapping[str, str], root: Path, arguments: Sequence[str]
) -> tuple[list[str], Mapping[str, str]] | None:
    """The command line and environment for `paleo` with these arguments; None where no launcher is wanted, or was used.

    Raises
    ------
    InputError
        When the named config is no file, no YAML, or none that accelerate takes.
    """
    name = environment.get(VARIABLE, "")
    if not name or any(mark in environment for mark in LAUNCHED):
        return None
    file = next((path for path in (Path(name), root / name) if path.is_file()), None)
    if file is None:
        raise InputError(f"{VARIABLE} is {name!r}, which is no file; infra/accelerate/ has some, or unset it")
    _check(file)
    _check_gpus(file)
    options = ["--config_file", str(file), "-m", "pipeline", *arguments]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", *options]
    started, said = _one_process(file, options) or (launcher, environment)
    return started, {PATIENCE: "110", **said, MARK: "1"}


def _one_process(file: Path, options: Sequence[str]) -> tuple[list[str], Mapping[str, str]] | None:
    """What accelerate would start for a config of one process: its launcher stays between, and is deaf to SIGTERM."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_simple_launcher_cmd_env

    try:
        asked = _validate_launch_command(launch_command_parser().parse_args(options))[0]
        if asked.multi_gpu or asked.use_fsdp or asked.use_deepspeed or asked.use_megatron_lm or asked.tpu:
            return None
        return prepare_simple_launcher_cmd_env(asked)
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{file} is no config that accelerate takes: {' '.join(str(error).split())}") from error


def _check(file: Path) -> None:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        config = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{file} is no valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict):
        raise InputError(f"{file} is no accelerate config: it has no settings; see infra/accelerate/")


def _check_gpus(file: Path) -> None:
    """Before several processes are started, each of which would say so, or wait for other machines."""
    from ruamel.yaml import YAML

    config = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
    asked = [config.get(key) or 1 for key in ("num_processes", "num_machines")]
    if config.get("use_cpu") or not all(isinstance(number, int) for number in asked):
        return
    wanted = asked[0] // asked[1]
    if wanted > 1 and wanted > (found := _n_gpus()):
        raise InputError(
            f"{file} asks for {wanted} GPUs on this machine, which has {found or 'none'}; mend its num_processes, or "
            f"unset {VARIABLE} to train on what there is"
        )


def _n_gpus() -> int:
    import torch

    return torch.cuda.device_count()
