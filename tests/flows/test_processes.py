"""Children that can be stopped together, and the places they wait for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import psutil
import pytest

from flows import processes, stop_signals
from flows.errors import Stopped
from tests.flows.mini_project import ROOT, until

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


PARENT = """
import sys
from flows import processes
with processes.started([sys.executable, "-c", *sys.argv[1:]], None) as child:
    print(child.stdout.readline(), flush=True)
    child.stdout.read()
"""


def _parent(*arguments: str) -> subprocess.Popen[bytes]:
    """A process that has started a child with these arguments, and waits for it."""
    command = [sys.executable, "-c", PARENT, *arguments]
    parent = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert parent.stdout.readline(), "it started nothing"
    return parent


def test_a_child_saves_and_ends_when_its_parent_is_killed(tmp_path):
    parent = _parent(STAGE, str(tmp_path / "saved"))
    tree = psutil.Process(parent.pid).children(recursive=True)
    assert len(tree) == 3, "the supervisor, a program and what it started"
    parent.kill()
    parent.wait()
    until(lambda: not any(processes.is_running(process.pid) for process in tree), "no process is left", 20)
    assert (tmp_path / "saved").read_text() == "saved"


# prints all the time, and more than a pipe holds while it saves
CHATTY = """
import pathlib, signal, sys
stops = []
signal.signal(signal.SIGTERM, lambda *_: stops.append(1))
line = "x" * 1000
while not stops:
    print(line, flush=True)
for _ in range(1000):
    print(line, flush=True)
pathlib.Path(sys.argv[1]).write_text("saved")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only there a pipe can be opened again for reading")
def test_a_child_that_prints_saves_when_its_parent_is_killed(tmp_path):
    parent = _parent(CHATTY, str(tmp_path / "saved"))
    tree = psutil.Process(parent.pid).children(recursive=True)
    parent.kill()
    parent.wait()
    until(lambda: not any(processes.is_running(process.pid) for process in tree), "no process is left", 20)
    assert (tmp_path / "saved").read_text() == "saved"


# ignores SIGTERM, and has started another that does in a session of its own, as torchrun does
DEAF = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if sys.argv[1:]:
    subprocess.Popen([sys.executable, "-c", sys.argv[1]], start_new_session=True)
print("ready", flush=True)
time.sleep(60)
"""


def test_what_does_not_end_is_killed_even_in_a_session_of_its_own():
    alive, ours = os.pipe()
    command = [sys.executable, "-P", str(processes.SUPERVISOR), str(alive), "0.3", sys.executable, "-c", DEAF, DEAF]
    supervisor = subprocess.Popen(command, pass_fds=(alive,), stdout=subprocess.PIPE, start_new_session=True)
    os.close(alive)
    assert [supervisor.stdout.readline() for _ in range(2)] == [b"ready\n", b"ready\n"]
    tree = psutil.Process(supervisor.pid).children(recursive=True)
    os.close(ours)
    supervisor.wait(20)
    assert len(tree) == 2 and not any(processes.is_running(process.pid) for process in tree)


def test_a_supervised_command_has_its_exit_code_and_what_it_leaves_is_ended():
    with processes.started(["sh", "-c", "sleep 60 & exit 7"], None) as child:
        child.stdout.read()
    assert child.returncode == 7 and not processes.group_alive(child.pid)
    with processes.started(["sh", "-c", "kill -SEGV $$"], None) as child:
        child.stdout.read()
    assert child.returncode == 128 + signal.SIGSEGV


WAITS = """
import sys, time
from flows import stop_signals
stop_signals.install()
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(float(sys.argv[1]))  # saves
    print("saved")
"""


@pytest.mark.parametrize(("apart_s", "saves"), [(0.05, True), (stop_signals.SAME_SECONDS + 0.5, False)])
def test_sigterm_twice_within_a_second_is_one_and_later_another(apart_s, saves):
    """GNU timeout sends it to its child and to its group."""
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS, str(apart_s + 2)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    threading.Event().wait(apart_s)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert (output == b"saved\n", process.returncode == 0) == (saves, saves)
