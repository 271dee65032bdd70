"""Each theorem's numerical twin, and beside it a case in which the claim has to fail."""

import numpy as np
import pytest
import torch

from dmash_core import theory
from dmash_core.benchmark.double_integrator import DT
from dmash_core.benchmark.suite import make_batch
from dmash_core.theory import TASKS, Codes, Concatenating, Law, Modulated

ROUNDING = 1e-14  # relative to the largest number in the computation


def points(d_s, d_z, scale, n=2000):
    """Random points and all corners of a cube, (1, B, d) each."""
    g = torch.Generator().manual_seed(7)
    inside = 2 * torch.rand(n, d_s + d_z, generator=g, dtype=torch.float64) - 1
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)] * (d_s + d_z))
    both = scale * torch.cat([inside, corners.view(-1, d_s + d_z)])
    return both[None, :, :d_s], both[None, :, d_s:]


def worst(net, s, z, y):
    with torch.no_grad():
        return float((net(s, z) - y).abs().max())


# ---------------------------------------------------------------- expressivity


@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_a1_modulated_network_is_the_product(scale):
    s, z = points(1, 1, scale)
    assert worst(theory.product_network(), s, z, s * z) <= ROUNDING * scale**2


def test_a1_modulated_network_fails_with_a_wrong_hypernetwork():
    s, z = points(1, 1, 1.0)
    wrong = theory.affine_family(np.zeros((2, 2)), [np.eye(2)], theory._halves(1)[1], [1.0, 1.0])  # z |s|
    assert worst(wrong, s, z, s * z) > 1


@pytest.mark.parametrize("hidden", [[8], [16, 16], [8, 8, 8]])
def test_a1_concatenating_networks_are_affine_somewhere_and_the_product_is_not(hidden):
    """The proof's argument: on a short enough stretch of a diagonal every concatenating network is a straight line,
    whose distance from the parabola t^2 on a stretch of length r is at least r^2 / 8 at one of three points."""
    net = Concatenating(1, 1, 1, hidden, seeds=range(5))
    r = 1e-3
    start = torch.linspace(-1, 1, 401, dtype=torch.float64)

    def along(f):
        triple = [f(start + dt, start + dt) for dt in (0.0, r / 2, r)]
        return triple[0] - 2 * triple[1] + triple[2]

    def as_network(s, z):
        with torch.no_grad():
            return net(*(t.view(1, -1, 1).expand(5, -1, 1) for t in (s, z)))[..., 0]

    second = along(as_network).abs()
    assert bool(((second < 1e-13).double().mean(dim=1) > 0.5).all())  # most stretches meet no kink
    assert torch.allclose(along(lambda s, z: s * z), torch.tensor(r**2 / 2, dtype=torch.float64), rtol=1e-6)


def test_a1_fitted_modulated_network_is_better_with_fewer_parameters():
    task, seeds = TASKS["product"], range(3)
    concat = Concatenating(1, 1, 1, [16, 16], seeds)
    modulated = Modulated(1, 1, 1, [4, 4], [8], None, seeds)
    assert theory.parameters_per_seed(modulated) < theory.parameters_per_seed(concat)
    before = theory.error(concat, task, 3)[0]
    errors = [theory.fit(net, task, 3, steps=600) for net in (concat, modulated)]
    assert bool((errors[0] < before / 5).all())  # the fit works; the comparison is not against an untrained network
    assert errors[1].median() < errors[0].median()


@pytest.mark.parametrize("n", [1, 3])
def test_a2_gain(n):
    s, z = points(n, 1, 10.0)
    assert worst(theory.gain_network(n), s, z, s * z) <= ROUNDING * 100


def test_a2_permutations_and_other_finite_families():
    rng = np.random.default_rng(0)
    for operators in (theory.PERMUTATIONS, rng.standard_normal((4, 3, 3))):
        net, (s, _) = theory.family_network(operators), points(3, 0, 10.0)
        for code, operator in zip(np.eye(len(operators)), operators, strict=True):
            z = torch.as_tensor(code).expand(1, s.shape[1], -1)
            y = s @ torch.as_tensor(operator).T
            assert worst(net, s, z, y) <= ROUNDING * 100
            assert worst(net, s, z, s @ torch.as_tensor(operator + 0.1).T) > 0.1


def test_a3_affine_family_of_operators_on_a_trunk():
    rng = np.random.default_rng(1)
    trunk = ((rng.standard_normal((5, 2)), rng.standard_normal(5)), (rng.standard_normal((4, 5)), np.ones(4)))
    constant, slopes, w = rng.standard_normal((4, 4)), rng.standard_normal((3, 4, 4)), rng.standard_normal(4)
    s, z = points(2, 3, 2.0, n=500)
    x = np.maximum(s[0].numpy() @ trunk[0][0].T + trunk[0][1], 0) @ trunk[1][0].T + trunk[1][1]
    operator = constant + np.einsum("bj,jkl->bkl", z[0].numpy(), slopes)
    y = np.einsum("k,bkl,bl->b", w, operator, x) + 0.5
    net = theory.affine_family(constant, slopes, trunk, w, 0.5)
    assert worst(net, s, z, torch.as_tensor(y)[None, :, None]) <= ROUNDING * np.abs(y).max() * 10
    wrong = theory.affine_family(constant, slopes[[1, 0, 2]], trunk, w, 0.5)
    assert worst(wrong, s, z, torch.as_tensor(y)[None, :, None]) > 0.1


@pytest.mark.parametrize("k", [2, 4, 32])
def test_a5_bottleneck_of_width_two_and_more(k):
    s, z = points(1, 1, 100.0)
    assert worst(theory.bottleneck_product(k), s, z, s * z) <= ROUNDING * 1e4


@pytest.mark.parametrize("bound", [1.0, 3.0])
def test_a5_width_one_is_exact_up_to_its_bound_and_wrong_beyond(bound):
    s, z = points(1, 1, 1.0)
    net = theory.bottleneck_one(bound)
    assert worst(net, 50 * s, bound * z, 50 * s * bound * z) <= ROUNDING * 50 * bound * 4
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    for excess in (0.1, 1.0, 10.0):
        assert worst(net, -one, (bound + excess) * one, -(bound + excess) * one) == pytest.approx(excess)


def test_a5_width_one_fails_beyond_for_every_hypernetwork():
    """The floor depends on trunk and head alone; random and fitted hypernetworks stay above it, and it grows."""
    seeds = range(4)
    net = Modulated(1, 1, 1, [8, 8], [8], 1, seeds)
    theory.fit(net, TASKS["product"], 4, steps=200)
    z = torch.linspace(-20, 20, 81, dtype=torch.float64)
    floor = theory.width_one_floor(net, z)
    assert bool((floor[:, [0, -1]] > 10).all())
    with torch.no_grad():
        ends = [(net(*(t.expand(4, -1, 1) for t in (sign + 0 * z[None, :, None], z[None, :, None])))[..., 0] - sign * z)
                for sign in (1, -1)]  # fmt: skip
    assert bool((torch.stack(ends).abs().amax(dim=0) >= floor - 1e-9).all())


@pytest.mark.parametrize("bound", [1.0, 8.0])
def test_binary_contexts_four_neurons_are_exact_with_bounded_states(bound):
    net = theory.binary_network(bound)
    assert net.net.layers[0].weight.shape[-1] == 4
    s, z = points(1, 1, 1.0)
    assert worst(net, bound * s, torch.sign(z + 1e-9), bound * s * torch.sign(z + 1e-9)) <= ROUNDING * bound
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    assert worst(net, 3 * bound * one, one, 3 * bound * one) == pytest.approx(2 * bound)  # states beyond the bound
    # contexts between the two
    assert worst(net, 0.2 * bound * one, 0.5 * one, 0.1 * bound * one) == pytest.approx(0.1 * bound)


def test_fits_are_repeatable_and_stop_at_the_wanted_error():
    task = TASKS["product"]
    nets = [Modulated(1, 1, 1, [8, 8], [8], 2, range(3)) for _ in range(2)]
    first, second = (theory.fit(net, task, 3, steps=400, stop=0.05) for net in nets)
    assert torch.equal(first, second)
    assert bool((first < 0.06).all()) and bool((first > 0.01).all())


def test_a6_noise_on_an_exact_network_gives_the_error_of_the_noise():
    class Exact(torch.nn.Module):
        forward = staticmethod(TASKS["policy"].target)

    task = TASKS["policy"]
    assert theory.noisy_error(Exact(), task, 2, 0.1, 0.0).tolist() == [0.0, 0.0]
    s, z, y = task.sample(torch.Generator().manual_seed(0), 1, 200_000)
    rms = float((y / z).square().mean().sqrt())
    measured = theory.noisy_error(Exact(), task, 1, 0.1, 0.3, points=100_000)
    assert float(measured) == pytest.approx(0.3 * rms, rel=0.02)


# ---------------------------------------------------------------- variability


def random_law(seed, n=30, contexts=6, dim=3):
    rng = np.random.default_rng(seed)
    weight = rng.random((n, contexts)) * (rng.random((n, contexts)) < 0.5)
    weight[:, 2] *= seed % 2  # in every second law this context has no probability
    mode = np.array([1.0, -1.0] * (contexts // 2))
    return Law(rng.standard_normal((n, dim)) + 3, weight / weight.sum(), mode, rng.uniform(0.5, 1.5, contexts))


@pytest.mark.parametrize("seed", range(8))
def test_a15_identity_on_discrete_laws(seed):
    law = random_law(seed)
    terms, total = law.terms(), law.variability()
    assert abs(sum(terms.values()) - total) <= 1e-12
    for left_out in terms:
        assert abs(sum(v for k, v in terms.items() if k != left_out) - total) > 1e-3, left_out


def test_a15_identity_on_samples():
    rng = np.random.default_rng(0)
    codes = theory.synthetic_codes(p=0.3, dim=4)
    label = rng.choice(10, size=5000, p=codes.prob)
    z = codes.centre[label] + codes.noise[0] * rng.standard_normal((5000, 4))
    law = Law.of_samples(z, label, codes.mode, codes.mass)
    assert abs(sum(law.terms().values()) - law.variability()) <= 1e-12
    assert law.variability() == pytest.approx(np.trace(np.cov(z.T, bias=True)), rel=1e-12)
    # the three knobs of the codes are the three terms
    expected = {"within-context": 4 * 0.2**2, "within-mode": 0.3**2, "between-mode": 0.3 * 0.7 * 2.0**2}
    assert law.terms() == pytest.approx(expected, rel=0.05)


def test_a15_one_mode_alone_has_no_between_mode_term():
    law = Law.of_samples(np.random.default_rng(0).standard_normal((50, 2)), np.arange(50) % 2, np.ones(2), np.ones(2))
    assert law.terms()["between-mode"] == 0
    assert abs(sum(law.terms().values()) - law.variability()) <= 1e-12


@pytest.mark.parametrize("seed", range(8))
def test_a17_bound_holds_and_needs_its_last_term(seed):
    law, theta = random_law(seed), np.array([0.3, -0.2, 0.1, 0.2])
    r = law.gradient(theta, 0.3)
    assert abs(r["unexplained"] + r["explained"] - r["variance"]) <= 1e-9 * r["variance"]
    assert r["variance"] <= r["bound"]
    assert r["unexplained"] < r["variance"]  # without L^2 tr Cov(Z) it would be no bound
    assert r["bound"] < 10 * r["variance"]  # and it says something


def test_a17_bound_is_tight_for_two_codes():
    codes = theory.synthetic_codes(spread=0.0, noise=0.0, masses=1)
    r = Law(codes.centre, np.eye(2) / 2, codes.mode, codes.mass).gradient(np.array([0.2, 0.0, 0.1]), 0.3)
    assert r["bound"] == pytest.approx(r["variance"], rel=1e-12)
    assert r["explained"] > 0.1


def test_a17_formulas_agree_with_sampled_gradients():
    law = theory.synthetic_codes(p=0.4).law(200, np.random.default_rng(0))
    theta = np.array([0.4, 0.1, 0.1])
    r, g = law.gradient(theta, 0.3), law.sample_gradients(theta, 0.3, 400_000, np.random.default_rng(1))
    assert np.trace(np.cov(g.T)) == pytest.approx(r["variance"], rel=0.03)


def test_a17_conditional_mean_agrees_with_a_difference_quotient():
    """E[g | z] is the gradient of the expected reward, here by differences of its closed form."""
    law, theta, std = random_law(1, n=1), np.array([0.3, -0.2, 0.1, 0.2]), 0.3
    kappa, prob = law.mode / law.mass, law.weight[0]
    m2 = theory.start_moments()[0]

    def reward(theta):
        gain = np.append(law.z[0], 1) @ theta
        return -(prob * ((kappa * gain - 1) ** 2 * m2 + 2 * kappa**2 * std**2)).sum()

    slope = [(reward(theta + h) - reward(theta - h)) / 2e-5 for h in 1e-5 * np.eye(4)]
    g = law.sample_gradients(theta, std, 1_000_000, np.random.default_rng(0))
    assert g.mean(axis=0) == pytest.approx(np.array(slope), abs=5 * g.std(axis=0).max() / 1000)


def test_a17_one_step_is_the_benchmarks_step():
    contexts = np.array([[0.5, 1.0], [1.5, -1.0], [2.0, -1.0]])
    env = make_batch("DI", contexts)
    env.reset(seed=0)
    action = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 2))
    env.step(action)
    acceleration = env.state_dict()["physics"]["v"] / DT  # the episode starts at rest
    assert acceleration == pytest.approx(contexts[:, 1:] * action / contexts[:, :1], rel=1e-12)
    starts = np.concatenate([make_batch("DI", np.ones((2000, 2))).reset(seed=1)[0][:, :2]])
    radius = np.square(starts).sum(axis=1)
    assert [np.mean(radius**j) for j in (1, 2, 3)] == pytest.approx(theory.start_moments(), rel=0.02)


@pytest.mark.parametrize("seed", range(8))
def test_a18_compression_keeps_the_separation_and_drops_the_rest(seed):
    law = random_law(seed)
    before, after = law.terms(), law.compressed().terms()
    assert after["between-mode"] == pytest.approx(before["between-mode"], rel=1e-12)
    assert max(after["within-context"], after["within-mode"]) <= 1e-25
    assert law.compressed().variability() < law.variability()
    again = law.compressed().compressed()  # equality exactly when both other terms vanish
    assert again.variability() == pytest.approx(law.compressed().variability(), rel=1e-12)


def test_a18_gradient_bound_need_not_fall_under_partial_compression():
    """A.17 and A.18 compare bounds at one L; L itself grows when contexts of one mode are pushed together."""
    codes, theta = theory.synthetic_codes(), np.array([0.5, 0.0, 0.0])
    laws = [codes.squeezed(amount).law(400, np.random.default_rng(0)) for amount in (0.0, 0.9)]
    assert laws[1].variability() < laws[0].variability()
    assert laws[1].gradient(theta, 0.3)["L"] > laws[0].gradient(theta, 0.3)["L"]


def test_information_may_rise_under_compression():
    before, after = theory.information_counterexample()
    assert before == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)), rel=1e-12)
    assert after == pytest.approx(np.log(2), rel=1e-12)
    assert round(before, 3) == 0.562 and round(after, 3) == 0.693


def test_information_falls_where_the_mode_can_be_decoded():
    codes = theory.synthetic_codes(separation=20.0)
    law = codes.law(500, np.random.default_rng(0))
    assert law.information() > law.compressed().information() == pytest.approx(np.log(2), rel=1e-6)


def test_codes_posterior_is_bayes_rule():
    codes = Codes(np.array([[0.0], [1.0]]), np.full(2, 0.5), np.array([0.2, 0.8]), np.array([1.0, -1.0]), np.ones(2))
    odds = 0.8 * np.exp(-((0.3 - 1) ** 2) / 0.5) / (0.2 * np.exp(-(0.3**2) / 0.5))
    assert codes.posterior(np.array([[0.3]]))[0] == pytest.approx([1 / (1 + odds), odds / (1 + odds)], rel=1e-12)
