import numpy as np
import pandas as pd
import pytest

from pipeline.core.records import Rejection
from pipeline.curation import scoring
from tests.curation.scored import PLAIN

HASHES = dict.fromkeys(("phash", "dhash", "mirrored_phash", "mirrored_dhash"), "0" * 16)


def _stored(*names: str, source: str = "folder:a") -> pd.DataFrame:
    rows = [{"source": source, "source_id": name, "sha256": name, "author": "Ada", "shows": ""} for name in names]
    return pd.DataFrame(rows)


def _values(pixels: str) -> tuple:
    measures = PLAIN | HASHES | {"pixel_sha256": pixels, "png_sha256": pixels}
    return tuple(measures[name] for name in scoring.MEASURED)


def _measured(trusted: frozenset[str] = frozenset()) -> pd.DataFrame:
    broken = Rejection("decode", "truncated", "Cut.", 0.5)
    return scoring.measured(
        _stored("a", "b", "c", "d"), {"a": _values("A"), "b": broken, "c": _values("A"), "d": _values("D")}, trusted
    )


def test_a_picture_has_its_measures_or_why_it_has_none():
    frame = _measured()
    assert frame["width_px"].tolist() == [300, pd.NA, 300, 300]
    assert frame["refused_code"].tolist() == ["", "truncated", "", ""]
    assert frame.loc[1, "refused_sentence"] == "Cut." and frame.loc[1, "refused_score"] == 0.5
    assert frame["pixel_sha256"].tolist() == ["A", "", "A", "D"]


def test_clip_is_asked_once_for_the_same_pixels_and_never_about_trusted_pictures():
    assert scoring.to_embed(_measured())["sha256"].tolist() == ["a", "d"]
    assert not len(scoring.to_embed(_measured(frozenset(["folder:a"]))))


def test_cosines_are_those_of_the_mean_direction_of_the_prompts():
    rows = {"A": np.array([1, 0], np.float16), "D": np.array([0.6, 0.8], np.float16)}

    def embed(sentences):
        return np.array([[1.0, 0.0] if sentence == "x" else [0.0, 1.0] for sentence in sentences])

    frame = scoring.with_embeddings(_measured(), rows)
    frame = scoring.with_cosines(frame, {"both": ["x", "y"], "y": ["y"]}, {"oil": ["x"]}, embed)
    found = frame[["cosine:both", "cosine:y", "medium:oil"]].to_numpy()
    asked = [[0.5**0.5, 0, 1], [0.5**0.5, 0, 1], [1.4 * 0.5**0.5, 0.8, 0.6]]
    assert found[[0, 2, 3]] == pytest.approx(np.array(asked), abs=1e-3)
    assert np.isnan(found[1]).all()


def test_the_plane_keeps_neighbours_together_and_has_one_orientation():
    rng = np.random.default_rng(1)
    points = np.repeat(rng.normal(size=(3, 16)), 10, axis=0) + rng.normal(0, 0.01, (30, 16))
    frame = pd.DataFrame({"embedding": [*points, None]})
    plane = scoring.plane(frame)
    assert np.isnan(plane[30]).all()
    groups = plane[:30].reshape(3, 10, 2)
    apart = np.linalg.norm(groups.mean(axis=1)[:, None] - groups.mean(axis=1), axis=2)[np.triu_indices(3, 1)]
    assert groups.std(axis=1).max() < 0.1 * apart.min()
    assert np.array_equal(plane, scoring.plane(frame), equal_nan=True)


def test_without_embeddings_there_is_no_plane():
    assert np.isnan(scoring.plane(_measured())).all()
    assert np.isnan(scoring.plane(pd.DataFrame({"embedding": [np.ones(4), np.ones(4), None]}))).all()
