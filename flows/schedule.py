"""The schedule of `paleo up`: `python -m flows.schedule [CRON]` serves the flow until SIGTERM.

Without a schedule it serves all the same: the run can be started with a button in Prefect's pages.
"""

from __future__ import annotations

import sys

from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy

from flows.pipeline import pipeline

NAME = "schedule"


def main(cron: str | None) -> None:
    """Serve `pipeline`; a run that comes due while one is at work is dropped."""
    one = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
    pipeline.serve(
        name=NAME,
        cron=cron,
        global_limit=one,
        pause_on_shutdown=False,  # or the schedule would stay off until the next `paleo up`
        print_starting_message=False,
    )


if __name__ == "__main__":
    main(sys.argv[1] if sys.argv[1:] else None)
