"""What a flow tells a person. (`flows` never imports `pipeline`, so it has an error tree of its own.)"""


class FlowError(Exception):
    """A mistake a person can mend: one sentence with what to do; exit code 1, no traceback."""


class StageFailed(FlowError):
    """A stage ended badly; the message ends with its last lines."""


class StageInterrupted(StageFailed):
    """A stage was stopped from outside and saved its work: running it again goes on from there."""


class Stopped(FlowError):
    """Somebody asked the whole flow to stop, so nothing new is started."""
