"""dvc.yaml + dvc.lock -> Graph: the stages in order, which of them are stale, and why. No Prefect in here.

Must be called with the project's root as the current folder: DVC names stages relative to it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import networkx as nx
from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.scm import SCMError

from flows.errors import FlowError
from pipeline.core import registry

# run: something that it depends on has changed. restore: its result is missing, but DVC's cache has it.
# after: runs if a stage before it changes its result. cached: nothing to do.
Action = Literal["run", "restore", "after", "cached"]
# What a stage runs on, from `meta: {hardware: …}` of its stanza. core: one core. gpu: one GPU, if the machine has any.
# accelerate: the GPUs that the accelerate config requests, or every core.
Hardware = Literal["core", "gpu", "accelerate"]
_OUTPUT_STATES = {"deleted": "is missing", "not in cache": "is not in DVC's cache", "modified": "was changed by hand"}
BUSY = "another process works on it now"
CODE = "pipeline/"
NAMED_FILES = 3  # of changed code; of more, these are named and the others counted


@dataclass(frozen=True)
class Stage:
    """One node: `needs` are the stages directly before it, `outs` what it writes, `why` one phrase per cause."""

    name: str
    needs: tuple[str, ...]
    outs: tuple[str, ...]
    uncached_outs: tuple[str, ...]  # metrics, which git keeps: DVC's cache cannot restore them
    locked: bool  # has an entry in dvc.lock
    hardware: Hardware
    action: Action
    why: tuple[str, ...]

    @property
    def kind(self) -> str:
        return self.name.partition("@")[0]

    @property
    def species(self) -> str:
        return self.name.partition("@")[2]


@dataclass(frozen=True)
class Missing:
    """A dependency that does not exist and that no stage makes: a path, or a key of params.yaml."""

    name: str
    stages: tuple[str, ...]
    is_param: bool = False


@dataclass(frozen=True)
class Graph:
    """Stages in topological order."""

    stages: tuple[Stage, ...]
    missing: tuple[Missing, ...] = ()

    def __getitem__(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)

    def __contains__(self, name: str) -> bool:
        return any(stage.name == name for stage in self.stages)

    @property
    def stale(self) -> tuple[Stage, ...]:
        return tuple(stage for stage in self.stages if stage.action != "cached")


def read(species: Sequence[str] = ()) -> Graph:
    """The project's graph; restricted to what the species need, and the stages without species behind them."""
    logging.getLogger("dvc.rwlock").setLevel(logging.ERROR)  # it warns of the locks of a killed run, which it removes
    try:
        with Repo(".", _wait_for_lock=True) as repo:
            edges = nx.subgraph_view(repo.index.graph, filter_node=lambda stage: not stage.is_data_source)
            file_order = {stage: number for number, stage in enumerate(repo.index.stages)}
            nodes = list(nx.lexicographical_topological_sort(edges.reverse(), key=file_order.__getitem__))
            selected = _selected(edges, species)
            return _graph(repo, edges, [node for node in nodes if node.name in selected])
    except SCMError:
        mend = "run `git init` there (without git: `dvc config core.no_scm true`)"
        raise FlowError(f"{Path.cwd()} is no git repository, by which DVC works here; {mend}") from None
    except DvcException as error:
        raise FlowError(f"DVC cannot read the pipeline: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    """DVC's message with that of its cause."""
    parts = [str(error), str(error.__cause__ or "")]
    return "; ".join(" ".join(part.split()) for part in parts if part)


def _selected(edges: nx.DiGraph, species: Sequence[str]) -> set[str]:
    """Edges point from a stage to those it depends on: descendants come before it, ancestors after it."""
    if not species:
        return {stage.name for stage in edges}
    own = {stage for stage in edges if stage.name.partition("@")[2] in species}
    before = {other for stage in own for other in nx.descendants(edges, stage)}
    shared = {other for stage in own for other in nx.ancestors(edges, stage) if "@" not in other.name}
    return {stage.name for stage in own | before | shared}


def _graph(repo: Repo, edges: nx.DiGraph, nodes: list[Any]) -> Graph:
    names = {node.name for node in nodes}
    stale: set[str] = set()
    stages = []
    for node in nodes:
        needs = tuple(sorted(other.name for other in edges.successors(node) if other.name in names))
        action, why = _action(node, _causes(repo, node), [need for need in needs if need in stale])
        stale |= {node.name} if action != "cached" else set()
        outs = [(out.def_path, out.use_cache) for out in node.outs]
        uncached = tuple(path for path, cached in outs if not cached)
        paths = tuple(path for path, _ in outs)
        stages.append(Stage(node.name, needs, paths, uncached, _locked(node), _hardware(node), action, why))
    return Graph(tuple(stages), _missing(repo, nodes))


def _hardware(node: Any) -> Hardware:
    name: Hardware = (node.meta or {}).get("hardware", "core")
    if name not in (known := get_args(Hardware)):
        raise FlowError(f"dvc.yaml: meta.hardware of {node.name} is {name!r}; {registry.hint(str(name), known)}")
    return name


def _action(node: Any, causes: tuple[str, ...] | None, stale_needs: list[str]) -> tuple[Action, tuple[str, ...]]:
    """What becomes of a stage, given its own causes and the stale stages directly before it."""
    if causes is None:
        return ("after", (f"if {_listed(stale_needs)} changes its result",)) if stale_needs else ("cached", ())
    if not stale_needs and _restorable(node):
        return "restore", causes
    return "run", causes


def _restorable(node: Any) -> bool:
    """DVC runs a stage that continues from its own earlier output (`persist`), whatever its cache has."""
    return _locked(node) and node.already_cached() and not any(out.persist for out in node.outs)


def _listed(names: list[str], most: int = 2) -> str:
    more = f" or {len(names) - most} more" if len(names) > most else ""
    return " or ".join(names[:most]) + more


def _locked(node: Any) -> bool:
    return any(out.hash_info for out in node.outs)


def _causes(repo: Repo, node: Any) -> tuple[str, ...] | None:
    """Why DVC considers a stage changed; None where it does not."""
    try:
        with repo.lock:
            found = list(node.status(check_updates=True).values())
    except LockError:  # whose message advises to delete DVC's locks
        return (BUSY,)
    if not found:
        return None
    return tuple(dict.fromkeys(_phrases(node, found[0]))) if _locked(node) else ("never ran",)


def _phrases(node: Any, found: list[Any]) -> Iterator[str]:
    for item in found:
        if isinstance(item, str):
            yield {"changed checksum": "its command changed", "changed command": "its command changed"}.get(item, item)
            continue
        changed = item.get("changed deps", {})
        code = [entry for entry in changed if entry.startswith(CODE)]
        for entry, state in changed.items():
            if isinstance(state, dict):
                yield from _param_phrases(node, entry, state)
            elif entry not in code or len(code) <= NAMED_FILES:
                yield _path_phrase(entry, state)
        if len(code) > NAMED_FILES:
            yield f"its code changed ({', '.join(code[:NAMED_FILES])} and {len(code) - NAMED_FILES} more files)"
        for entry, state in item.get("changed outs", {}).items():
            yield f"{entry} {_OUTPUT_STATES.get(state, state)}"


def _path_phrase(path: str, state: str) -> str:
    return f"{path} {({'deleted': 'is missing', 'new': 'is new'}).get(state, 'changed')}"


def _param_phrases(node: Any, file: str, states: dict[str, str]) -> Iterator[str]:
    dep = next(dep for dep in node.deps if _is_params(dep) and str(dep) == file)
    old, new = dep.hash_info.value if dep.hash_info else {}, dep.read_params()
    for key in states:
        yield from _differences(key, old.get(key), new.get(key))


def _is_params(dep: Any) -> bool:
    return hasattr(dep, "read_params")


def _differences(key: str, old: Any, new: Any) -> Iterator[str]:
    """`train.steps: 500 -> 300`, as deep inside a section as the change is."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys([*old, *new]):
            if old.get(name) != new.get(name):
                yield from _differences(f"{key}.{name}", old.get(name), new.get(name))
    elif old is None or new is None:
        yield f"{key} is new" if old is None else f"{key} was removed"
    elif any(isinstance(value, dict | list | tuple) for value in (old, new)):
        yield f"{key} changed"
    else:
        yield f"{key}: {old} → {new}"


def _missing(repo: Repo, nodes: list[Any]) -> tuple[Missing, ...]:
    """What a stage depends on, that does not exist and that no stage writes (in it, or above it)."""
    outs = [Path(out.fs_path) for stage in repo.index.stages for out in stage.outs]
    users: dict[tuple[str, bool], list[str]] = {}
    for node in nodes:
        for dep in node.deps:
            if _is_params(dep):
                written = dep.read_params()
                names = [key for key in dep.params if key not in written]
            else:
                names = [] if _will_exist(Path(dep.fs_path), outs) else [dep.def_path]
            for name in names:
                users.setdefault((name, _is_params(dep)), []).append(node.name)
    return tuple(Missing(name, tuple(stages), is_param) for (name, is_param), stages in users.items())


def _will_exist(path: Path, outs: list[Path]) -> bool:
    return path.exists() or any(path == out or path in out.parents or out in path.parents for out in outs)
