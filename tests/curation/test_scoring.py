import pandas as pd

from pipeline.core.records import Rejection
from pipeline.curation import scoring
from pipeline.curation.measuring import Measures
from tests.curation.scored import PLAIN

HASHES = dict.fromkeys(("phash", "dhash", "mirrored_phash", "mirrored_dhash"), "0" * 16)


def _stored(*names: str, source: str = "folder:a") -> pd.DataFrame:
    rows = [{"source": source, "source_id": name, "sha256": name, "author": "Ada", "shows": ""} for name in names]
    return pd.DataFrame(rows)


def _measures(pixels: str) -> Measures:
    return Measures(**PLAIN, **HASHES, pixel_sha256=pixels, png_sha256=pixels)


def measured(trusted: frozenset[str] = frozenset()) -> pd.DataFrame:
    broken = Rejection("decode", "truncated", "Cut.", 0.5)
    return scoring.measured(
        _stored("a", "b", "c", "d"),
        {"a": _measures("A"), "b": broken, "c": _measures("A"), "d": _measures("D")},
        trusted,
    )


def test_a_picture_has_its_measures_or_why_it_has_none():
    frame = measured()
    assert frame["width_px"].tolist() == [300, pd.NA, 300, 300]
    assert frame["refused_code"].tolist() == ["", "truncated", "", ""]
    assert frame.loc[1, "refused_sentence"] == "Cut." and frame.loc[1, "refused_score"] == 0.5
    assert frame["pixel_sha256"].tolist() == ["A", "", "A", "D"]


def test_the_same_pixels_are_embedded_once_and_trusted_pictures_never():
    assert scoring.to_embed(measured())["sha256"].tolist() == ["a", "d"]
    assert not len(scoring.to_embed(measured(frozenset(["folder:a"]))))
