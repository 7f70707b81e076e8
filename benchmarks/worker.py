"""`python -m benchmarks.worker REQUEST.json`: one measurement of a training, in a process of its own.

The last line that it prints is its result in JSON. No measurement then profits from what another one has allocated,
cached and warmed up, and each has the accelerator that it requests.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.project import ROOT, environment
from benchmarks.training_runs import TrainingSetting


def worker_command(
    module: str, setting: TrainingSetting, folder: Path, device: str, precision: str, **numbers: int
) -> list[str]:
    """The command for `benchmarks.<module>.run_in_worker(setting, accelerator, folder, **numbers)`."""
    folder.mkdir(parents=True, exist_ok=True)
    request = {
        "module": module,
        "setting": asdict(setting) | {"base": str(setting.base)},
        "folder": str(folder),
        "device": device,
        "precision": precision,
        "numbers": numbers,
    }
    path = folder / f"{module}.json"
    path.write_text(json.dumps(request))
    return [sys.executable, "-m", "benchmarks.worker", str(path)]


def run_worker(module: str, setting: TrainingSetting, folder: Path, device: str, precision: str, **numbers: int) -> Any:
    """The result of `run_in_worker` of that module; RuntimeError with the end of the output when it fails."""
    command = worker_command(module, setting, folder, device, precision, **numbers)
    done = subprocess.run(command, env=worker_environment(device), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def worker_environment(device: str) -> dict[str, str]:
    """Offline, with all GPUs or none; output is not buffered."""
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    return {**environment(ROOT), "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1", **hidden}


def main() -> None:
    import importlib

    import torch
    from accelerate import Accelerator

    request = json.loads(Path(sys.argv[1]).read_text())
    if request["device"] == "cuda":
        torch.set_float32_matmul_precision("high")  # as the train stage does
    setting = TrainingSetting(**request["setting"] | {"base": Path(request["setting"]["base"])})
    accelerator = Accelerator(mixed_precision=request["precision"])
    module = importlib.import_module(f"benchmarks.{request['module']}")
    print(json.dumps(module.run_in_worker(setting, accelerator, Path(request["folder"]), **request["numbers"])))


if __name__ == "__main__":
    main()
