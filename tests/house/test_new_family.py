"""A model family is one new file and one line: it is recognised, trained, sampled, and makes no other model stale."""

from __future__ import annotations

import json
import shutil

import pytest

from pipeline.core.errors import InputError
from pipeline.families import FAMILIES, check_base, family
from pipeline.families.family import Family
from pipeline.methods.usage import usage
from tests import tiny_models
from tests.house.added_plugin import BASE, add_plugin, cache_keys, ready_project, train_and_sample
from tests.project import ROOT, edit_params

FILE, TABLE = "pipeline/families/paleo.py", "pipeline/families/__init__.py"
LINE = '"paleo": "pipeline.families.paleo:PaleoModel",'
MARKER = {"_paleo_version": "1"}  # in model_index.json


def _source() -> str:
    """A family of its own, with the components of Stable Diffusion and a marker in its model_index.json."""
    text = (ROOT / "pipeline/families/sd.py").read_text(encoding="utf-8")
    changes = {
        "class StableDiffusion:": "class PaleoModel:",
        "type[Family] = StableDiffusion": "type[Family] = PaleoModel",
        'name = "sd"': 'name = "paleo"',
        'title = "Stable Diffusion 1.x or 2.x"': 'title = "Paleo model"',
        'unet.get("addition_embed_type") is None and "text_encoder_2" not in index': '"_paleo_version" in index',
    }
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def _marked(source, target):
    shutil.copytree(source, target)
    index = target / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | MARKER))
    return target


def test_a_family_is_one_file_and_one_line(tmp_path, empty_store):
    paths = ready_project(tmp_path / "project", empty_store)
    before = cache_keys(paths.root)
    add_plugin(paths.root, FILE, _source(), TABLE, LINE)
    assert cache_keys(paths.root) == before, "models of other families stay up to date"

    _marked(ROOT / BASE, paths.root / "base")
    edit_params(paths.root, {"base": {"family": "paleo", "path": "base"}, "train": {"method": "lora"}})
    card = train_and_sample(paths)
    assert card["family"] == "paleo" and card["base"] == "base"
    assert (paths.model / "step-000002" / "pytorch_lora_weights.safetensors").is_file()


@pytest.fixture
def registered(tmp_path, monkeypatch):
    """The same plugin in this process."""
    (tmp_path / "added_family.py").write_text(_source(), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(FAMILIES, "paleo", "added_family:PaleoModel")
    return family("paleo")


def test_a_family_recognises_its_folders_and_names_itself(registered, tmp_path):
    plain = tiny_models.write_sd(tmp_path / "plain")
    marked = _marked(plain, tmp_path / "marked")
    check_base(marked, "paleo")
    assert registered.load(marked).family is registered
    with pytest.raises(InputError, match="is a Stable Diffusion 1.x or 2.x, not a Paleo model; set base.family to sd"):
        check_base(plain, "paleo")
    card = {"family": "paleo", "method": "lora", "base": "base", "trigger": "dodo"}
    assert "StableDiffusionPipeline.from_pretrained" in usage(card, "models/dodo/step-000002")


def test_every_family_has_all_members_of_the_contract():
    members = [name for name in vars(Family) if not name.startswith("_")]
    for name in FAMILIES:
        lacking = [member for member in members if not hasattr(family(name), member)]
        assert not lacking and family(name).name == name
        assert FAMILIES[name].startswith(f"pipeline.families.{name}:"), "dvc.yaml finds the file by the family's name"
