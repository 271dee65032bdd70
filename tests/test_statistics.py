"""Statistics against examples worked by hand."""

import numpy as np
import pandas as pd
import pytest
from rliable import metrics

from reproduction import statistics


def test_normalise():
    np.testing.assert_allclose(statistics.normalise([[0, 50], [100, 150]], 0, 100), [[0, 0.5], [1, 1.5]])
    np.testing.assert_allclose(statistics.normalise([2.0], 1, 5), [0.25])


@pytest.mark.parametrize("low, high", [(5, 5), (5, 4), (0, np.nan), (-np.inf, 5), (0, np.inf), ([0, 5], [1, 5])])
def test_normalise_refuses_bounds_between_which_nothing_lies(low, high):
    with pytest.raises(ValueError, match="scaling needs finite bounds with low < high, not"):
        statistics.normalise([1, 2], low, high)
    with pytest.raises(ValueError, match="a mean needs at least one seed"):
        statistics.mean_interval([])


def test_aer_averages_contexts_and_rollouts_of_one_set_only():
    rows = [("DI", "dr", s, 5, split, c, r, s * 100 + (split == "train") * 10 + c + r)
            for s in (0, 1) for split in ("train", "eval-in") for c in (0, 1) for r in (0, 2)]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["env", "arm", "seed", "step", "split", "context", "rollout", "value"])
    found = statistics.aer(frame).set_index(["seed", "split"])["aer"]
    assert found.to_dict() == {(0, "train"): 11.5, (0, "eval-in"): 1.5, (1, "train"): 111.5, (1, "eval-in"): 101.5}


def test_mean_interval_by_hand():
    # mean 2, standard deviation 1, n = 3: 2 -+ 4.302653 / sqrt(3)
    np.testing.assert_allclose(statistics.mean_interval([1, 2, 3]), (2, 2 - 2.484138, 2 + 2.484138), atol=1e-6)
    assert statistics.mean_interval([4, 4, 4]) == (4, 4, 4)


def test_few_seeds_have_no_interval():
    """No interval below 3 seeds for Student's t and 5 for a bootstrap: with two seeds, a bootstrap looks sharp and
    Student's t says nothing."""
    assert (statistics.LEAST_T, statistics.LEAST_BOOTSTRAP) == (3, 5)
    rng = np.random.default_rng(0)
    for n in range(1, 7):
        x, y = rng.uniform(1, 2, size=(n, 3)), rng.uniform(1, 2, size=(8, 3))
        assert np.isfinite(statistics.mean_interval(x[:, 0])[1:]).all() == (n >= 3)
        bootstraps = [
            statistics.iqm_interval(x, reps=50), statistics.probability_of_improvement(x, y, reps=50),
            statistics.probability_of_improvement(y, x, reps=50), statistics.relative_gain(x, y, reps=50),
        ]  # fmt: skip
        for value, *interval in bootstraps:
            assert np.isfinite(value) and np.isfinite(interval).all() == (n >= 5)


def test_mean_interval_covers_its_mean_about_95_times_in_100():
    draws = np.random.default_rng(0).normal(3, 2, size=(2000, 3))
    hits = [low <= 3 <= high for _, low, high in map(statistics.mean_interval, draws)]
    assert 0.935 < np.mean(hits) < 0.965


def test_iqm_by_hand():
    # eight scores: drop the two lowest and the two highest; the mean of 2, 3, 4, 5 remains
    assert statistics.iqm_interval(np.array([[0.0, 1, 2, 3], [4, 5, 6, 1000]]))[0] == 3.5
    iqm, low, high = statistics.iqm_interval(np.arange(8.0)[:, None], reps=500)
    assert iqm == 3.5 and low < 3.5 < high
    # tasks are strata: with equal runs in each task, resampling runs changes nothing
    assert statistics.iqm_interval(np.tile([0.1, 0.2, 0.9, 0.4], (5, 1)), reps=200) == pytest.approx((0.3, 0.3, 0.3))


def test_intervals_repeat_and_leave_the_global_random_state_alone():
    scores = np.random.default_rng(1).uniform(size=(5, 4))
    np.random.seed(5)  # noqa: NPY002
    first = statistics.iqm_interval(scores, reps=200)
    after = np.random.rand()  # noqa: NPY002
    np.random.seed(6)  # noqa: NPY002
    assert statistics.iqm_interval(scores, reps=200) == first
    first, again = (statistics.probability_of_improvement(scores, scores[:5] * 0.9, reps=50) for _ in range(2))
    assert first == again
    np.random.seed(5)  # noqa: NPY002
    assert np.random.rand() == after  # noqa: NPY002


def test_probability_of_improvement_by_hand():
    x, y = [[1.0, 0.0], [3.0, 0.0]], [[2.0, 1.0], [0.0, 1.0], [1.0, 1.0]]
    # task 1: (1 > 0, 1 = 1, 3 beats all three) = (1 + 1/2 + 3) / 6; task 2: 0
    assert statistics.probability_of_improvement(x, y, reps=50)[0] == pytest.approx(4.5 / 6 / 2)
    assert statistics.probability_of_improvement(y, x, reps=50)[0] == pytest.approx(1 - 4.5 / 6 / 2)
    x = np.random.default_rng(0).uniform(size=(10, 14))
    assert statistics.probability_of_improvement(x + 1, x, reps=50) == (1.0, 1.0, 1.0)


def test_probability_of_improvement_is_rliables():
    rng = np.random.default_rng(5)
    for n, m, tasks in ((1, 1, 1), (3, 5, 1), (4, 4, 6), (10, 7, 3)):
        x, y = rng.integers(0, 4, size=(n, tasks)), rng.integers(0, 4, size=(m, tasks))  # with many ties
        ours = statistics.probability_of_improvement(x, y, reps=2)[0]
        assert ours == pytest.approx(metrics.probability_of_improvement(x, y))


def test_shuffled_labels_give_about_one_half():
    rng = np.random.default_rng(2)
    better, worse = rng.normal(1, 1, size=(10, 14)), rng.normal(0, 1, size=(10, 14))
    assert statistics.probability_of_improvement(better, worse, reps=50)[0] > 0.7
    both, found = np.concatenate([better, worse]), []
    for _ in range(30):
        mixed = rng.permuted(both, axis=0)
        found.append(statistics.probability_of_improvement(mixed[:10], mixed[10:], reps=2)[0])
    assert abs(np.mean(found) - 0.5) < 0.03 and np.std(found) > 0


def test_relative_gain_by_hand():
    # one task, five runs: the interquartile means are the means of the middle three, 6 and 4
    x, y = np.array([[0.0, 5, 6, 7, 90]]).T, np.array([[1.0, 3, 4, 5, 6]]).T
    gain, low, high = statistics.relative_gain(x, y, reps=500)
    assert gain == pytest.approx(50) and low < 50 < high
    assert statistics.relative_gain(2 * x, 2 * y, reps=50)[0] == pytest.approx(50)  # a ratio has no unit
    assert statistics.relative_gain([[3.0]], [[2.0]])[0] == pytest.approx(50)
    assert np.isnan(statistics.relative_gain([[3.0]], [[0.0]])).all()


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="runs x tasks"):
        statistics.iqm_interval([1.0, 2.0])
    with pytest.raises(ValueError, match="finite"):
        statistics.iqm_interval([[1.0, np.nan], [1.0, 1.0]])
    with pytest.raises(ValueError, match="same tasks"):
        statistics.probability_of_improvement(np.ones((3, 2)), np.ones((3, 4)))


def test_episode_interval_holds_contexts_fixed():
    mean, low, high = statistics.episode_interval([10, 90], [3, 4], 25)
    assert (mean, high - mean) == (50, pytest.approx(1.959964 * (9 / 25 + 16 / 25) ** 0.5 / 2))
    assert mean - low == pytest.approx(high - mean)  # contexts differing by 80 do not widen it
    rng = np.random.default_rng(0)
    found = [statistics.episode_interval(r.mean(axis=1), r.std(axis=1, ddof=1), 20)
             for r in rng.normal([[10.0], [90.0]], [[3.0], [4.0]], (2000, 2, 20))]  # fmt: skip
    assert 0.93 < np.mean([low < 50 < high for _, low, high in found]) < 0.97


def test_ranks_with_one_environment_left_out():
    scores = pd.DataFrame({"DI": [0.9, 0.5, 0.1], "ODE": [0.2, 0.3, 0.1], "Walker": [0.5, 0.6, 0.7]}, ["a", "b", "c"])
    ranks = statistics.leave_one_out(scores)
    assert ranks.to_dict("list") == {"all": [1, 2, 3], "DI": [3, 1, 2], "ODE": [1, 2, 3], "Walker": [1, 2, 3]}
