"""Real launchers: `accelerate launch` with the project's configs, on the CPU over gloo; Slurm with a pretended cluster.

GPUs, NCCL and true clusters are not tried here.
"""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import SingleQuotedScalarString

from flows.processes import GRACE_SECONDS
from pipeline import train as stage
from pipeline.__main__ import main
from pipeline.core.errors import InputError
from pipeline.io import launcher
from tests import tiny_models
from tests.conftest import copy_store
from tests.project import ROOT, environment, paleo
from tests.training import world

INFRA = ROOT / "infra"
QUIET = {"monitor": {"timesteps": 0, "prompts": []}, "steps": 6, "snapshots": [6], "save_dtype": "float32"}
needs_two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two processes want two cores")


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return tiny_models.write_sd(tmp_path_factory.mktemp("base") / "sd")


@pytest.fixture
def paths(tmp_path, base, empty_store):
    copy_store(empty_store, tmp_path)
    return world.make_project(tmp_path, base, **QUIET)


def _losses(paths) -> list[float]:
    return pd.read_csv(paths.model / "train.csv")["loss"].tolist()


@pytest.fixture
def alone(paths, monkeypatch):
    """Trains here, in one process without a launcher; returns the losses."""
    monkeypatch.setattr(stage.tracking, "training_run", lambda *_, **__: nullcontext(stage.tracking.TrackedRun()))

    def train() -> list[float]:
        stage.train(world.load(paths), paths)
        return _losses(paths)

    return train


def _config(folder: Path, name: str, **changes) -> Path:
    """One of the project's configs, for a machine without GPUs."""
    yaml = YAML()
    config = yaml.load(INFRA / "accelerate" / name)
    changes["mixed_precision"] = SingleQuotedScalarString("no")  # accelerate's YAML takes a bare one for False
    yaml.dump({**config, "use_cpu": True, **changes}, folder / name)
    return folder / name


# --- what is written ---


@pytest.mark.parametrize("file", sorted((INFRA / "accelerate").glob("*.yaml")), ids=lambda file: file.name)
def test_configs_are_what_accelerate_reads(file):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(file))
    assert file.read_text().startswith("# ") and config.mixed_precision in ("no", "bf16")
    assert config.use_cpu == file.name.startswith("cpu") and config.num_processes % config.num_machines == 0
    if config.distributed_type == "FSDP":
        assert config.fsdp_config == {"fsdp_version": 2}


def test_the_kubernetes_job_fits_its_service_and_its_numbers():
    service, job = YAML(typ="safe").load_all(INFRA / "kubernetes/train-job.yaml")
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environ = {entry["name"]: entry["value"] for entry in container["env"]}
    assert service["spec"]["clusterIP"] == "None" and service["metadata"]["name"] == pod["subdomain"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert environ["HEAD"] == f"{job['metadata']['name']}-0.{pod['subdomain']}"
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"] == int(environ["NODES"])
    assert container["resources"]["limits"]["nvidia.com/gpu"] == int(environ["GPUS"])
    assert pod["restartPolicy"] == "Never", "the API refuses a podFailurePolicy with another one"
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert (ROOT / environ["PALEO_ACCELERATE_CONFIG"]).is_file()
    words = subprocess.run(
        ["bash", "-c", container["args"][0].replace("exec accelerate", "echo")],
        env={**environ, "JOB_COMPLETION_INDEX": "1", "PATH": os.defpath},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "--num_machines 2 --num_processes 4 --machine_rank 1 --main_process_ip paleo-train-0.paleo-train" in words


def test_several_processes_have_time_to_save_wherever_they_are_launched(monkeypatch):
    """torchrun kills them 30 s after SIGTERM, unless the environment says otherwise."""
    from torch.distributed.launcher.api import LaunchConfig

    _, job = YAML(typ="safe").load_all(INFRA / "kubernetes/train-job.yaml")
    pod, script = job["spec"]["template"]["spec"], (INFRA / "slurm/train.sbatch").read_text()
    _, variables = launcher.command({launcher.VARIABLE: str(INFRA / "accelerate/cpu_2.yaml")}, ROOT, ["train", "dodo"])
    seconds = next(
        entry["value"] for entry in pod["containers"][0]["env"] if entry["name"] == launcher.SHUTDOWN_TIMEOUT
    )
    monkeypatch.setenv(launcher.SHUTDOWN_TIMEOUT, seconds)
    assert LaunchConfig(1, 1, 1).shutdown_timeout == int(seconds) < pod["terminationGracePeriodSeconds"]
    assert f"export {launcher.SHUTDOWN_TIMEOUT}={seconds} " in script and int(seconds) < GRACE_SECONDS
    assert int(seconds) < int(re.search(r"--signal=B:TERM@(\d+)", script)[1])
    assert variables[launcher.SHUTDOWN_TIMEOUT] == seconds


# --- what is refused ---


def test_missing_gpus_are_reported_once_before_anything_is_launched(monkeypatch):
    monkeypatch.setattr(launcher, "_n_gpus", lambda: 1)
    named = {launcher.VARIABLE: str(INFRA / "accelerate/multi_gpu.yaml")}
    with pytest.raises(InputError, match="multi_gpu.yaml asks for 2 GPUs on this machine, which has 1; correct"):
        launcher.command(named, ROOT, ["train", "dodo"])


def test_a_config_that_is_not_there_or_no_yaml_is_one_sentence(paths, capsys, monkeypatch):
    monkeypatch.chdir(paths.root)
    (paths.root / "odd.yaml").write_text("a: [")
    for name, words in (("none.yaml", "is 'none.yaml', which is no file"), ("odd.yaml", "is not valid YAML")):
        monkeypatch.setenv("PALEO_ACCELERATE_CONFIG", name)
        assert main(["train", "dodo"]) == 1
        assert words in capsys.readouterr().err


def test_a_launched_process_does_not_launch_again(tmp_path):
    (tmp_path / "one.yaml").write_text("use_cpu: true")
    named = {"PALEO_ACCELERATE_CONFIG": "one.yaml"}
    for name in ("cpu.yaml", "cpu_2.yaml"):
        by_hand = {"PALEO_ACCELERATE_CONFIG": str(INFRA / "accelerate" / name), "ACCELERATE_MIXED_PRECISION": "bf16"}
        _, given = launcher.command(by_hand, tmp_path, [])
        assert not launcher.command({**by_hand, **given}, tmp_path, [])
    for mark in ("ACCELERATE_DYNAMO_USE_FULLGRAPH", "TORCHELASTIC_RUN_ID"):  # by dvc or Slurm
        assert not launcher.command({**named, mark: ""}, tmp_path, [])
    assert not launcher.command({}, tmp_path, [])
    with pytest.raises(InputError, match="is no accelerate config"):
        (tmp_path / "one.yaml").write_text("words")
        launcher.command(named, tmp_path, [])
    with pytest.raises(InputError, match="is no config that accelerate takes: A `distributed_type` must be"):
        (tmp_path / "one.yaml").write_text("use_gpu: true")
        launcher.command(named, tmp_path, [])


def test_one_process_needs_no_launcher_and_several_do():
    several = {"PALEO_ACCELERATE_CONFIG": "infra/accelerate/cpu_2.yaml"}
    command, environment = launcher.command(several, ROOT, ["train", "dodo"])
    assert command[1:3] == ["-m", "accelerate.commands.launch"]
    assert environment == {**several, "PALEO_LAUNCHED": "1", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "110"}
    assert launcher.command({**several, "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "9"}, ROOT, [])[1].items() >= {
        ("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "9")
    }
    one = {"PALEO_ACCELERATE_CONFIG": "infra/accelerate/cpu.yaml"}
    command, environment = launcher.command(one, ROOT, ["train", "dodo"])
    assert command == [sys.executable, "-m", "pipeline", "train", "dodo"]
    assert environment["ACCELERATE_USE_CPU"] == "True" and environment["ACCELERATE_MIXED_PRECISION"] == "no"


def test_a_config_for_a_gpu_that_is_not_there_is_one_sentence(paths):
    ran = paleo(
        paths.root,
        "train",
        "dodo",
        PALEO_ACCELERATE_CONFIG=str(INFRA / "accelerate/gpu.yaml"),
        PYTHONPATH=str(ROOT),
        CUDA_VISIBLE_DEVICES="",
    )
    assert ran.returncode == 1
    assert "gpu.yaml asks for 1 GPU on this machine, which has 0; mend its num_processes" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not paths.model.exists()


# --- what runs ---


@needs_two_cores
@pytest.mark.timeout(600)  # half a minute, but two processes wait for each other where cores are busy
def test_two_processes_and_pieces_of_weights_give_the_losses_of_one(paths, alone):
    """DDP by `paleo train`; FSDP by its config, but on the CPU, with a stop in the middle."""
    ddp = str(INFRA / "accelerate/cpu_2.yaml")
    ran = paleo(paths.root, "train", "dodo", PALEO_ACCELERATE_CONFIG=ddp, PYTHONPATH=str(ROOT))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("6 steps (dreambooth)") == 1, "the main process alone reports"
    shared = _losses(paths)
    fsdp = _config(paths.root, "fsdp.yaml", gpu_ids="-1,-1")
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(fsdp)]
    ran = subprocess.run(
        [*command, str(ROOT / "tests/training/sharded.py"), str(paths.root)],
        env=environment(ROOT),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    cut = [row[0] for row in json.loads((paths.root / "history.json").read_text())]
    assert shared == pytest.approx(expected := alone(), abs=1e-5) and cut == pytest.approx(expected, abs=1e-5)


# What Slurm's own programs do (22.05): srun takes SIGTERM for the end of the job and kills every process of it;
# `scancel --signal=TERM JOB` sends the signal to the processes.
PRETENDED = {
    "srun": f"""#!{sys.executable}
import os, signal, subprocess, sys
import psutil
tasks = [subprocess.Popen(sys.argv[1:], env={{**os.environ, "SLURM_PROCID": str(rank)}}) for rank in (0, 1)]
open(os.environ["TASKS"], "w").write(" ".join(str(task.pid) for task in tasks))
def end(*_):
    for task in tasks:
        for process in [*psutil.Process(task.pid).children(recursive=True), task]:
            process.kill()
signal.signal(signal.SIGTERM, end)
sys.exit(max(abs(task.wait()) for task in tasks))
""",
    "scancel": """#!/bin/bash
[[ "$*" == "--signal=TERM $SLURM_JOB_ID" ]] && kill -TERM $(< "$TASKS")
""",
    "scontrol": """#!/bin/bash
if [[ $1 == show ]]; then printf '127.0.0.1\\nelsewhere\\n'; else echo "$@" >> "$REQUEUED"; fi
""",
}


@pytest.fixture
def cluster(tmp_path):
    """Two nodes on this machine: programs of Slurm's names, and its variables."""
    programs = tmp_path / "slurm"
    programs.mkdir()
    for name, text in PRETENDED.items():
        (programs / name).write_text(text)
        (programs / name).chmod(stat.S_IRWXU)
    config = _config(tmp_path, "multi_node.yaml", gpu_ids="-1")
    variables = environment(ROOT)
    return {
        **variables,
        "PATH": f"{programs}{os.pathsep}{variables['PATH']}",
        "REQUEUED": str(tmp_path / "requeued"),
        "TASKS": str(tmp_path / "tasks"),
        "PALEO_ACCELERATE_CONFIG": str(config),
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_NNODES": "2",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_GPUS_ON_NODE": "1",
    }


def _submit(paths, cluster) -> subprocess.Popen:
    return subprocess.Popen(
        ["bash", str(INFRA / "slurm/train.sbatch"), "dodo"],
        cwd=paths.root,
        env=cluster,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@needs_two_cores
@pytest.mark.timeout(600)  # half a minute, but two processes wait for each other where cores are busy
def test_a_slurm_job_on_two_nodes_saves_queues_again_and_goes_on(paths, cluster, alone):
    world.change(paths, steps=20, snapshots=[20], save_every_steps=4, batch_size=2)
    job = _submit(paths, cluster)
    end = time.monotonic() + 280
    while not list(paths.work.glob("train/*/state-*")):
        assert job.poll() is None and time.monotonic() < end, job.communicate()[0]
        time.sleep(0.05)
    job.send_signal(signal.SIGTERM)  # as `--signal=B:TERM@120` does
    output = job.communicate(timeout=280)[0]
    assert re.search(r"interrupted at step \d+ of 20; saved", output), output
    assert job.returncode != 0 and Path(cluster["REQUEUED"]).read_text() == f"requeue {os.getpid()}\n"
    job = _submit(paths, cluster)
    output = job.communicate(timeout=280)[0]
    assert job.returncode == 0 and "continuing from step" in output, output
    losses = _losses(paths)
    assert losses == pytest.approx(alone(), abs=1e-5)
