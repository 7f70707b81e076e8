"""Registered versions as MLflow loads them: those of paleoforge 0.1.0, and adapters over a base that is not stored."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from PIL import Image
from ruamel.yaml import YAML

from pipeline.commands.generate import generate
from pipeline.commands.register import register
from pipeline.core.errors import InputError
from pipeline.core.paths import Paths
from pipeline.core.records import SampleSpec
from pipeline.io.tracking import mlflow_store
from pipeline.io.tracking.registered_models import BASE_MODEL, open_version
from pipeline.registry import release
from pipeline.served_model.request import sample_specs
from tests import released_project
from tests.conftest import copy_store
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
    assert old.predict(REQUEST, params={"guidance_scale": 5.5}) == drawn[1], "by its present name too"
    assert new.predict(REQUEST, params={"guidance": 5.5}) == drawn[1], "and a new version by the old one"
    with pytest.raises(InputError, match="there is no param 'gidance'; known are seed, steps, guidance, sampler"):
        old.predict(REQUEST, params={"gidance": 5.5})
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


@pytest.fixture(scope="module")
def model(tmp_path_factory, empty_store):
    """A version that is loaded, once for all requests."""
    root = tmp_path_factory.mktemp("model")
    copy_store(empty_store, root)
    with pytest.MonkeyPatch.context() as patch:
        registered(root, patch, "dreambooth")
        yield mlflow.pyfunc.load_model(URI)


@pytest.mark.parametrize(
    ("request_", "params", "sentence"),
    [
        (REQUEST, {"guidence_scale": 7.0}, "no param 'guidence_scale'; known are seed, steps, guidance_scale, sampler"),
        (REQUEST, {"width_px": 64}, "there is no param 'width_px'"),
        (REQUEST, {"steps": 501}, "steps is 501; it may be 500 at most"),
        (REQUEST, {"guidance_scale": float("inf")}, "guidance_scale is inf; it may be 100 at most"),
        (REQUEST, {"guidance_scale": float("nan")}, "guidance_scale is nan; it must be 1 or more"),
        ({"prompt": ["a"] * 257}, {}, "257 pictures are more than 256 in one request; send several"),
        ({"prompt": ["a" * 2001]}, {}, "prompt has 2001 characters; it may have 2000"),
        ({"prompt": ["{name.__class__}"]}, {}, r"unknown placeholder \{name.__class__\}; known are \{name\}"),
        ({"prompt": ["{name:>100000000}"]}, {}, "unknown placeholder"),
        ({"prompt": ["{name"]}, {}, "a single {"),
    ],
)
def test_a_request_beyond_bounds_or_with_unknown_params_is_one_sentence(model, request_, params, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        model.predict(request_, params=params)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"width_px": 4096}, "width_px is 4096; it may be 2048 at most"),
        ({"height_px": -8}, "height_px is -8; it must be 8 or more"),
        ({"steps": 2.5}, "steps is 2.5, which is no whole number"),
        ({"steps": True}, "steps is True, which is no whole number"),
        ({"seed": "1"}, "seed is '1', which is no whole number"),
        ({"seed": 2**63}, "seed is 9223372036854775808; it may be 9223372036854775807 at most"),
        ({"sampler": 3}, "sampler is 3, which is no text"),
        ({"negative_prompt": "x" * 2001}, "negative_prompt has 2001 characters"),
        ({"prompt": "another"}, "there is no param 'prompt'"),
    ],
)
def test_without_mlflows_own_checks_it_is_as_strict(model, params, sentence):
    frame = pd.DataFrame(REQUEST)
    with pytest.raises(InputError, match=sentence):
        model.unwrap_python_model().predict(None, frame, params)


WORDS = {"name": "Raphus cucullatus", "class_noun": "bird"}
STORED = SampleSpec("", 0, "DDIM", 800, 3.0, 4096, 64)


def test_a_version_that_was_registered_with_more_may_draw_as_much():
    frame = pd.DataFrame(REQUEST)
    assert [spec.steps for spec in sample_specs(frame, {}, STORED, WORDS)] == [800]
    with pytest.raises(InputError, match="steps is 801; it may be 800 at most"):
        sample_specs(frame, {"steps": 801}, STORED, WORDS)


def test_a_row_of_lists_needs_as_many_seeds_as_prompts():
    assert len(sample_specs(pd.DataFrame({"prompt": [["a", "b"]], "seed": [[1, 2]]}), {}, STORED, WORDS)) == 2
    with pytest.raises(InputError, match="as many seeds as prompts, or none"):
        sample_specs(pd.DataFrame({"prompt": [["a", "b"]], "seed": [[1]]}), {}, STORED, WORDS)


class Echo:
    """A model of somebody else."""

    def predict(self, data, params=None):
        return params


def test_models_of_others_are_left_as_mlflow_has_them():
    signature = mlflow.models.infer_signature(["a"], params={"steps": 1})
    echo = mlflow.pyfunc.PyFuncModel(mlflow.models.Model(signature=signature), Echo())
    assert echo.predict(["a"], params={"other": 1}) == {"steps": 1}


def test_loading_the_class_prints_nothing():
    """MLflow warns of a `predict` without type hints whatever the filters of warnings say."""
    done = subprocess.run(
        [sys.executable, "-c", "import pipeline.served_model"], env=environment(ROOT), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
