"""Errors of a flow, in the error tree of `pipeline.core.errors`."""

from pipeline.core.errors import PaleoError


class FlowError(PaleoError):
    """A mistake a person can correct: one sentence with what to do; exit code 1, no traceback."""


class StageFailed(FlowError):
    """A stage failed; the message ends with its last lines."""


class StageInterrupted(StageFailed):
    """A stage was stopped from outside and saved its work: running it again continues from there."""


class Stopped(FlowError):
    """The whole flow is being stopped, so nothing new is started."""
