"""The model card that `paleo export` writes, in Hugging Face's conventions."""

from __future__ import annotations

import csv
import re

import pandas as pd
import pytest
from huggingface_hub import ModelCard
from PIL import Image

from pipeline.commands.export import export
from pipeline.core.params import Params
from pipeline.io.files import atomic_write
from tests.project import ROOT
from tests.released_project import changed, finish, make

REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?")  # what Hugging Face accepts as the id of a model
BASE_CARD = "---\nlicense: creativeml-openrail-m\ntags: [x]\n---\n# A base\n"


@pytest.fixture(scope="module")
def lora(tmp_path_factory):
    root = tmp_path_factory.mktemp("lora")
    params = make(root, "lora")
    paths = finish(params, root)
    for name in pd.read_parquet(paths.samples / "samples.parquet")["file_name"]:
        Image.new("RGB", (16, 16), "teal").save(paths.samples / name)
    return _complete(params), paths


def _complete(params: Params) -> Params:
    return changed(params, base={"hub_id": "stable-diffusion-v1-5/stable-diffusion-v1-5"})


@pytest.fixture
def card(lora):
    """Export the LoRA and read its card; the rest of the project changes before that as a test wishes."""
    params, paths = lora
    folder = paths.root / "exports/kohya/sinomacrops-lora-step-000004"
    _finish_card(paths)
    (paths.root / "base/README.md").write_text(BASE_CARD)
    report = export(params, paths, format="kohya")
    return report, folder, ModelCard.load(folder / "README.md")


def _finish_card(paths) -> None:
    """What `train` writes into its card beyond what the registry needs."""
    content = atomic_write.read_card(paths.model)
    params = {"save_dtype": "float32", "resolution_px": 16, "loss": {"zero_terminal_snr": False}}
    content |= {"params": params, "trigger": "Sinomacrops bondei", "licences_digest": "c" * 64}
    atomic_write.write_card(paths.model, **content)


def test_the_front_matter_has_what_hugging_face_reads(card):
    _, folder, found = card
    data = found.data.to_dict()
    assert data["license"] == "creativeml-openrail-m" and data["library_name"] == "diffusers"
    assert data["base_model"] == "stable-diffusion-v1-5/stable-diffusion-v1-5"
    assert data["pipeline_tag"] == "text-to-image" and data["instance_prompt"] == "Sinomacrops bondei"
    assert {"lora", "template:sd-lora", "diffusers:StableDiffusionPipeline"} <= set(data["tags"])
    assert [entry["text"] for entry in data["widget"]] == ["Sinomacrops bondei", "a Sinomacrops bondei"]
    for entry in data["widget"]:
        with Image.open(folder / entry["output"]["url"]) as picture:
            assert picture.size == (16, 16)
    scores = {result.metric_type: result.metric_value for result in found.data.eval_results}
    assert scores["species_accuracy"] == 0.9


def test_the_text_says_how_to_load_it_what_was_measured_and_who_made_the_pictures(card):
    report, folder, found = card
    assert "pipeline.load_lora_weights" not in found.text and "ComfyUI: into models/loras" in found.text
    assert "| species accuracy |" in found.text and "| 90 % |" in found.text
    assert "`creativeml-openrail-m`" in found.text and "| CC-BY-4.0 | 2 |" in found.text
    rows = list(csv.DictReader((folder / "CREDITS.csv").read_text().splitlines()))
    assert {row["author"] for row in rows} == {"Ada"} and len(rows) == 4
    assert "exports/kohya/sinomacrops-lora-step-000004/README.md (the model card" in "\n".join(report.lines)
    assert not re.search(r"/tmp/|step-000004\.safetensors \(", found.content)


def test_a_card_that_people_have_edited_stays(card, lora):
    _, folder, _ = card
    text = (folder / "README.md").read_text()
    assert "README.md (the model card, is there already)" in "\n".join(export(*lora, format="kohya").lines)
    (folder / "README.md").write_text(text + "\nA word of mine.\n")
    lines = "\n".join(export(*lora, format="kohya").lines)
    assert "is there already with other content and stays; delete it for a new one" in lines
    assert (folder / "README.md").read_text().endswith("A word of mine.\n")
    (folder / "README.md").unlink()
    export(*lora, format="kohya")
    assert (folder / "README.md").read_text() == text, "the same results give the same bytes"


@pytest.mark.parametrize("format", ["diffusers", "single-file"])
def test_without_results_and_a_card_of_the_base_it_says_so(tmp_path, format):
    params = make(tmp_path, "dreambooth")
    paths = finish(params, tmp_path, accuracy=0.5)
    _finish_card(paths)
    for folder in (paths.evaluation / "details", paths.samples, paths.curated):
        card = atomic_write.read_card(folder)
        atomic_write.write_card(folder, **{**card, "lineage_id": "of another training", "digest": "of other pictures"})
    export(params, paths, format=format, step=2)
    (folder,) = (tmp_path / "exports" / format).iterdir()
    found = ModelCard.load(folder / "README.md")
    data = found.data.to_dict()
    assert data["license"] == "unknown" and "widget" not in data and "model-index" not in data
    assert REPOSITORY.fullmatch(data["base_model"]) and data["base_model"] == "base"
    assert "This step is not evaluated." in found.text and "states no licence" in found.text
    assert not (folder / "images").exists() and not (folder / "CREDITS.csv").exists()
    if format == "diffusers":
        assert (folder / "model_index.json").is_file() and "from_pretrained('.')" in found.text
        assert "is there already)" in export(params, paths, format=format, step=2).lines[0]


def test_a_file_that_goes_among_others_has_no_card(lora, tmp_path):
    params, paths = lora
    _finish_card(paths)
    (tmp_path / "loras").mkdir()
    export(params, paths, format="kohya", out=tmp_path / "loras")
    assert [path.name for path in (tmp_path / "loras").iterdir()] == ["sinomacrops-lora-step-000004.safetensors"]


def test_profiles_name_the_model_that_they_say_how_to_fetch():
    for profile in sorted((ROOT / "infra/profiles").glob("s*.yaml")):
        text = profile.read_text(encoding="utf-8")
        (hub_id,) = re.findall(r"^  hub_id: (\S+)", text, re.MULTILINE)
        assert f"hf download {hub_id} --local-dir base_models/" in text and "--include README.md" in text
