"""The log of a run in the terminal: what Prefect writes about a state, as people say it."""

from __future__ import annotations

import ast
import logging
import re

# Finished in state Completed('7.7 s'); the name has a colour, and the type follows where the name is another word.
_FINISHED = re.compile(
    r"^Finished in state (?:\x1b\[\d+m)?(\w+)(?:\x1b\[0m)?\((['\"].*['\"])(?:, type=\w+)?\)$", re.DOTALL
)
_WORDS = {"NotRun": "not run", "NotReady": "not run"}


def set_up(*, embedded_server: bool) -> None:
    """A failure is logged as a sentence without an empty traceback, and no link to a UI that is not served."""

    def wanted(record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[0] is None:
            record.exc_info = None
        record.msg = plain(str(record.msg))
        return not (embedded_server and record.msg.startswith("View at "))

    for name in ("prefect.task_runs", "prefect.flow_runs"):
        logging.getLogger(name).addFilter(wanted)


def plain(message: str) -> str:
    """`Finished in state Completed('7.7 s')` -> `completed: 7.7 s`; any other message as it is."""
    found = _FINISHED.match(message)
    if not found:
        return message
    name, text = found[1], ast.literal_eval(found[2])
    if name == "NotReady":  # behind a stage that was stopped; its text is the identity of a task run
        text = "a stage before it did not finish"
    return f"{_WORDS.get(name, name.lower())}: {text}"
