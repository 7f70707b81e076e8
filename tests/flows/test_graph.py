from __future__ import annotations

import pytest

from flows import graph
from flows.errors import FlowError
from tests.flows import mini_project as mini


def actions(read: graph.Graph) -> dict[str, str]:
    return {stage.name: stage.action for stage in read.stages}


@pytest.fixture
def here(finished, monkeypatch):
    monkeypatch.chdir(finished)
    return finished


def test_a_fresh_project_has_everything_to_run_in_order(fresh, monkeypatch):
    monkeypatch.chdir(fresh)
    read = graph.read()
    names = [stage.name for stage in read.stages]
    assert all(names.index(need) < names.index(stage.name) for stage in read.stages for need in stage.needs)
    assert set(actions(read).values()) == {"run"}
    assert {stage.why for stage in read.stages} == {("never ran",)}


def test_a_folder_above_outs_is_an_edge_to_every_stage_that_writes_into_it(here):
    read = graph.read()
    assert read["evaluate@ants"].needs == ("curate@ants", "curate@bees", "train@ants")
    assert read["gallery"].needs == ("evaluate@ants", "evaluate@bees", "train@ants", "train@bees")


def test_one_species_brings_what_it_needs_and_the_stages_for_all(here):
    names = [stage.name for stage in graph.read(["ants"]).stages]
    assert set(names) == {
        "collect@ants",
        "collect@bees",
        "curate@ants",
        "curate@bees",
        "train@ants",
        "evaluate@ants",
        "gallery",
    }


def test_nothing_to_do(here):
    assert set(actions(graph.read()).values()) == {"cached"}


def test_a_param_is_named_with_its_old_and_new_value_and_only_what_comes_after_may_run(here):
    text = (here / "params.yaml").read_text()
    (here / "params.yaml").write_text(text.replace("{name: Ants, pictures: 3}", "{name: Aunts, pictures: 3}"))
    read = graph.read()
    assert read["train@ants"].why == ("species.ants.name: Ants → Aunts",)
    touched = {"train@ants": "run", "evaluate@ants": "after", "gallery": "after"}
    assert actions(read) == {stage.name: touched.get(stage.name, "cached") for stage in read.stages}


def test_changed_code_is_named(here):
    (here / "pipeline/curate.py").write_text("# better")
    assert graph.read()["curate@bees"].why == ("pipeline/curate.py changed",)


def test_a_changed_command_is_named(here):
    text = (here / "dvc.yaml").read_text()
    (here / "dvc.yaml").write_text(text.replace("pipeline gallery", "pipeline gallery "))
    (here / "dvc.yaml").write_text(text.replace("python -m pipeline gallery", "python -u -m pipeline gallery"))
    assert graph.read()["gallery"].why == ("its command changed",)


def test_a_lost_result_is_restored_from_the_cache(here):
    mini.subprocess.run(["rm", "-rf", "models/ants"], check=True)
    stage = graph.read()["train@ants"]
    assert (stage.action, stage.why) == ("restore", ("models/ants is missing",))


def test_a_dependency_that_no_stage_writes_is_missing(here):
    (here / "base").rename(here / "elsewhere")
    assert graph.read().missing == (graph.Missing("base", ("train@ants", "train@bees")),)


def test_a_param_that_is_not_written_is_missing(here):
    text = (here / "params.yaml").read_text()
    (here / "params.yaml").write_text(text.replace("train: {steps: 3}\n", ""))
    assert graph.read().missing == (graph.Missing("train", ("train@ants", "train@bees"), is_param=True),)


def test_the_hardware_of_a_stage_is_in_its_stanza(here):
    assert {stage.kind: stage.hardware for stage in graph.read().stages}["train"] == "accelerate"
    assert graph.read()["curate@ants"].hardware == "core"
    text = (here / "dvc.yaml").read_text()
    (here / "dvc.yaml").write_text(text.replace("hardware: accelerate", "hardware: accelerated"))
    with pytest.raises(FlowError, match="meta.hardware of train@.* is 'accelerated'; did you mean 'accelerate'"):
        graph.read()


def test_a_broken_dvc_yaml_is_a_sentence(here):
    (here / "dvc.yaml").write_text("stages: [")
    with pytest.raises(FlowError, match="DVC cannot read the pipeline: .*dvc.yaml"):
        graph.read()


def test_of_much_changed_code_a_few_files_are_named(here):
    """After an upgrade everything has changed; a list of all files would hide what else has."""
    files = [f"pipeline/extra_{number}.py" for number in range(5)]
    for file in files:
        (here / file).write_text("first = 1\n")
    text = (here / "dvc.yaml").read_text()
    (here / "dvc.yaml").write_text(text.replace('"pipeline/curate.py"]', f'"pipeline/curate.py", {", ".join(files)}]'))
    named = "pipeline/extra_0.py, pipeline/extra_1.py, pipeline/extra_2.py"
    assert graph.read()["curate@ants"].why == (f"its code changed ({named} and 2 more files)",)
