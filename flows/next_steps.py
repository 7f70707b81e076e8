"""What to try after a run, as commands that work as they are printed."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# What git keeps of a run and of what it was made from; the rest of the folders is DVC's, and ignored.
KEPT_BY_GIT = ("dvc.lock", "params.yaml", "reports", "data/reviews", "data/masks")


def program(name: str) -> str:
    """A program of this environment as one types it here: `paleo` where it is on the PATH, else `.venv/bin/paleo`."""
    here, found = Path(sys.executable).parent / name, shutil.which(name)
    if found and Path(found).parent == here.parent:
        return name
    return shlex.quote(os.path.relpath(here) if here.is_relative_to(Path.cwd()) else str(here))


def commands(species: str) -> Iterator[tuple[str, str]]:
    """Command and what it is for; `species` is one that is registered, or empty."""
    if species:
        yield f'{program("paleo")} generate {shlex.quote(species)} "{{name}} by the sea" --seed 7', "a picture of yours"
        yield f"{program('paleo')} export {shlex.quote(species)} --format diffusers", "a folder for other programs"
    yield f"{program('paleo')} up", "gallery, MLflow, Prefect"
    yield f"{program('dvc')} plots show", "loss curves"
    if changed := to_commit():
        yield f'git add {" ".join(changed)} && git commit -m "Results of the pipeline"', "keeps this version"


def to_commit() -> list[str]:
    """What git should keep and does not yet, as it is now; nothing where the project is in no repository."""
    listing = ["git", "ls-files", "--modified", "--others", "--exclude-standard", "-z", "--", *KEPT_BY_GIT]
    try:
        done = subprocess.run(listing, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    except FileNotFoundError:  # no git
        return []
    names = [name for name in done.stdout.split("\0") if name]
    return [kept for kept in KEPT_BY_GIT if any(name == kept or name.startswith(f"{kept}/") for name in names)]
