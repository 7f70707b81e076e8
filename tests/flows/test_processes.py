"""Children that can be stopped together, and the places they wait for."""

from __future__ import annotations

import subprocess
import sys
import threading

import psutil
import pytest

from flows import processes
from flows.errors import Stopped
from tests.flows.mini_project import until

# as dvc does: it exits on SIGTERM at once, while its child saves for a while
STAGE = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", '''
import signal, sys, time, pathlib
def save(*_):
    time.sleep(0.5)
    pathlib.Path(sys.argv[1]).write_text("saved")
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
print("training", flush=True)
time.sleep(60)
''', sys.argv[1]])
child.wait()
"""


@pytest.fixture(autouse=True)
def not_stopped():
    processes.reset()
    yield
    processes.reset()


def test_a_stop_reaches_grandchildren_lets_them_save_and_leaves_no_process(tmp_path):
    saved, groups = [tmp_path / "one", tmp_path / "two"], []

    def stage(file):
        with processes.started([sys.executable, "-c", STAGE, str(file)], None) as child:
            assert child.stdout.readline() == b"training\n"
            groups.append(child.pid)
            child.stdout.read()

    threads = [threading.Thread(target=stage, args=(file,)) for file in saved]
    for thread in threads:
        thread.start()
    until(lambda: len(groups) == 2, "both train", 20)
    processes.stop_all()
    for thread in threads:
        thread.join(5)
    assert [file.read_text() for file in saved] == ["saved", "saved"]
    assert not any(processes.group_alive(group) for group in groups)


def test_a_process_that_ignores_sigterm_is_killed():
    ignores_sigterm = (
        "import signal as s, time; s.signal(s.SIGTERM, s.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    )
    with processes.started([sys.executable, "-c", ignores_sigterm], None) as child:
        child.stdout.readline()
        processes.stop_all(grace=0.3)
    assert child.returncode == -9


def test_nothing_starts_after_a_stop():
    processes.stop_all()
    with pytest.raises(Stopped), processes.started(["true"], None):
        pass
    with pytest.raises(Stopped):
        processes.pause(60)


def test_an_orphan_that_is_never_reaped_does_not_delay_a_stop():
    """As in a container without an init process."""
    leader = subprocess.Popen([sys.executable, "-c", "pass"], start_new_session=True)
    until(lambda: psutil.Process(leader.pid).status() == psutil.STATUS_ZOMBIE, "a zombie", 20)
    assert not processes.group_alive(leader.pid)
    leader.wait()
