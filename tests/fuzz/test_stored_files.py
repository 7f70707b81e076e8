"""Files of our own that were damaged on disk: each reader returns what fits or one sentence that names the file.

`PALEO_FUZZ=2000 pytest tests/fuzz` mutates every file as often; without it a hundred times.
"""

from __future__ import annotations

import os
import random
import traceback
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.core import stored_json
from pipeline.core.data_params import Host
from pipeline.core.errors import InputError, PaleoError
from pipeline.core.paths import Paths
from pipeline.core.records import MANIFEST_COLUMNS, Candidate, CollectedImage, Request, StoredFile
from pipeline.io.files import atomic_write, parquet, previous_collection, stage_outputs
from pipeline.io.images import embedding_cache, image_cache
from pipeline.io.web import crawl_session
from pipeline.io.web.downloads import DownloadStore
from pipeline.io.web.rate_limits import RateLimits
from pipeline.io.web.response_cache import CachedResponse, ResponseCache
from pipeline.training import monitoring
from pipeline.training.checkpoint import identity
from tests.fuzz.mutations import changed_bytes, mutations

SHA = "a" * 64
URL = "https://example.org/a.jpg"
READ_ANEW = "delete it and run `paleo {} dodo`, or restore it with `dvc checkout --force`"


def manifest() -> pd.DataFrame:
    images = [
        CollectedImage(
            Candidate("folder:x", str(n), f"{URL}?{n}", title="Dodo"), StoredFile(SHA, 9), f"images/{SHA}.png"
        )
        for n in range(20)
    ]
    return pd.DataFrame([image.row() for image in images]).astype(MANIFEST_COLUMNS)


def raw(root: Path) -> tuple[Path, Callable[[], Any]]:
    folder = root / "data/raw/dodo"
    parquet.write(folder / "manifest.parquet", manifest())
    atomic_write.write_card(folder, stage="collect", species="dodo", digest="d", sources={"folder:x": "e"})
    return folder, lambda: previous_collection.read(folder)


def collected_manifest(root: Path) -> tuple[Path, Callable[[], Any]]:
    folder, read = raw(root)
    return folder / "manifest.parquet", read


def collected_card(root: Path) -> tuple[Path, Callable[[], Any]]:
    folder, read = raw(root)
    return folder / "card.json", read


def model_card(root: Path) -> tuple[Path, Callable[[], Any]]:
    folder = root / "models/dodo"
    atomic_write.write_text(folder / "train.csv", "step,loss\n1,0.5\n")
    snapshots = [{"step": 50, "path": "step-000050"}]
    atomic_write.write_card(folder, stage="train", lineage_id="l", dataset_digest="d", snapshots=snapshots)
    return folder / "card.json", lambda: stage_outputs.read(Paths(root, "dodo")).model


def evaluation(name: str) -> Callable[[Path], tuple[Path, Callable[[], Any]]]:
    def made(root: Path) -> tuple[Path, Callable[[], Any]]:
        folder = root / "reports/evaluation/dodo"
        atomic_write.write_json(folder / "details/verdict.json", {"step": 50, "steps": {}, "primary": "clip_t"})
        values = {"clip_t": 0.3}
        atomic_write.write_json(folder / "metrics.json", {"chosen_step": 50, "base": values, "chosen": values})
        return folder / name, lambda: stage_outputs.metrics(folder)

    return made


def validation(root: Path) -> tuple[Path, Callable[[], Any]]:
    folder = root / "reports/validation/dodo"
    verdict = {"success": True, "dataset_digest": "d", "expectations": [], "species": "dodo"}
    atomic_write.write_json(folder / "verdict.json", verdict)
    atomic_write.write_card(folder, stage="validate", species="dodo")
    return folder / "verdict.json", lambda: stage_outputs.read(Paths(root, "dodo")).validation


def session(root: Path) -> tuple[Path, Callable[[], Any]]:
    folder = root / ".work/collect/dodo"
    crawl_session.begin(folder).finish()
    return folder / crawl_session.FILE, lambda: crawl_session.begin(folder)


def responses(root: Path) -> tuple[Path, Callable[[], Any]]:
    request = Request("https://example.org/api")

    def used() -> Any:
        with closing(ResponseCache(root)) as cache:
            found = cache.get(request)
            cache.put(request, CachedResponse("s", cache.put_body(b"{}"), "https://example.org/api"))
            return found

    used()
    return root / "answers.sqlite", used


def downloads(root: Path) -> tuple[Path, Callable[[], Any]]:
    def used() -> Any:
        with DownloadStore(root, "s") as store:
            found = store.find(URL)
            store.keep(URL, b"bytes", URL, "image/png")
            return found

    used()
    return root / "index.sqlite", used


def rates(root: Path) -> tuple[Path, Callable[[], Any]]:
    limits = Host(connections=1, requests_per_second=1e6, requests_per_day=10**9)

    def used() -> Any:
        with closing(RateLimits({"default": limits}, root, lambda: 1e9, lambda seconds: None)) as found:
            found.wait("example.org")
            return found.budget_left("example.org")

    used()
    return root / "manners.sqlite", used


def measures(root: Path) -> tuple[Path, Callable[[], Any]]:
    for kind in image_cache.KINDS:
        atomic_write.write_bytes(image_cache.path_of(root, SHA, kind), b"x")
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    path = image_cache.path_of(root, SHA, "json")
    atomic_write.write_json(path, {"measures": {"width_px": 3}, "files": dict.fromkeys(image_cache.KINDS, digest)})
    return path, lambda: image_cache.measures_of(root, SHA)


def embeddings(root: Path) -> tuple[Path, Callable[[], Any]]:
    path = root / "e.npz"
    embedding_cache.write(path, {SHA: np.ones(8), "b" * 64: np.zeros(8)})
    return path, lambda: embedding_cache.read(path)


def monitored(root: Path) -> tuple[Path, Callable[[], Any]]:
    path = root / "step-000050" / monitoring.RECORD
    atomic_write.write_json(path, {"settings": "s", "losses": {"25": 0.5}, "previews": []})
    return path, lambda: monitoring.read_report(root, 50, "s")


def begun_training(root: Path) -> tuple[Path, Callable[[], Any]]:
    path = root / identity.FILE
    params = {"train": {"steps": 9}}
    atomic_write.write_json(path, {"species": "dodo", "dataset": "d", "base": "b", "code": "c", "params": params})
    return path, lambda: identity._read(path)


FILES = {
    "manifest.parquet": collected_manifest,
    "card.json of a collection": collected_card,
    "card.json of a model": model_card,
    "verdict.json of an evaluation": evaluation("details/verdict.json"),
    "metrics.json": evaluation("metrics.json"),
    "verdict.json of a validation": validation,
    "look.json of a crawl": session,
    "answers.sqlite": responses,
    "index.sqlite": downloads,
    "manners.sqlite": rates,
    "measures of a picture": measures,
    "embeddings": embeddings,
    "look.json of a training": monitored,
    "identity.json": begun_training,
}
PER_FILE = int(os.environ.get("PALEO_FUZZ", "100"))


@pytest.mark.parametrize("name", FILES)
def test_mutations_of_a_stored_file(name, tmp_path):
    path, read = FILES[name](tmp_path / "sound")
    assert read() is not None
    content, failures = path.read_bytes(), []
    for changed in mutations(content, 7, PER_FILE):
        for leftover in path.parent.glob(f"{path.name}-*"):  # SQLite's own, of the last change
            leftover.unlink()
        path.write_bytes(changed)
        try:
            read()
        except PaleoError as error:
            if len(str(error)) > 700 or not (path.name in str(error) or str(path.parent) in str(error)):
                failures.append(f"an unclear sentence: {error}")
        except Exception:  # noqa: BLE001  # that is what is searched
            failures.append(f"{traceback.format_exc(limit=-3)}\n{changed[:300]!r}")
    assert not failures, f"{len(failures)} failures, the first of them:\n{failures[0]}"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"[]", "it holds a list instead of an object"),
        (b"{}", "it has no 'digest'"),
        (b'{"digest": 7}', "'digest' is a int, not a text"),
        (b'{"digest": NaN}', "NaN is no JSON"),
        (b'{"digest": "\xff"}', "can't decode byte 0xff"),
    ],
)
def test_a_damaged_card_is_one_sentence_with_the_command_that_makes_it_anew(tmp_path, content, why):
    folder = tmp_path / "data/curated/dodo"
    folder.mkdir(parents=True)
    (folder / "card.json").write_bytes(content)
    with pytest.raises(InputError) as error:
        atomic_write.read_card(folder)
    sentence = str(error.value)
    assert sentence.startswith(f"{folder / 'card.json'} is damaged (") and why in sentence
    assert sentence.endswith(READ_ANEW.format("curate"))


@pytest.mark.parametrize(
    ("place", "command"),
    [
        ("data/raw/dodo/manifest.parquet", "paleo collect dodo"),
        ("models/dodo/card.json", "paleo train dodo"),
        ("samples/dodo/samples.parquet", "paleo sample dodo"),
        ("reports/evaluation/dodo/details/verdict.json", "paleo evaluate dodo"),
        ("reports/validation/dodo.statistics.json", "paleo validate dodo"),
        (".work/collect/dodo/look.json", "the command again"),
    ],
)
def test_every_file_has_its_command(tmp_path, place, command):
    assert command in stored_json.remedy(tmp_path / place)


def test_a_turned_bit_in_a_table_is_found_and_never_read_as_another_word(tmp_path):
    path, _ = collected_manifest(tmp_path)
    sound, content, rng, n_refused = parquet.read(path), path.read_bytes(), random.Random(1), 0
    for _ in range(300):
        path.write_bytes(changed_bytes(content, rng))
        try:
            pd.testing.assert_frame_equal(parquet.read(path, MANIFEST_COLUMNS)[list(MANIFEST_COLUMNS)], sound)
        except InputError:
            n_refused += 1
        except KeyError:  # the name of a column: the readers look for theirs
            n_refused += 1
    assert n_refused > 200
