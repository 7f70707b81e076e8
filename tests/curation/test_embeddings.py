import numpy as np
import pandas as pd
import pytest

from pipeline.curation import embeddings, scoring
from tests.curation.test_scoring import measured


def test_cosines_are_those_of_the_mean_direction_of_the_prompts():
    rows = {"A": np.array([1, 0], np.float16), "D": np.array([0.6, 0.8], np.float16)}

    def embed(sentences):
        return np.array([[1.0, 0.0] if sentence == "x" else [0.0, 1.0] for sentence in sentences])

    frame = scoring.with_embeddings(measured(), rows)
    prompts = {"cosine:both": ["x", "y"], "cosine:y": ["y"], "medium:oil": ["x"]}
    columns = embeddings.cosines(frame, prompts, embed)
    assert list(columns) == list(prompts)
    found = np.stack(list(columns.values()), axis=1)
    expected = [[0.5**0.5, 0, 1], [0.5**0.5, 0, 1], [1.4 * 0.5**0.5, 0.8, 0.6]]
    assert found[[0, 2, 3]] == pytest.approx(np.array(expected), abs=1e-3)
    assert np.isnan(found[1]).all()


def test_the_plane_keeps_neighbours_together_and_has_one_orientation():
    rng = np.random.default_rng(1)
    points = np.repeat(rng.normal(size=(3, 16)), 10, axis=0) + rng.normal(0, 0.01, (30, 16))
    frame = pd.DataFrame({"embedding": [*points, None]})
    plane = embeddings.plane(frame)
    assert np.isnan(plane[30]).all()
    groups = plane[:30].reshape(3, 10, 2)
    apart = np.linalg.norm(groups.mean(axis=1)[:, None] - groups.mean(axis=1), axis=2)[np.triu_indices(3, 1)]
    assert groups.std(axis=1).max() < 0.1 * apart.min()
    assert np.array_equal(plane, embeddings.plane(frame), equal_nan=True)


def test_without_embeddings_there_is_no_plane():
    assert np.isnan(embeddings.plane(measured())).all()
    assert np.isnan(embeddings.plane(pd.DataFrame({"embedding": [np.ones(4), np.ones(4), None]}))).all()
