"""MLflow as a tracker: a queue that a thread of its own sends, so that no training step waits for the store.

A store that does not answer is a ServiceError when the run is opened. On later trouble the queue is kept and sent again
every two seconds; what could not be sent at the end is one warning: the training itself is sound.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.io.tracking import mlflow_tags
from pipeline.io.tracking.mlflow_store import connect, experiment, mlflow_errors
from pipeline.io.tracking.tracker import RunDescription, RunStatus

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run
    from PIL.Image import Image

PAUSE_S = 2.0  # between two batches
PATIENCE_S = 20.0  # for the last batch, when the training is over
METRICS_PER_BATCH = 1000  # MLflow's limit
IMAGES = "images"  # MLflow's folder for logged images
PARAMS = "params.json"  # all of them
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Logged:
    """What an interrupted run has logged: the last step of each metric, and images by key and step."""

    last_steps: Mapping[str, int] = field(default_factory=dict)
    images: frozenset[tuple[str, int]] = frozenset()


class MlflowTracker:
    """One MLflow run; `logged` is not logged again."""

    def __init__(self, client: MlflowClient, run_id: str, logged: Logged | None = None):
        self.run_id = run_id
        self._client, self._logged = client, logged or Logged()
        self._metrics: deque[Metric] = deque()
        self._actions: deque[Callable[[], object]] = deque()
        self._closing = threading.Event()
        self._warned = False
        self._thread = threading.Thread(target=self._send_until_closed, name="mlflow", daemon=True)
        self._thread.start()

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now, last = time.time_ns() // 1_000_000, self._logged.last_steps
        new = {name: value for name, value in values.items() if step > last.get(name, -1)}
        self._metrics.extend(Metric(name, float(value), now, step) for name, value in new.items())

    def image(self, picture: Image, key: str, step: int) -> None:
        """All images with one key share a card with a step slider."""
        if (key, step) not in self._logged.images:
            log = self._client.log_image
            self._actions.append(lambda: log(self.run_id, picture, key=key, step=step, synchronous=True))

    def artifact(self, path: Path, folder: str | None) -> None:
        log = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        self._actions.append(lambda: log(self.run_id, str(path), folder))

    def close(self, status: RunStatus) -> None:
        self._actions.append(lambda: self._client.set_terminated(self.run_id, status))
        self._closing.set()
        self._thread.join(PATIENCE_S)
        if self._metrics or self._actions:
            _log.warning("MLflow did not take the last numbers of run %s; train.csv has them all", self.run_id)

    def _send_until_closed(self) -> None:
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
            if not self._warned:
                _log.warning("logging to MLflow fails for now: %s", " ".join(str(error).split())[:300])
            self._warned = True


def open_run(root: Path, run: RunDescription) -> MlflowTracker:
    """A new MLflow run, or the unfinished one that is continued.

    Raises
    ------
    InputError
        When the experiment was deleted, or keeps its artifacts where only a server can reach them.
    ServiceError
        When the store does not answer within about ten seconds.
    """
    client = connect(root)
    with mlflow_errors(client.tracking_uri):
        experiment_id = experiment(client, root, run.experiment)
        found = _unfinished(client, experiment_id, run)
        tags = mlflow_tags.grouped(run.tags)
        created = found or client.create_run(experiment_id, tags=tags, run_name=run.name)
        _complete(client, created, run, tags=tags if found else {})
        return MlflowTracker(client, created.info.run_id, _logged(client, found) if found else None)


def _unfinished(client: MlflowClient, experiment_id: str, run: RunDescription) -> Run | None:
    if run.continue_by is None:
        return None
    query = f"tags.{run.continue_by} = '{run.tags[run.continue_by]}' and attributes.status != 'FINISHED'"
    found = next(iter(client.search_runs([experiment_id], query, max_results=1)), None)
    if found:
        client.update_run(found.info.run_id, status="RUNNING")
    return found


def _complete(client: MlflowClient, created: Run, run: RunDescription, tags: Mapping[str, str]) -> None:
    """Log the params that the run does not have yet, and tags."""
    from mlflow.entities import RunTag

    log_params(client, created, run)
    client.log_batch(created.info.run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def log_params(client: MlflowClient, created: Run, run: RunDescription) -> None:
    """The deciding params as MLflow's own, because its pages repeat them at every picture; all of them as a file."""
    from mlflow.entities import Param

    known = created.data.params
    new = [Param(key, str(value)) for key, value in run.shown_params.items() if key not in known]
    client.log_batch(created.info.run_id, params=new)
    if run.params:
        client.log_dict(created.info.run_id, dict(run.params), PARAMS)


def _logged(client: MlflowClient, run: Run) -> Logged:
    run_id = run.info.run_id
    last = {name: max(metric.step for metric in client.get_metric_history(run_id, name)) for name in run.data.metrics}
    return Logged(last, frozenset(logged_images(client, run_id)))


def logged_images(client: MlflowClient, run_id: str) -> dict[tuple[str, int], str]:
    """{(key, step): path of its artifact} of the images with a step slider."""
    found = {}
    for item in client.list_artifacts(run_id, IMAGES):
        key, *rest = Path(item.path).name.split("+")
        if len(rest) > 1 and rest[1].isdigit() and not Path(item.path).stem.endswith("compressed"):
            found[key.replace("~", "/"), int(rest[1])] = item.path
    return found
