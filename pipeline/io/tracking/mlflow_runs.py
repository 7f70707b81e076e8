"""Live logging of training to MLflow: never in the way of a step, never the reason that a training fails.

    with tracking.training_run(params, paths, lineage_id=lineage, main_process=accelerator.is_main_process) as run:
        run.step(report)                          # a StepReport; returns at once
        run.look(report)                          # a LookReport: held-out losses, previews
        run.image(picture, "sample/0", step)      # one card with a step slider per key
        run.artifact(path)

A store that does not answer is a ServiceError when the run is opened, before any training. Later trouble is kept back
and tried again every two seconds; what could not be told at the end is one warning: the training itself is sound.
"""

from __future__ import annotations

import io
import logging
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import Interrupted
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.core.records import MonitoringReport, Preview, StepReport
from pipeline.io.tracking.mlflow_store import connect, experiment, speaking_to
from pipeline.io.tracking.provenance import provenance

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from PIL.Image import Image

PAUSE_S = 2.0  # between two batches
PATIENCE_S = 20.0  # for the last batch, when the training is over
METRICS_PER_BATCH = 1000  # MLflow's limit
HELD_OUT = "held_out/loss"
PICTURES = "images"  # MLflow's folder for them
NO_KEY = re.compile(r"[^a-zA-Z0-9_\-. ]+")  # what MLflow takes in no key
_log = logging.getLogger(__name__)


class MlflowRun:
    """One MLflow run; every method returns at once and leaves the work to a thread of its own.

    `told` is what an interrupted run has told already: it is not told twice.
    """

    def __init__(self, client: MlflowClient, run_id: str, told: Told | None = None):
        self.run_id = run_id
        self._client, self._told = client, told or Told()
        self._metrics: deque = deque()
        self._actions: deque[Callable[[], None]] = deque()
        self._closing = threading.Event()
        self._troubled = False
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def step(self, report: StepReport) -> None:
        """The numbers of one optimiser step; steps that an interrupted run has told already are passed over."""
        if report.step <= self._told.step:
            return
        values = {name: value for name, value in vars(report).items() if name not in ("step", "seconds")}
        self.metrics({**values, "seconds_per_step": report.seconds}, report.step)

    def look(self, report: MonitoringReport) -> None:
        """Held-out losses, the mean and by timestep, and previews."""
        if report.losses and report.step > self._told.look:
            self.metrics(_held_out(report), report.step)
        for preview in report.previews:
            key = _key(preview)
            if (key, report.step) not in self._told.pictures:
                self.image(_opened(preview), key, report.step)

    def spent(self, seconds: Mapping[str, float], step: int) -> None:
        """Where the time went; not in a result's files, which are the same whenever they are made."""
        self.metrics({f"seconds/{kind.replace(' ', '_').replace('/', '_')}": s for kind, s in seconds.items()}, step)

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        from mlflow.entities import Metric
        from mlflow.utils.time import get_current_time_millis

        now = get_current_time_millis()
        self._metrics.extend(Metric(name, float(value), now, step) for name, value in values.items())

    def image(self, picture: Image, key: str, step: int = 0) -> None:
        """A picture in the run's grid: all with one key share a card with a step slider."""
        self._actions.append(lambda: self._client.log_image(self.run_id, picture, key=key, step=step, synchronous=True))

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """A file, or a folder with what is in it."""
        send = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        self._actions.append(lambda: send(self.run_id, str(path), folder))

    def tags(self, **values: str) -> None:
        for name, value in values.items():
            self._actions.append(lambda name=name, value=value: self._client.set_tag(self.run_id, name, value))

    def close(self, status: str) -> None:
        """Send what is left and set the status: FINISHED, KILLED (can be continued) or FAILED."""
        self._actions.append(lambda: self._client.set_terminated(self.run_id, status))
        self._closing.set()
        self._thread.join(PATIENCE_S)
        if self._metrics or self._actions:
            _log.warning("MLflow did not take the last numbers of run %s; train.csv has them all", self.run_id)

    def _work(self) -> None:
        while not self._closing.wait(PAUSE_S):
            self._send()
        self._send()

    def _send(self) -> None:
        """All that is waiting, in order; on trouble it stays where it is for the next time."""
        from mlflow.exceptions import MlflowException

        try:
            while self._metrics:
                batch = [self._metrics[i] for i in range(min(len(self._metrics), METRICS_PER_BATCH))]
                self._client.log_batch(self.run_id, metrics=batch)
                for _ in batch:
                    self._metrics.popleft()
            while self._actions:
                self._actions[0]()
                self._actions.popleft()
        except (MlflowException, OSError) as error:
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        if not self._troubled:
            _log.warning("MLflow cannot be told for now: %s", " ".join(str(error).split())[:300])
        self._troubled = True


@dataclass(frozen=True)
class Told:
    """What an interrupted run has told: its last step, its last look, its pictures by key and step."""

    step: int = -1
    look: int = -1
    pictures: frozenset[tuple[str, int]] = frozenset()

    @classmethod
    def by(cls, client: MlflowClient, run_id: str) -> Told:
        names = (Path(item.path).name.split("+") for item in client.list_artifacts(run_id, PICTURES))
        pictures = {(name[0].replace("~", "/"), int(name[2])) for name in names if len(name) > 2 and name[2].isdigit()}
        return cls(_last_step(client, run_id, "loss"), _last_step(client, run_id, HELD_OUT), frozenset(pictures))


def _held_out(report: MonitoringReport) -> dict[str, float]:
    relative = {} if report.relative_loss is None else {"held_out/relative": report.relative_loss}
    return {HELD_OUT: report.loss, **relative, **{f"held_out/t_{t:04d}": loss for t, loss in report.losses.items()}}


def _key(preview: Preview) -> str:
    """The same for a prompt and a seed at every step, so that they share a slider."""
    return f"preview/{preview.number:02d} {NO_KEY.sub('_', preview.prompt)[:60]} s{preview.seed}"


def _opened(preview: Preview) -> Image:
    from PIL import Image

    return Image.open(io.BytesIO(preview.content)).convert("RGB")


class NullRun:
    """What the other processes of a distributed training hold: a run that says nothing."""

    run_id = ""

    def step(self, report: StepReport) -> None:
        pass

    def look(self, report: MonitoringReport) -> None:
        pass

    def spent(self, seconds: Mapping[str, float], step: int) -> None:
        pass

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        pass

    def image(self, picture: Image, key: str, step: int = 0) -> None:
        pass

    def artifact(self, path: Path, folder: str | None = None) -> None:
        pass

    def tags(self, **values: str) -> None:
        pass


@contextmanager
def training_run(
    params: Params, paths: Paths, *, lineage_id: str, resumed_from: int | None = None, main_process: bool = True
) -> Iterator[MlflowRun | NullRun]:
    """The run of one training; an unfinished one of the same lineage is continued.

    Raises
    ------
    ServiceError
        Within about ten seconds, when the MLflow store does not answer.
    """
    tags = {"stage": "train", "species": paths.species, "lineage_id": lineage_id}
    if resumed_from is not None:
        tags["resumed_from"] = str(resumed_from)
    name = f"{params.train.method} {lineage_id[:8]}"
    with run(
        paths.root,
        paths.species,
        name,
        tags,
        training_params(params, paths.species),
        same="lineage_id",
        main_process=main_process,
    ) as opened:
        yield opened


@contextmanager
def run(
    root: Path,
    experiment_name: str,
    name: str,
    tags: Mapping[str, str],
    params: Mapping[str, Any] | None = None,
    *,
    same: str | None = None,
    main_process: bool = True,
) -> Iterator[MlflowRun | NullRun]:
    """A run in an experiment; with `same` (the name of a tag) an unfinished run with that tag is continued."""
    if not main_process:
        yield NullRun()
        return
    opened = _open(root, experiment_name, name, {**provenance(root), **tags}, params or {}, same)
    status = "FAILED"
    try:
        yield opened
        status = "FINISHED"
    except (Interrupted, KeyboardInterrupt):
        status = "KILLED"
        raise
    finally:
        opened.close(status)


def training_params(params: Params, species: str) -> dict[str, str]:
    """What decides a training, flat: {"train.learning_rate": "0.0003", …}."""
    dump = params.model_dump(mode="json", by_alias=True)
    chosen = {"seed": dump["seed"], "species": dump["species"][species], "base": dump["base"], "train": dump["train"]}
    return flatten(chosen)


def flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """Nested mappings as one, with dotted keys; anything else as text."""
    if not isinstance(value, Mapping):
        return {prefix: str(value)}
    parts = (flatten(inner, f"{prefix}.{key}" if prefix else str(key)) for key, inner in value.items())
    return {key: text for part in parts for key, text in part.items()}


def _open(root: Path, experiment_name: str, name: str, tags: dict, params: Mapping, same: str | None) -> MlflowRun:
    client = connect(root)
    with speaking_to(client.tracking_uri):
        experiment_id = experiment(client, root, experiment_name)
        found = _unfinished(client, experiment_id, same, tags) if same else None
        created = found or client.create_run(experiment_id, tags=tags, run_name=name)
        run_id = created.info.run_id
        if found:
            client.update_run(run_id, status="RUNNING")
        _tell(client, run_id, tags if found else {}, {k: v for k, v in params.items() if k not in created.data.params})
        return MlflowRun(client, run_id, Told.by(client, run_id) if found else None)


def _unfinished(client: MlflowClient, experiment_id: str, same: str, tags: Mapping[str, str]):
    query = f"tags.{same} = '{tags[same]}' and attributes.status != 'FINISHED'"
    return next(iter(client.search_runs([experiment_id], query, max_results=1)), None)


def _tell(client: MlflowClient, run_id: str, tags: Mapping[str, str], params: Mapping[str, str]) -> None:
    from mlflow.entities import Param, RunTag

    client.log_batch(
        run_id,
        params=[Param(key, str(value)) for key, value in params.items()],
        tags=[RunTag(key, str(value)) for key, value in tags.items()],
    )


def _last_step(client: MlflowClient, run_id: str, metric: str) -> int:
    return max((one.step for one in client.get_metric_history(run_id, metric)), default=-1)
