"""Each metric on vectors whose answer is known without a computer."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.core.records import Score
from pipeline.metrics import METRICS, all_metrics, evaluation
from pipeline.metrics.clip_i import clip_i, leave_one_out_means
from pipeline.metrics.clip_t import clip_t, real_clip_t
from pipeline.metrics.covariance import ledoit_wolf
from pipeline.metrics.diversity import diversity
from pipeline.metrics.inputs import INPUTS
from pipeline.metrics.memorised import memorised, threshold
from pipeline.metrics.nearest_train import nearest, nearest_train
from pipeline.metrics.scores import gain, missing_input, score
from pipeline.metrics.species_accuracy import distances, nearest_species, real_species_accuracy, species_accuracy
from tests.metrics.geometry import around, reference, samples, unit

X, Y, Z = np.eye(3)
TWO = {"dodo": [X], "moa": [Y]}
ALL = all_metrics()


def test_clip_t_is_the_plain_cosine_of_picture_and_text():
    measured = clip_t(samples([X, X, Y], texts=[X, Y, [0, 1, 1]]), reference(TWO))
    assert measured.values == pytest.approx([1, 0, 0.5**0.5])


def test_clip_i_is_the_mean_cosine_to_every_held_out_picture():
    found = clip_i(samples([X, Y]), reference({"dodo": [X, Y]}))
    assert found.values == pytest.approx([0.5, 0.5])


def test_clip_i_by_the_mean_vector_equals_clip_i_pair_by_pair():
    pictures, held_out = around(X, 7, 0.4), around(X, 5, 0.4, seed=1)
    pairs = np.mean([[a @ b for b in held_out] for a in pictures], axis=1)
    assert clip_i(samples(pictures), reference({"dodo": held_out})).values == pytest.approx(pairs, abs=1e-6)


def test_leaving_one_out_leaves_the_picture_itself_out():
    assert leave_one_out_means(unit([X, X, Y])) == pytest.approx([0.5, 0.5, 0])
    assert leave_one_out_means(unit([X])).size == 0


def test_diversity_is_zero_for_one_picture_for_all_seeds_and_one_for_right_angles():
    assert diversity(samples([X, X, X], [0, 0, 0]), reference(TWO)).values == pytest.approx([0, 0, 0])
    assert diversity(samples([X, Y, Z], [0, 0, 0]), reference(TWO)).values == pytest.approx([1, 1, 1])


def test_diversity_compares_pictures_of_one_prompt_only():
    measured = diversity(samples([X, X, Y, Y], [0, 0, 1, 1]), reference(TWO))
    assert measured.values == pytest.approx([0, 0])
    assert measured.clusters.tolist() == [0, 1]


def test_diversity_of_a_single_seed_is_unknown_and_says_so():
    assert "at least two" in missing_input(ALL["diversity"], samples([X, Y], [0, 1]), reference(TWO))
    assert missing_input(ALL["diversity"], samples([X, Y], [0, 0]), reference(TWO)) == ""


def test_the_nearest_training_picture_is_named_with_its_cosine():
    index, cosine = nearest(unit([X, [0, 1, 1]]), reference(TWO, train=[X, Y]))
    assert index.tolist() == [0, 1]
    assert cosine == pytest.approx([1, 0.5**0.5])


def test_a_mirrored_copy_is_a_copy():
    assert nearest(unit([Z]), reference(TWO, train=[X]))[1] == pytest.approx([0])
    assert nearest(unit([Z]), reference(TWO, train=[X], mirrored=[Z]))[1] == pytest.approx([1])


def test_memorised_flags_planted_copies_and_no_new_pictures():
    train = around([1, 0, 0, 0, 0, 0], 40, 0.4)
    held_out = around([1, 0, 0, 0, 0, 0], 30, 0.4, seed=1)
    new, copies = around([1, 0, 0, 0, 0, 0], 20, 0.4, seed=2), unit(train[:10] + 0.001)
    known = reference({"dodo": held_out}, train=train)
    flags = memorised(samples(np.concatenate([new, copies])), known).values
    assert flags[20:].all()
    assert flags[:20].mean() <= 0.1


def test_the_threshold_lies_at_the_99th_percentile_of_the_held_out_pictures():
    held_out = around(X, 500, 0.5)
    known = reference({"dodo": held_out}, train=around(X, 20, 0.5, seed=1))
    assert (nearest_train(samples(held_out), known).values > threshold(known)).mean() == pytest.approx(0.01, abs=0.003)


def test_a_picture_is_a_hit_when_its_own_species_is_the_nearest():
    found = samples([[1, 0.1, 1], [0.1, 1, 1]])
    assert species_accuracy(found, reference(TWO)).values.tolist() == [1, 0]
    assert nearest_species(found.pictures, reference(TWO)).tolist() == ["dodo", "moa"]


def test_what_all_species_share_does_not_decide():
    """A picture that leans to the dodo is one, however much of it is common to all animals."""
    common = 20 * Z
    known = reference({"dodo": [common + X], "moa": [common + Y], "kiwi": [common - X - Y]})
    found = samples([common + 0.5 * X, 3 * common + 0.5 * Y, common + 0.1 * X])
    assert nearest_species(found.pictures, known).tolist() == ["dodo", "moa", "dodo"]


def test_what_differs_among_pictures_of_one_species_does_not_decide():
    """Backgrounds (Z) vary more than species (X, Y); a plain cosine to the mean would go by them."""
    backgrounds = np.outer(np.linspace(-2, 2, 9), Z)
    dodos, moas = 1.5 * X + Y + backgrounds, X + 1.5 * Y + backgrounds
    known = reference({"dodo": dodos[3:], "moa": moas[:6]}, train=dodos)  # by chance one was held out in more light
    found = unit([1.5 * X + Y - 2 * Z, 1.5 * X + Y + 2 * Z, X + 1.5 * Y + 2 * Z])
    assert nearest_species(found, known).tolist() == ["dodo", "dodo", "moa"]
    cosines = np.stack([found @ pictures.plain.mean(axis=0) for pictures in known.holdout.values()], axis=1)
    assert cosines.argmax(axis=1).tolist() != [0, 0, 1]


def test_the_distance_is_that_of_mahalanobis():
    scipy = pytest.importorskip("scipy.spatial.distance")
    known = reference({"dodo": around(X, 9, 0.3), "moa": around(Y, 9, 0.3, seed=1)}, train=around(X, 9, 0.3, seed=2))
    rows = around(Z, 4, 0.5)
    spread = [np.concatenate([known.holdout[n].both, known.train[n].both]) for n in ("dodo", "moa")]
    inverse = np.linalg.inv(ledoit_wolf(np.concatenate([each - each.mean(axis=0) for each in spread])))
    means = np.stack([known.holdout[n].plain.mean(axis=0) for n in ("dodo", "moa")])
    expected = scipy.cdist(rows, means, "mahalanobis", VI=inverse) ** 2
    assert distances(rows, known.holdout, known.train) == pytest.approx(expected, rel=1e-5)


def test_the_covariance_is_that_of_ledoit_and_wolf():
    oracle = pytest.importorskip("sklearn.covariance")
    rows = np.random.default_rng(0).standard_normal((20, 50)) * np.linspace(0.1, 2, 50)
    assert ledoit_wolf(rows) == pytest.approx(oracle.ledoit_wolf(rows, assume_centered=True)[0])


def test_pictures_that_are_all_the_same_have_a_covariance_all_the_same():
    assert np.isfinite(np.linalg.inv(ledoit_wolf(np.zeros((3, 4))))).all()


def test_with_one_species_there_is_no_accuracy_but_a_reason():
    found = missing_input(ALL["species_accuracy"], samples([X]), reference({"dodo": [X]}))
    assert found == "no other species has held-out pictures to compare with"


def test_the_held_out_pictures_themselves_are_measured_without_looking_at_themselves():
    known = reference({"dodo": around(X, 6, 0.1), "moa": around(Y, 6, 0.1)})
    assert real_species_accuracy(known).tolist() == [1] * 6
    # the odd one out among the dodos looks like a moa: only its own presence could have saved it
    odd = reference({"dodo": [X, X, Y], "moa": [Y, Y]})
    assert real_species_accuracy(odd).tolist() == [1, 1, 0]
    values = evaluation.real_values(ALL, known)
    assert values["species_accuracy"] == 1
    assert set(values) == {"species_accuracy", "clip_t", "clip_i", "diversity", "nearest_train"}


def test_one_held_out_picture_says_nothing_about_itself():
    assert "clip_i" not in evaluation.real_values(ALL, reference({"dodo": [X], "moa": [Y]}))
    assert real_clip_t(reference({"dodo": [X]})) == pytest.approx([1])


def test_a_score_has_mean_count_direction_and_interval():
    known = reference({"dodo": [X], "moa": [Y]})
    found = score(ALL["species_accuracy"], samples([X, X, Y, X], [0, 0, 1, 1]), known, resamples=200, seed=0)
    assert isinstance(found, Score)
    assert (found.value, found.n, found.better) == (0.75, 4, "higher")
    assert found.interval[0] < 0.75 < found.interval[1]


def test_a_gain_pairs_pictures_of_the_same_prompt_and_seed():
    known = reference({"dodo": [X], "moa": [Y]})
    before, after = samples([Y, Y, X, Y]), samples([X, Y, X, X])
    found = gain(ALL["species_accuracy"], after, before, known, resamples=500, seed=0)
    assert found.value == 0.5
    assert found.interval[0] >= 0


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_gives_the_same_number_twice(name):
    known = reference({"dodo": around(X, 5, 0.3), "moa": around(Y, 5, 0.3)}, train=around(X, 5, 0.3, seed=3))
    found = samples(around(X, 12, 0.5, seed=4), np.repeat(range(3), 4), around(Y, 12, 0.5, seed=5))
    first, second = (score(ALL[name], found, known, resamples=100, seed=1) for _ in range(2))
    assert first == second
    assert first.interval[0] <= first.value <= first.interval[1]


@pytest.mark.parametrize("name", METRICS)
def test_every_spec_is_complete(name):
    """Registered under its own name, with needs that evaluation can check and the columns that it writes."""
    metric = ALL[name]
    assert metric.spec.name == name
    assert set(metric.spec.needs) <= set(INPUTS)
    written = metric.columns(samples([X, Y], [0, 0]), reference(TWO))
    assert set(written) == {each for column in metric.spec.columns for each in (column.name, column.cosine) if each}
