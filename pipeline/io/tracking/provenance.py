"""Provenance tags: the git commit, data set version and surrounding run that a result came from."""

from __future__ import annotations

import getpass
import os
import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from ruamel.yaml import YAML

WRITTEN_BY_RUNS = (":!dvc.lock", ":!reports")  # they change in every run, and digests identify their content
FROM_ENVIRONMENT = {
    "DVC_EXP_NAME": "dvc_experiment",
    "PREFECT__FLOW_RUN_ID": "prefect_flow_run_id",  # set by Prefect's workers
    "PALEO_FLOW_RUN_ID": "prefect_flow_run_id",
    "PALEO_FLOW_RUN_NAME": "prefect_flow_run_name",
}


def provenance(root: Path) -> dict[str, str]:
    """Git commit and whether the tree differs from it, and the DVC experiment and flow run around this process."""
    tags = {tag: os.environ[name] for name, tag in FROM_ENVIRONMENT.items() if os.environ.get(name)}
    commit = _git(root, "rev-parse", "HEAD")
    if commit:
        dirty = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", *WRITTEN_BY_RUNS) != ""
        tags |= {"mlflow.source.git.commit": commit, "git_commit": commit, "git_dirty": str(dirty).lower()}
    return tags


def dataset_version(root: Path, species: str) -> dict[str, str]:
    """DVC's record of the curated pictures: their md5 in dvc.lock and the git tag `<species>/v<N>`, if any."""
    found = {"dvc_md5": _locked_md5(root / "dvc.lock", f"data/curated/{species}")}
    found["dataset_tag"] = _git(root, "describe", "--tags", "--abbrev=0", "--match", f"{species}/v*")
    return {name: value for name, value in found.items() if value}


def web_address(root: Path) -> str:
    """Where the repository's remote is looked at in a browser; empty when it has none there."""
    remote = _git(root, "remote", "get-url", "origin").removesuffix(".git")
    over_ssh = re.fullmatch(r"(?:ssh://)?git@(?P<host>[\w.-]+)[:/](?P<path>[\w./~-]+)", remote)
    if over_ssh:
        return f"https://{over_ssh['host']}/{over_ssh['path']}"
    parts = urlsplit(remote)
    return f"https://{parts.hostname}{parts.path}" if parts.scheme == "https" and parts.hostname else ""


def user() -> str:
    """Who runs this; a container's user may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _locked_md5(lock: Path, out: str) -> str:
    if not lock.is_file():
        return ""
    stages = YAML(typ="safe").load(lock.read_text(encoding="utf-8")).get("stages", {})
    outs = [item for stage in stages.values() for item in stage.get("outs", [])]
    return next((item.get("md5", "") for item in outs if item["path"] == out), "")


def _git(root: Path, *arguments: str) -> str:
    """The output of git, empty when there is no git or no repository."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
