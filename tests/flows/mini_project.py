"""A project of the real one's shape whose stages take no time, and ways to run it as a user would."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil

from tests.project import restore_sigint

MINI = Path(__file__).parent / "mini"
ROOT = Path(__file__).parents[2]
PATIENCE = float(os.environ.get("PALEO_TEST_PATIENCE", "1"))  # more for a machine with other work to do


def environment(**more: str) -> dict[str, str]:
    """This project's flows and programs, none of the caller's servers."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "MLFLOW_", "DVC_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    return kept | {"PATH": path, "PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "true"} | more


def make(target: Path) -> Path:
    """The mini project as a git and DVC repository."""
    shutil.copytree(MINI, target)
    for name in ("gitignore", "dvcignore"):
        (target / name).rename(target / f".{name}")
    git(target, "init", "-q", "-b", "main")
    git(target, "config", "user.name", "test")
    git(target, "config", "user.email", "test@example.org")
    dvc(target, "init", "-q")
    git(target, "add", "-A")
    git(target, "commit", "-q", "-m", "start")
    return target


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def dvc(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def flows(folder: Path, *arguments: str, seconds: float = 250, **more: str) -> subprocess.CompletedProcess[str]:
    """`paleo run | plan | up`; the caller looks at the exit code."""
    command = [sys.executable, "-m", "flows", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment(**more), capture_output=True, text=True, timeout=seconds * PATIENCE
    )


def prefect(server: dict[str, str]) -> httpx.Client:
    """A client of Prefect's API with the password of `paleo up`."""
    user, _, password = server["PREFECT_API_AUTH_STRING"].partition(":")
    return _PrefectClient(base_url=server["PREFECT_API_URL"], auth=(user, password), timeout=60)


class _PrefectClient(httpx.Client):
    """Repeats what is answered 503, as Prefect's own client does: its one database has one writer at a time."""

    def request(self, *arguments, **options) -> httpx.Response:
        for _ in range(60):
            answer = super().request(*arguments, **options)
            if answer.status_code != 503:
                break
            time.sleep(0.5)
        return answer


def start(folder: Path, *arguments: str, log: Path, **more: str) -> subprocess.Popen[bytes]:
    """The same in a session of its own, as a terminal would: `interrupt` reaches the whole group."""
    with log.open("wb") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "flows", *arguments],
            cwd=folder,
            env=environment(**more),
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=restore_sigint,
        )


def interrupt(process: subprocess.Popen[bytes]) -> None:
    """Ctrl-C: the terminal sends SIGINT to every process of the foreground group."""
    os.killpg(process.pid, signal.SIGINT)


def ended(process: subprocess.Popen[bytes]) -> int:
    """The exit code of a process that is about to end."""
    return process.wait(120 * PATIENCE)


def until(condition, what: str, seconds: float = 150):
    """Wait for a true value and return it."""
    end = time.monotonic() + seconds * PATIENCE
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {seconds} s")


def wish(folder: Path, name: str, value: str = "yes") -> None:
    """Ask a stage of the mini project for trouble."""
    (folder / ".work/wish").mkdir(parents=True, exist_ok=True)
    (folder / ".work/wish" / name).write_text(value)


def unwish(folder: Path, name: str) -> None:
    (folder / ".work/wish" / name).unlink(missing_ok=True)


def started(folder: Path) -> dict[str, list[float]]:
    """When each stage's process began, and under `end-…` when it ended."""
    log = folder / ".work/started.txt"
    found: dict[str, list[float]] = {}
    for line in log.read_text().splitlines() if log.is_file() else []:
        name, instant, _pid = line.split()
        found.setdefault(name, []).append(float(instant))
    return found


def ran(folder: Path) -> list[str]:
    """The stages that ran since the last `forget`, without repetition."""
    return sorted(name for name in started(folder) if not name.startswith("end-"))


def forget(folder: Path) -> None:
    (folder / ".work/started.txt").unlink(missing_ok=True)


def survivors(folder: Path) -> list[str]:
    """Processes that still work in this project, whoever their parent is."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == folder.resolve():
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found
