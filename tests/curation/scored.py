"""Scores of made-up pictures, as `scores.parquet` holds them after the checks before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from pipeline.core import params as params_module
from pipeline.core.data_params import Curate
from pipeline.core.lineage import digest_bytes
from pipeline.curation import measuring
from pipeline.curation.all_checks import all_checks
from pipeline.curation.scoring import MEASURED
from pipeline.io.files.reviews import COLUMNS
from pipeline.io.images import codecs

PARAMS = params_module.load(Path(__file__).parents[2] / "params.yaml").curate
CLASSES = {"alive": ("a painting",), "bones": ("bones on rock", "a fossil")}
PLAIN = {
    "width_px": 300,
    "height_px": 200,
    "format": "PNG",
    "frames": 1,
    "sharpness": 400.0,
    "entropy_bits": 6.0,
    "noise_share": 0.0,
    "detail_px": 200,
    "hue_deg": 0.0,
    "saturation": 0.5,
    "lightness": 0.5,
}


def curate(**sections: dict[str, Any]) -> Curate:
    """The shipped `curate` with these keys of its checks' sections, and of its own, changed."""
    checks = all_checks()
    update = {
        name: checks[name].Params.of(PARAMS).model_copy(update=changed) if name in checks else changed
        for name, changed in sections.items()
    }
    return PARAMS.model_copy(update=update)


COMPETING = curate(zero_shot={"classes": CLASSES, "keep_classes": ("alive",)})


def row(name: str, **changed: Any) -> dict[str, Any]:
    """One picture that no check has anything against and that is like no other."""
    sha = digest_bytes(name.encode())
    hashes = {
        kind: digest_bytes(f"{name} {kind}".encode())[:16]
        for kind in ("phash", "dhash", "mirrored_phash", "mirrored_dhash")
    }
    base = {
        "sha256": sha,
        "source_id": name,
        "author": "",
        "shows": "",
        "trusted": False,
        "refused_code": "",
        "refused_score": np.nan,
        "refused_sentence": "",
        "few_shot": np.nan,
        "medium": "",
        "label": "",
        "pixel_sha256": sha,
        "png_sha256": sha,
        "group": sha[:16],
        "series": sha[:16],
    }
    return base | hashes | PLAIN | changed


def picture(name: str, image: Image.Image, **changed: Any) -> dict[str, Any]:
    """The row of a real picture."""
    _, measures = measuring.measure(image, crop=True, side_px=512, shrink=codecs.shrink)
    return row(name, **measures) | changed


def scores(*rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(rows)


def stored(*rows: dict[str, Any]) -> pd.DataFrame:
    """As they are before any check: what checks add is not there yet."""
    frame = pd.DataFrame(rows).drop(columns=["medium", "label", "group", "series"])
    return frame.astype({name: kind for name, kind in MEASURED.items() if kind == "str"})


def all_of(frame: pd.DataFrame) -> np.ndarray:
    return np.ones(len(frame), dtype=bool)


def reviews(*rows: tuple[str, ...]) -> pd.DataFrame:
    """(name, verdict, why, who) each."""
    lines = [(digest_bytes(name.encode()), verdict, why, who, "") for name, verdict, why, who in rows]
    return pd.DataFrame(lines, columns=COLUMNS, dtype="str")
