import io
import sys

import pytest

from pipeline.core import verbosity
from pipeline.core.records import StepReport
from pipeline.io.terminal.phase_progress import progress_display
from pipeline.io.terminal.progress_bars import Board, track
from pipeline.io.terminal.training_console import preparation_progress, training_progress


def _said(items, monkeypatch, total=None) -> tuple[list, str]:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    return list(track(items, "work", total)), sys.stderr.getvalue()


def test_a_log_gets_a_few_plain_lines(monkeypatch):
    items, said = _said(range(40), monkeypatch)
    assert items == list(range(40))
    assert said.splitlines() == ["work: 10 of 40", "work: 20 of 40", "work: 30 of 40", "work: 40 of 40"]


def test_little_work_is_not_worth_a_line(monkeypatch):
    assert _said([1, 2], monkeypatch) == ([1, 2], "")


def test_work_of_unknown_length_is_counted(monkeypatch):
    assert _said(iter(range(30)), monkeypatch)[1] == "work: 30\n"


def test_a_terminal_gets_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(track(range(5), "work")) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_quiet_shows_no_progress(monkeypatch, is_terminal):
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return is_terminal

    def shown() -> str:
        monkeypatch.setattr(sys, "stderr", Stream())
        assert list(track(range(40), "work")) == list(range(40))
        with Board() as board:
            board.show("sources", 40, 40, "done")
        with progress_display() as on_progress:
            on_progress("phase", 1, 1, {"loss": 0.1})
        with training_progress("train x", 1) as show:
            show(StepReport(1, 0.1, 1e-4, 1.0, seconds=1.0, images_per_second=1.0, memory_mb=0.0))
        with preparation_progress("train x") as on_preparation:
            on_preparation("encode", 1, 1)
        return sys.stderr.getvalue()

    loud = shown()
    verbosity.set_quiet(True)
    try:
        assert shown() == "" and loud
    finally:
        verbosity.set_quiet(False)
