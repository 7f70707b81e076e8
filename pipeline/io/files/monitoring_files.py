"""Monitoring of a training (held-out losses and previews) as files of a model's folder.

    held_out.csv          step, timestep, loss, relative      one row for each monitored step and timestep
    held_out_mean.csv     step, loss, relative                one row for each monitored step
    previews/step-000050/01-s1.png

`relative` is to step 0. Without held-out pictures the tables have no rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline.core.records import MonitoringReport
from pipeline.io.files import atomic_write


def write(folder: Path, reports: Sequence[MonitoringReport]) -> None:
    """Write tables and pictures into a model's folder that is being built."""
    by_timestep = [
        (report.step, t, loss, report.relative.get(t))
        for report in reports
        for t, loss in sorted(report.losses.items())
    ]
    atomic_write.write_text(folder / "held_out.csv", _csv(("step", "timestep", "loss", "relative"), by_timestep))
    means = [(report.step, report.loss, report.relative_loss) for report in reports if report.losses]
    atomic_write.write_text(folder / "held_out_mean.csv", _csv(("step", "loss", "relative"), means))
    for report in reports:
        for preview in report.previews:
            atomic_write.write_bytes(
                folder / "previews" / f"step-{report.step:06d}" / preview.file_name, preview.content
            )


def card(reports: Iterable[MonitoringReport]) -> list[dict[str, Any]]:
    """For `card.json`: {step, loss, relative} of each step with held-out losses."""
    return [
        {"step": report.step, "loss": _rounded(report.loss), "relative": _rounded(report.relative_loss)}
        for report in reports
        if report.losses
    ]


def words(reports: Sequence[MonitoringReport]) -> str:
    """The lowest held-out loss and the last one, for a line of a report; empty when nothing was held out."""
    measured = [report for report in reports if report.step and report.relative_loss is not None]
    if not measured:
        return ""
    best, last = min(measured, key=lambda report: (report.relative_loss, report.step)), measured[-1]
    sentence = f"held-out loss {last.relative_loss:.1%} of step 0's"
    return sentence if best is last else f"{sentence} ({best.relative_loss:.1%} at step {best.step})"


def _csv(columns: Sequence[str], rows: Iterable[Sequence[float | None]]) -> str:
    lines = [",".join("" if value is None else f"{value:.6g}" for value in row) for row in rows]
    return "\n".join([",".join(columns), *lines]) + "\n"


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
