from __future__ import annotations

import pytest
from prefect.states import Cancelled, Completed, Failed, Pending

from flows import run_log


@pytest.mark.parametrize(
    "state, shown",
    [
        (Completed(message="7.7 s"), "completed: 7.7 s"),
        (Completed(name="Cached", message="unchanged since dvc.lock"), "cached: unchanged since dvc.lock"),
        (Failed(message='train@ants failed: it\'s "hot"'), 'failed: train@ants failed: it\'s "hot"'),
        (Failed(name="NotRun", message="curate@ants did not finish"), "not run: curate@ants did not finish"),
        (Cancelled(message="stopped"), "cancelled: stopped"),
        (
            Pending(name="NotReady", message="Upstream task run '01a2' did not reach a 'COMPLETED' state."),
            "not run: a stage before it did not finish",
        ),
    ],
)
@pytest.mark.parametrize("coloured", [False, True])
def test_what_prefect_writes_of_a_state_is_shown_as_people_say_it(state, shown, coloured):
    text = str(state)
    if coloured:
        name = text.partition("(")[0]
        text = text.replace(name, f"\x1b[32m{name}\x1b[0m", 1)
    assert run_log.plain(f"Finished in state {text}") == shown


def test_any_other_message_stays_as_it_is():
    assert run_log.plain("run: never ran") == "run: never ran"
