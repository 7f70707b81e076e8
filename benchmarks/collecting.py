"""Collecting from a server on loopback, beside img2dataset on the same files with as many connections.

img2dataset is no dependency: name one that is installed elsewhere with `--img2dataset PATH`, or the comparison is left
out. It only downloads (no resizing, no re-encoding, a file and a JSON for each); `paleo collect` also checks addresses,
licences, types and hashes and writes its manifest, credits and versions.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from pathlib import Path

import numpy as np
from PIL import Image
from ruamel.yaml import YAML

from benchmarks.claims import Claim
from benchmarks.file_server import serving
from benchmarks.project import ROOT, command, environment

FILES, UNCHANGED = 2000, 1000
CONNECTIONS = 16
ROUNDS = 3
SIDE_PX = 256
REPLAY = "PALEO_HTTP_REPLAY"  # the server that stands for every host
PEER = "PALEO_BENCH_IMG2DATASET"  # set by --img2dataset


def measure(folder: Path) -> list[Claim]:
    pictures = _pictures(folder / "served", FILES)
    with serving(pictures) as port:
        os.environ[REPLAY] = f"http://127.0.0.1:{port}"
        claims = [_unchanged(folder, pictures)]
        if peer := os.environ.get(PEER):
            claims.append(_against(peer, folder, pictures, port))
    return claims


def _unchanged(folder: Path, pictures: Path) -> Claim:
    """The second session of two, where nothing is new."""
    project = _project(folder / "unchanged", pictures, UNCHANGED)
    _collect(project)
    seconds = statistics.median(_collect(project) for _ in range(ROUNDS))
    return Claim(f"collect again, {UNCHANGED} candidates, nothing new", seconds, "s", at_most=5)


def _against(peer: str, folder: Path, pictures: Path, port: int) -> Claim:
    """Alternating, each time from nothing; the ratio of the medians."""
    ours, theirs = [], []
    for number in range(ROUNDS):
        theirs.append(_img2dataset(peer, folder / f"peer-{number}", pictures, port))
        ours.append(_collect(_project(folder / f"ours-{number}", pictures, FILES)))
    ratio = statistics.median(theirs) / statistics.median(ours)
    return Claim(f"collecting {FILES} files, speed against img2dataset", ratio, "x", at_least=1)


def _pictures(folder: Path, number: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(7)
    for index in range(number):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        coarse.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC).save(folder / f"{index:05d}.jpg", quality=92)
    return folder


def _project(folder: Path, pictures: Path, number: int) -> Path:
    """params.yaml with one species whose source is a list of addresses."""
    folder.mkdir()
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    source = {"kind": "addresses", "path": "addresses.txt", "licence": "CC0-1.0"}
    params["species"] = {"dodo": {"name": "Raphus cucullatus", "class_noun": "bird", "sources": [source]}}
    params["collect"]["download"]["connections"] = CONNECTIONS
    params["collect"]["hosts"] = {"default": {"connections": CONNECTIONS, "requests_per_second": 1e6}}
    yaml.dump(params, folder / "params.yaml")
    names = sorted(path.name for path in pictures.iterdir())[:number]
    (folder / "addresses.txt").write_text("".join(f"https://pictures.example/{name}\n" for name in names))
    return folder


def _collect(project: Path) -> float:
    seconds = _timed(command("collect", "dodo"), project)
    kept = len(list((project / "data/raw/dodo/images").iterdir()))
    expected = len((project / "addresses.txt").read_text().split())
    assert kept == expected, f"collected {kept} of {expected}"
    return seconds


def _img2dataset(peer: str, folder: Path, pictures: Path, port: int) -> float:
    folder.mkdir()
    names = sorted(path.name for path in pictures.iterdir())
    (folder / "urls.txt").write_text("".join(f"http://127.0.0.1:{port}/{name}\n" for name in names))
    options = ["--url_list=urls.txt", "--output_folder=out", "--output_format=files", "--resize_mode=no"]
    options += ["--skip_reencode=True", "--processes_count=1", f"--thread_count={CONNECTIONS}"]
    seconds = _timed([peer, *options], folder)
    got = len(list((folder / "out").rglob("*.jpg")))
    assert got == len(names), f"img2dataset got {got} of {len(names)}"
    return seconds


def _timed(command_line: list[str], folder: Path) -> float:
    started = time.perf_counter()
    done = subprocess.run(command_line, cwd=folder, env=environment(ROOT), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command_line)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return time.perf_counter() - started
