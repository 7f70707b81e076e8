"""The resumable state of a training: complete and checked, or as good as absent.

.work/train/<lineage id>/
    state-000200.safetensors    weights that learn, the optimiser's state, the numbers of every step so far
    state.json                  which file counts, its step and its sha256; replaced last
    snapshots/step-000050/ …    what will be exported
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from pipeline.core.lineage import digest_file
from pipeline.training.average import Average
from pipeline.training.shards import piece, whole
from pipeline.training.trainable import Trainable, write_tensors

POINTER = "state.json"


class Damaged(Exception):
    """A saved state that must not be continued; the message says why."""


@dataclass
class Progress:
    """All that a training must have to go on as if nothing had happened; `history` has COLUMNS of every step."""

    trainable: Trainable
    optimiser: torch.optim.Optimizer
    average: Average | None = None
    scaler: torch.amp.GradScaler | None = None  # of fp16
    history: list[list[float]] = field(default_factory=list)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While it is open, the model has the weights that are to be seen: the average, if there is one."""
        with self.average.shown() if self.average else nullcontext():
            yield

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything by name, whole: where weights are cut (FSDP), every process must ask."""
        found = {"history": torch.tensor(self.history, dtype=torch.float64)}
        for name, weight in self.trainable.parameters.items():
            found[f"weight/{name}"] = whole(weight)
            found |= {f"optimiser/{name}/{key}": whole(value) for key, value in self.optimiser.state[weight].items()}
        averages = self.average.values if self.average else {}
        return found | {f"average/{name}": whole(value) for name, value in averages.items()}

    @torch.no_grad()
    def put_back(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take up what `tensors` gave."""
        self.history = tensors["history"].tolist()
        for name, weight in self.trainable.parameters.items():
            weight.copy_(piece(tensors[f"weight/{name}"], weight))
            start = f"optimiser/{name}/"
            self.optimiser.state[weight] = {
                key.removeprefix(start): _beside(weight, tensor) for key, tensor in tensors.items()
                if key.startswith(start)
            }  # fmt: skip
            if self.average:
                self.average.values[name].copy_(piece(tensors[f"average/{name}"], weight))


def _beside(weight: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """On the device of the weight; a moment lies in memory as the weight does."""
    if tensor.shape == weight.shape:
        return torch.empty_like(weight, dtype=tensor.dtype).copy_(piece(tensor, weight))
    return tensor.to(weight.device)


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

    def save(self, step: int, progress: Progress, keep: int) -> None:
        """Write the new state beside the old ones, point to it, drop all but the newest `keep`."""
        path = self.folder / f"state-{step:06d}.safetensors"
        write_tensors(path, progress.tensors(), {"lineage_id": self.lineage_id, "step": str(step)})
        self._point_to(path, step)
        for old in sorted(self.folder.glob("state-*.safetensors"))[:-keep]:
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

    def load(self, progress: Progress, snapshots: tuple[int, ...]) -> int:
        """Put the saved state back; returns its step, 0 when there is none.

        Raises
        ------
        Damaged
            When it is not what was saved, or a snapshot that it has passed is gone.
        """
        if not (self.folder / POINTER).exists():
            return 0
        pointer = self._read_pointer()
        step, path = pointer["step"], self.folder / pointer["file"]
        if pointer["lineage_id"] != self.lineage_id:
            raise Damaged("it belongs to another training")
        if not path.is_file() or digest_file(path) != pointer["sha256"]:
            raise Damaged(f"{path.name} is missing or not what was saved")
        if missing := [passed for passed in snapshots if passed <= step and not self.snapshot(passed).is_dir()]:
            raise Damaged(f"its snapshot of step {missing[0]} is gone")
        try:
            progress.put_back(load_file(path))
        except SafetensorError as error:
            raise Damaged(f"{path.name} cannot be read ({error})") from error
        return step

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
