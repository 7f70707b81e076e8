"""`paleo generate` with a champion of random weights: files, names, seeds and refusals."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.commands.generate import generate, slug
from pipeline.commands.register import register
from pipeline.core.errors import InputError, ParamsError
from pipeline.core.paths import Paths
from pipeline.core.releases import ModelVersion
from pipeline.io.files import atomic_write
from pipeline.io.files.model_folders import weights_digest
from pipeline.io.tracking import mlflow_store, registered_models
from pipeline.io.tracking.registered_models import RegisteredModel
from tests.released_project import STEPS, finish, make


@pytest.fixture(scope="module", params=["dreambooth", "lora"])
def trained(request, tmp_path_factory):
    root = tmp_path_factory.mktemp(request.param)
    params = make(root, request.param)
    return params, finish(params, root)


def _as_champion(params, paths, monkeypatch) -> RegisteredModel:
    folder, method = paths.model / "step-000004", params.train.method
    origin = {
        "species": paths.species,
        "checkpoint": folder.name,
        "step": 4,
        "weights_digest": weights_digest(folder),
        "lineage_id": "a" * 16,
    }
    base = None if method == "dreambooth" else paths.root / "base"
    config = {"method": method, "family": "sd", "origin": origin}
    found = RegisteredModel(ModelVersion(paths.species, 1, {}, str(folder)), folder, base, config)
    monkeypatch.setattr(registered_models, "has_version", lambda root, species: True)
    monkeypatch.setattr(registered_models, "open_version", lambda root, species, number: found)
    return found


@pytest.fixture
def champion(trained, monkeypatch) -> RegisteredModel:
    """The last snapshot as the registry would give it."""
    return _as_champion(*trained, monkeypatch)


@pytest.fixture
def draw(trained, champion, tmp_path):
    """Call generate with some options; the rest as the command line gives them."""
    params, paths = trained

    def call(prompt: str = "{name}", **options):
        sample = params.sample.model_copy(update=options.pop("sample", {}))
        given = {"sample": sample, "seed": 1, "number": 1, "out": tmp_path / "out", **options}
        return generate(params, paths, prompt, **given)

    return call


def test_it_writes_a_picture_for_each_seed_and_prints_where(draw, tmp_path):
    report = draw("{name} at sea", seed=7, number=2)
    assert list(report.lines[-2:]) == [
        str(tmp_path / f"out/sinomacrops-name-at-sea-s0000{seed}.png") for seed in (7, 8)
    ]
    first, second = (np.asarray(Image.open(line)).astype(int) for line in report.lines[-2:])
    assert (first != second).any()


def test_the_parameters_are_in_the_picture(draw):
    texts = Image.open(draw("{name}", seed=3, sample={"sampler": "Euler a", "guidance_scale": 5.5}).lines[-1]).text
    assert texts["parameters"].startswith("Sinomacrops bondei\nSteps: 2, Sampler: Euler a, CFG scale: 5.5, Seed: 3,")
    record = json.loads(texts["paleoforge"])
    assert record["checkpoint"] == "step-000004" and record["lineage_id"] == "a" * 16


def test_the_same_request_keeps_the_file_and_says_so(draw, tmp_path):
    first = draw(number=2)
    again = draw(number=1)
    assert again.lines[-1] == f"{first.lines[-2]} (is there already, the same)"
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_another_picture_never_takes_the_place_of_one_that_is_there(draw, tmp_path):
    before = Path(draw().lines[-1])
    content = before.read_bytes()
    after = draw(sample={"guidance_scale": 9.0}).lines[-1]
    assert after.startswith(str(tmp_path / "out/sinomacrops-name-s00001-2.png")) and "another picture" in after
    assert before.read_bytes() == content


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"number": 0}, "--number is 0; it must be at least 1"),
        ({"seed": -1}, "--seed is -1; it must be at least 0"),
        ({"sample": {"steps": 0}}, "--steps is 0: Input should be greater than 0"),
        ({"sample": {"guidance_scale": 0.5}}, "--guidance is 0.5: Input should be greater than or equal to 1"),
        ({"sample": {"sampler": "DPM adaptive"}}, "the sampler 'DPM adaptive' is refused"),
        ({"sample": {"sampler": "Euler Karas"}}, "did you mean 'Euler Karras'"),
        ({"sample": {"width_px": 20}}, "--width is 20, which is no multiple of 8; use 16"),
        ({"sample": {"height_px": 3}}, "--height is 3, which is no multiple of 8; use 8"),
        ({"sample": {"width_px": -8}}, "--width is -8: Input should be greater than 0"),
        ({"version": 1, "step": 4}, "--version names a registered model and --step a snapshot; give one of them"),
        ({"prompt": "{animal} at sea"}, "unknown placeholder .*animal.*known are {name}, {class_noun}"),
    ],
)
def test_options_that_cannot_be_meant_are_refused_before_anything_is_loaded(draw, monkeypatch, options, sentence):
    monkeypatch.setattr(registered_models, "open_version", lambda *_: pytest.fail("the registry was read"))
    with pytest.raises(ParamsError, match=sentence):
        draw(**options)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(draw, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot write to .*; choose another --out"):
        draw()


def test_a_file_in_place_of_the_folder_is_named(draw, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="cannot write to .*; choose another --out"):
        draw()


def test_without_a_champion_the_sentence_says_what_to_run(trained, tmp_path):
    params, paths = trained
    with pytest.raises(InputError, match="sinomacrops has no champion yet; run `paleo run sinomacrops` first"):
        generate(params, Paths(tmp_path, paths.species), "a bird", sample=params.sample, seed=1, number=1, out=tmp_path)


def test_where_nothing_is_registered_the_chosen_snapshot_draws_and_the_first_line_says_so(tmp_path):
    params = make(tmp_path)
    paths = finish(params, tmp_path)
    chosen = atomic_write.read_json(paths.evaluation / "metrics.json")["chosen_step"]
    given = {"sample": params.sample, "seed": 1, "number": 1, "out": tmp_path / "out"}

    def drawn(**model) -> tuple[str, bytes]:
        report = generate(params, paths, "a bird", **given, **model)
        return report.lines[0], Path(report.lines[-1].partition(" (is there")[0]).read_bytes()

    note, picture = drawn()
    assert note == (
        "sinomacrops has no registered version, so the model in models/sinomacrops draws: "
        f"step {chosen}, which the evaluation chose"
    )
    assert picture == drawn(step=chosen)[1]
    assert not (tmp_path / "mlflow.db").exists(), "a question makes no registry"
    (paths.evaluation / "metrics.json").unlink()
    assert drawn()[0].endswith(f"draws: step {STEPS[-1]}, the last one, since this model is not evaluated")
    with pytest.raises(InputError, match="sinomacrops has no registered version; run `paleo run sinomacrops` first"):
        drawn(version=1)


def test_a_store_without_this_species_is_no_reason_to_refuse_either(tmp_path):
    params = make(tmp_path)
    paths = finish(params, tmp_path)
    mlflow_store.connect(tmp_path)
    report = generate(params, paths, "a bird", sample=params.sample, seed=1, number=1, out=tmp_path / "out")
    assert "so the model in models/sinomacrops draws" in report.lines[0] and Path(report.lines[-1]).is_file()


def test_without_a_champion_the_newest_version_draws_and_that_is_said(draw):
    report = draw("{name} at sea", seed=7, number=2)
    assert report.lines[0].startswith("sinomacrops has no champion, so its newest version is used: version 1 (")
    assert [each["seed"] for each in report.data] == [7, 8]
    assert [each["path"] for each in json.loads(report.json_text)] == list(report.lines[-2:])


@pytest.fixture
def two_versions(project):
    """Version 1 is the champion; version 2 of other weights is not."""
    params = make(project)
    register(params, [finish(params, project)])
    register(params, [finish(params, project, lineage_id="b" * 16, accuracy=0.5)])
    return params, Paths(project, "sinomacrops")


def record(line: str) -> dict:
    return json.loads(Image.open(line).text["paleoforge"])


def test_any_registered_version_and_any_snapshot_draw(two_versions, tmp_path):
    params, paths = two_versions

    def drawn(**model) -> tuple[str, int]:
        given = {"sample": params.sample, "seed": 1, "number": 1, "out": tmp_path / "out"}
        report = generate(params, paths, "a bird", **given, **model)
        found = record(report.lines[-1].partition(" (")[0])
        return found["lineage_id"][0], found["step"]

    assert drawn() == drawn(version=1) == ("a", 4)
    assert drawn(version=2) == ("b", 4)
    assert drawn(step=2) == ("b", 2), "a snapshot of models/, which is not registered"
    with pytest.raises(InputError, match="sinomacrops has no version 3; there are 1, 2"):
        drawn(version=3)
    with pytest.raises(InputError, match="sinomacrops has no step 3; there are 2, 4"):
        drawn(step=3)


def test_a_snapshot_draws_the_same_picture_as_its_version(two_versions, tmp_path):
    params, paths = two_versions
    given = {"sample": params.sample, "seed": 1, "number": 1}
    lines = [
        generate(params, paths, "{name}", out=tmp_path / "out" / str(n), **given, **model).lines[-1]
        for n, model in enumerate(({"version": 2}, {"step": 4}))
    ]
    assert Path(lines[0]).read_bytes() == Path(lines[1]).read_bytes()


@pytest.mark.parametrize("kind", ["dreambooth", "lora"])
def test_a_snapshot_needs_no_registry(tmp_path, monkeypatch, kind):
    params = make(tmp_path, kind)
    paths = finish(params, tmp_path)
    monkeypatch.setattr(registered_models, "open_version", lambda *_: pytest.fail("the registry was read"))
    given = {"sample": params.sample, "seed": 1, "number": 1, "out": tmp_path / "out", "step": 2}
    assert record(generate(params, paths, "a bird", **given).lines[-1])["checkpoint"] == "step-000002"
    with pytest.raises(InputError, match="dimorphodontidae has no trained model yet; run `paleo train dimorphodont"):
        generate(params, paths.of("dimorphodontidae"), "a bird", **given)


def test_size_and_negative_prompt_are_drawn_with_and_written_into_the_picture(draw):
    plain = Path(draw("a bird").lines[-1])
    options = {"negative_prompt": "text", "width_px": 24, "height_px": 8}
    other = Path(draw("a bird", sample=options).lines[-1].partition(" (")[0])
    assert Image.open(other).size == (24, 8) and Image.open(plain).size == (16, 16)
    texts = Image.open(other).text
    assert "\nNegative prompt: text\n" in texts["parameters"] and "Size: 24x8" in texts["parameters"]
    assert {key: record(str(other))[key] for key in options} == options


@pytest.mark.parametrize(
    "prompt, name",
    [
        ("{name} at sea", "name-at-sea"),
        ("Wymarły gad, 5:30!", "wymarły-gad-5-30"),
        ("///", "picture"),
        ("a" * 99, "a" * 48),
    ],
)
def test_a_prompt_becomes_part_of_a_file_name(prompt, name):
    assert slug(prompt) == name


def test_a_long_prompt_is_drawn_with_a_warning(draw):
    assert any("beyond the encoder's window" in line for line in draw("{name} flying in the forest").lines)


@pytest.mark.parametrize("kind", ["lokr", "loha", "textual_inversion", "pivotal"])
def test_whatever_the_method_the_name_draws_what_was_learnt(tmp_path, monkeypatch, kind):
    params = make(tmp_path, kind)
    paths = finish(params, tmp_path)
    _as_champion(params, paths, monkeypatch)
    given = {"sample": params.sample, "seed": 1, "number": 1, "out": tmp_path / "out"}

    def pixels(prompt: str) -> np.ndarray:
        return np.asarray(Image.open(generate(params, paths, prompt, **given).lines[-1]))

    named, other = pixels("a {name}"), pixels("a bird")
    assert (pixels("a SINOMACROPS  bondei") == named).all() and (other != named).any()
    typed = pixels("a <sinomacrops>")
    assert (typed == named).all() if kind in ("textual_inversion", "pivotal") else (typed != named).any()
