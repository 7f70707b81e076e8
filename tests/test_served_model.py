"""Registered versions as MLflow loads them: those of paleoforge 0.1.0, and adapters over a base that is not stored."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from PIL import Image
from ruamel.yaml import YAML

from pipeline.commands.generate import generate
from pipeline.commands.register import register
from pipeline.core.errors import InputError
from pipeline.core.paths import Paths
from pipeline.io.tracking import mlflow_store
from pipeline.io.tracking.registered_models import BASE_MODEL, open_version
from pipeline.registry import release
from tests import released_project
from tests.project import ROOT, environment

KEY = released_project.SPECIES[0]
URI = f"models:/{KEY}@champion"
REQUEST = {"prompt": ["{name}"], "seed": [1]}


def registered(project: Path, monkeypatch, method: str):
    """A project with version 1, whose store MLflow finds by itself."""
    params = released_project.make(project, method)
    register(params, [released_project.finish(params, project)])
    monkeypatch.setenv(mlflow_store.URI, mlflow_store.store_uri(project))
    return params


def parameters(png: bytes) -> str:
    return Image.open(io.BytesIO(png)).text["parameters"]


def as_0_1_0(project: Path) -> None:
    """Rewrite the stored model as 0.1.0 stored it: `guidance` and `negative` in the config and in the signature."""
    [path] = project.glob("mlartifacts/*/models/*/artifacts/MLmodel")
    yaml = YAML(typ="safe")
    described = yaml.load(path.read_text(encoding="utf-8"))
    sample = described["flavors"]["python_function"]["config"]["sample"]
    sample["guidance"], sample["negative"] = sample.pop("guidance_scale"), sample.pop("negative_prompt")
    described["signature"]["params"] = described["signature"]["params"].replace('"guidance_scale"', '"guidance"')
    with path.open("w", encoding="utf-8") as stream:
        yaml.dump(described, stream)


def test_a_version_of_0_1_0_lists_loads_and_draws(project, monkeypatch):
    params = registered(project, monkeypatch, "dreambooth")
    new = mlflow.pyfunc.load_model(URI)
    assert {spec.name for spec in new.metadata.signature.params} == {"seed", "steps", "guidance_scale", "sampler"}
    expected = new.predict(REQUEST), new.predict(REQUEST, params={"guidance_scale": 5.5})
    as_0_1_0(project)
    old = mlflow.pyfunc.load_model(URI)
    assert {spec.name for spec in old.metadata.signature.params} == {"seed", "steps", "guidance", "sampler"}
    drawn = old.predict(REQUEST), old.predict(REQUEST, params={"guidance": 5.5})
    assert drawn == expected
    assert "CFG scale: 5.5" in parameters(drawn[1][0])
    generated = generate(
        params, Paths(project, KEY), "{name}", sample=params.sample, seed=1, number=1, out=project / "out"
    )
    assert Path(generated.lines[-1]).read_bytes() == drawn[0][0]


@pytest.fixture
def large_base(project, monkeypatch) -> Path:
    """Version 1 is an adapter whose base is named by its digest; the base lies outside of the project now."""
    monkeypatch.setattr(release, "STORED_BASE_BYTES", 1000)
    registered(project, monkeypatch, "lora")
    place = project / "elsewhere/any name"
    place.parent.mkdir()
    (project / "base").rename(place)
    monkeypatch.chdir(project)
    return place


def test_an_adapter_loads_anywhere_with_the_folder_of_its_base(large_base, project, monkeypatch):
    monkeypatch.chdir("/")
    by_argument = mlflow.pyfunc.load_model(URI, model_config={"base": str(large_base)}).predict(REQUEST)
    monkeypatch.setenv(BASE_MODEL, str(large_base))
    assert mlflow.pyfunc.load_model(URI).predict(REQUEST) == by_argument
    assert open_version(project, KEY).base == large_base


def test_a_base_that_is_not_here_is_one_sentence_with_its_name_digest_and_place(large_base, project):
    sentence = (
        r"this model needs its base model 'base' \(sha256 of its weights [0-9a-f]{12}…\), but .*base is not there; "
        r"name its folder by PALEO_BASE_MODEL=FOLDER or mlflow.pyfunc.load_model\(…, model_config=\{'base': FOLDER\}\)"
    )
    with pytest.raises(InputError, match=sentence):
        mlflow.pyfunc.load_model(URI)
    with pytest.raises(InputError, match=sentence):
        open_version(project, KEY)


def test_a_base_with_other_weights_is_not_drawn_with(large_base, project, monkeypatch):
    other = Path(shutil.copytree(large_base, project / "other"))
    (other / "model_index.json").write_text("{}")
    monkeypatch.setenv(BASE_MODEL, str(other))
    with pytest.raises(InputError, match=r"other has other weights, .*base is not there; name its folder"):
        open_version(project, KEY)
    shutil.copytree(large_base, project / "base")
    assert open_version(project, KEY).base == project / "base", "the right one is taken, wherever it is"


def test_a_small_base_is_stored_with_its_adapter(project, monkeypatch):
    registered(project, monkeypatch, "lora")
    shutil.rmtree(project / "base")
    monkeypatch.chdir("/")
    assert mlflow.pyfunc.load_model(URI).predict(REQUEST)[0].startswith(b"\x89PNG")


def test_loading_the_class_prints_nothing():
    """MLflow warns of a `predict` without type hints whatever the filters of warnings say."""
    done = subprocess.run(
        [sys.executable, "-c", "import pipeline.served_model"], env=environment(ROOT), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
