"""Mistakes are reported in one sentence, before any server is started."""

from __future__ import annotations

import pytest

from tests.flows import mini_project as mini


def error_of(folder, *arguments: str, **more: str) -> str:
    done = mini.flows(folder, *arguments, **more)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("command", ["run", "plan"])
def test_an_unknown_species(fresh, command):
    assert "no species 'ant' in params.yaml; did you mean 'ants'?" in error_of(fresh, command, "ant")


def test_a_wrong_key_in_params(fresh):
    with (fresh / "params.yaml").open("a") as file:
        file.write("sede: 1\n")
    assert "paleo run: params.yaml: unknown key 'sede'; did you mean 'seed'?" in error_of(fresh, "run")
    assert not mini.survivors(fresh)


def test_params_that_are_no_yaml(fresh):
    (fresh / "params.yaml").write_text("species: [")
    assert "paleo plan: params.yaml is not valid YAML" in error_of(fresh, "plan")


def test_a_base_model_that_is_not_there(fresh):
    (fresh / "base").rename(fresh / "elsewhere")
    message = error_of(fresh, "run")
    assert "there is no base model in base, the value of base.path in params.yaml, but train@ants and 1 more" in message
    assert mini.ran(fresh) == []


def test_outside_of_a_project(tmp_path):
    assert "no params.yaml and dvc.yaml in" in error_of(tmp_path, "plan")


def test_no_dvc_project(fresh):
    (fresh / ".dvc").rename(fresh / "gone")
    assert "is no DVC project yet; run `dvc init` there" in error_of(fresh, "plan")


def test_a_prefect_server_that_does_not_answer(fresh):
    message = error_of(fresh, "run", PREFECT_API_URL="http://127.0.0.1:1/api")
    assert "the Prefect server http://127.0.0.1:1/api does not answer; start it, or unset PREFECT_API_URL" in message
