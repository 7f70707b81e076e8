"""A child of accelerate's launcher: trains with sharded weights (FSDP), once straight and once interrupted.

accelerate launch --config_file … tests/training/sharded.py PROJECT
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from accelerate import Accelerator

from pipeline.core import launch_settings
from pipeline.core.errors import Interrupted
from pipeline.core.paths import Paths
from pipeline.train import _training_run
from pipeline.training.checkpoint.state import CheckpointStore
from pipeline.training.loop import Hooks, train_to_end
from pipeline.training.task import prepare
from tests.training import world


def main(project: Path) -> None:
    wanted = launch_settings.from_environment(os.environ)
    accelerator = Accelerator(cpu=True)
    torch.set_num_threads(1)
    paths = Paths(project, world.SPECIES)
    run = _training_run(world.load(paths), paths)

    def train(name: str, stop_at: int = 0) -> list[list[float]]:
        reports, folder = [], project / name
        should_stop = lambda: bool(reports) and reports[-1].step == stop_at  # noqa: E731
        hooks = Hooks(reports.append, lambda _: None, should_stop, lambda: 0.0)
        job = prepare(run, accelerator, project / "cache", folder / "looks", sharded=wanted.sharded)
        return train_to_end(job, accelerator, CheckpointStore(folder, "x"), hooks).history

    history = train("straight")
    try:
        train("broken", stop_at=4)
    except Interrupted:
        assert train("broken") == history
    if accelerator.is_main_process:
        (project / "history.json").write_text(json.dumps(history))
    accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
