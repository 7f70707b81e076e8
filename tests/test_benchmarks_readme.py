"""The numbers and the picture of README.md are those of the demo whose results git keeps."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pandas as pd
import pytest
from PIL import Image

from benchmarks import demo_picture, demo_results, readme
from tests.pictures import scene
from tests.project import ROOT, clone, environment, git

PARAMS = """
seed: 1
species:
  dodo: {name: Raphus cucullatus, class_noun: bird, sources: [{kind: addresses, path: dodo.csv}]}
  moa: {name: Dinornis, class_noun: bird, sources: [{kind: addresses, path: moa.csv}]}
sample: {width_px: 64}
"""
FOLDERS = {0: "base", 2: "step-000002", 4: "step-000004"}
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """What a demo leaves of two species: verdicts, samples and curated pictures."""
    tmp_path = tmp_path_factory.mktemp("demo")
    (tmp_path / "params.yaml").write_text(PARAMS)
    for key, hits in (("dodo", 6), ("moa", 8)):
        _write_species(tmp_path, key, hits)
    (tmp_path / "pipeline/assets").mkdir(parents=True)
    (tmp_path / "pipeline/assets/tiny").symlink_to(ROOT / "pipeline/assets/tiny")
    return tmp_path


def _write_species(root, key: str, hits: int) -> None:
    steps = {"0": _accuracy(1), "2": _accuracy(hits), "4": _accuracy(hits)}
    verdict = {"step": 2, "steps": {step: {"species_accuracy": found} for step, found in steps.items()}}
    details, samples = root / "reports/evaluation" / key / "details", root / "samples" / key
    details.mkdir(parents=True)
    (details / "verdict.json").write_text(json.dumps(verdict))
    rows = [(step, prompt, seed) for step in (0, 2, 4) for prompt in (0, 1) for seed in (4, 3, 2, 1)]
    table = pd.DataFrame(rows, columns=["step", "prompt_index", "seed"])
    table["file_name"] = [f"{FOLDERS[step]}/{prompt}-{seed}.png" for step, prompt, seed in rows]
    samples.mkdir(parents=True)
    table.to_parquet(samples / "samples.parquet")
    for number, name in enumerate(table["file_name"]):
        (samples / name).parent.mkdir(exist_ok=True)
        scene(number, (64, 64)).save(samples / name)
    for split in ("holdout", "train"):
        folder = root / "data/curated" / key / split
        folder.mkdir(parents=True)
        for number in range(5):
            scene(len(key) * 100 + len(split) * 10 + number, (80, 60)).save(folder / f"{number}.png")


def _accuracy(hits: int, n: int = 8) -> dict:
    return {"value": hits / n, "low": max(0.0, hits / n - 0.25), "high": min(1.0, hits / n + 0.25), "n": n}


@pytest.fixture(scope="module")
def results(demo):
    return demo_results.read(demo, minutes=4.9)


def test_the_numbers_of_the_readme_are_those_that_the_benchmark_writes_from_its_results():
    assert readme.render(README, demo_results.load()) == README


def test_no_accuracy_stands_in_the_readme_outside_what_the_benchmark_writes():
    by_hand = readme.BLOCK.sub("", README)
    assert re.findall(r"\d+ ?%", by_hand) == []


def test_results_become_the_numbers_between_the_markers(results):
    text = "\n".join(f"<!-- bench: {name} -->old<!-- end -->" for name in ("claim", "table", "base-model"))
    written = readme.render(text, results)
    assert "**14 of 16** pictures" in written and "2 of 16 by the base model" in written
    assert re.search(r"\| Raphus cucullatus \| 12 % \(0–38\) \| \d+–\d+ % \| \*\*75 % \(50–100\)\*\* \| 2 \|", written)
    assert "Shares of 8 samples a species" in written and ", 5 minutes." in written
    assert "<!-- bench: base-model -->16 MB, 64 pixels<!-- end -->" in written
    assert "old" not in written
    assert readme.render(written, results) == written


def test_a_readme_without_a_block_is_an_error_that_names_it(results):
    text = "<!-- bench: table --><!-- end --><!-- bench: base-model --><!-- end -->"
    with pytest.raises(ValueError, match="no block `<!-- bench: claim -->`"):
        readme.render(text, results)


def test_the_picture_shows_every_seed_of_the_first_prompt_and_selects_none(demo, results, tmp_path):
    assert demo_picture._rows(demo, "dodo", 2) == [
        [demo / "samples/dodo" / f"base/0-{seed}.png" for seed in (1, 2, 3, 4)],
        [demo / "samples/dodo" / f"step-000002/0-{seed}.png" for seed in (1, 2, 3, 4)],
        [demo / "data/curated/dodo/holdout" / f"{n}.png" for n in range(4)],
    ]
    demo_picture.write(demo, results, tmp_path / "demo.webp")
    with Image.open(tmp_path / "demo.webp") as picture:
        assert picture.format == "WEBP" and picture.size == demo_picture.draw(demo, results).size


def test_one_command_publishes_the_results_of_a_demo_that_has_run(demo, tmp_path):
    folder = clone(tmp_path / "clone")
    command = [sys.executable, "-m", "benchmarks", "--demo-of", str(demo)]
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "**14 of 16** pictures" in (folder / "README.md").read_text(encoding="utf-8")
    changed = git(folder, "status", "--short").split()[1::2]
    assert changed == ["README.md", "benchmarks/results/demo.json", "docs/demo.webp"]


def test_the_committed_picture_is_small_and_of_the_committed_results():
    path = ROOT / "docs/demo.webp"
    columns = len(demo_results.load()["species"]) * demo_picture.SEEDS
    with Image.open(path) as picture:
        assert picture.width > columns * demo_picture.SIDE_PX
    assert path.stat().st_size < 300_000


def test_the_base_model_is_measured_by_other_held_out_pictures(results):
    for each in results["species"].values():
        low, high = each["base_other_held_out"]
        assert 0 <= low <= high <= 1
    assert any(low < high for low, high in (each["base_other_held_out"] for each in results["species"].values()))
