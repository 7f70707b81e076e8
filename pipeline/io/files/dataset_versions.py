"""Dataset versions: the state of dvc.lock in each git commit, and the manifests that DVC keeps for them."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.core.errors import InputError
from pipeline.io.files import parquet

NOW = "now"  # what lies in data/raw, committed or not
LOCK = "dvc.lock"


@dataclass(frozen=True)
class DatasetVersion:
    """One state of a data set: `name` is its tag's (v3), else the short commit; `now` has neither commit nor day."""

    name: str
    commit: str
    day: str
    md5: str


def history(root: Path, species: str) -> list[DatasetVersion]:
    """Every commit that changed the pictures of a species, the oldest first, then `now` where that differs.

    Raises
    ------
    InputError
        When the folder is no git repository.
    """
    tags = _tags(root, species)
    found: list[DatasetVersion] = []
    for line in _git(root, "log", "--reverse", "--format=%H %cs", "--", LOCK).splitlines():
        commit, day = line.split()
        md5 = _md5_at(root, commit, species)
        if md5 and (not found or found[-1].md5 != md5):
            found.append(DatasetVersion(tags.get(commit, commit[:8]), commit, day, md5))
    current = _md5(_text(root / LOCK), species)
    if _manifest_path(root, species).is_file() and (not found or current != found[-1].md5):
        found.append(DatasetVersion(NOW, "", "", current))
    return found


def resolve(root: Path, species: str, revision: str) -> DatasetVersion:
    """A version by `now`, its tag (v3 or sinomacrops/v3), or anything that git understands; InputError when unknown."""
    if revision == NOW:
        return DatasetVersion(NOW, "", "", _md5(_text(root / LOCK), species))
    for name in (f"{species}/{revision}", revision):
        commit = _try_git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").strip()
        if commit:
            break
    md5 = _md5_at(root, commit, species) if commit else ""
    if not md5:
        known = ", ".join(version.name for version in history(root, species)) or "none yet"
        problem = "names no commit" if not commit else f"has no pictures of {species}"
        raise InputError(f"{revision!r} {problem}; versions of {species} are {known}, or any commit since")
    return DatasetVersion(revision, commit, _git(root, "show", "-s", "--format=%cs", commit).strip(), md5)


def manifest(root: Path, species: str, version: DatasetVersion) -> pd.DataFrame:
    """The manifest of a version, from data/raw, DVC's cache or a remote; InputError when none of them has it."""
    path = _manifest_path(root, species)
    if version.name == NOW:
        return parquet.read(path)
    from dvc.api import DVCFileSystem  # two seconds, and only an older version needs it
    from dvc.exceptions import DvcException
    from dvc_data.index import DataIndexDirError

    try:
        with DVCFileSystem(str(root), rev=version.commit).open(path.relative_to(root).as_posix(), "rb") as stream:
            return pq.read_table(stream).to_pandas()
    except pa.ArrowException as error:
        raise InputError(
            f"the manifest of version {version.name} is damaged ({error}); fetch it from a remote"
        ) from None
    except (DvcException, DataIndexDirError, OSError) as error:
        problem = f"the pictures of version {version.name} are in neither DVC's cache nor a remote"
        raise InputError(f"{problem}; get them with `dvc fetch --all-commits`") from error


def _manifest_path(root: Path, species: str) -> Path:
    return root / "data/raw" / species / "manifest.parquet"


def _tags(root: Path, species: str) -> dict[str, str]:
    """By commit: the name of its data tag without the species; of several the highest."""
    target = "%(if)%(*objectname)%(then)%(*objectname)%(else)%(objectname)%(end)"  # an annotated tag is no commit
    form = ("--sort=version:refname", f"--format={target} %(refname:short)")
    lines = _try_git(root, "tag", "--list", f"{species}/v*", *form)
    pairs = (line.split() for line in lines.splitlines())
    return {commit: name.rpartition("/")[2] for commit, name in pairs if re.fullmatch(r".*/v\d+", name)}


def _md5_at(root: Path, commit: str, species: str) -> str:
    return _md5(_try_git(root, "show", f"{commit}:./{LOCK}"), species)


def _md5(lock: str, species: str) -> str:
    try:
        stage = ((YAML(typ="safe").load(lock) or {}).get("stages") or {}).get(f"collect@{species}") or {}
    except YAMLError:  # a conflict somebody committed
        return ""
    return " ".join(str(out.get("md5", "")) for out in stage.get("outs", []))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _git(root: Path, *arguments: str) -> str:
    done = _run(root, arguments)
    if done.returncode:
        problem = " ".join(done.stderr.split()) or "it failed without a message"
        raise InputError(f"the versions of data sets are kept in git (`git init` makes a repository), but: {problem}")
    return done.stdout


def _try_git(root: Path, *arguments: str) -> str:
    done = _run(root, arguments)
    return "" if done.returncode else done.stdout


def _run(root: Path, arguments: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise InputError("git is not installed, and the versions of data sets are kept there") from None
