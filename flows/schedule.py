"""The schedule of `paleo up`: `python -m flows.schedule [CRON [SWITCH …]]` serves the flow until SIGTERM.

Without a cron expression it serves all the same: a run can be started with a button in Prefect's UI. The switches
(`commit`, `tag`) are what the runs turn on over `versioning` of params.yaml, as infra/prefect.yaml does.
"""

from __future__ import annotations

import sys

from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy

from flows.pipeline import pipeline

NAME = "schedule"


def main(cron: str | None, switches: list[str]) -> None:
    """Serve `pipeline`; a run that comes due while another one works is dropped."""
    one = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
    pipeline.serve(
        name=NAME,
        cron=cron,
        parameters={"versioning": dict.fromkeys(switches, True)} if switches else None,
        global_limit=one,
        pause_on_shutdown=False,  # or the schedule would stay off until the next `paleo up`
        print_starting_message=False,
    )


if __name__ == "__main__":
    main(sys.argv[1] if sys.argv[1:] else None, sys.argv[2:])
