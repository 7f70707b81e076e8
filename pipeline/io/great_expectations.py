"""Great Expectations: the only place that imports it (which takes three seconds), and measuring what it looks at."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from PIL import Image, UnidentifiedImageError

from pipeline.core.lineage import digest_bytes
from pipeline.io.terminal.progress_bars import track

if TYPE_CHECKING:
    from great_expectations.data_context import AbstractDataContext

GX_SEVERITY = {"stop": "critical", "warn": "warning"}
NAMED_AT_MOST = 200  # offenders of one expectation; their number is counted in full
SLAB = 64  # pictures that a thread takes at a time: small ones open faster than threads take turns
MEASURED = ("problem", "width_px", "height_px", "mode", "pixels")


def measure(folder: Path, file_names: Sequence[str], description: str) -> pd.DataFrame:
    """Open every picture; one row per name, in order: problem (empty: none), size, mode, pixels (sha256)."""
    slabs = [file_names[start : start + SLAB] for start in range(0, len(file_names), SLAB)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        measured = pool.map(lambda names: [_measure(folder / name) for name in names], slabs)
        rows = list(track(chain.from_iterable(measured), description, len(file_names)))
    return pd.DataFrame(rows, columns=list(MEASURED))


def sizes(folder: Path, below: str) -> dict[str, int]:
    """The files directly in `folder/below` by their paths below `folder`, with their sizes in bytes."""
    if not (folder / below).is_dir():
        return {}
    with os.scandir(folder / below) as entries:
        return {f"{below}/{entry.name}": entry.stat().st_size for entry in entries if entry.is_file()}


def _measure(path: Path) -> tuple[str, int | None, int | None, str | None, str | None]:
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # SyntaxError: a broken PNG
        return _problem(error), None, None, None, None
    pixels = digest_bytes(f"{image.mode} {image.size}".encode() + image.tobytes())
    return "", image.width, image.height, image.mode, pixels


def _problem(error: Exception) -> str:
    """In words of our own: those of Pillow name this machine's folders, and a page must not."""
    if isinstance(error, FileNotFoundError):
        return "the file is missing"
    return "the file is no picture" if isinstance(error, UnidentifiedImageError) else "the picture is damaged"


def run_suite(facts: pd.DataFrame, suite: Iterable[Mapping[str, Any]], index: str) -> dict[str, dict[str, Any]]:
    """Check a table; `suite` has dicts of name, type, kwargs and severity (stop | warn); `index` names the rows.

    Returns {name: {success, observed, n, offending, n_offending, error}} without anything volatile: run ids and times
    of Great Expectations stay behind. `observed` is what a whole-table expectation saw, else None; `n` counts the rows
    that were judged; `offending` has (row, value) of the first NAMED_AT_MOST offenders, sorted by row.
    """
    import great_expectations as gx

    facts = facts.sort_values(index, kind="stable", ignore_index=True)
    asset = _context().data_sources.add_pandas("data set").add_dataframe_asset(index)
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch(batch_parameters={"dataframe": facts})
    # COMPLETE, or naming the index column, builds lists row by row: 20 s where a hundred thousand offend
    form = {"result_format": "SUMMARY", "partial_unexpected_count": NAMED_AT_MOST}
    results = batch.validate(
        gx.ExpectationSuite(name="data set", expectations=[_config(e) for e in suite]), result_format=form
    )
    return dict(_plain(result.to_json_dict(), facts[index]) for result in results.results)


def _context() -> AbstractDataContext:
    """All in memory, silent: no folder of documents, no usage statistics, no bars."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults

    settings = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        analytics_enabled=False,
        progress_bars={"globally": False},
    )
    return gx.get_context(mode="ephemeral", project_config=settings)


def _config(expectation: Mapping[str, Any]) -> dict[str, Any]:
    severity = GX_SEVERITY[expectation["severity"]]
    return {
        "type": expectation["type"],
        "kwargs": dict(expectation["kwargs"]),
        "severity": severity,
        "meta": {"name": expectation["name"]},
    }


def _plain(result: dict[str, Any], names: pd.Series) -> tuple[str, dict[str, Any]]:
    """The name of an expectation and the part of its result that depends on nothing but the data."""
    config, found = result["expectation_config"], result["result"]
    rows, values = found.get("partial_unexpected_index_list") or (), found.get("partial_unexpected_list") or ()
    counted = "element_count" not in found  # a whole-table expectation looks at rows, or at one number
    judged = found.get("observed_value") if counted else found["element_count"] - found.get("missing_count", 0)
    return config["meta"]["name"], {
        "success": bool(result["success"]),
        "observed": found.get("observed_value"),
        "n": int(judged or 0),
        "offending": [(str(names[row]), value) for row, value in zip(rows, values)],
        "n_offending": int(found.get("unexpected_count") or 0),
        "error": _error(result["exception_info"]),
    }


def _error(info: dict[str, Any]) -> str:
    """What kept an expectation from being checked; Great Expectations nests it by metric, or does not."""
    entries = [info] if "raised_exception" in info else [*info.values()]
    return next((str(entry["exception_message"]) for entry in entries if entry["raised_exception"]), "")
