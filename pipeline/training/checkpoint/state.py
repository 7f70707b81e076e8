"""The resumable state of a training: whole and checked, or as good as absent.

.work/train/<lineage id>/
    state-000200-<sha256>.safetensors   all that the next step depends on; its name has the digest of its bytes
    old-state-…                         a whole state that could not be continued; nobody reads it again
    step-000050.sha256                  digest of the snapshot
    running                             locked while somebody trains here
    snapshots/step-000050/ …            what will be exported

Each is written to the side and renamed, so a name that is there was complete once; whether it still is, its digest
says when it is needed.
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
from pipeline.training.distributed.fsdp import piece
from pipeline.training.ema import EMA

STATE = re.compile(r"state-(\d+)-([0-9a-f]{64})\.safetensors")
NUMBER, HOST = "@number", "@host"  # a Python number; a tensor on the CPU although its weight is on a GPU


@dataclass
class TrainingState:
    """All that a training must have to go on as if nothing had happened; `history` has COLUMNS of every step."""

    trainable: Trainable
    optimiser: torch.optim.Optimizer
    average: EMA | None = None
    scaler: torch.amp.GradScaler | None = None  # of fp16
    history: list[list[float]] = field(default_factory=list)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While it is open, the model has the weights that are to be seen: the average, if there is one."""
        with self.average.shown() if self.average else nullcontext():
            yield

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything by name; what is cut (FSDP) is still in pieces."""
        found = {"history": torch.tensor(self.history, dtype=torch.float64)}
        for name, weight in self.trainable.parameters.items():
            found[f"weight/{name}"] = weight
            found |= _packed(f"optimiser/{name}", self.optimiser.state.get(weight, {}), weight)
            if self.average:
                found[f"average/{name}"] = self.average.values[name]
        for place, group in enumerate(self.optimiser.param_groups):
            found |= _packed(f"group/{place}", _numbers(group))
        return found | _packed("scaler", self.scaler.state_dict() if self.scaler else {})

    def fits(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        """Are these the shapes of a state of this training?"""
        mine = {f"weight/{name}": tuple(weight.shape) for name, weight in self.trainable.parameters.items()}
        return {name: shape for name, shape in shapes.items() if name.startswith("weight/")} == mine

    @torch.no_grad()
    def put_back(self, names: list[str], read: Callable[[str], torch.Tensor]) -> None:
        """Take up what `tensors` gave; `read` gives one of its `names`."""
        kinds: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for name in names:
            kind, _, rest = name.partition("/")
            kinds[kind][rest.rpartition("/")[0]].append(rest.rpartition("/")[2])
        self.history = read("history").tolist()
        for name, weight in self.trainable.parameters.items():
            weight.copy_(piece(read(f"weight/{name}"), weight))
            if self.average:
                self.average.values[name].copy_(piece(read(f"average/{name}"), weight))
            if keys := kinds["optimiser"].get(name):
                self.optimiser.state[weight] = _unpacked(f"optimiser/{name}", keys, read, weight)
        for place, group in enumerate(self.optimiser.param_groups):
            group |= _unpacked(f"group/{place}", kinds["group"][str(place)], read)
        if self.scaler and (keys := kinds["scaler"].get("")):  # none, where the training was begun without fp16
            self.scaler.load_state_dict(_unpacked("scaler", keys, read))


def _numbers(group: Mapping[str, Any]) -> dict[str, Any]:
    """What an optimiser may change in a group: its numbers, such as Prodigy's estimate."""
    return {key: value for key, value in group.items() if isinstance(value, torch.Tensor) or _is_number(value)}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _packed(prefix: str, values: Mapping[str, Any], weight: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    """As tensors; the end of a name says what it was."""
    found = {}
    for key, value in values.items():
        if isinstance(value, torch.Tensor):
            host = weight is not None and value.device.type == "cpu" != weight.device.type
            found[f"{prefix}/{key}{HOST if host else ''}"] = value
        elif _is_number(value):
            kind = torch.float64 if isinstance(value, float) else torch.int64
            found[f"{prefix}/{key}{NUMBER}"] = torch.tensor(value, dtype=kind)
        else:
            raise TypeError(f"{prefix}/{key} is a {type(value).__name__}, which no state can keep")
    return found


def _unpacked(
    prefix: str, keys: list[str], read: Callable[[str], torch.Tensor], weight: torch.Tensor | None = None
) -> dict[str, Any]:
    found = {}
    for key in keys:
        tensor, (plain, _, kind) = read(f"{prefix}/{key}"), key.partition("@")
        if f"@{kind}" == NUMBER:
            found[plain] = tensor.item()
        else:
            found[plain] = tensor if weight is None or f"@{kind}" == HOST else _beside(weight, tensor)
    return found


def _beside(weight: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """On the device of the weight; a moment lies in memory as the weight does."""
    if tensor.shape == weight.shape:
        return torch.empty_like(weight, dtype=tensor.dtype).copy_(piece(tensor, weight))
    return tensor.to(weight.device)


def _locks(stream: IO[str]) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks, on which one has to take care oneself
        return True
    return True


@dataclass(frozen=True)
class SavedState:
    """A saved state, as its file's name describes it."""

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
        """The newest first, unchecked."""
        named = [(path, STATE.fullmatch(path.name)) for path in sorted(self.folder.glob("state-*"))]
        found = [SavedState(path, int(match[1]), match[2]) for path, match in named if match]
        return sorted(found, key=lambda state: state.step, reverse=True)

    @property
    def step(self) -> int | None:
        """The step of the newest state, unchecked; None when there is none."""
        return next((state.step for state in self.states), None)

    @property
    def snapshots(self) -> Path:
        return self.folder / "snapshots"

    def snapshot(self, step: int) -> Path:
        return self.snapshots / f"step-{step:06d}"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """While it is open, nobody else trains here; a crash ends it too.

        Raises
        ------
        InputError
            When somebody does already.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "running").open("a+", encoding="ascii") as stream:
            if not _locks(stream):
                stream.seek(0)
                who = stream.read() or "another process"
                raise InputError(f"this training is already running ({who}) in {self.folder}; let it end, or stop it")
            if not os.fstat(stream.fileno()).st_nlink:  # `clear` was faster
                raise InputError(f"this training has just ended in another process of {self.folder}; run it again")
            stream.truncate(0)
            stream.write(f"process {os.getpid()} on {socket.gethostname()}")
            stream.flush()
            yield

    def save(self, step: int, progress: TrainingState, keep: int) -> None:
        """Write the state beside the earlier ones, of which `keep` - 1 stay.

        Raises
        ------
        OSError
            When the disk is full; the earlier states are as they were.
        """
        tensors, partial = progress.tensors(), self.folder / f".state-{step:06d}"
        try:
            self._tidy()
        except OSError:
            streaming.take_part(tensors)  # the others are giving their pieces, and wait until each was taken
            raise
        try:
            metadata = {"lineage_id": self.lineage_id, "step": str(step)}
            sha256 = streaming.write(partial, tensors, metadata)
            os.replace(partial, self.folder / f"state-{step:06d}-{sha256}.safetensors")
        finally:
            partial.unlink(missing_ok=True)
        self._rotate(keep)

    def _tidy(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob(".state-*"):  # by a process that was killed
            left.unlink()

    def _rotate(self, keep: int) -> None:
        for state in self.states[keep:]:
            state.path.unlink()

    def drop_beyond(self, step: int, say: Callable[[str], None]) -> None:
        """Put states out of the way that are further than the one that is continued.

        One whose bytes are harmed is removed. A whole one may lack only a snapshot, or not fit the libraries of today:
        it keeps its bytes under another name, of which `say` is told.
        """
        for state in self.states:
            if state.step <= step:
                continue
            if digest_file(state.path) != state.sha256:
                state.path.unlink()
            else:
                kept = state.path.rename(state.path.with_name(f"old-{state.path.name}"))
                say(f"{kept} is the state of step {state.step}, set aside: nothing uses it until it has its name again")

    def write_snapshot(self, step: int, write: Callable[[Path], None]) -> None:
        """Let `write` fill a folder, then put it in its place."""
        final = self.snapshot(step)
        building = final.with_name(f".{final.name}")
        for folder in (building, final):
            shutil.rmtree(folder, ignore_errors=True)
        building.mkdir(parents=True)
        try:
            write(building)
            self._digest(step).write_text(digest_tree(building), encoding="ascii")
            os.replace(building, final)
        finally:
            shutil.rmtree(building, ignore_errors=True)

    def _digest(self, step: int) -> Path:
        return self.folder / f"step-{step:06d}.sha256"

    def load(self, progress: TrainingState, snapshots: tuple[int, ...], say: Callable[[str], None]) -> int:
        """Put the newest whole state back; returns its step, 0 when there is none. `say` is told of harmed ones."""
        harmed = []
        for state in self.states:
            flaw = self.flaw(state, snapshots) or self._put_back(state, progress)
            if not flaw:
                break
            harmed.append(f"the state of step {state.step} in {self.folder} is not whole ({flaw})")
        else:
            state = None
        if harmed:
            then = f"training goes on from step {state.step}" if state else "training starts again"
            say(f"{'; '.join(harmed)}; {then}")
        return state.step if state else 0

    def whole(self, snapshots: tuple[int, ...]) -> int | None:
        """The step that `load` would go on from; None when there is none."""
        return next((state.step for state in self.states if not self.flaw(state, snapshots)), None)

    def flaw(self, state: SavedState, snapshots: tuple[int, ...]) -> str | None:
        """Why a state must not be continued; None when it is what was saved, and the snapshots before it are."""
        if digest_file(state.path) != state.sha256:
            return "its bytes are not what was saved"
        harmed = [step for step in snapshots if step <= state.step and not self._has_snapshot(step)]
        return f"its snapshot of step {harmed[0]} is gone or not what was written" if harmed else None

    def _has_snapshot(self, step: int) -> bool:
        digest = self._digest(step)
        return digest.is_file() and digest.read_text(encoding="ascii") == digest_tree(self.snapshot(step))

    def _put_back(self, state: SavedState, progress: TrainingState) -> str | None:
        """Returns why it could not be done; then nothing was touched."""
        with safe_open(state.path, "pt") as file:
            if (file.metadata() or {}).get("lineage_id") != self.lineage_id:
                return "it belongs to another training"
            names = list(file.keys())
            if not progress.fits({name: tuple(file.get_slice(name).get_shape()) for name in names}):
                return "other weights are in it than learn now"
            progress.put_back(names, file.get_tensor)
        return None

    def clear(self) -> None:
        """Forget everything, snapshots too."""
        shutil.rmtree(self.folder, ignore_errors=True)
