"""Checkpoint store: the resumable states and snapshots of a training, each complete and checked, or ignored.

.work/train/<lineage id>/
    state-000200-<sha256>.safetensors   all that the next step depends on; its name has the digest of its bytes
    old-state-…                         an intact state that could not be resumed; nothing reads it again
    step-000050.sha256                  digest of the snapshot
    running                             locked while a process trains here
    snapshots/step-000050/ …            what will be published

Each is written to the side and renamed, so a file with its final name was complete once; its digest shows whether it
still is.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import safe_open

from pipeline.core.errors import InputError
from pipeline.core.lineage import digest_file, digest_tree
from pipeline.methods.trainable import Trainable
from pipeline.training.checkpoint import streaming
from pipeline.training.distributed.fsdp import shard_like
from pipeline.training.ema import EMA

STATE = re.compile(r"state-(\d+)-([0-9a-f]{64})\.safetensors")
NUMBER, HOST = "@number", "@host"  # endings of names: a Python number; a tensor on the CPU whose weight is on a GPU


@dataclass
class TrainingState:
    """All that a resumed training needs to take the same steps; `history` has `loop.HISTORY_COLUMNS` of every step."""

    trainable: Trainable
    optimiser: torch.optim.Optimizer
    ema: EMA | None = None
    scaler: torch.amp.GradScaler | None = None  # of fp16
    history: list[list[float]] = field(default_factory=list)

    @contextmanager
    def ema_applied(self) -> Iterator[None]:
        """While it is open, the model has the averaged weights, if there is an EMA."""
        with self.ema.applied() if self.ema else nullcontext():
            yield

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything by name; sharded weights (FSDP) are still sharded."""
        found = {"history": torch.tensor(self.history, dtype=torch.float64)}
        for name, weight in self.trainable.parameters.items():
            found[f"weight/{name}"] = weight
            found |= _pack(f"optimiser/{name}", self.optimiser.state.get(weight, {}), weight)
            if self.ema:
                found[f"average/{name}"] = self.ema.values[name]
        for place, group in enumerate(self.optimiser.param_groups):
            found |= _pack(f"group/{place}", _group_numbers(group))
        return found | _pack("scaler", self.scaler.state_dict() if self.scaler else {})

    def has_shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        """Are these the shapes of a state of this training?"""
        own = {f"weight/{name}": tuple(weight.shape) for name, weight in self.trainable.parameters.items()}
        return {name: shape for name, shape in shapes.items() if name.startswith("weight/")} == own

    @torch.no_grad()
    def restore(self, names: list[str], read: Callable[[str], torch.Tensor]) -> None:
        """Restore what `tensors` gave; `read` gives one of its `names`."""
        kinds: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for name in names:
            kind, _, rest = name.partition("/")
            kinds[kind][rest.rpartition("/")[0]].append(rest.rpartition("/")[2])
        self.history = read("history").tolist()
        for name, weight in self.trainable.parameters.items():
            weight.copy_(shard_like(read(f"weight/{name}"), weight))
            if self.ema:
                self.ema.values[name].copy_(shard_like(read(f"average/{name}"), weight))
            if keys := kinds["optimiser"].get(name):
                self.optimiser.state[weight] = _unpack(f"optimiser/{name}", keys, read, weight)
        for place, group in enumerate(self.optimiser.param_groups):
            group |= _unpack(f"group/{place}", kinds["group"][str(place)], read)
        if self.scaler and (keys := kinds["scaler"].get("")):  # none where the training started without fp16
            self.scaler.load_state_dict(_unpack("scaler", keys, read))


def _group_numbers(group: Mapping[str, Any]) -> dict[str, Any]:
    """What an optimiser may change in a parameter group: its numbers, such as Prodigy's estimate."""
    return {key: value for key, value in group.items() if isinstance(value, torch.Tensor) or _is_number(value)}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _pack(prefix: str, values: Mapping[str, Any], weight: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    """As tensors; the ending of a name says what it was."""
    found = {}
    for key, value in values.items():
        if isinstance(value, torch.Tensor):
            on_host = weight is not None and value.device.type == "cpu" != weight.device.type
            found[f"{prefix}/{key}{HOST if on_host else ''}"] = value
        elif _is_number(value):
            kind = torch.float64 if isinstance(value, float) else torch.int64
            found[f"{prefix}/{key}{NUMBER}"] = torch.tensor(value, dtype=kind)
        else:
            raise TypeError(f"{prefix}/{key} is a {type(value).__name__}, which no state can hold")
    return found


def _unpack(
    prefix: str, keys: list[str], read: Callable[[str], torch.Tensor], weight: torch.Tensor | None = None
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in keys:
        tensor, (plain, _, kind) = read(f"{prefix}/{key}"), key.partition("@")
        if f"@{kind}" == NUMBER:
            found[plain] = tensor.item()
        else:
            found[plain] = tensor if weight is None or f"@{kind}" == HOST else _like(weight, tensor)
    return found


def _like(weight: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """The tensor on the device of the weight; a moment also in its memory format and sharding."""
    if tensor.shape == weight.shape:
        return torch.empty_like(weight, dtype=tensor.dtype).copy_(shard_like(tensor, weight))
    return tensor.to(weight.device)


def _try_lock(stream: IO[str]) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: trainings there are not kept apart
        return True
    return True


@dataclass(frozen=True)
class SavedState:
    """A saved state, by its file's name."""

    path: Path
    step: int
    sha256: str


@dataclass(frozen=True)
class CheckpointStore:
    """The folder of one training, which its lineage id names."""

    folder: Path
    lineage_id: str

    @property
    def states(self) -> list[SavedState]:
        """The newest first; whether they are intact is not checked."""
        named = [(path, STATE.fullmatch(path.name)) for path in sorted(self.folder.glob("state-*"))]
        found = [SavedState(path, int(match[1]), match[2]) for path, match in named if match]
        return sorted(found, key=lambda state: state.step, reverse=True)

    @property
    def step(self) -> int | None:
        """The step of the newest state, which may be damaged; None when there is none."""
        return next((state.step for state in self.states), None)

    @property
    def snapshots(self) -> Path:
        return self.folder / "snapshots"

    def snapshot(self, step: int) -> Path:
        return self.snapshots / f"step-{step:06d}"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """While it is open, no other process trains here; a crash releases it too.

        Raises
        ------
        InputError
            When another process does already.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "running").open("a+", encoding="ascii") as stream:
            if not _try_lock(stream):
                stream.seek(0)
                holder = stream.read() or "another process"
                raise InputError(
                    f"this training is already running ({holder}) in {self.folder}; let it end, or stop it"
                )
            if not os.fstat(stream.fileno()).st_nlink:  # `clear` came first
                raise InputError(f"this training has just ended in another process of {self.folder}; run it again")
            stream.truncate(0)
            stream.write(f"process {os.getpid()} on {socket.gethostname()}")
            stream.flush()
            yield

    def save(self, step: int, state: TrainingState, keep: int) -> None:
        """Write the state beside the earlier ones, of which `keep` - 1 stay.

        Raises
        ------
        OSError
            When the disk is full; the earlier states are as they were.
        """
        tensors, partial = state.tensors(), self.folder / f".state-{step:06d}"
        try:
            self._remove_partial_states()
        except OSError:
            streaming.join_gathering(tensors)  # the other processes wait until every shard is gathered
            raise
        try:
            metadata = {"lineage_id": self.lineage_id, "step": str(step)}
            sha256 = streaming.write(partial, tensors, metadata)
            os.replace(partial, self.folder / f"state-{step:06d}-{sha256}.safetensors")
        finally:
            partial.unlink(missing_ok=True)
        self._rotate(keep)

    def _remove_partial_states(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for partial in self.folder.glob(".state-*"):  # left by a process that was killed
            partial.unlink()

    def _rotate(self, keep: int) -> None:
        for state in self.states[keep:]:
            state.path.unlink()

    def set_aside_after(self, step: int, log: Callable[[str], None]) -> None:
        """Set aside the states after the one that is resumed.

        A damaged one is removed. An intact one may lack only a snapshot, or not fit the installed libraries: it is kept
        under another name, which is logged.
        """
        for state in self.states:
            if state.step <= step:
                continue
            if digest_file(state.path) != state.sha256:
                state.path.unlink()
            else:
                kept = state.path.rename(state.path.with_name(f"old-{state.path.name}"))
                log(f"{kept} is the state of step {state.step}, set aside: nothing uses it until it has its name again")

    def write_snapshot(self, step: int, write: Callable[[Path], None]) -> None:
        """Let `write` fill a folder, then rename it to its place."""
        final = self.snapshot(step)
        building = final.with_name(f".{final.name}")
        for folder in (building, final):
            shutil.rmtree(folder, ignore_errors=True)
        building.mkdir(parents=True)
        try:
            write(building)
            self._digest_path(step).write_text(digest_tree(building), encoding="ascii")
            os.replace(building, final)
        finally:
            shutil.rmtree(building, ignore_errors=True)

    def _digest_path(self, step: int) -> Path:
        return self.folder / f"step-{step:06d}.sha256"

    def load(self, training: TrainingState, snapshots: tuple[int, ...], log: Callable[[str], None]) -> int:
        """Restore the newest intact state; returns its step, 0 when there is none. Damaged ones are logged."""
        damaged: list[str] = []
        resumed = 0
        for state in self.states:
            defect = self.defect(state, snapshots) or self._restore(state, training)
            if not defect:
                resumed = state.step
                break
            damaged.append(f"the state of step {state.step} in {self.folder} is not intact ({defect})")
        if damaged:
            then = f"training continues from step {resumed}" if resumed else "training starts again"
            log(f"{'; '.join(damaged)}; {then}")
        return resumed

    def newest_intact_step(self, snapshots: tuple[int, ...]) -> int | None:
        """The step from which `load` would continue; None when there is none."""
        return next((state.step for state in self.states if not self.defect(state, snapshots)), None)

    def defect(self, state: SavedState, snapshots: tuple[int, ...]) -> str | None:
        """Why a state must not be resumed; None when it and the snapshots before it are as they were written."""
        if digest_file(state.path) != state.sha256:
            return "its bytes are not what was saved"
        damaged = [step for step in snapshots if step <= state.step and not self._snapshot_is_intact(step)]
        return f"its snapshot of step {damaged[0]} is gone or not what was written" if damaged else None

    def _snapshot_is_intact(self, step: int) -> bool:
        digest = self._digest_path(step)
        return digest.is_file() and digest.read_text(encoding="ascii") == digest_tree(self.snapshot(step))

    def _restore(self, state: SavedState, training: TrainingState) -> str | None:
        """Returns why it could not be done; then nothing was changed."""
        with safe_open(state.path, "pt") as file:
            if (file.metadata() or {}).get("lineage_id") != self.lineage_id:
                return "it belongs to another training"
            names = list(file.keys())
            if not training.has_shapes({name: tuple(file.get_slice(name).get_shape()) for name in names}):
                return "it has other weights than are trained now"
            training.restore(names, file.get_tensor)
        return None

    def clear(self) -> None:
        """Remove everything, snapshots too."""
        shutil.rmtree(self.folder, ignore_errors=True)
