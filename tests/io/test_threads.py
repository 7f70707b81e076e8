"""How many threads a training computes with, and how they wait: whoever launches it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pipeline.core.errors import InputError
from pipeline.io import launcher, threads
from tests.project import ROOT, environment

INFRA = ROOT / "infra/accelerate"
NUMBER = """
import os
from pipeline.io import threads
n_here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
print("threads", threads.number_of_threads(os.environ, n_here))
"""


def test_without_the_variable_every_core_is_used_and_shared_among_processes(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 8)
    assert [threads.number_of_threads({}, n) for n in (1, 2, 16)] == [8, 4, 1]


@pytest.mark.parametrize(("written", "number"), [("3", 3), ("3,2", 3), (" 5 ", 5)])
def test_the_variable_is_respected(written, number):
    assert threads.number_of_threads({"OMP_NUM_THREADS": written}, 2) == number


@pytest.mark.parametrize("written", ["0", "-1", "two", "1.5", "²"])
def test_what_is_no_number_is_refused(written):
    with pytest.raises(InputError, match=f"OMP_NUM_THREADS is '{written}'; set it to the number of threads"):
        threads.number_of_threads({"OMP_NUM_THREADS": written}, 1)


@pytest.mark.parametrize("config", ["cpu.yaml", "cpu_2.yaml"])
def test_accelerates_own_launcher_changes_nothing(config, tmp_path):
    """It sets OMP_NUM_THREADS for what it starts, also where the user has not."""
    (tmp_path / "number.py").write_text(NUMBER)
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(INFRA / config)]
    without = {name: value for name, value in environment(ROOT).items() if name != threads.NUMBER}
    n_processes = 2 if config == "cpu_2.yaml" else 1
    for given, number in ({}, max(1, threads.cores() // n_processes)), ({threads.NUMBER: "3"}, 3):
        script = [*command, str(tmp_path / "number.py")]
        done = subprocess.run(script, env=without | given, capture_output=True, text=True, timeout=200)
        lines = [line for line in done.stdout.splitlines() if line.startswith("threads")]
        assert lines == [f"threads {number}"] * n_processes, done.stdout + done.stderr


@pytest.mark.parametrize("given", [{}, {"OMP_NUM_THREADS": "3"}])
def test_a_config_of_one_process_hands_on_what_the_user_has_set(given):
    _, variables = launcher.command({launcher.VARIABLE: str(INFRA / "cpu.yaml"), **given}, ROOT, ["train", "dodo"])
    assert variables.get(threads.NUMBER) == given.get(threads.NUMBER)


@pytest.mark.parametrize(
    ("given", "spins"), [({}, "3000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")]
)
def test_threads_wait_as_the_environment_says_and_else_briefly(given, spins):
    program = "import os; from pipeline.__main__ import main; main(['params', 'seed'])"
    program += "; print(os.environ.get('GOMP_SPINCOUNT'))"
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    without = {name: value for name, value in environment(ROOT).items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-c", program], env=without | given, cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == spins, done.stderr
