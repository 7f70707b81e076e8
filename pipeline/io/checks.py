"""Great Expectations: the only place that imports it (which takes three seconds), and measuring what it looks at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image, UnidentifiedImageError

from pipeline.core.lineage import digest_bytes

GX_SEVERITY = {"stop": "critical", "warn": "warning"}
MEASURED = ("problem", "width_px", "height_px", "mode", "pixels")


def measure(folder: Path, file_names: Iterable[str]) -> pd.DataFrame:
    """Open every picture; one row per name, in order: problem (empty: none), size, mode, pixels (sha256)."""
    with ThreadPoolExecutor() as pool:
        rows = list(pool.map(lambda name: _measure(folder / name), file_names))
    return pd.DataFrame(rows, columns=list(MEASURED))


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


def run_suite(
    facts: pd.DataFrame, suite: Iterable[Mapping[str, Any]], *, index: str = "file_name"
) -> dict[str, dict[str, Any]]:
    """Check a table; `suite` has dicts of name, type, kwargs and severity (stop | warn).

    Returns {name: {success, observed, n, offending: {file_name: value}, error}} without anything volatile: run ids
    and times of Great Expectations stay behind. `observed` is what a whole-table expectation saw, else None.
    """
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("curated").add_dataframe_asset("pictures")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch(batch_parameters={"dataframe": facts})
    form = {"result_format": "COMPLETE", "unexpected_index_column_names": [index]}
    results = batch.validate(
        gx.ExpectationSuite(name="curated", expectations=[_config(e) for e in suite]), result_format=form
    )
    return dict(_plain(result.to_json_dict(), index) for result in results.results)


def _config(expectation: Mapping[str, Any]) -> dict[str, Any]:
    severity = GX_SEVERITY[expectation["severity"]]
    return {
        "type": expectation["type"],
        "kwargs": dict(expectation["kwargs"]),
        "severity": severity,
        "meta": {"name": expectation["name"]},
    }


def _plain(result: dict[str, Any], index: str) -> tuple[str, dict[str, Any]]:
    """The name of an expectation and the part of its result that depends on nothing but the data."""
    config, found = result["expectation_config"], result["result"]
    column = config["kwargs"].get("column")
    offending = {str(row[index]): row[column] for row in found.get("unexpected_index_list") or ()}
    return config["meta"]["name"], {
        "success": bool(result["success"]),
        "observed": found.get("observed_value"),
        "n": int(found.get("element_count", found.get("observed_value")) or 0),
        "offending": dict(sorted(offending.items())),
        "error": _error(result["exception_info"]),
    }


def _error(info: dict[str, Any]) -> str:
    """What kept an expectation from being checked; Great Expectations nests it by metric, or does not."""
    entries = [info] if "raised_exception" in info else [*info.values()]
    return next((str(entry["exception_message"]) for entry in entries if entry["raised_exception"]), "")
