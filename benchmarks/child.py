"""`python -m benchmarks.child REQUEST.json`: one measurement of a training, in a process of its own.

The last line that it writes is its answer in JSON. What a process has allocated, cached and warmed up then favours
nobody, and every measurement has the accelerator that it asks for.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.jobs import Setting
from benchmarks.project import ROOT, environment


def words(work: str, setting: Setting, folder: Path, device: str, precision: str, **numbers: int) -> list[str]:
    """The command for `benchmarks.<work>.answer(setting, accelerator, folder, **numbers)`."""
    folder.mkdir(parents=True, exist_ok=True)
    request = {
        "work": work,
        "setting": asdict(setting) | {"base": str(setting.base)},
        "folder": str(folder),
        "device": device,
        "precision": precision,
        "numbers": numbers,
    }
    path = folder / f"{work}.json"
    path.write_text(json.dumps(request))
    return [sys.executable, "-m", "benchmarks.child", str(path)]


def ask(work: str, setting: Setting, folder: Path, device: str, precision: str, **numbers: int) -> Any:
    """Its answer; RuntimeError with its last words when it fails."""
    command = words(work, setting, folder, device, precision, **numbers)
    done = subprocess.run(command, env=surroundings(device), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def surroundings(device: str) -> dict[str, str]:
    """Offline, with all GPUs or none; what is written is not held back."""
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    return {**environment(ROOT), "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1", **hidden}


def main() -> None:
    import importlib

    import torch
    from accelerate import Accelerator

    request = json.loads(Path(sys.argv[1]).read_text())
    if request["device"] == "cuda":
        torch.set_float32_matmul_precision("high")  # as the train stage does
    setting = Setting(**request["setting"] | {"base": Path(request["setting"]["base"])})
    accelerator = Accelerator(mixed_precision=request["precision"])
    work = importlib.import_module(f"benchmarks.{request['work']}")
    print(json.dumps(work.answer(setting, accelerator, Path(request["folder"]), **request["numbers"])))


if __name__ == "__main__":
    main()
