"""Versions of data sets in git and DVC: commit of dvc.lock, tag `<species>/v<N>`, `dvc push`, `git push`.

Every step compares with what is there and does only what is missing, so a crash between two of them is repaired by the
next run. A tag marks a data set: a new one is made when the md5 of `collect@<species>` differs from the last tag's.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows import prefect_server, processes, project
from flows.errors import FlowError
from pipeline.core import registry

SWITCHES = ("commit", "tag", "dvc_push", "git_push")
LOCK = "dvc.lock"
PAGE = "docs/versioning.md"
Report = Callable[[str], None]


def switches(params: dict[str, Any], over: dict[str, bool] | None) -> dict[str, bool]:
    """`versioning:` of params.yaml, overridden by what the deployment sets; FlowError for an unknown name."""
    for name in over or {}:
        if name not in SWITCHES:
            raise FlowError(f"versioning has no switch {name!r}; {registry.hint(name, SWITCHES)}")
    chosen = {name: bool((params.get("versioning") or {}).get(name)) for name in SWITCHES} | (over or {})
    if chosen["tag"] and not chosen["commit"]:
        raise FlowError("versioning.tag needs versioning.commit: a tag marks the commit that holds the data's version")
    return chosen


def check(on: dict[str, bool]) -> None:
    """FlowError when a switch that is on cannot work here; called before anything runs."""
    named = [f"versioning.{name}" for name in ("commit", "tag", "git_push") if on[name]]
    if named and (why := why_no_commit(identity=on["commit"])):
        raise FlowError(
            f"{' and '.join(named)} cannot work: {why}, or switch {'it' if len(named) == 1 else 'them'} off"
        )
    if on["git_push"]:
        _git_remote()
    if on["dvc_push"]:
        _check_dvc_remote()


def why_no_commit(*, identity: bool = True) -> str:
    """Why nothing can be committed in this folder, with what to do; empty where it can."""
    if _run(["git", "rev-parse", "--is-inside-work-tree"]).stdout.strip() != "true":
        return "this folder is no git repository; run `git init` and commit it"
    if identity and any(_run(["git", "var", f"GIT_{role}_IDENT"]).returncode for role in ("AUTHOR", "COMMITTER")):
        return "git has no identity to commit with; run `git config user.name NAME` and `git config user.email ADDRESS`"
    return ""


def _check_dvc_remote() -> None:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(".") as repo:
            if not repo.config["core"].get("remote"):
                raise FlowError(
                    "versioning.dvc_push cannot work: DVC has no default remote; add one (`dvc remote add --default "
                    f"NAME URL`, see {PAGE}), or switch it off"
                )
            _ = repo.cloud.get_remote(command="push").fs.fs  # a storage whose package is not installed raises
    except (DvcException, ImportError) as error:
        message = " ".join(str(error).split())
        raise FlowError(f"versioning.dvc_push cannot work: {message}; see {PAGE}, or switch it off") from None


def version_data(species: list[str], on: dict[str, bool], report: Report) -> None:
    """Commit, tag and push the data sets as dvc.lock names them."""
    lock = Path(LOCK).read_text(encoding="utf-8") if Path(LOCK).is_file() else ""
    if on["commit"]:
        committed = _lock_at("HEAD")
        changed = [key for key in species if data_md5(lock, key) != data_md5(committed, key)]
        if changed:
            commit([LOCK], f"Data of {', '.join(changed)}", report)
    if on["tag"]:
        for key in species:
            _tag(key, report)
    push(on, [f"collect@{key}" for key in species if data_md5(lock, key)], report)


def version_results(files: list[str], on: dict[str, bool], report: Report) -> None:
    """Commit and push what was made from the data: the rest of dvc.lock and the metrics that git keeps."""
    if on["commit"]:
        commit([LOCK, *files], "Results of the pipeline", report)
    push(on, [], report)


def commit(files: list[str], message: str, report: Report) -> None:
    """Commit these files and nothing else, whatever is staged; nothing where they are as in HEAD."""
    present = [file for file in files if Path(file).is_file() and not _ignored(file)]
    if not present or not git("status", "--porcelain", "--", *present):
        return
    git("add", "--", *present)
    git("commit", "--quiet", "--only", "-m", message, *_run_trailer(), "--", *present)
    report(f"committed {', '.join(present)}: {git('log', '-1', '--format=%h %s')}")


def _run_trailer() -> list[str]:
    """The run of the flow that makes a commit or tag, as a trailer of its message (`git log --format=%(trailers)`)."""
    from prefect.runtime import flow_run

    return ["-m", f"Prefect-Run: {prefect_server.ui_addresses().flow_run(flow_run.id)}"] if flow_run.id else []


def _ignored(file: str) -> bool:
    return _run(["git", "check-ignore", "--quiet", "--", file]).returncode == 0


def _lock_at(revision: str) -> str:
    """dvc.lock as git has it; empty when the revision lacks it."""
    return _run(["git", "show", f"{revision}:./{LOCK}"]).stdout


def _tag(species: str, report: Report) -> None:
    """Tag HEAD, unless the last tag has the same data."""
    now, last = data_md5(_lock_at("HEAD"), species), latest_tag(species)
    if not now or (last and data_md5(_lock_at(last), species) == now):
        return
    name = f"{species}/v{int(last.rpartition('/v')[2]) + 1 if last else 1}"
    git("tag", "--annotate", name, "-m", f"Pictures of {species}: {now}", *_run_trailer())
    report(f"tagged {name}")


def latest_tag(species: str) -> str:
    """The tag with the highest number, or nothing."""
    names = git("tag", "--list", f"{species}/v*").split()
    numbered = [name for name in names if re.fullmatch(rf"{re.escape(species)}/v\d+", name)]
    return max(numbered, key=lambda name: int(name.rpartition("/v")[2]), default="")


def data_md5(lock: str, species: str) -> str:
    """The md5 that a dvc.lock records for the pictures of a species."""
    from ruamel.yaml import YAML

    stage = ((YAML(typ="safe").load(lock) or {}).get("stages") or {}).get(f"collect@{species}", {})
    return " ".join(str(out.get("md5", "")) for out in stage.get("outs", []))


def push(on: dict[str, bool], stages: list[str], report: Report) -> None:
    """Both pushes send only what the other side lacks; data go first, so that every pushed commit has its data."""
    if on["dvc_push"]:
        _send([sys.executable, "-m", "dvc", "--wait-for-lock", "push", "--quiet", *stages], "dvc push")
        report("dvc push: the remote has everything")
    if on["git_push"]:
        _send(["git", "push", "--quiet", "--follow-tags", _git_remote(), "HEAD"], "git push")
        report("git push: the remote has everything")


def _send(command: list[str], name: str) -> None:
    """A push, which may take hours: it ends with the run, whatever ends that."""
    with processes.started(command, _environment()) as child:
        output = child.stdout.read() if child.stdout else b""
    if child.returncode:
        raise FlowError(f"{name} failed: {_last_lines(output.decode(errors='replace')) or child.returncode}")


def _git_remote() -> str:
    """The branch's own remote, or the only one."""
    branch = _run(["git", "symbolic-ref", "--quiet", "--short", "HEAD"]).stdout.strip()
    if not branch:
        raise FlowError("git push: HEAD is on no branch; check one out, or switch versioning.git_push off")
    own = _run(["git", "config", f"branch.{branch}.remote"]).stdout.strip()
    names = git("remote").split()
    if not own and len(names) != 1:
        raise FlowError(
            f"git push: which remote? there are {', '.join(names) or 'none'}; set one for branch {branch}, or switch "
            "versioning.git_push off"
        )
    return own or names[0]


def git(*arguments: str) -> str:
    return _checked(["git", *arguments], f"git {arguments[0]}")


def _checked(command: list[str], name: str) -> str:
    done = _run(command)
    if done.returncode:
        raise FlowError(f"{name} failed: {_last_lines(done.stderr or done.stdout) or done.returncode}")
    return done.stdout.strip()


def _last_lines(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    return " ".join(" ".join(lines[-4:]).split())


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=_environment(), capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL
    )


def _environment() -> dict[str, str]:
    """Without prompts: a scheduled run has nobody to answer them."""
    return project.environment(GIT_TERMINAL_PROMPT="0")
