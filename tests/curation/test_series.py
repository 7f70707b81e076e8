import numpy as np
import pytest

from pipeline.curation import series
from pipeline.curation.series import SeriesCheck
from tests.curation.scored import all_of, curate, row, scores

SIX_DEGREES = np.deg2rad(6)


def _fan(*degrees: float, **kinds):
    """Pictures whose embeddings lie at these angles; a degree apart is a cosine of 0.9998, 20 of 0.94."""
    angles = np.deg2rad(degrees)
    rows = [np.array([np.cos(a), np.sin(a)], dtype=np.float16) for a in angles]
    return [row(f"at {d}", embedding=e, **kinds) for d, e in zip(degrees, rows)]


def _check(*rows, remaining=None, keep=8, cosine=0.97):
    frame = scores(*rows)
    params = curate(series={"keep": keep, "cosine": cosine})
    return SeriesCheck().check(frame, all_of(frame) if remaining is None else np.array(remaining), params)


def test_pictures_that_nearly_agree_are_one_series_and_likeness_is_passed_on():
    names = _check(*_fan(0, 10, 20, 60)).columns["series"]
    assert len(set(names[:3])) == 1 and names[3] != names[0]
    assert len(set(_check(*_fan(0, 20)).columns["series"])) == 2


def test_the_best_of_a_series_are_kept():
    rows = _fan(0, 1, 2, 3)
    rows[2] |= {"width_px": 900}
    rows[3] |= {"sharpness": 900.0}
    rows[0] |= {"label": "keep"}
    findings = _check(*rows, keep=3)
    assert list(findings.drops) == [1]
    assert (findings.drops[1].code, findings.drops[1].score) == ("series", 4.0)
    assert findings.drops[1].sentence == "One of a series with 'at 0': it is number 4 of it, and the best 3 are kept."


def test_what_was_dropped_before_takes_no_place():
    assert not _check(*_fan(0, 1, 2), remaining=[True, False, True], keep=2).drops


def test_near_duplicates_are_of_one_series_without_any_embedding():
    rows = [row("a"), row("b", group=row("a")["group"]), row("c")]
    names = _check(*rows).columns["series"]
    assert names[0] == names[1] != names[2]


def test_pictures_without_embedding_are_of_no_series_with_others():
    rows = [*_fan(0, 1), row("trusted", embedding=None)]
    assert len(set(_check(*rows).columns["series"])) == 2


@pytest.mark.parametrize("block", [1, 7, 10**6])
def test_blocks_do_not_change_what_is_found(monkeypatch, block):
    rows = _fan(*np.random.default_rng(1).permutation(np.repeat([0, 40, 80, 120], 5) + np.tile(range(5), 4)))
    monkeypatch.setattr(series, "BLOCK_PAIRS", block)
    assert len(set(_check(*rows).columns["series"])) == 4
