"""What was seen at the looks of a training, as files of a model's folder.

    held_out.csv          step, timestep, loss, relative      one row for each look and timestep
    held_out_mean.csv     step, loss, relative                one row for each look
    previews/step-000050/01-s1.png

`relative` is to step 0. Without held-out pictures the tables have no rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline.core.records import MonitoringReport
from pipeline.io.files import atomic_write


def write(folder: Path, seen: Sequence[MonitoringReport]) -> None:
    """Write tables and pictures into a model's folder that is being built."""
    by_timestep = [
        (look.step, t, loss, look.relative.get(t)) for look in seen for t, loss in sorted(look.losses.items())
    ]
    atomic_write.write_text(folder / "held_out.csv", _csv(("step", "timestep", "loss", "relative"), by_timestep))
    means = [(look.step, look.loss, look.relative_loss) for look in seen if look.losses]
    atomic_write.write_text(folder / "held_out_mean.csv", _csv(("step", "loss", "relative"), means))
    for look in seen:
        for preview in look.previews:
            atomic_write.write_bytes(folder / "previews" / f"step-{look.step:06d}" / preview.file_name, preview.content)


def card(seen: Iterable[MonitoringReport]) -> list[dict[str, Any]]:
    """For `card.json`: {step, loss, relative} of each look that measured."""
    return [
        {"step": look.step, "loss": _rounded(look.loss), "relative": _rounded(look.relative_loss)}
        for look in seen
        if look.losses
    ]


def words(seen: Sequence[MonitoringReport]) -> str:
    """The lowest held-out loss and the last one, for a line of a report; empty when nothing was held out."""
    found = [look for look in seen if look.step and look.relative_loss is not None]
    if not found:
        return ""
    best, last = min(found, key=lambda look: (look.relative_loss, look.step)), found[-1]
    said = f"held-out loss {last.relative_loss:.1%} of step 0's"
    return said if best is last else f"{said} ({best.relative_loss:.1%} at step {best.step})"


def _csv(columns: Sequence[str], rows: Iterable[Sequence[float | None]]) -> str:
    lines = [",".join("" if value is None else f"{value:.6g}" for value in row) for row in rows]
    return "\n".join([",".join(columns), *lines]) + "\n"


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
