"""Our loop beside an example of diffusers, `train_dreambooth_lora.py` or `train_dreambooth_lora_sdxl.py`.

The example is not in this repository: `--peer PATH` names the file (for SDXL, the other is looked for beside it). Both
train LoRA of the same rank on the same layers of the same model, with the same pictures, batch and AdamW, and without
prior pictures. The example encodes every picture and sentence at every step; we do it once.

The example imports torchvision. Where that cannot be imported (it has no build for torch without CUDA), it is started
by `benchmarks.example`, with the few transforms that it uses.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks import child, jobs
from benchmarks.claims import Claim
from benchmarks.jobs import Setting
from benchmarks.turns import ENDLESS, Effort, ratio, seconds_per_step

PEER = "PALEO_BENCH_DIFFUSERS"  # set by --peer
SCRIPTS = {"sd": "train_dreambooth_lora.py", "sdxl": "train_dreambooth_lora_sdxl.py"}


def script(family: str) -> Path | None:
    """The example for a family, when one was named and is there."""
    named = os.environ.get(PEER)
    path = Path(named).with_name(SCRIPTS[family]) if named else None
    return path if path and path.is_file() else None


def measure(
    setting: Setting, name: str, folder: Path, device: str, precision: str, effort: Effort, at_least: float
) -> list[Claim]:
    """The ratio of speeds and our seconds a step; without the example only the latter."""
    commands = {"ours": child.placeholder_tokens("endless", setting, folder, device, precision)}
    if example := script(setting.family):
        launcher = [] if has_torchvision() else ["-m", "benchmarks.example"]
        commands["peer"] = [sys.executable, *launcher, str(example), *_options(setting, folder, precision)]
    found = seconds_per_step(commands, child.surroundings(device), effort)
    what = f"{name}: speed against {SCRIPTS[setting.family]}"
    if not example:
        speed = Claim(what, None, "x", at_least=at_least, note=f"give --peer {SCRIPTS['sd']}")
    else:
        speed = Claim(what, ratio(found["peer"], found["ours"]), "x", at_least=at_least, note=how())
    return [speed, *(Claim(f"{name}: a step, {who}", statistics.median(one), "s") for who, one in found.items())]


def has_torchvision() -> bool:
    """Its transforms can be imported; an installation for CUDA cannot beside torch for the CPU."""
    return not subprocess.run([sys.executable, "-c", "import torchvision.transforms"], capture_output=True).returncode


def how() -> str:
    """What a reader of the number must know of the example's process."""
    return "" if has_torchvision() else "without torchvision: a few lines stand in for its transforms"


def _options(setting: Setting, folder: Path, precision: str) -> list[str]:
    train = setting.train
    shown = folder / "pictures"
    shown.mkdir(parents=True)
    for number, content in enumerate(jobs.pictures(setting)):
        (shown / f"{number}.png").write_bytes(content)
    options = {
        "pretrained_model_name_or_path": setting.base,
        "instance_data_dir": shown,
        "output_dir": folder / "peer",
        "instance_prompt": jobs.SENTENCE,
        "resolution": setting.side_px,
        "train_batch_size": train.batch_size,
        "rank": train.lora.rank,
        "learning_rate": train.learning_rate,
        "lr_scheduler": "constant",
        "seed": 0,
        "lr_warmup_steps": 0,
        "max_train_steps": ENDLESS,
        "checkpointing_steps": ENDLESS,
        "mixed_precision": precision,
    }
    return [f"--{name}={value}" for name, value in options.items()] + ["--center_crop"]
