"""Seconds are counted where they were spent, on a GPU too, and nobody waits for that."""

from __future__ import annotations

import pytest
import torch

from pipeline.training.timing import StepTimer


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def _step(spent: StepTimer, pass_time) -> None:
    pass_time(5.0)
    spent.begin()
    for part, seconds in (("steps/batch", 1.0), ("steps/forward", 2.0), ("steps/backward", 4.0)):
        pass_time(seconds)
        spent.mark(part)


def _pass_on(clock):
    def pass_time(seconds: float) -> None:
        clock.now += seconds

    return pass_time


def test_parts_of_a_step_are_told_apart_and_what_lies_between_steps_is_none(clock):
    spent = StepTimer(clock, marks="cpu")
    for _ in range(2):
        _step(spent, _pass_on(clock))
    spent.read()
    assert spent.seconds == {"steps/batch": 2.0, "steps/forward": 4.0, "steps/backward": 8.0}


def test_without_marks_nobody_looks_at_the_clock(clock):
    spent = StepTimer(lambda: pytest.fail("it looked"))
    _step(spent, _pass_on(clock))
    assert spent.seconds == {}


def test_a_gpu_is_asked_by_events_and_read_when_it_was_waited_for(clock, monkeypatch):
    gpu = Clock()

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            self.at = gpu.now

        def elapsed_time(self, later):
            return (later.at - self.at) * 1000  # milliseconds

    monkeypatch.setattr(torch.cuda, "Event", Event)
    spent = StepTimer(lambda: pytest.fail("the clock of the CPU says nothing of a GPU"), marks="cuda")
    for _ in range(2):
        _step(spent, _pass_on(gpu))
    assert spent.seconds == {}
    spent.read()
    spent.read()
    assert spent.seconds == {"steps/batch": 2.0, "steps/forward": 4.0, "steps/backward": 8.0}


def test_a_block_is_counted_also_when_it_fails(clock):
    spent = StepTimer(clock)
    with pytest.raises(ValueError), spent.on("looks"):
        clock.now += 3
        raise ValueError
    assert spent.seconds == {"looks": 3.0}


def test_what_is_told_of_has_taken_the_time_since_the_word_before(clock):
    spent, heard = StepTimer(clock), []
    told = spent.telling("preparation", lambda *words: heard.append(words))
    told("loading the base", 0, 1)
    for seconds, words in ((3, ("loading the base", 1, 1)), (1, ("encoding", 1, 2)), (1, ("encoding", 2, 2))):
        clock.now += seconds
        told(*words)
    assert spent.seconds == {"preparation/loading the base": 3.0, "preparation/encoding": 2.0}
    assert heard[-1] == ("encoding", 2, 2) and len(heard) == 4
