"""The stage `evaluate` on made-up species of different colours, measured by a random CLIP."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.core import params as params_module
from pipeline.core.errors import InputError, ParamsError
from pipeline.core.lineage import digest_tree
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.evaluate import evaluate
from pipeline.io.files import atomic_write, parquet
from pipeline.io.images import codecs
from tests.released_project import ROOT, changed
from tests.tiny_clip import write_clip

COLOURS = {"sinomacrops": (220, 40, 40), "dimorphodontidae": (40, 40, 220), "ornithocheiromorpha": (40, 220, 40)}
SPECIES = "sinomacrops"
STEPS = {0: "base", 50: "step-000050", 250: "step-000250"}
PROMPTS, SEEDS = ("{name}", "pencil drawn {name}", "{name} at sea"), (1, 2, 3)


def _picture(colour: tuple, seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).normal(0, 25, (24, 24, 3))
    return Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8))


def _curate(paths: Paths, colour: tuple, name: str, n: int = 8) -> None:
    rows = []
    for i in range(n):
        split = "holdout" if i % 2 else "train"
        rows.append({"file_name": f"{split}/{i}.png", "split": split, "caption": f"a painting of {name}"})
        atomic_write.write_bytes(paths.curated / rows[-1]["file_name"], codecs.png(_picture(colour, i)))
    parquet.write(paths.curated / "metadata.parquet", pd.DataFrame(rows))
    atomic_write.write_card(paths.curated, stage="curate", digest="d" * 32)


def _colour(step: int, index: int, seed: int) -> tuple:
    """The base draws any species; 50 steps still fail with one prompt; 250 draw the right one."""
    others = [COLOURS[name] for name in COLOURS if name != SPECIES]
    wrong = {0: True, 50: index == 2, 250: False}[step]
    return others[(index + seed) % 2] if wrong else COLOURS[SPECIES]


def _sample(paths: Paths, name: str) -> None:
    rows = []
    for step, label in STEPS.items():
        for index, template in enumerate(PROMPTS):
            for seed in SEEDS:
                file_name = f"{label}/p{index:02d}-s{seed:05d}.png"
                content = codecs.png(_picture(_colour(step, index, seed), 1000 + 100 * step + 10 * index + seed))
                atomic_write.write_bytes(paths.samples / file_name, content)
                rows.append(
                    {
                        "file_name": file_name,
                        "checkpoint": label,
                        "step": step,
                        "prompt_index": index,
                        "template": template,
                        "prompt": template.format(name=name),
                        "seed": seed,
                    }
                )
    parquet.write(paths.samples / "samples.parquet", pd.DataFrame(rows))
    atomic_write.write_card(paths.samples, stage="sample", lineage_id="a" * 16)


def _params() -> Params:
    params = params_module.load(ROOT / "params.yaml")
    return changed(params, base={"clip": "clip"}, evaluate={"bootstrap_resamples": 200})


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    root, params = tmp_path_factory.mktemp("project"), _params()
    write_clip(root / "clip")
    for name, colour in COLOURS.items():
        _curate(Paths(root, name), colour, params.species[name].name)
    _sample(Paths(root, SPECIES), params.species[SPECIES].name)
    return root


@pytest.fixture
def project(original, tmp_path):
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    return _params(), Paths(tmp_path, SPECIES)


def _found(paths):
    """The metrics with the verdict, as the gallery reads them."""
    files = (paths.evaluation / "details/verdict.json", paths.evaluation / "metrics.json")
    return atomic_write.read_json(files[0]) | atomic_write.read_json(files[1])


def test_the_step_that_draws_the_species_is_chosen_and_the_reason_has_the_numbers(project):
    params, paths = project
    report = evaluate(params, paths)
    metrics = _found(paths)
    assert (metrics["chosen_step"], metrics["chosen_checkpoint"]) == (250, "step-000250")
    assert metrics["base"]["species_accuracy"] == 0
    assert metrics["steps"]["50"]["species_accuracy"]["value"] == pytest.approx(6 / 9, abs=1e-6)
    assert metrics["chosen"]["species_accuracy"] == metrics["real"]["species_accuracy"] == 1
    assert metrics["reason"].startswith("step 250: species accuracy 100 % [")
    assert metrics["reason"].endswith("100] against 0 % for the base; step 50 reaches 67 %")
    assert metrics["missing"] == {}
    assert "sinomacrops: step 250" in report.lines[0]


def test_what_dvc_shows_of_the_metrics_fits_a_screen(project):
    params, paths = project
    evaluate(params, paths)
    metrics = atomic_write.read_json(paths.evaluation / "metrics.json")
    assert set(metrics) == {"chosen_step", "base", "chosen"}
    assert all(isinstance(value, float) for which in ("base", "chosen") for value in metrics[which].values())


def test_every_metric_stands_there_with_its_interval(project):
    params, paths = project
    evaluate(params, paths)
    for by_metric in _found(paths)["steps"].values():
        for entry in by_metric.values():
            assert entry["low"] <= entry["value"] <= entry["high"] and entry["n"] == 9


def test_every_picture_has_a_row_that_agrees_with_the_metrics(project):
    params, paths = project
    evaluate(params, paths)
    table = parquet.read(paths.evaluation / "details/per_image.parquet")
    metrics = _found(paths)
    assert len(table) == 27
    for step, by_metric in metrics["steps"].items():
        rows = table[table["step"] == int(step)]
        assert rows["species_hit"].mean() == pytest.approx(by_metric["species_accuracy"]["value"], abs=1e-6)
        for name, column in (("clip_t", "clip_t"), ("clip_i", "clip_i"), ("nearest_train", "nearest_train_cosine")):
            assert rows[column].mean() == pytest.approx(by_metric[name]["value"], abs=2e-6)
    assert set(table["nearest_train"]) <= {f"train/{i}.png" for i in range(0, 8, 2)}
    assert set(table.loc[table["step"] == 250, "nearest_species"]) == {SPECIES}


def test_the_verdict_has_the_paired_gain_and_what_was_compared(project):
    params, paths = project
    evaluate(params, paths)
    verdict = atomic_write.read_json(paths.evaluation / "details/verdict.json")
    assert verdict["gain"]["value"] == 1
    assert verdict["better_than_base"] and verdict["chosen_checkpoint"] == "step-000250"
    assert verdict["compared_with"] == ["dimorphodontidae", "ornithocheiromorpha"]
    assert verdict["lineage_id"] == atomic_write.read_card(paths.evaluation / "details")["lineage_id"] == "a" * 16


def test_evaluating_twice_writes_the_same_bytes(project):
    params, paths = project
    evaluate(params, paths)
    first = digest_tree(paths.evaluation)
    shutil.rmtree(paths.evaluation)
    evaluate(params, paths)
    assert digest_tree(paths.evaluation) == first


def test_a_copied_training_picture_is_named_as_memorised(project):
    params, paths = project
    copied = paths.samples / "step-000250/p01-s00002.png"
    shutil.copyfile(paths.curated / "train/2.png", copied)
    evaluate(params, paths)
    assert (
        "step-000250/p01-s00002.png" in atomic_write.read_json(paths.evaluation / "details/verdict.json")["memorised"]
    )
    table = parquet.read(paths.evaluation / "details/per_image.parquet").set_index("file_name")
    assert table.loc["step-000250/p01-s00002.png", "nearest_train"] == "train/2.png"
    assert table.loc["step-000250/p01-s00002.png", "nearest_train_cosine"] == pytest.approx(1, abs=1e-5)


def test_a_species_alone_is_chosen_by_clip_i_and_says_so(project):
    params, paths = project
    for other in ("dimorphodontidae", "ornithocheiromorpha"):
        shutil.rmtree(paths.of(other).curated)
    report = evaluate(params, paths)
    metrics = _found(paths)
    assert metrics["primary"] == "clip_i" and metrics["chosen"]["species_accuracy"] is None
    assert metrics["steps"]["250"]["species_accuracy"] == {"value": None, "low": None, "high": None, "n": 0}
    assert "no other species" in metrics["missing"]["species_accuracy"]
    assert "chosen by CLIP-I, as species accuracy is unknown" in metrics["reason"]
    assert any("species accuracy   unknown" in line for line in report.lines)
    assert not parquet.read(paths.evaluation / "details/per_image.parquet")["species_hit"].any()


def test_one_seed_a_prompt_leaves_diversity_unknown(project):
    params, paths = project
    table = parquet.read(paths.samples / "samples.parquet")
    parquet.write(paths.samples / "samples.parquet", table[table["seed"] == 1])
    evaluate(params, paths)
    metrics = _found(paths)
    assert metrics["chosen"]["diversity"] is None and "at least two" in metrics["missing"]["diversity"]


@pytest.mark.parametrize(
    "spoil, sentence",
    [
        (lambda p: shutil.rmtree(p.samples), "samples/sinomacrops/card.json is missing"),
        (lambda p: shutil.rmtree(p.curated), "curated/sinomacrops/card.json is missing"),
        (lambda p: shutil.rmtree(p.root / "clip"), "'clip' is not there"),
        (lambda p: (p.root / "clip/preprocessor_config.json").unlink(), "`base.clip` in params.yaml. is no CLIP"),
        (lambda p: (p.samples / "base/p00-s00001.png").write_bytes(b"<html>"), "p00-s00001.png cannot be read: "),
        (lambda p: (p.samples / "base/p00-s00001.png").unlink(), "p00-s00001.png is missing, though its table names"),
        (lambda p: (p.samples / "samples.parquet").write_bytes(b"PAR"), "samples.parquet is not a parquet table"),
    ],
)
def test_what_is_missing_or_damaged_is_named_and_earlier_results_stay(project, spoil, sentence):
    params, paths = project
    evaluate(params, paths)
    before = digest_tree(paths.evaluation)
    spoil(paths)
    with pytest.raises(InputError, match=sentence):
        evaluate(params, paths)
    assert digest_tree(paths.evaluation) == before


def test_a_metric_that_does_not_exist_is_refused_before_anything_is_read(project):
    params, paths = project
    shutil.rmtree(paths.samples)
    with pytest.raises(ParamsError, match="evaluate.primary is 'clip-i', which is not known; did you mean 'clip_i'"):
        evaluate(changed(params, evaluate={"primary": "clip-i"}), paths)


def test_without_held_out_pictures_there_is_nothing_to_measure_with(project):
    params, paths = project
    table = parquet.read(paths.curated / "metadata.parquet").assign(split="train")
    parquet.write(paths.curated / "metadata.parquet", table)
    with pytest.raises(InputError, match="has no held-out pictures to measure with; see curate.holdout_fraction"):
        evaluate(params, paths)
