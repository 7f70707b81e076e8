"""One tracked run: turns the reports of a training into metrics and pictures, and logs them to every tracker."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core.records import MonitoringReport, Preview, StepReport
from pipeline.io.tracking.tracker import RunStatus, Tracker

if TYPE_CHECKING:
    from PIL.Image import Image

NOT_IN_KEYS = re.compile(r"[^a-zA-Z0-9_\-. ]+")  # MLflow accepts no other characters


class TrackedRun:
    """A run in any number of trackers; without one it logs nothing, as in all but the main process of a training."""

    def __init__(self, trackers: Sequence[Tracker] = ()):
        self._trackers = trackers

    def step(self, report: StepReport) -> None:
        """The numbers of one optimiser step."""
        values = {name: value for name, value in vars(report).items() if name not in ("step", "seconds")}
        self.metrics({**values, "seconds_per_step": report.seconds}, report.step)

    def monitoring(self, report: MonitoringReport) -> None:
        """Held-out losses, the mean and by timestep, and previews."""
        if report.loss is not None:
            relative = {} if report.relative_loss is None else {"held_out/relative": report.relative_loss}
            by_timestep = {f"held_out/t_{timestep:04d}": loss for timestep, loss in report.losses.items()}
            self.metrics({"held_out/loss": report.loss, **relative, **by_timestep}, report.step)
        for preview in report.previews:
            self.image(_picture(preview), preview_key(preview), report.step)

    def timing(self, seconds: Mapping[str, float], step: int) -> None:
        """Where the time went. It is in no result's files, which are the same whenever they are made."""
        self.metrics({f"seconds/{kind.replace(' ', '_').replace('/', '_')}": s for kind, s in seconds.items()}, step)

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        for tracker in self._trackers:
            tracker.metrics(values, step)

    def image(self, picture: Image, key: str, step: int = 0) -> None:
        for tracker in self._trackers:
            tracker.image(picture, key, step)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        for tracker in self._trackers:
            tracker.artifact(path, folder)

    def close(self, status: RunStatus) -> None:
        for tracker in self._trackers:
            tracker.close(status)


def preview_key(preview: Preview) -> str:
    """The same for a prompt and a seed at every step, so that they share a slider."""
    return f"preview/{preview.number:02d} {NOT_IN_KEYS.sub('_', preview.prompt)[:60]} s{preview.seed}"


def _picture(preview: Preview) -> Image:
    from PIL import Image

    return Image.open(io.BytesIO(preview.content)).convert("RGB")
