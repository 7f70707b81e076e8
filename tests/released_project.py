"""A project with trained, sampled and evaluated species, as the stages leave it; the weights are random and tiny."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import torch
from PIL import Image

from pipeline.core import params as params_module
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.core.prompts import fill_prompt
from pipeline.core.records import Subject
from pipeline.families import family
from pipeline.io.files import atomic_write, parquet
from pipeline.io.files.model_folders import weights_digest
from pipeline.io.images import codecs
from pipeline.methods import method
from tests import tiny_models

ROOT = Path(__file__).parents[1]
SPECIES = ("sinomacrops", "dimorphodontidae")
STEPS = (2, 4)
CHANGES = {
    "train": {"steps": 4, "snapshots": STEPS, "resolution_px": 16},
    "sample": {"prompts": ("{name}", "a {name}"), "seeds": (1, 2), "steps": 2, "width_px": 16, "height_px": 16},
    "base": {"path": "base", "clip": "clip"},
}


def make(root: Path, kind: str = "dreambooth") -> Params:
    """Base model, CLIP and params; the species come with `finish`."""
    tiny_models.write_sd(root / "base")
    atomic_write.write_json(root / "clip/config.json", {"which": "tiny"})
    (root / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return changed(params_module.load(root / "params.yaml"), **CHANGES, **{"train.method": kind})


def changed(params: Params, **sections) -> Params:
    """Params with some keys of some sections replaced: `sample={"steps": 3}` or `**{"train.method": "lora"}`."""
    dump = params.model_dump(mode="json", by_alias=True)
    for name, value in sections.items():
        section, _, key = name.partition(".")
        dump[section] |= {key: value} if key else value
    return type(params).model_validate(dump)


def finish(
    params: Params, root: Path, species: str = SPECIES[0], *, lineage_id: str = "a" * 16, accuracy: float = 0.9
) -> Paths:
    """Everything that `register` reads about one species."""
    paths = Paths(root, species)
    _curated(params, paths)
    _model(params, paths, lineage_id)
    _samples(params, paths, lineage_id)
    _evaluation(params, paths, lineage_id, accuracy)
    atomic_write.write_text(paths.site / species / "index.html", "<!doctype html><title>gallery</title>")
    return paths


def _curated(params: Params, paths: Paths) -> None:
    licences = ("CC0-1.0", "CC-BY-4.0")
    rows = [
        {
            "file_name": f"train/{n}.png",
            "title": f"Plate {n}",
            "author": "Ada",
            "licence": licences[n % 2],
            "source": "folder",
            "licence_url": "",
            "page_url": "",
            "caption": "a bird",
            "split": "train",
        }
        for n in range(4)
    ]
    parquet.write(paths.curated / "metadata.parquet", pd.DataFrame(rows))
    atomic_write.write_card(paths.curated, stage="curate", species=paths.species, digest="d" * 64)


def _model(params: Params, paths: Paths, lineage_id: str) -> None:
    shutil.rmtree(paths.model, ignore_errors=True)
    for step in params.train.snapshots:
        _snapshot(params, paths, paths.model / f"step-{step:06d}", step, lineage_id)
    lines = [f"{step},{1 / step},0.0003,0.5" for step in range(1, params.train.steps + 1)]
    atomic_write.write_text(paths.model / "train.csv", "\n".join(["step,loss,learning_rate,gradient_norm", *lines, ""]))
    snapshots = [{"step": step, "path": f"step-{step:06d}"} for step in params.train.snapshots]
    atomic_write.write_card(
        paths.model,
        stage="train",
        species=paths.species,
        family="sd",
        method=params.train.method,
        base="base",
        base_digest=weights_digest(paths.root / "base"),
        dataset_digest="d" * 64,
        lineage_id=lineage_id,
        snapshots=snapshots,
        name=params.species[paths.species].name,
    )


def _snapshot(params: Params, paths: Paths, folder: Path, step: int, lineage_id: str) -> None:
    """The base with its weights moved a little, saved by the method itself."""
    how = method(params.train.method)
    species = params.species[paths.species]
    subject = Subject(paths.species, species.name, species.class_noun)
    trainable = how.attach(family("sd").load(paths.root / "base"), params.train, subject, 0, torch.float32)
    with torch.no_grad():
        for index, weight in enumerate(trainable.parameters.values()):
            weight.add_(0.01 * step * torch.randn(weight.shape, generator=torch.Generator().manual_seed(index)))
    folder.mkdir(parents=True)
    how.save(trainable, folder, torch.float32, {"lineage_id": lineage_id})


def _samples(params: Params, paths: Paths, lineage_id: str) -> None:
    words, sample = params.species[paths.species], params.sample
    rows = [
        {
            "file_name": f"{step}-{index}-{seed}.png",
            "step": step,
            "prompt_index": index,
            "seed": seed,
            "prompt": fill_prompt(template, name=words.name, class_noun=words.class_noun),
            "template": template,
            "sampler": sample.sampler,
            "steps": sample.steps,
            "guidance_scale": sample.guidance_scale,
            "negative_prompt": sample.negative_prompt,
            "width_px": sample.width_px,
            "height_px": sample.height_px,
        }
        for step in (0, *params.train.snapshots)
        for index, template in enumerate(sample.prompts)
        for seed in sample.seeds
    ]
    for number, row in enumerate(rows):
        picture = Image.new("RGB", (16, 16), (40 * number % 256, 90, 160))
        atomic_write.write_bytes(paths.samples / row["file_name"], codecs.png(picture))
    parquet.write(paths.samples / "samples.parquet", pd.DataFrame(rows))
    atomic_write.write_card(paths.samples, stage="sample", species=paths.species, lineage_id=lineage_id)


def _evaluation(params: Params, paths: Paths, lineage_id: str, accuracy: float) -> None:
    values = {0: {"species_accuracy": 0.31, "clip_i": 0.5}}
    values |= {step: {"species_accuracy": accuracy, "clip_i": 0.5 + accuracy / 3} for step in params.train.snapshots}
    last = params.train.snapshots[-1]
    steps = {
        str(step): {name: {"value": value, "low": 0, "high": 1, "n": 4} for name, value in by.items()}
        for step, by in values.items()
    }
    atomic_write.write_json(
        paths.evaluation / "metrics.json",
        {"chosen_step": last, "base": values[0] | {"memorised": None}, "chosen": values[last] | {"memorised": None}},
    )
    atomic_write.write_json(
        paths.evaluation / "details/verdict.json",
        {
            "species": paths.species,
            "primary": "species_accuracy",
            "step": last,
            "reason": f"step {last}: better",
            "steps": steps,
            "compared_with": list(SPECIES[1:]),
        },
    )
    atomic_write.write_card(paths.evaluation / "details", stage="evaluate", lineage_id=lineage_id, chosen_step=last)
