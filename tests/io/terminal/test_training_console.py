"""What people see of a training: short lines in a log, a live bar and a table on a terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

from pipeline.core.records import MonitoringReport, StepReport
from pipeline.io.terminal import training_console
from tests.project import ROOT

NAME = "train ornithocheiromorpha"
REPORT = MonitoringReport(250, {62: 0.2, 500: 0.1, 937: 0.3}, before={62: 0.25, 500: 0.2, 937: 0.2})


def report(step: int) -> StepReport:
    return StepReport(step, 0.12345, 1e-4, 12.345, seconds=10.5, images_per_second=1234.5, memory_mb=12_345.0)


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when the test says so."""
    now = [100.0]
    monkeypatch.setattr(training_console.time, "monotonic", lambda: now[0])
    return now


def _lines(capsys) -> list[str]:
    lines = capsys.readouterr().err.splitlines()
    assert all(len(line) <= 120 for line in lines), "no line may wrap"
    return lines


def test_a_log_has_the_first_step_one_every_two_seconds_and_the_last(capsys, clock):
    with training_console.training_progress(NAME, 10_000) as show:
        for step in range(1, 9):
            show(report(step))
            clock[0] += 0.5
        show(report(10_000))
    lines = _lines(capsys)
    assert [int(re.search(r"step (\d+) of 10000", line)[1]) for line in lines] == [1, 5, 10_000]
    assert lines[0].endswith("loss 0.1235, 1234.5 images/s, 10.500 s a step, 12.3 GB, gradient 12.35")


def test_held_out_losses_are_one_line_with_the_lowest_and_highest_timestep(capsys):
    with training_console.training_progress(NAME, 10_000) as show:
        show(MonitoringReport(0, REPORT.before, REPORT.before))
        show(REPORT)
        show(MonitoringReport(500))
    assert _lines(capsys) == [
        f"{NAME}: step 0, held-out loss 0.2167",
        f"{NAME}: step 250, held-out loss 0.2000, 92.3% of step 0's (50.0% at t 500 to 150.0% at t 937)",
    ]


def test_preparation_is_a_line_for_each_part_and_every_two_seconds(capsys, clock):
    with training_console.preparation_progress(NAME) as on_progress:
        for done in range(1, 6):
            on_progress("encoding pictures", done, 5)
            clock[0] += 1
        on_progress("loading the base", 0, 1)
    assert _lines(capsys) == [
        f"{NAME}: encoding pictures, 1 of 5",
        f"{NAME}: encoding pictures, 3 of 5",
        f"{NAME}: encoding pictures, 5 of 5",
        f"{NAME}: loading the base",
    ]


def test_other_processes_print_nothing(capsys):
    with (
        training_console.training_progress(NAME, 3, main_process=False) as show,
        training_console.preparation_progress(NAME, main_process=False) as on_progress,
    ):
        show(report(1))
        on_progress("encoding pictures", 1, 2)
    assert _lines(capsys) == []


def test_where_the_time_went_is_aligned_and_adds_up():
    seconds = {"preparation": 2.0, "steps": 7.0, "steps/forward": 2.0, "steps/backward": 4.0, "monitoring": 1.0}
    assert training_console.time_table(seconds) == (
        "where the time went     10.0 s",
        "  preparation            2.0 s  20.0%",
        "  steps                  7.0 s  70.0%",
        "    forward              2.0 s  20.0%",
        "    backward             4.0 s  40.0%",
        "    the rest             1.0 s  10.0%",
        "  monitoring             1.0 s  10.0%",
    )
    assert all(len(line) <= 100 for line in training_console.time_table(seconds))


ON_A_TERMINAL = """
import time
from pipeline.io.terminal import training_console
from tests.io.terminal.test_training_console import NAME, REPORT, MonitoringReport, report
with training_console.preparation_progress(NAME) as on_progress:
    on_progress("encoding pictures", 3, 5)
    time.sleep(0.2)
with training_console.training_progress(NAME, 500) as show:
    show(MonitoringReport(0, REPORT.before, REPORT.before))
    show(report(120))
    show(REPORT)
    time.sleep(0.4)
print("over")
"""


def test_a_terminal_shows_a_bar_with_numbers_and_a_table_of_held_out_losses():
    output = _on_a_terminal(ON_A_TERMINAL, columns=80)
    assert re.search(r"encoding pictures .*3/5", output)
    assert re.search(r"train ornithocheiromorpha .*120/500", output)
    assert "loss 0.1235, 1234.5 images/s, 10.500 s a step, 12.3 GB, gradient 12.35" in output
    lines = [line.strip() for line in output.splitlines()]
    assert "held-out loss     mean      t 62   t 500   t 937" in lines
    assert "step 0          0.2167    0.2500  0.2000  0.2000" in lines
    assert "step 250         92.3%     80.0%   50.0%  150.0%" in lines


def test_no_color_leaves_the_bars_without_colours():
    colour = re.compile(r"\x1b\[[0-9;]*[34][0-9](;[0-9]+)*m")  # foreground or background
    assert colour.search(_raw_on_a_terminal(ON_A_TERMINAL, columns=80, NO_COLOR=""))
    plain = _raw_on_a_terminal(ON_A_TERMINAL, columns=80, NO_COLOR="1")
    assert re.search(r"120/500", plain) and not colour.search(plain)


def _on_a_terminal(code: str, columns: int) -> str:
    output = _raw_on_a_terminal(code, columns)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output).replace("\r", "\n")


def _raw_on_a_terminal(code: str, columns: int, **more: str) -> str:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm", "PYTHONPATH": str(ROOT), **more}
    child = subprocess.Popen([sys.executable, "-c", code], stdout=theirs, stderr=theirs, cwd=ROOT, env=environment)
    os.close(theirs)
    output = b""
    try:
        while part := os.read(ours, 65536):
            output += part
    except OSError:  # how a terminal ends on Linux
        pass
    finally:
        os.close(ours)
    assert child.wait(timeout=60) == 0
    return output.decode()
