import numpy as np

from pipeline.curation import few_shot


def _clouds(n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows about two directions, and which of the two."""
    rng = np.random.default_rng(1)
    side = np.arange(n) % 2
    rows = np.stack([1 - 2.0 * side, np.ones(n), *rng.normal(0, 0.3, (6, n))], axis=1)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), side


def _labelled(side: np.ndarray, first: int) -> np.ndarray:
    labels = np.array([("keep", "drop")[s] for s in side], dtype=object)
    labels[first:] = ""
    return labels


def test_a_few_labels_tell_the_others_apart():
    rows, side = _clouds()
    found = few_shot.probabilities(rows, _labelled(side, 12), min_labels=6)
    assert ((found > 0.5) == (side == 0)).all()


def test_too_few_labels_of_one_side_teach_nothing():
    rows, side = _clouds()
    for labels, least in ((_labelled(side, 12), 7), (_labelled(side, 12), 0), (_labelled(side, 2), 1)):
        assert np.isnan(few_shot.probabilities(rows, labels, least)).all()


def test_a_labelled_picture_is_judged_by_heads_that_have_not_seen_its_label():
    rows, side = _clouds()
    labels = _labelled(side, 12)
    labels[0] = "drop"  # a slip: it lies among those to keep
    assert few_shot.probabilities(rows, labels, min_labels=5)[0] > 0.5


def test_pictures_without_embedding_have_no_probability_and_do_not_disturb():
    rows, side = _clouds()
    rows[[3, 30]] = np.nan
    found = few_shot.probabilities(rows, _labelled(side, 14), min_labels=6)
    assert np.flatnonzero(np.isnan(found)).tolist() == [3, 30]
    assert np.array_equal(found, few_shot.probabilities(rows, _labelled(side, 14), min_labels=6), equal_nan=True)
