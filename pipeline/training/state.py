"""The resumable state of a training: complete and checked, or as good as absent.

.work/train/<lineage id>/
    state-000200.safetensors    weights that learn, both moments of AdamW, the numbers of every step so far
    state.json                  which file counts, its step and its sha256; replaced last
    snapshots/step-000050/ …    what will be exported
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from pipeline.core.lineage import digest_file
from pipeline.training.trainable import Trainable, write_tensors

POINTER = "state.json"
MOMENTS = ("exp_avg", "exp_avg_sq")


class Damaged(Exception):
    """A saved state that must not be continued; the message says why."""


@dataclass(frozen=True)
class Saves:
    """The folder of one training, which its lineage id names."""

    folder: Path
    lineage_id: str

    @property
    def step(self) -> int | None:
        """The step of the saved state, unchecked; None when there is none."""
        try:
            return int(json.loads((self.folder / POINTER).read_text(encoding="utf-8"))["step"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @property
    def snapshots(self) -> Path:
        return self.folder / "snapshots"

    def snapshot(self, step: int) -> Path:
        return self.snapshots / f"step-{step:06d}"

    def save(self, step: int, trainable: Trainable, optimiser: torch.optim.Optimizer, history: torch.Tensor) -> None:
        """Write the new state beside the old one, point to it, drop the old one; `history` is (step, columns)."""
        path = self.folder / f"state-{step:06d}.safetensors"
        tensors = {"history": history}
        for name, weight in trainable.parameters.items():
            tensors[f"weight/{name}"] = weight
            tensors |= {f"{moment}/{name}": optimiser.state[weight][moment] for moment in MOMENTS}
        write_tensors(path, tensors, {"lineage_id": self.lineage_id, "step": str(step)})
        self._point_to(path, step)
        for old in self.folder.glob("state-*.safetensors"):
            if old != path:
                old.unlink()

    def write_snapshot(self, step: int, write: Callable[[Path], None]) -> None:
        """Let `write` fill a folder, then put it in its place."""
        final = self.snapshot(step)
        building = final.with_name(f".{final.name}")
        for folder in (building, final):
            shutil.rmtree(folder, ignore_errors=True)
        building.mkdir(parents=True)
        write(building)
        os.replace(building, final)

    def load(self, snapshots: tuple[int, ...]) -> tuple[int, Mapping[str, torch.Tensor]] | None:
        """Step and tensors of the saved state; None when there is none.

        Raises
        ------
        Damaged
            When it is not what was saved, or a snapshot that it has passed is gone.
        """
        if not (self.folder / POINTER).exists():
            return None
        pointer = self._read_pointer()
        step, path = pointer["step"], self.folder / pointer["file"]
        if pointer["lineage_id"] != self.lineage_id:
            raise Damaged("it belongs to another training")
        if not path.is_file() or digest_file(path) != pointer["sha256"]:
            raise Damaged(f"{path.name} is missing or not what was saved")
        if missing := [passed for passed in snapshots if passed <= step and not self.snapshot(passed).is_dir()]:
            raise Damaged(f"its snapshot of step {missing[0]} is gone")
        try:
            return step, load_file(path)
        except SafetensorError as error:
            raise Damaged(f"{path.name} cannot be read ({error})") from error

    def clear(self) -> None:
        """Forget everything, snapshots too."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _point_to(self, path: Path, step: int) -> None:
        pointer = {"file": path.name, "sha256": digest_file(path), "step": step, "lineage_id": self.lineage_id}
        partial = self.folder / f".{POINTER}"
        partial.write_text(json.dumps(pointer, indent=2) + "\n", encoding="utf-8")
        os.replace(partial, self.folder / POINTER)

    def _read_pointer(self) -> dict:
        try:
            pointer = json.loads((self.folder / POINTER).read_text(encoding="utf-8"))
            return {key: kind(pointer[key]) for key, kind in
                    (("file", str), ("sha256", str), ("step", int), ("lineage_id", str))}  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Damaged(f"{POINTER} cannot be read") from error


@torch.no_grad()
def put_back(
    tensors: Mapping[str, torch.Tensor], step: int, trainable: Trainable, optimiser: torch.optim.Optimizer
) -> None:
    """Copy a saved state into weights and optimiser."""
    for name, weight in trainable.parameters.items():
        weight.copy_(tensors[f"weight/{name}"])
        moments = {moment: torch.empty_like(weight).copy_(tensors[f"{moment}/{name}"]) for moment in MOMENTS}
        # AdamW keeps its own count of steps per tensor, in single precision beside the weights.
        optimiser.state[weight] = {"step": torch.tensor(float(step), device=weight.device), **moments}
