"""Out of memory: one sentence with three params and how much to change each."""

import itertools
import re
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator

from pipeline.core.errors import PaleoError
from pipeline.training.checkpoint.state import CheckpointStore
from pipeline.training.distributed import oom_advice
from pipeline.training.distributed.oom_advice import MemoryEstimate
from pipeline.training.loop import Hooks, train_to_end
from pipeline.training.task import prepare
from tests.project import ROOT, environment
from tests.training import world

GB = 10**9
QUIET = {"monitor": {"timesteps": 0, "prompts": []}}


@pytest.fixture
def train(project):
    """As for Stable Diffusion 1.5."""
    return world.change(project, resolution_px=512, batch_size=8).train


def test_the_advice_has_three_params_and_how_much_to_change_each(train):
    memory = MemoryEstimate(
        available=16 * GB,
        fixed=5 * GB,
        per_example=2 * GB,
        per_example_checkpointed=GB // 2,
        micro_batch=8,
        trained_share=1.0,
    )
    assert oom_advice.advice(train, memory) == (
        "a step needs about 21.0 GB, 5.0 GB of it for weights and optimiser, and there are 16.0 GB; change "
        "train.gradient_checkpointing from false to true (then about 9.0 GB), train.batch_size from 8 to 4 (or in 2 "
        "times as many parts by ACCELERATE_GRADIENT_ACCUMULATION_STEPS, which keeps the result) or "
        "train.resolution_px from 512 to 384"
    )


def test_savings_that_are_on_already_are_not_advised(train):
    memory = MemoryEstimate(
        available=16 * GB,
        fixed=5 * GB,
        per_example=12 * GB,
        per_example_checkpointed=12 * GB,
        micro_batch=1,
        trained_share=1.0,
    )
    already = train.model_copy(update={"gradient_checkpointing": True, "batch_size": 1})
    assert oom_advice.advice(already, memory).endswith(
        "change train.resolution_px from 512 to 448, train.method to lora, which learns a hundredth of the weights or "
        "train.optimiser from adamw to adamw8bit"
    )


def test_where_weights_alone_are_too_much_no_smaller_batch_is_advised(train):
    logged = oom_advice.advice(
        train,
        MemoryEstimate(
            available=4 * GB,
            fixed=12 * GB,
            per_example=GB,
            per_example_checkpointed=GB,
            micro_batch=8,
            trained_share=1.0,
        ),
    )
    assert "neither batch nor size would help: change train.method to lora" in logged and "batch_size" not in logged


@pytest.mark.parametrize(("room", "batch", "side"), [(12.2, 4, 448), (9.0, 2, 320), (5.5, 1, 64)])
def test_the_batch_stays_a_divisor_and_the_side_a_multiple(train, room, batch, side):
    memory = MemoryEstimate(
        available=int(room * GB),
        fixed=5 * GB,
        per_example=GB,
        per_example_checkpointed=GB // 2,
        micro_batch=8,
        trained_share=1.0,
    )
    logged = oom_advice.advice(train, memory)
    assert f"train.batch_size from 8 to {batch} " in logged and f"train.resolution_px from 512 to {side}" in logged


@pytest.mark.parametrize(
    ("failure", "n_bytes"),
    [
        ("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of", 2.5 * 2**30),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes. Error code 12", 4096),
        ("std::bad_alloc", 0),
    ],
)
def test_the_requested_bytes_are_read_from_the_message(failure, n_bytes):
    assert oom_advice.requested_bytes(failure) == n_bytes


def _job(project, tmp_path, **train):
    run = world.training_run(project, **QUIET, **train)
    accelerator, store = Accelerator(cpu=True), CheckpointStore(tmp_path / "run", "x")
    return run, accelerator, store, prepare(run, accelerator, tmp_path / "cache")


def _hooks() -> Hooks:
    ticks = itertools.count()
    return Hooks(lambda report: None, lambda line: None, lambda: False, lambda: float(next(ticks)))


def test_a_step_without_memory_ends_in_a_sentence_and_the_state_is_kept(project, tmp_path):
    run, accelerator, store, job = _job(project, tmp_path)

    loss = job.loss

    def too_large(components, step, slots):
        if step == 4 and len(slots) > 1:
            return torch.empty(10**15, dtype=torch.uint8).sum()
        return loss(components, step, slots)

    job = replace(job, loss=too_large)
    with pytest.raises(PaleoError) as error, oom_advice.oom_explained(run.train, accelerator, store, job):
        train_to_end(job, accelerator, store, _hooks())
    logged = str(error.value)
    assert logged.startswith("out of memory: a step needs about 1,000 TB, ")
    assert logged.endswith("; the state of step 3 is kept")
    assert re.search(r"train.batch_size from 4 to 1 .* train.resolution_px from 16 to 8", logged)
    assert store.step == 3 and error.value.__cause__ is None, "the cause would hold what did not fit"


def test_out_of_memory_before_the_first_step(project, tmp_path):
    train, store = world.load(project).train, CheckpointStore(tmp_path / "run", "x")
    message = (
        r"out of memory before the first step \(1,000 TB could not be allocated\); change train.resolution_px from"
    )
    with pytest.raises(PaleoError, match=message), oom_advice.oom_explained(train, Accelerator(cpu=True), store):
        torch.empty(10**15, dtype=torch.uint8)


def test_other_errors_are_not_changed(project, tmp_path):
    train, store = world.load(project).train, CheckpointStore(tmp_path, "x")
    with pytest.raises(RuntimeError, match="shapes"), oom_advice.oom_explained(train, Accelerator(cpu=True), store):
        raise RuntimeError("shapes do not fit")


def test_the_memory_of_an_example_is_measured(project, tmp_path):
    _, accelerator, _, small = _job(project, tmp_path)
    one = oom_advice._activation_bytes(small, accelerator)
    _, _, _, large = _job(project, tmp_path, resolution_px=32)
    four = oom_advice._activation_bytes(large, accelerator)
    assert 2.5 < four / one < 5, "it grows with the area"
    whole, checkpointed = oom_advice._bytes_per_example(large, accelerator)
    assert whole == four and checkpointed < 0.9 * whole


def test_a_process_with_a_memory_limit(project):
    """For real: the limit is the operating system's."""
    world.change(project, **QUIET, method="lora", resolution_px=64, batch_size=64, steps=2, snapshots=[2])
    command = [sys.executable, "-c", LIMITED, str(project.root)]
    ran = subprocess.run(command, env={**environment(ROOT), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert re.search(
        r"error: out of memory: a step needs about [\d.]+ [MG]B, \d+ MB of it for weights and optimiser, and there are "
        r"\d+ MB; change train.gradient_checkpointing from false to true \(then about [\d.]+ [MG]B\), "
        r"train.batch_size from 64 to \d+ .* or train.resolution_px from 64 to \d+",
        ran.stdout,
    ), ran.stdout + ran.stderr[-2000:]


LIMITED = """
import resource, sys
from pathlib import Path
import psutil
import torch
from accelerate import Accelerator
from pipeline.core.errors import PaleoError
from pipeline.core.paths import Paths
from pipeline.train import _training_run
from pipeline.training.checkpoint.state import CheckpointStore
from pipeline.training.distributed import oom_advice
from pipeline.training.loop import train_to_end
from pipeline.training.task import prepare
from tests.training import world
from tests.training.distributed.test_oom_advice import _hooks

torch.set_num_threads(1)
paths = Paths(Path(sys.argv[1]), world.SPECIES)
run, accelerator = _training_run(world.load(paths), paths), Accelerator(cpu=True)
store = CheckpointStore(paths.root / "run", "x")
job = prepare(run, accelerator, paths.root / "cache")
limit = psutil.Process().memory_info().vms + 150_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
try:
    with oom_advice.oom_explained(run.train, accelerator, store, job):
        train_to_end(job, accelerator, store, _hooks())
except PaleoError as error:
    print("error:", error)
"""
