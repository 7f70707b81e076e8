"""Training speed against an example of diffusers, `train_dreambooth_lora.py` or `train_dreambooth_lora_sdxl.py`.

The example is not in this repository: `--diffusers-example PATH` names the file (the one for SDXL lies beside it). Both
train LoRA of the same rank on the same layers of the same model, with the same pictures, batch and AdamW, and without
prior pictures. The example encodes every picture and sentence at every step; we do it once.

The example imports torchvision. Where that cannot be imported (it has no build for torch without CUDA), it is started
by `benchmarks.run_without_torchvision`, with a stub of the few transforms that it uses.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks import training_runs
from benchmarks.claims import Claim
from benchmarks.interleaved import UNLIMITED_STEPS, Rounds, ratio, seconds_per_step
from benchmarks.training_runs import TrainingSetting
from benchmarks.worker import worker_command, worker_environment
from pipeline.core.params import section
from pipeline.methods.params import LoraParams

EXAMPLE = "PALEO_BENCH_DIFFUSERS"  # set by --diffusers-example
SCRIPTS = {"sd": "train_dreambooth_lora.py", "sdxl": "train_dreambooth_lora_sdxl.py"}


def script(family: str) -> Path | None:
    """The example for a family, when one was named and is there."""
    given = os.environ.get(EXAMPLE)
    path = Path(given).with_name(SCRIPTS[family]) if given else None
    return path if path and path.is_file() else None


def measure(
    setting: TrainingSetting, name: str, folder: Path, device: str, precision: str, rounds: Rounds, at_least: float
) -> list[Claim]:
    """The ratio of speeds and our seconds a step; without the example only the latter."""
    commands = {"ours": worker_command("unlimited_training", setting, folder, device, precision)}
    if example := script(setting.family):
        launcher = [] if has_torchvision() else ["-m", "benchmarks.run_without_torchvision"]
        commands["diffusers"] = [sys.executable, *launcher, str(example), *_options(setting, folder, precision)]
    seconds = seconds_per_step(commands, worker_environment(device), rounds)
    what = f"{name}: speed against {SCRIPTS[setting.family]}"
    if not example:
        speed = Claim(what, None, "x", at_least=at_least, note=f"give --diffusers-example {SCRIPTS['sd']}")
    else:
        speed = Claim(what, ratio(seconds["diffusers"], seconds["ours"]), "x", at_least=at_least, note=stub_note())
    return [speed, *(Claim(f"{name}: a step, {who}", statistics.median(one), "s") for who, one in seconds.items())]


def has_torchvision() -> bool:
    """Its transforms can be imported; an installation for CUDA cannot beside torch for the CPU."""
    return not subprocess.run([sys.executable, "-c", "import torchvision.transforms"], capture_output=True).returncode


def stub_note() -> str:
    """What a reader of the number must know about the example's process."""
    return "" if has_torchvision() else "without torchvision: a stub of a few lines replaces its transforms"


def _options(setting: TrainingSetting, folder: Path, precision: str) -> list[str]:
    train = setting.train
    picture_folder = folder / "pictures"
    picture_folder.mkdir(parents=True)
    for number, content in enumerate(training_runs.pictures(setting)):
        (picture_folder / f"{number}.png").write_bytes(content)
    options = {
        "pretrained_model_name_or_path": setting.base,
        "instance_data_dir": picture_folder,
        "output_dir": folder / "diffusers",
        "instance_prompt": training_runs.CAPTION,
        "resolution": setting.side_px,
        "train_batch_size": train.batch_size,
        "rank": section(train, "lora", LoraParams).rank,
        "learning_rate": train.learning_rate,
        "lr_scheduler": "constant",
        "seed": 0,
        "lr_warmup_steps": 0,
        "max_train_steps": UNLIMITED_STEPS,
        "checkpointing_steps": UNLIMITED_STEPS,
        "mixed_precision": precision,
    }
    return [f"--{name}={value}" for name, value in options.items()] + ["--center_crop"]
