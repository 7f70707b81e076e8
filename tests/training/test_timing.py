"""The step timer adds up seconds by kind of work, on a GPU too, without waiting for it."""

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


def _step(timer: StepTimer, pass_time) -> None:
    pass_time(5.0)
    timer.start_step()
    for part, seconds in (("steps/batch", 1.0), ("steps/forward", 2.0), ("steps/backward", 4.0)):
        pass_time(seconds)
        timer.mark(part)


def _advancing(clock):
    def pass_time(seconds: float) -> None:
        clock.now += seconds

    return pass_time


def test_parts_of_a_step_are_measured_and_the_time_between_steps_is_none_of_them(clock):
    timer = StepTimer(clock, marks="cpu")
    for _ in range(2):
        _step(timer, _advancing(clock))
    timer.read_gpu_events()
    assert timer.seconds == {"steps/batch": 2.0, "steps/forward": 4.0, "steps/backward": 8.0}


def test_without_marks_the_clock_is_not_read(clock):
    timer = StepTimer(lambda: pytest.fail("the clock was read"))
    _step(timer, _advancing(clock))
    assert timer.seconds == {}


def test_a_gpu_is_measured_by_events_that_are_read_when_it_is_synchronised(clock, monkeypatch):
    gpu = Clock()

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            self.at = gpu.now

        def elapsed_time(self, later):
            return (later.at - self.at) * 1000  # milliseconds

    monkeypatch.setattr(torch.cuda, "Event", Event)
    timer = StepTimer(lambda: pytest.fail("the clock of the CPU does not measure a GPU"), marks="cuda")
    for _ in range(2):
        _step(timer, _advancing(gpu))
    assert timer.seconds == {}
    timer.read_gpu_events()
    timer.read_gpu_events()
    assert timer.seconds == {"steps/batch": 2.0, "steps/forward": 4.0, "steps/backward": 8.0}


def test_a_block_is_measured_also_when_it_fails(clock):
    timer = StepTimer(clock)
    with pytest.raises(ValueError), timer.measure("monitoring"):
        clock.now += 3
        raise ValueError
    assert timer.seconds == {"monitoring": 3.0}


def test_progress_is_given_the_time_since_the_call_before(clock):
    timer, reported = StepTimer(clock), []
    on_progress = timer.timed_progress("preparation", lambda *report: reported.append(report))
    on_progress("loading the base", 0, 1)
    for seconds, report in ((3, ("loading the base", 1, 1)), (1, ("encoding", 1, 2)), (1, ("encoding", 2, 2))):
        clock.now += seconds
        on_progress(*report)
    assert timer.seconds == {"preparation/loading the base": 3.0, "preparation/encoding": 2.0}
    assert reported[-1] == ("encoding", 2, 2) and len(reported) == 4
