"""GPU leases: no GPU is leased twice, and GPUs that are not there are refused before anything starts."""

import os
import subprocess
import sys
import threading
import time

import pytest

from flows import __main__ as commands
from flows import gpu_leases, hardware, processes
from flows.errors import FlowError, Stopped


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """A machine with four GPUs and its own locks; call it with other names."""

    def has(visible: str) -> None:
        hardware.available.cache_clear()
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    monkeypatch.setattr(gpu_leases, "LOCKS", tmp_path / "locks")
    monkeypatch.setattr(hardware, "_driver_uuids", dict)
    monkeypatch.delenv("PALEO_ACCELERATE_CONFIG", raising=False)
    has("0,1,2,3")
    yield has
    hardware.available.cache_clear()
    processes.reset()


@pytest.fixture
def config(monkeypatch, tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "config.yaml"
        path.write_text(text)
        monkeypatch.setenv("PALEO_ACCELERATE_CONFIG", str(path))
        return str(path)

    return write


def test_leases_never_overlap_and_never_deadlock(tmp_path):
    held, most, lock = [], [], threading.Lock()

    def job(number):
        with gpu_leases.lease(number, list("0123"), tmp_path) as mine:
            with lock:
                assert not set(mine) & set(held)
                held.extend(mine)
                most.append(len(held))
            time.sleep(0.1)
            with lock:
                for name in mine:
                    held.remove(name)

    threads = [threading.Thread(target=job, args=(number,)) for number in (2, 2, 1, 4, 3, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(most) == 6 and max(most) <= 4 and not held


@pytest.mark.parametrize(
    ("text", "gpus", "among"),
    [
        ("use_cpu: true", 0, "0123"),
        ("num_processes: 4", 4, "0123"),
        ("num_processes: 4\nnum_machines: 2", 2, "0123"),
        ("gpu_ids: all", 1, "0123"),
        ("gpu_ids: '2'", 1, "2"),
        ("num_processes: 2\ngpu_ids: '1,3'", 2, "13"),
    ],
)
def test_a_training_requests_the_gpus_of_its_config(config, text, gpus, among):
    config(text)
    assert gpu_leases.gpus_wanted("accelerate") == (gpus, list(among))
    assert (gpu_leases.gpus_wanted("gpu")[0], gpu_leases.gpus_wanted("core")[0]) == (1, 0)


def test_without_gpus_none_is_wanted(machine):
    machine("-1")
    assert hardware.available() == []
    assert gpu_leases.gpus_wanted("accelerate")[0] == gpu_leases.gpus_wanted("gpu")[0] == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("num_processes: 5", "asks for 5 GPUs on this machine, which has 4 (CUDA_VISIBLE_DEVICES=0,1,2,3); correct"),
        ("num_processes: 3\nnum_machines: 2", "num_processes is 3, which 2 machines cannot share; correct one"),
        ("num_processes: many", "num_processes is 'many'; give a number from 1 on"),
        ("gpu_ids: '7'", "names GPU 7 in gpu_ids, but this machine has 0, 1, 2, 3 (CUDA_VISIBLE_DEVICES=0,1,2,3)"),
        ("gpu_ids: 0", "gpu_ids is 0, but accelerate wants it in quotes; write gpu_ids: '0'"),
        ("num_processes: 3\ngpu_ids: '0,1'", "gpu_ids names 2, num_processes asks for 3 on this machine; correct one"),
        (
            "use_cpu: true\nnum_processes: 2",
            "starts 2 processes on the CPU only with the distributed_type and gpu_ids of",
        ),
        ("a: [", "is not valid YAML: "),
        ("just words", "is no accelerate config: it has no settings; see infra/accelerate/"),
    ],
)
def test_a_config_that_this_machine_cannot_serve_is_refused(config, text, words):
    file = config(text)
    with pytest.raises(FlowError) as error:
        hardware.check()
    assert str(error.value).startswith(file) and words in str(error.value)


def test_a_config_that_is_not_there(monkeypatch):
    monkeypatch.setenv("PALEO_ACCELERATE_CONFIG", "infra/accelerate/gpus.yaml")
    with pytest.raises(FlowError, match="PALEO_ACCELERATE_CONFIG is 'infra/accelerate/gpus.yaml', which is no file"):
        hardware.check()


@pytest.mark.parametrize("command", ["run", "plan"])
def test_run_and_plan_check_the_hardware_first(config, machine, command, capsys, monkeypatch, tmp_path):
    (tmp_path / "params.yaml").write_text("species: {dodo: {}}")
    (tmp_path / "dvc.yaml").write_text("stages: {}")
    (tmp_path / ".dvc").mkdir()
    monkeypatch.chdir(tmp_path)
    machine("")
    config("num_processes: 2")
    monkeypatch.setattr(commands.stop_signals, "install", lambda: None)
    monkeypatch.setattr(commands.project, "settle_environment", lambda: None)
    assert commands.main([command]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"paleo {command}: ") and "asks for 2 GPUs on this machine, which has 0" in error


def test_cuda_visible_devices_are_the_leased_gpus(config):
    config("num_processes: 2")
    with gpu_leases.slot("accelerate") as first, gpu_leases.slot("accelerate") as second:
        seen = [set(more["CUDA_VISIBLE_DEVICES"].split(",")) for more in (first, second)]
    assert [len(names) for names in seen] == [2, 2] and not seen[0] & seen[1]
    config("gpu_ids: '3'")
    with gpu_leases.slot("accelerate") as more:
        assert more == {"CUDA_VISIBLE_DEVICES": "3"}


ELSEWHERE = """
import sys
from pathlib import Path
from flows import gpu_leases, hardware
hardware._driver_uuids = dict
with gpu_leases.lease(1, ["0"], Path(sys.argv[1])):
    print("mine", flush=True)
    sys.stdin.read()
"""


def test_waiting_reports_the_holder_and_a_crash_frees_the_lease(tmp_path):
    other = subprocess.Popen(
        [sys.executable, "-c", ELSEWHERE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "mine\n"
    with gpu_leases.lease(1, ["0", "1"], tmp_path) as mine:
        assert mine == ["1"], "the free one"
    reported: list[str] = []

    def kill(line: str) -> None:
        reported.append(line)
        other.kill()

    with gpu_leases.lease(1, ["0"], tmp_path, kill) as mine:
        assert mine == ["0"]
    other.wait()
    assert reported == [f"waiting for 1 of 1 GPUs; GPU 0 is held by process {other.pid} in {os.getcwd()}"]


def test_a_stop_ends_the_waiting(tmp_path):
    with gpu_leases.lease(1, ["0"], tmp_path), pytest.raises(Stopped):  # noqa: SIM117
        with gpu_leases.lease(1, ["0"], tmp_path, lambda line: processes.stop_all()):
            pass


def test_a_gpu_has_one_lock_by_number_and_by_uuid(monkeypatch, tmp_path, machine, config):
    monkeypatch.setattr(hardware, "_driver_uuids", lambda: {"0": "GPU-aa", "1": "GPU-bb"})
    with gpu_leases.lease(1, ["1"], tmp_path), gpu_leases.lease(1, ["GPU-bb", "GPU-aa"], tmp_path) as mine:
        assert mine == ["GPU-aa"]
    machine("GPU-aa")
    config("gpu_ids: '0'")
    assert hardware.check().gpu_ids == ("0",)
