"""Rows as curation writes them to `verdicts.parquet`, and the manifest before it."""

from __future__ import annotations

import hashlib
from typing import Any

import pandas as pd

from pipeline.core.reason_codes import ReasonCodes
from pipeline.curation import reviewed
from pipeline.curation.all_checks import all_checks, reason_codes
from pipeline.io.images import decode_codes
from pipeline.sources import licence_policy

CODES = ReasonCodes(licence_policy.CODES, decode_codes.CODES, reason_codes(all_checks()), (reviewed.REVIEWED,))


def sha(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def row(name: str, code: str = "kept", **changed: Any) -> dict[str, Any]:
    """One picture, kept unless it has another code."""
    kept, sha256 = code == "kept", sha(name)
    return {
        "source": "folder",
        "source_id": name,
        "image_url": "",
        "page_url": f"https://example.org/{name}",
        "title": name,
        "caption": f"caption of {name}",
        "author": "Jane Doe",
        "licence": "CC0-1.0",
        "licence_url": "",
        "author_url": "",
        "licence_text": "",
        "shows": "",
        "taxon": "",
        "evidence": "",
        "final_url": "",
        "content_type": "image/png",
        "sha256": sha256,
        "path": f"images/{sha256}.png",
        "bytes": 1000,
        "verdict": "keep" if kept else "drop",
        "code": code,
        "score": 0.5,
        "sentence": f"sentence about {name}.",
        "width_px": 300,
        "height_px": 200,
        "format": "PNG",
        "frames": 1,
        "sharpness": 90.0,
        "entropy_bits": 6.0,
        "medium": "painting",
        "phash": "",
        "dhash": "",
        "pixel_sha256": sha256,
        "group": "",
        "series": "",
        "clip_class": "life reconstruction",
        "clip_margin": 0.5,
        "uncertain": "",
        "label": "",
        "decided_by": "score",
        "hue_deg": 200.0,
        "saturation": 0.4,
        "lightness": 0.5,
        "map_x": 0.0,
        "map_y": 0.0,
        "split": "train" if kept else "",
        "file_name": f"train/{sha256[:16]}.png" if kept else "",
        **changed,
    }


def verdicts(*rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(row("x"))).astype({"width_px": "Int64", "height_px": "Int64"})


def refused(name: str, code: str, **changed: Any) -> dict[str, Any]:
    """A candidate of the manifest that was never stored."""
    empty = {"kept": False, "reason_code": code, "reason": f"reason of {name}.", "sha256": "", "path": "", "bytes": 0}
    return {**row(name), **empty, **changed}


def manifest(stored: pd.DataFrame, *never: dict[str, Any]) -> pd.DataFrame:
    """What collect wrote before these verdicts were made."""
    own = list(stored.columns[: list(stored.columns).index("verdict")])
    taken = stored[own].assign(kept=True, reason_code="", reason="")
    return pd.concat([taken, pd.DataFrame(never, columns=list(taken.columns))], ignore_index=True)
