"""`paleo register` with real MLflow: a version per lineage and step, complete after any crash, loadable by anyone."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient
from PIL import Image

from pipeline.__main__ import main
from pipeline.commands.register import register
from pipeline.core.errors import InputError, ServiceError
from pipeline.core.params import Params, Register
from pipeline.core.paths import Paths
from pipeline.core.records import StepReport
from pipeline.core.releases import ModelVersion
from pipeline.io import tracking
from pipeline.io.files import atomic_write
from pipeline.io.tracking import mlflow_registry, mlflow_store, mlflow_tracker
from pipeline.io.tracking.registered_models import open_version
from pipeline.registry import release
from tests import released_project
from tests.released_project import SPECIES

ONE, OTHER = SPECIES


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, Params]:
    """Two species that are evaluated and not registered."""
    folder = tmp_path_factory.mktemp("trained")
    params = released_project.make(folder)
    for species in SPECIES:
        released_project.finish(params, folder, species)
    return folder, params


@pytest.fixture
def params(project, trained) -> Params:
    shutil.copytree(trained[0], project, dirs_exist_ok=True)
    return trained[1]


def retrain(params: Params, root: Path, letter: str, accuracy: float) -> Paths:
    return released_project.finish(params, root, ONE, lineage_id=letter * 16, accuracy=accuracy)


def lines(params: Params, root: Path, *species: str) -> list[str]:
    return list(register(params, [Paths(root, key) for key in species or (ONE,)]).lines)


def known(root: Path, species: str = ONE) -> list[ModelVersion]:
    return mlflow_registry.versions(mlflow_store.connect(root), species)


def test_every_species_is_registered_once(project, params):
    assert lines(params, project, *SPECIES) == [
        f"{species}: version 1 (champion), step 4, species accuracy 31 % -> 90 %" for species in SPECIES
    ]
    assert lines(params, project, *SPECIES) == [
        f"{species}: step 4 is already registered as version 1 (champion)" for species in SPECIES
    ]
    noted = json.loads((project / f".work/release/{ONE}.json").read_text())
    assert noted == {
        "species": ONE,
        "name": ONE,
        "version": 1,
        "alias": "champion",
        "lineage_id": "a" * 16,
        "step": 4,
        "links": noted["links"],
        "aliases": ["challenger", "champion"],
    }


def test_a_better_training_becomes_champion_and_a_worse_one_does_not(project, params):
    lines(params, project)
    retrain(params, project, "b", 0.8)
    assert lines(params, project) == [
        f"{ONE}: version 2 (challenger), step 4, species accuracy 31 % -> 80 %; "
        "not champion: species accuracy 80.0 % does not beat 90.0 % of version 1"
    ]
    retrain(params, project, "c", 0.95)
    assert lines(params, project) == [f"{ONE}: version 3 (champion), step 4, species accuracy 31 % -> 95 %"]
    retrain(params, project, "a", 0.9)
    assert lines(params, project) == [f"{ONE}: step 4 is already registered as version 1"]
    assert [version.alias for version in known(project)] == ["", "", "champion"]
    assert known(project)[2].tags["gate_report"] == "species accuracy 95.0 % beats 90.0 % of version 1"


def test_a_first_version_below_the_floor_stays_challenger_and_draws(project, params):
    floor = params.model_copy(update={"register_": Register(min_primary=0.99)})
    [line] = lines(floor, project)
    assert "version 1 (challenger)" in line and "is below register.min_primary (99.0 %), so it stays challenger" in line
    assert f"`paleo generate` and models:/{ONE}@challenger use the newest version" in line
    opened = open_version(project, ONE)
    assert opened.version.number == 1
    assert opened.note.startswith(f"{ONE} has no champion, so its newest version is used: version 1 (challenger) (spec")
    page = (project / f"releases/{ONE}.html").read_text()
    assert "There is no champion yet" in page and "draw with version 1." in page
    [again] = lines(floor, project)
    assert "already registered as version 1 (challenger); not champion: " in again
    retrain(params, project, "b", 0.8)
    lines(floor, project)
    assert open_version(project, ONE).version.number == 2, "the newest draws"
    [lowered] = lines(params, project)
    assert "There is no champion yet" not in (project / f"releases/{ONE}.html").read_text()
    assert lowered.endswith("already registered as version 2 (champion)")
    assert open_version(project, ONE).note == ""


def test_a_first_version_with_few_held_out_pictures_stays_challenger(project, params):
    floor = params.model_copy(update={"register_": Register(min_held_out=5)})
    assert "held-out pictures are fewer than register.min_held_out (5)" in lines(floor, project)[0]
    assert known(project)[0].tags["n_held_out"] == "0"


def test_another_step_of_the_same_training_is_another_version(project, params):
    """A version is one lineage and step: the evaluation may choose another step, by another metric, later."""
    lines(params, project)
    evaluation = Paths(project, ONE).evaluation
    metrics = atomic_write.read_json(evaluation / "metrics.json")
    atomic_write.write_json(evaluation / "metrics.json", metrics | {"chosen_step": 2})
    atomic_write.write_card(evaluation / "details", stage="evaluate", lineage_id="a" * 16, chosen_step=2)
    assert lines(params, project) == [
        f"{ONE}: version 2 (challenger), step 2 (another step of the training of version 1), "
        "species accuracy 31 % -> 90 %; not champion: species accuracy 90.0 % does not beat 90.0 % of version 1"
    ]
    assert lines(params, project) == [f"{ONE}: step 2 is already registered as version 2 (challenger)"]
    assert [(v.tags["lineage_id"], v.tags["step"]) for v in known(project)] == [("a" * 16, "4"), ("a" * 16, "2")]


def test_another_prompt_suite_is_not_compared(project, params):
    lines(params, project)
    changed = released_project.changed(params, sample={"seeds": (1, 2, 3)})
    retrain(changed, project, "b", 0.99)
    [line] = lines(changed, project)
    assert "version 2 (challenger)" in line
    assert "were sampled with different prompts, seeds or sampler settings, so their numbers cannot be compared" in line


def test_a_version_has_tags_of_where_it_comes_from(project, params):
    lines(params, project)
    tags = known(project)[0].tags
    origin = {key: tags[key] for key in ("lineage_id", "step", "method", "metric.species_accuracy", "base.clip_i")}
    assert origin == {
        "lineage_id": "a" * 16,
        "step": "4",
        "method": "dreambooth",
        "metric.species_accuracy": "0.9",
        "base.clip_i": "0.5",
    }
    assert tags["licences"] == "CC-BY-4.0, CC0-1.0"
    assert tags["base_digest"] == json.loads((project / "models" / ONE / "card.json").read_text())["base_digest"]
    assert "metric.memorised" not in tags, "it could not be measured"
    stored = mlflow_store.connect(project).get_model_version(ONE, "1").tags
    assert sorted(stored) == [  # and `code` in a git repository
        "data",
        "evaluation",
        "licences",
        "lineage_id",
        "method",
        "model",
        "promotion",
        "step",
    ]
    assert json.loads(stored["data"])["dataset_digest"] == "d" * 64


def test_the_trainings_own_run_gets_scores_pages_credits_and_data(project, params):
    with tracking.training_run(params, Paths(project, ONE), lineage_id="a" * 16) as run:
        run.step(StepReport(1, 0.5, 1e-4, 1.0, 0.1, 80.0))
    lines(params, project)
    client = mlflow_store.connect(project)
    [stored] = client.search_runs([client.get_experiment_by_name(ONE).experiment_id])
    run_id = stored.info.run_id
    history = [(m.step, m.value) for m in client.get_metric_history(run_id, "scores/species_accuracy")]
    assert sorted(history) == [(0, 0.31), (2, 0.9), (4, 0.9)]
    assert stored.data.metrics["species_accuracy"] == 0.9
    folders = {item.path for item in client.list_artifacts(run_id)}
    assert folders == {"gallery", "evaluation", "credits", "preview", "images", "params.json"}
    credits = pd.read_csv(Path(stored.info.artifact_uri, "credits/CREDITS.csv"))
    assert list(credits["author"]) == ["Ada"] * 4
    [used] = stored.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.source_type) == (ONE, "dvc")
    [model] = client.search_logged_models([stored.info.experiment_id])
    assert {metric.key: metric.value for metric in model.metrics}["clip_i"] == 0.8
    assert [each.model_id for each in stored.outputs.model_outputs] == [model.model_id]


def test_the_run_of_a_training_made_elsewhere_is_rebuilt_from_its_table(project, params):
    lines(params, project)
    client = mlflow_store.connect(project)
    [run] = client.search_runs([client.get_experiment_by_name(ONE).experiment_id])
    assert (run.info.status, run.data.tags["rebuilt_from"]) == ("FINISHED", "train.csv")
    assert [m.value for m in client.get_metric_history(run.info.run_id, "loss")] == [1, 1 / 2, 1 / 3, 1 / 4]
    assert run.data.params["train.steps"] == "4"


def test_the_pages_of_version_run_and_model_are_a_model_card_with_a_picture(project, params, monkeypatch):
    monkeypatch.setenv("PALEO_FLOW_RUN_ID", "f00")
    lines(params, project)
    client = mlflow_store.connect(project)
    version = client.get_model_version(ONE, "1")
    card = version.description
    run = client.get_run(version.run_id)
    assert card == run.data.tags["mlflow.note.content"] == client.get_registered_model(ONE).description
    picture = parse_qs(urlsplit(re.search(r"!\[.*?\]\((get-artifact.*?)\)", card)[1]).query)
    assert picture["run_uuid"] == [version.run_id]
    with Image.open(Path(run.info.artifact_uri, picture["path"][0])) as shown:
        assert shown.width > shown.height / 2
    assert "| `species_accuracy`&emsp; | 31 %&emsp; | 90 %&emsp; |" in card
    assert f"(#/experiments/{run.info.experiment_id}/runs/{version.run_id}/artifacts/gallery/index.html)" in card
    assert "(http://127.0.0.1:8080/sinomacrops/index.html)" in card, "where `paleo up` serves the gallery"
    assert "(http://127.0.0.1:4200/runs/flow-run/f00)" in card
    sheets = mlflow_tracker.logged_images(client, version.run_id)
    assert set(sheets) == {("checkpoints/contact sheet", step) for step in (0, 2, 4)}


def test_versions_with_dates_and_links_stand_beside_the_site_and_follow_the_servers(project, params, monkeypatch):
    monkeypatch.setenv("PALEO_FLOW_RUN_ID", "f00")
    (project / ".work").mkdir(exist_ok=True)
    (project / ".work/addresses.json").write_text(json.dumps({"mlflow": "http://127.0.0.1:5001"}))
    lines(params, project)
    retrain(params, project, "b", 0.95)
    lines(params, project)
    page = project / f"releases/{ONE}.html"
    first = page.read_text()
    assert first.index("Version 2") < first.index("Version 1")
    assert re.search(r"20\d\d-\d\d-\d\d \d\d:\d\d UTC · step 4 of dreambooth · species accuracy 31 % → 95 %", first)
    assert f'href="http://127.0.0.1:5001/#/models/{ONE}/versions/2"' in first
    assert 'href="http://127.0.0.1:4200/runs/flow-run/f00"' in first
    assert ">version 2</a>" in (project / "releases/index.html").read_text()
    (project / ".work/addresses.json").write_text(json.dumps({"mlflow": "http://127.0.0.1:5002"}))
    monkeypatch.chdir(project)
    assert main(["register", "--links"]) == 0
    assert page.read_text() == first.replace("127.0.0.1:5001", "127.0.0.1:5002")


def test_the_run_shows_the_scores_of_the_step_that_was_chosen_last(project, params):
    """MLflow shows the point of the highest step: an earlier step that is chosen later must not stay hidden."""
    lines(params, project)
    evaluation = Paths(project, ONE).evaluation
    for name in ("metrics.json", "details/verdict.json"):
        stored = atomic_write.read_json(evaluation / name)
        stored |= {"chosen_step": 2} if name == "metrics.json" else {}
        if "steps" in stored:
            stored["steps"]["2"]["species_accuracy"]["value"] = 0.7
        atomic_write.write_json(evaluation / name, stored)
    atomic_write.write_card(evaluation / "details", stage="evaluate", lineage_id="a" * 16, chosen_step=2)
    lines(params, project)
    client = mlflow_store.connect(project)
    [run] = client.search_runs([client.get_experiment_by_name(ONE).experiment_id])
    assert run.data.metrics["species_accuracy"] == 0.7
    assert run.data.metrics["scores/species_accuracy"] == 0.9, "the last of the series"


CRASHES = [
    ("create_run", 1),
    ("log_inputs", 1),
    ("log_artifact", 1),
    ("log_image", 2),
    ("create_logged_model", 1),
    ("log_model_artifacts", 1),
    ("finalize_logged_model", 1),
    ("log_outputs", 1),
    ("create_registered_model", 1),
    ("create_model_version", 1),
    ("set_registered_model_alias", 1),
    ("set_model_version_tag", 1),
    ("set_registered_model_tag", 1),
    ("set_registered_model_alias", 2),
    ("set_model_version_tag", 2),
    ("update_model_version", 1),
    ("set_tag", 1),
    ("update_registered_model", 1),
]


@pytest.mark.parametrize(("step", "time"), CRASHES)
def test_a_crash_between_any_two_steps_is_mended_by_the_next_run(project, params, monkeypatch, step, time):
    calls, real = [], getattr(MlflowClient, step)

    def crash(self, *args, **kwargs):
        calls.append(args)
        if len(calls) == time:
            raise KeyboardInterrupt
        return real(self, *args, **kwargs)

    monkeypatch.setattr(MlflowClient, step, crash)
    with pytest.raises(KeyboardInterrupt):
        lines(params, project)
    monkeypatch.undo()
    monkeypatch.delenv(mlflow_store.URI, raising=False)
    [line] = lines(params, project)
    assert "version 1 (champion)" in line
    [version] = known(project)
    assert (version.tags["promotion"], version.tags["gate_report"]) == ("done", "there was no champion")
    client = mlflow_store.connect(project)
    experiment = client.get_experiment_by_name(ONE).experiment_id
    assert [str(model.status) for model in client.search_logged_models([experiment])] == ["READY"]
    assert [run.info.status for run in client.search_runs([experiment])] == ["FINISHED"]
    assert (project / f".work/release/{ONE}.json").is_file()


@pytest.mark.parametrize("kind", ["dreambooth", "lora", "lokr", "textual_inversion", "pivotal"])
def test_the_champion_draws_the_same_pictures_twice(project, kind, monkeypatch):
    params = released_project.make(project, kind)
    released_project.finish(params, project)
    lines(params, project)
    monkeypatch.setenv(mlflow_store.URI, mlflow_store.store_uri(project))
    monkeypatch.chdir("/")  # nothing of the project is needed to draw
    model = mlflow.pyfunc.load_model(f"models:/{ONE}@champion")
    first = model.predict({"prompt": ["{name}", "a bird"], "seed": [1, 2]})
    assert all(png.startswith(b"\x89PNG") for png in first)
    assert first[0] != first[1]
    for same in (
        {"prompt": ["{name}", "a bird"], "seed": [1, 2]},
        {"prompt": ["{name}", "a bird"]},  # seeds 1, 2, … by themselves
        [{"prompt": "{name}", "seed": 1}, {"prompt": "a bird", "seed": 2}],
        pd.DataFrame({"prompt": ["Sinomacrops bondei", "a bird"], "seed": [1, 2]}),
    ):
        assert model.predict(same) == first
    assert model.predict({"prompt": ["{name}", "a bird"]}, params={"seed": 1, "steps": 3}) != first


@pytest.mark.parametrize(
    ("asked", "params", "sentence"),
    [
        ({"prompt": ["{genus}"]}, {}, "unknown placeholder .*known are {name}, {class_noun}"),
        ({"prompt": []}, {}, "every row needs a prompt"),
        ({"prompt": ["a"], "seed": [-1]}, {}, "seed is -1; it must be 0 or more"),
        ({"prompt": ["a"]}, {"steps": 0}, "steps is 0; it must be 1 or more"),
        ({"prompt": ["a"]}, {"sampler": "Oiler"}, "the sampler is 'Oiler', which is not known"),
    ],
)
def test_a_request_that_cannot_be_meant_is_one_sentence(request, served, asked, params, sentence):
    with pytest.raises(Exception, match=sentence):
        served.predict(asked, params=params)


@pytest.fixture(scope="module")
def served(tmp_path_factory, trained, empty_store):
    from tests.conftest import copy_store

    root = tmp_path_factory.mktemp("served")
    copy_store(empty_store, root)
    shutil.copytree(trained[0], root, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(mlflow_store.URI, f"sqlite:///{root}/mlflow.db")
        lines(trained[1], root)
        yield mlflow.pyfunc.load_model(f"models:/{ONE}@champion")


def test_a_large_base_is_found_by_its_digest_under_the_path_of_the_training(project, monkeypatch):
    monkeypatch.setattr(release, "STORED_BASE_BYTES", 1000)
    params = released_project.make(project, "lora")
    released_project.finish(params, project)
    lines(params, project)
    monkeypatch.setenv(mlflow_store.URI, mlflow_store.store_uri(project))
    monkeypatch.chdir(project)
    assert mlflow.pyfunc.load_model(f"models:/{ONE}@champion").predict({"prompt": "a bird"})
    assert open_version(project, ONE).base == project / "base"
    (project / "base/model_index.json").write_text("{}")
    with pytest.raises(InputError, match="needs its base model 'base' .*base has other weights"):
        open_version(project, ONE)
    shutil.rmtree(project / "base")
    with pytest.raises(InputError, match="needs its base model 'base' .*base is not there"):
        open_version(project, ONE)


def test_only_what_is_evaluated_as_it_is_now_is_registered(project, params):
    paths = Paths(project, ONE)
    atomic_write.write_card(paths.samples, lineage_id="b" * 16)
    with pytest.raises(InputError, match=f"the samples of {ONE} are not of its present model; run `paleo run"):
        lines(params, project, OTHER, ONE)
    atomic_write.write_card(paths.evaluation / "details", lineage_id="b" * 16, chosen_step=4)
    with pytest.raises(InputError, match=f"the evaluation of {ONE} is not of its present model"):
        lines(params, project, OTHER, ONE)
    (paths.evaluation / "metrics.json").unlink()
    with pytest.raises(InputError, match=f"{ONE} is not evaluated yet; run `paleo run {ONE}` first"):
        lines(params, project, OTHER, ONE)
    assert known(project, OTHER) == [], "nothing was registered in part"


def test_a_registry_that_does_not_answer_is_one_sentence(project, params, monkeypatch, capsys):
    monkeypatch.setenv(mlflow_store.URI, "http://127.0.0.1:9")
    with pytest.raises(ServiceError):
        lines(params, project)
    monkeypatch.chdir(project)
    assert main(["register", ONE]) == 1
    assert capsys.readouterr().err == (
        "paleo register: the MLflow store http://127.0.0.1:9 does not answer; start it (`paleo up`), "
        "or unset MLFLOW_TRACKING_URI to use the embedded store\n"
    )


def test_a_full_disk_is_one_sentence_and_no_version(project, params, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(MlflowClient, "log_model_artifacts", full)
    with pytest.raises(ServiceError, match="cannot be used .*No space left"):
        lines(params, project)
    assert known(project) == []


def test_a_dry_run_leaves_everything_alone(trained, tmp_path, monkeypatch):
    monkeypatch.delenv(mlflow_store.URI, raising=False)
    folder, params = trained
    report = register(params, [Paths(folder, ONE)], dry_run=True)
    assert report.lines == (
        f"{ONE}: step 4 of aaaaaaaaaaaaaaaa, species accuracy 31 % -> 90 %",
        "dry run: register did nothing",
    )
    assert not (folder / "mlflow.db").exists()
