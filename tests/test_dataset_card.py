"""A curated folder as the library `datasets` loads it, and its card in Hugging Face's conventions."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from datasets import config, load_dataset
from huggingface_hub import DatasetCard
from PIL import Image

from pipeline import collect, curate
from pipeline.core import params as params_module
from pipeline.core.licences import hub_licences
from pipeline.core.paths import Paths
from pipeline.io.files import atomic_write
from tests.pictures import encoded, scene
from tests.project import ROOT, edit_params


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setattr(config, "HF_HUB_OFFLINE", True)


def curated(root: Path, n_pictures: int, name: str = "Raphus cucullatus", **captions: str) -> Paths:
    """A species of a folder of pictures `0.png`, `1.png`, …, collected and curated."""
    for number in range(n_pictures):
        (root / "pictures").mkdir(exist_ok=True)
        (root / "pictures" / f"{number}.png").write_bytes(encoded(scene(number)))
    for stem, caption in captions.items():
        (root / "pictures" / f"{stem.removeprefix('of_')}.txt").write_text(caption, encoding="utf-8")
    (root / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    source = {"kind": "folder", "path": "pictures", "licence": "CC-BY-4.0", "author": "Jane Doe", "trusted": True}
    edit_params(root, {"species": {"dodo": {"name": name, "class_noun": "bird", "sources": [source]}}})
    params, paths = params_module.load(root / "params.yaml"), Paths(root, "dodo")
    collect.collect(params, paths)
    curate.curate(params, paths)
    return paths


def test_datasets_loads_pictures_captions_and_splits(tmp_path):
    paths = curated(tmp_path, 6, of_1="a dodo, “at rest”\tby the sea")
    cache = {"cache_dir": str(tmp_path / "cache")}
    train = load_dataset("imagefolder", data_dir=str(paths.curated), split="train", **cache)
    both = load_dataset(str(paths.curated), **cache)
    table = pd.read_parquet(paths.curated / "metadata.parquet")
    assert {split: len(rows) for split, rows in both.items()} == {"train": 5, "test": 1} and len(train) == 5
    assert train.features == both["test"].features and train.column_names[:2] == ["image", "text"]
    for split, rows in (("train", train), ("train", both["train"]), ("holdout", both["test"])):
        expected = table[table["split"] == split].set_index("sha256")
        assert {row["sha256"]: row["text"] for row in rows} == expected["caption"].to_dict()
        assert {(row["author"], row["licence"]) for row in rows} == {("Jane Doe", "CC-BY-4.0")}
        for row in rows:
            with Image.open(paths.curated / expected.loc[row["sha256"], "file_name"]) as image:
                assert row["image"].tobytes() == image.tobytes()


def test_without_held_out_pictures_there_is_one_split(tmp_path):
    paths = curated(tmp_path, 1)
    loaded = load_dataset(str(paths.curated), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 1}


def test_the_card_keeps_hugging_faces_conventions_whatever_the_species_is_called(tmp_path):
    paths = curated(tmp_path, 6, name="Raphus: *cucullatus* # | [x](y)")
    card = DatasetCard.load(paths.curated / "README.md")
    data = card.data.to_dict()
    assert data["license"] == ["cc-by-4.0"] and data["size_categories"] == ["n<1K"]
    assert data["pretty_name"] == "Pictures of Raphus: *cucullatus* # | [x](y)"
    first = "# Pictures of Raphus: \\*cucullatus\\* \\# \\| \\[x\\]\\(y\\)\n5 pictures to train on and 1 held out."
    assert card.text.startswith(first)
    assert "| CC-BY-4.0 | 6 |" in card.text and atomic_write.read_card(paths.curated)["digest"] in card.text
    assert str(tmp_path) not in card.content


def test_licences_have_the_names_of_hugging_face_or_are_called_other():
    assert hub_licences(["CC-BY-SA-4.0", "CC0-1.0", "CC-BY-SA-4.0"]) == ["cc-by-sa-4.0", "cc0-1.0"]
    assert hub_licences(["PDM-1.0", "CC-BY-SA-3.0-DE", "CC-BY-2.0"]) == ["cc-by-2.0", "other"]
