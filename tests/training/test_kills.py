"""SIGKILL and SIGTERM for real, at chosen moments and at random ones: no byte may differ."""

import json
import signal
import subprocess
import sys
from pathlib import Path

from tests.project import ROOT, environment
from tests.training import world
from tests.training.kills import MOMENTS

OFTEN = {"steps": 6, "snapshots": [2, 5, 6], "save_every_steps": 1, "warmup_steps": 3, "batch_size": 2}
KINDS = ({"method": "dreambooth", "ema_decay": 0.9}, {"method": "lora", "optimiser": "prodigy", "learning_rate": 1.0})


def test_a_killed_training_gives_the_bytes_of_an_uninterrupted_one(tmp_path, sd_base):
    """Half a minute of one core: two trainings of some twenty processes each."""
    for number, kind in enumerate(KINDS):
        (tmp_path / str(number)).mkdir()
        world.make_project(tmp_path / str(number), sd_base, **OFTEN, **kind)
    for trained in _outcomes(tmp_path):
        straight = trained.pop("straight")
        assert straight.pop("ends") == [0] and straight["files"] and not straight["hidden"]
        for name, broken in trained.items():
            ends = broken.pop("ends")
            assert broken == straight, (name, ends)
            assert set(ends) <= {0, 75, -signal.SIGKILL} and ends[-1] == 0
            assert len(ends) - 1 == 2 * len(MOMENTS) if name == "at moments" else len(ends) > 1, "it was not killed"


def _outcomes(folder: Path) -> list[dict[str, dict]]:
    command = (sys.executable, "-m", "tests.training.kills", *(str(folder / str(number)) for number in (0, 1)))
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**environment(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
