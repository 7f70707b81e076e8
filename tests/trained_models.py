"""A trained model of any method as `paleo train` leaves it; the weights are tiny and moved at random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from pipeline.core import params as params_module
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.core.records import Subject
from pipeline.families import family
from pipeline.io.files import atomic_write
from pipeline.io.files.model_folders import weights_digest
from pipeline.methods import method
from tests.project import ROOT, edit_params

SPECIES, NAME = "dodo", "Raphus cucullatus"
STEPS = (2, 6)


def make(root: Path, base: Path, name: str, kind: str, **train: Any) -> tuple[Params, Paths]:
    """params.yaml and models/dodo with two snapshots below `root`; `base` is a folder of the family `name`."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "base").symlink_to(base)
    (root / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    ranks = {each: {"rank": 4, "alpha": 16} | train.pop(each, {}) for each in ("lora", "loha", "lokr")}
    changes = {"method": kind, "steps": STEPS[-1], "snapshots": list(STEPS), "save_dtype": "float32", **ranks, **train}
    source = {"kind": "folder", "path": "pictures", "licence": "CC0-1.0"}
    species = {SPECIES: {"name": NAME, "class_noun": "bird", "sources": [source]}}
    edit_params(root, {"base": {"path": "base", "family": name}, "train": changes, "species": species})
    params, paths = params_module.load(root / "params.yaml"), Paths(root, SPECIES)
    metadata = {
        "lineage_id": "a" * 16,
        "base_digest": weights_digest(base),
        "dataset_digest": "d" * 64,
        "licences_digest": "c" * 64,
        "species": SPECIES,
        "method": kind,
        "family": name,
        "trigger": method(kind).trigger(_subject()),
        "base": "base",
    }
    _snapshots(params, paths, metadata)
    atomic_write.write_card(
        paths.model,
        stage="train",
        **metadata,
        name=NAME,
        steps=STEPS[-1],
        params={"seed": params.seed, **params.train.model_dump(mode="json")},
        snapshots=[{"step": step, "path": f"step-{step:06d}"} for step in STEPS],
    )
    return params, paths


def restored(params: Params, paths: Paths, step: int = STEPS[-1]):
    """The components of a snapshot, as `paleo sample` loads them."""
    base = family(params.base.family).load(paths.root / "base")
    return method(params.train.method).restore(base, paths.model / f"step-{step:06d}")


def _subject() -> Subject:
    return Subject(SPECIES, NAME, "bird")


def _snapshots(params: Params, paths: Paths, metadata: dict[str, str]) -> None:
    components = family(params.base.family).load(paths.root / "base")
    how = method(params.train.method)
    trainable = how.attach(components, params.train, _subject(), 0, torch.float32)
    for step in STEPS:
        moved = torch.Generator().manual_seed(step)
        with torch.no_grad():
            for weight in trainable.parameters.values():
                weight.add_(0.05 * torch.randn(weight.shape, generator=moved))
        folder = paths.model / f"step-{step:06d}"
        folder.mkdir(parents=True)
        how.save(trainable, folder, torch.float32, {**metadata, "step": str(step)})
