"""`paleo train` with PALEO_ACCELERATE_CONFIG starts what `dvc repro` starts: accelerate's launcher with that config."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.core.errors import InputError

VARIABLE = "PALEO_ACCELERATE_CONFIG"
LAUNCHED = "ACCELERATE_MIXED_PRECISION"  # every launcher of accelerate's sets it for its children


def command(environment: Mapping[str, str], root: Path, arguments: Sequence[str]) -> list[str]:
    """The launcher's command line for `paleo` with these arguments; empty where none is wanted, or it was called.

    Raises
    ------
    InputError
        When the named config is no file, or no YAML.
    """
    name = environment.get(VARIABLE, "")
    if not name or LAUNCHED in environment:
        return []
    file = next((path for path in (Path(name), root / name) if path.is_file()), None)
    if file is None:
        raise InputError(f"{VARIABLE} is {name!r}, which is no file; infra/accelerate/ has some, or unset it")
    _check(file)
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(file)]
    return [*launcher, "-m", "pipeline", *arguments]


def _check(file: Path) -> None:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        config = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{file} is no valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict):
        raise InputError(f"{file} is no accelerate config: it has no settings; see infra/accelerate/")
