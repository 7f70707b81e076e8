import io
import sys

from pipeline.io.terminal.progress_bars import track


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
