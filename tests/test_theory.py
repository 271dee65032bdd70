"""A numerical twin for each theorem, with a control case in which the claim must fail."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from dmash_core.benchmark.double_integrator import DT
from dmash_core.benchmark.suite import make_batch
from dmash_core.diagnostics.variance import Codes, Law, information_counterexample, start_moments, synthetic_codes
from reproduction.theory import expressivity, regret, twins
from reproduction.theory.expressivity import TASKS, Concatenating, Modulated

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
    assert worst(expressivity.product_network(), s, z, s * z) <= ROUNDING * scale**2


def test_a1_modulated_network_fails_with_a_wrong_hypernetwork():
    s, z = points(1, 1, 1.0)
    wrong = expressivity.affine_family(np.zeros((2, 2)), [np.eye(2)], expressivity._halves(1)[1], [1.0, 1.0])  # z |s|
    assert worst(wrong, s, z, s * z) > 1


@pytest.mark.parametrize("hidden", [[8], [16, 16], [8, 8, 8]])
def test_a1_concatenating_networks_are_affine_somewhere_and_the_product_is_not(hidden):
    """The proof's argument: on a short enough segment of a diagonal every concatenating network is affine, and its
    distance from the parabola t^2 on a segment of length r is at least r^2 / 8 at one of three points."""
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
    assert bool(((second < 1e-13).double().mean(dim=1) > 0.5).all())  # most segments contain no kink
    assert torch.allclose(along(lambda s, z: s * z), torch.tensor(r**2 / 2, dtype=torch.float64), rtol=1e-6)


def test_a1_fitted_modulated_network_is_better_with_fewer_parameters():
    task, seeds = TASKS["product"], range(3)
    concat = Concatenating(1, 1, 1, [16, 16], seeds)
    modulated = Modulated(1, 1, 1, [4, 4], [8], None, seeds)
    assert expressivity.parameters_per_seed(modulated) < expressivity.parameters_per_seed(concat)
    before = expressivity.error(concat, task, 3)[0]
    errors = [expressivity.fit(net, task, 3, steps=600) for net in (concat, modulated)]
    assert bool((errors[0] < before / 5).all())  # the fit works: the network compared is trained
    assert errors[1].median() < errors[0].median()


def second_difference(f, s, d, z, e):
    """f(0) - 2 f(1/2) + f(1) along the segment from (s, z) to (s + d, z + e); arguments (B, .)."""
    with torch.no_grad():
        triple = [f(s + t * d, z + t * e) for t in (0.0, 0.5, 1.0)]
    return triple[0] - 2 * triple[1] + triple[2]


def simnorm(x):
    """The method's code: a softmax in each of two groups of four."""
    return torch.softmax(x.unflatten(-1, (2, 4)), dim=-1).flatten(-2)


def test_a1_bilinear_forms_bend_along_a_segment():
    """s^T M z has second difference d^T M e / 2 along every segment; a concatenating network has none on short ones."""
    g = torch.Generator().manual_seed(0)
    m, s, z = (torch.randn(*shape, generator=g, dtype=torch.float64) for shape in ((3, 2), (400, 3), (400, 2)))
    d, e = (1e-3 * torch.randn(n, generator=g, dtype=torch.float64) for n in (3, 2))
    form = second_difference(lambda s, z: torch.einsum("bi,ij,bj->b", s, m, z), s, d, z, e)
    assert torch.allclose(form, (d @ m @ e / 2).expand(400), rtol=1e-6, atol=0)
    net = Concatenating(3, 2, 1, [16, 16])
    bends = second_difference(lambda s, z: net(s[None], z[None])[0, :, 0], s, d, z, e).abs()
    assert float((bends < 1e-13).double().mean()) > 0.5
    flat = e - (d @ m @ e) / (d @ m).square().sum() * (d @ m)  # along this segment the form is affine
    control = second_difference(lambda s, z: torch.einsum("bi,ij,bj->b", s, m, z), s, d, z, flat)
    assert float(control.abs().max()) < 1e-13


def test_a1_simnorm_codes_hold_a_segment_on_which_the_form_bends():
    z = simnorm(torch.randn(500, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    assert torch.allclose(z.unflatten(-1, (2, 4)).sum(-1), torch.ones(500, 2, dtype=torch.float64))
    assert torch.linalg.matrix_rank(z - z.mean(0)) == 6  # two simplices of dimension 3: no interior in R^8
    s, d = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    middle, e = torch.full((1, 8), 0.25, dtype=torch.float64), torch.zeros(8, dtype=torch.float64)
    e[0], e[1] = 0.125, -0.125
    ends = torch.stack([middle[0], middle[0] + e])
    assert bool((ends > 0).all()) and torch.equal(ends[1].view(2, 4).sum(-1), ends[0].view(2, 4).sum(-1))
    for row, bends in (([1.0, 0, 0, 0, 0, 0, 0, 0], True), ([1.0, 1, 1, 1, 0, 0, 0, 0], False)):
        m = torch.tensor([row], dtype=torch.float64)
        found = second_difference(lambda s, z, m=m: torch.einsum("bi,ij,bj->b", s, m, z), s, d, middle, e)
        assert bool(found.abs() > 0.01) is bends  # a form that treats a group's coordinates alike does not bend


def largest_error(net, r, seeds=1):
    grid = torch.linspace(-r, r, 201, dtype=torch.float64)
    s, z = torch.cartesian_prod(grid, grid).split(1, dim=1)
    with torch.no_grad():
        f = net(s.expand(seeds, -1, 1), z.expand(seeds, -1, 1))
    return (f - s * z).abs().amax(dim=(1, 2))


def test_a1_fits_and_a_constructed_network_lie_above_the_floor():
    for hidden in ([2], [4], [8], [16], [4, 4], [8, 8]):
        net = Concatenating(1, 1, 1, hidden, range(3))
        expressivity.fit(net, TASKS["product"], 3, steps=300)
        assert bool((largest_error(net, 1.0, 3) > twins.approximation_floor(hidden)).all()), hidden
    assert twins.approximation_floor([3]) == 1 / 32 and twins.approximation_floor([3, 1], 2.0) == 4 / 128
    for pieces, r in ((2, 1.0), (8, 1.0), (8, 3.0), (64, 1.0)):
        net, width = twins.near_optimal_product(pieces, r), 2 * pieces - 1
        assert net.net.layers[0].weight.shape[-1] == width
        found, floor = float(largest_error(net, r)), twins.approximation_floor([width], r)
        assert floor < found <= (r / pieces) ** 2 * (1 + 1e-9) <= 8 * floor * (1 + 1e-9)
    # control: the modulated network is below every floor, so a floor for both classes would be false
    assert float(largest_error(expressivity.product_network(), 1.0)) < 1e-15 < twins.approximation_floor([1000, 1000])


def test_a1_floor_on_simnorm_codes():
    """|d^T M e| <= 8 eps prod (k_i + 1)^2 along a segment of SimNorm's values, for networks fitted there."""
    e = torch.zeros(8, dtype=torch.float64)
    e[0], e[1] = 0.48, -0.48
    low = torch.full((8,), 0.25, dtype=torch.float64)
    low[0], low[1] = 0.01, 0.49
    t = torch.linspace(0, 1, 501, dtype=torch.float64)[None, :, None]
    s, z = 2 * t - 1, low + t * e  # s runs from -1 to 1 with the code: d^T M e = 2 * 0.48 for M = (1, 0, ..., 0)
    for width in (1, 2, 4):
        net = Concatenating(1, 8, 1, [width], range(3))
        optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
        for _ in range(200):
            wrong = net(s.expand(3, -1, 1), z.expand(3, -1, 8)) - s * z[..., :1]
            optimiser.zero_grad()
            wrong.square().mean().backward()
            optimiser.step()
        eps = wrong.abs().amax(dim=(1, 2))
        assert bool((0.96 <= 8 * eps * (width + 1) ** 2).all())
    # control: a modulated network is within 1e-12 there, so the floor is false for that class
    with torch.no_grad():
        exact = float((expressivity.product_network()(s, z[..., :1]) - s * z[..., :1]).abs().max())
    assert 0.96 > 8 * exact * 1e6**2 and exact < 1e-14


@pytest.mark.parametrize("n", [1, 3])
def test_a2_gain(n):
    s, z = points(n, 1, 10.0)
    assert worst(expressivity.gain_network(n), s, z, s * z) <= ROUNDING * 100


def test_a2_permutations_and_other_finite_families():
    rng = np.random.default_rng(0)
    for operators in (expressivity.PERMUTATIONS, rng.standard_normal((4, 3, 3))):
        net, (s, _) = expressivity.family_network(operators), points(3, 0, 10.0)
        for code, operator in zip(np.eye(len(operators)), operators, strict=True):
            z = torch.as_tensor(code).expand(1, s.shape[1], -1)
            y = s @ torch.as_tensor(operator).T
            assert worst(net, s, z, y) <= ROUNDING * 100
            assert worst(net, s, z, s @ torch.as_tensor(operator + 0.1).T) > 0.1


def test_a2_one_hot_families_are_concatenating_networks():
    """A.2's separation is false for permutations: on bounded states a concatenating network represents them too."""
    rng = np.random.default_rng(0)
    for operators in (expressivity.PERMUTATIONS, rng.standard_normal((4, 3, 3))):
        net, (s, _) = twins.one_hot_network(operators, 10.0), points(3, 0, 10.0)
        assert net.net.layers[0].weight.shape[-1] == len(operators) * (3 + 1)
        for code, operator in zip(np.eye(len(operators)), operators, strict=True):
            z = torch.as_tensor(code).expand(1, s.shape[1], -1)
            assert worst(net, s, z, s @ torch.as_tensor(operator).T) <= ROUNDING * 1000
            assert worst(net, 3 * s, z, 3 * s @ torch.as_tensor(operator).T) > 1  # beyond the bound it is wrong


def test_a3_bends_where_a_slope_varies_and_only_there():
    """w^T T(z) x(s) along a diagonal bends by slope change times code change, if the trunk is affine there."""
    x = expressivity._halves(1)[1]
    s, z = (torch.full((1, 1), v, dtype=torch.float64) for v in (0.5, 0.2))
    step = torch.full((1,), 0.1, dtype=torch.float64)
    for slope, bend in ((np.diag([1.0, -1.0]), 0.1 * 0.1 / 2), (np.array([[0.0, 0.0], [0.0, 1.0]]), 0.0)):
        net = expressivity.affine_family(np.eye(2), [slope], x, [1.0, 1.0])  # the second slope's readout is 0 for s > 0
        found = second_difference(lambda s, z, net=net: net(s[None], z[None])[0, :, 0], s, step, z, step)
        assert float(found) == pytest.approx(bend, abs=1e-14)


def test_a3_affine_family_of_operators_on_a_trunk():
    rng = np.random.default_rng(1)
    trunk = ((rng.standard_normal((5, 2)), rng.standard_normal(5)), (rng.standard_normal((4, 5)), np.ones(4)))
    constant, slopes, w = rng.standard_normal((4, 4)), rng.standard_normal((3, 4, 4)), rng.standard_normal(4)
    s, z = points(2, 3, 2.0, n=500)
    x = np.maximum(s[0].numpy() @ trunk[0][0].T + trunk[0][1], 0) @ trunk[1][0].T + trunk[1][1]
    operator = constant + np.einsum("bj,jkl->bkl", z[0].numpy(), slopes)
    y = np.einsum("k,bkl,bl->b", w, operator, x) + 0.5
    net = expressivity.affine_family(constant, slopes, trunk, w, 0.5)
    assert worst(net, s, z, torch.as_tensor(y)[None, :, None]) <= ROUNDING * np.abs(y).max() * 10
    wrong = expressivity.affine_family(constant, slopes[[1, 0, 2]], trunk, w, 0.5)
    assert worst(wrong, s, z, torch.as_tensor(y)[None, :, None]) > 0.1


@pytest.mark.parametrize("k", [2, 3, 4, 32])
def test_a5_bottleneck_of_width_two_and_more(k):
    s, z = points(1, 1, 100.0)
    assert worst(expressivity.bottleneck_product(k), s, z, s * z) <= ROUNDING * 1e4
    assert worst(expressivity.bottleneck_product(k), s, z, 1.01 * s * z) > 1


def bottleneck(x, omega, k):
    n = x.shape[1]
    down, up = omega[: k * n].reshape(k, n), omega[k * n :].reshape(n, k)
    return x + np.maximum(x @ down.T, 0) @ up.T


@pytest.mark.parametrize("k", [5, 7])
def test_a5_bottleneck_as_wide_as_the_features(k):
    """A5_bottleneck_can: W_down = [I; 0], W_up = [T - I, 0] on non-negative features; on negative ones it fails."""
    rng = np.random.default_rng(0)
    x, operator = np.abs(rng.standard_normal((200, 5))), rng.standard_normal((5, 5))
    omega = np.concatenate([np.eye(k, 5).ravel(), ((operator - np.eye(5)) @ np.eye(5, k)).ravel()])
    assert np.abs(bottleneck(x, omega, k) - x @ operator.T).max() <= ROUNDING * 100
    assert np.abs(bottleneck(-x, omega, k) + x @ operator.T).max() > 1


@pytest.mark.parametrize(("d", "k"), [(1, 2), (2, 4), (2, 32), (6, 32)])
def test_a5_actions_need_twice_their_number(d, k):
    """At the method's n = 256: width 2 d gives any operator on d actions, for features of both signs."""
    rng = np.random.default_rng(d)
    head, operator = rng.standard_normal((d, 256)), rng.standard_normal((d, d))
    x, omega = rng.standard_normal((300, 256)), twins.actions_omega(head, np.linalg.pinv(head), operator, k)
    wanted = x @ head.T @ operator.T
    scale = np.abs(wanted).max()
    assert np.abs(bottleneck(x, omega, k) @ head.T - wanted).max() <= 1e-12 * scale
    half = omega.copy()
    half[: k * 256].reshape(k, 256)[d : 2 * d] = 0  # without the negative parts, half of the states are wrong
    assert np.abs(bottleneck(x, half, k) @ head.T - wanted).max() > 0.1 * scale
    nearly = twins.actions_omega(head, 1.1 * np.linalg.pinv(head), operator, k)  # W Q = I is needed
    assert np.abs(bottleneck(x, nearly, k) @ head.T - wanted).max() > 0.01 * scale


@pytest.mark.parametrize(("d", "k"), [(1, 6), (2, 12), (2, 32)])
def test_a5_trained_adapter_at_the_methods_sizes(d, k):
    """ReLU(x + W_up ReLU(W_down x + b_down) + b_up), 256 features of both signs, represents an affine family T(z)."""
    rng = np.random.default_rng(d)
    readout, x = rng.standard_normal((d, 256)), rng.standard_normal((300, 256))
    constant, slopes = rng.standard_normal((d, d)), rng.standard_normal((8, d, d))
    for z in rng.standard_normal((5, 8)):
        operator = constant + np.einsum("j,jkl->kl", z, slopes)
        omega = twins.trained_omega(readout, operator, k)
        assert omega.shape == (2 * k * 256 + k + 256,)
        y = twins.trained_adapter(x, omega, k)
        wanted = x @ readout.T @ operator.T
        assert np.abs(y[:, :d] - y[:, d : 2 * d] - wanted).max() <= 1e-12 * np.abs(wanted).max()
        assert np.abs(y[:, :d] - wanted).max() > 0.1  # one half alone lacks what the outer ReLU cuts off
    if k == 32 and d == 2:
        assert len(omega) == 16_672  # the method's adapter


@pytest.mark.parametrize("bound", [1.0, 3.0])
def test_a5_width_one_is_exact_up_to_its_bound_and_wrong_beyond(bound):
    s, z = points(1, 1, 1.0)
    net = expressivity.bottleneck_one(bound)
    assert worst(net, 50 * s, bound * z, 50 * s * bound * z) <= ROUNDING * 50 * bound * 4
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    for excess in (0.1, 1.0, 10.0):
        assert worst(net, one, (bound + excess) * one, (bound + excess) * one) == pytest.approx(excess)
        assert worst(net, -one, (bound + excess) * one, -(bound + excess) * one) <= ROUNDING * 100  # the other side


def test_a5_width_one_fails_beyond_for_every_hypernetwork():
    """The floor depends only on trunk and head; random and fitted hypernetworks stay above it, and it grows."""
    seeds = range(4)
    net = Modulated(1, 1, 1, [8, 8], [8], 1, seeds)
    expressivity.fit(net, TASKS["product"], 4, steps=200)
    z = torch.linspace(-20, 20, 81, dtype=torch.float64)
    floor = expressivity.width_one_floor(net, z)
    assert bool((floor[:, [0, -1]] > 10).all())
    with torch.no_grad():
        ends = [(net(*(t.expand(4, -1, 1) for t in (sign + 0 * z[None, :, None], z[None, :, None])))[..., 0] - sign * z)
                for sign in (1, -1)]  # fmt: skip
    assert bool((torch.stack(ends).abs().amax(dim=0) >= floor - 1e-9).all())


@pytest.mark.parametrize("bound", [1.0, 8.0])
def test_binary_contexts_four_neurons_are_exact_with_bounded_states(bound):
    net = expressivity.binary_network(bound)
    assert net.net.layers[0].weight.shape[-1] == 4
    s, z = points(1, 1, 1.0)
    assert worst(net, bound * s, torch.sign(z + 1e-9), bound * s * torch.sign(z + 1e-9)) <= ROUNDING * bound
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    assert worst(net, 3 * bound * one, one, 3 * bound * one) == pytest.approx(2 * bound)  # a state beyond the bound
    # a context between the two
    assert worst(net, 0.2 * bound * one, 0.5 * one, 0.1 * bound * one) == pytest.approx(0.1 * bound)


def test_binary_two_neurons_are_exact_and_one_is_not():
    s, z = points(1, 1, 4.0)
    sign = torch.sign(z + 1e-9)
    assert worst(twins.binary_two(4.0), s, sign, s * sign) <= ROUNDING * 10
    assert worst(twins.binary_two(4.0), 2 * s, sign, 2 * s * sign) > 1
    # one neuron increases in s for both contexts or decreases for both, so its error is B somewhere
    one = Concatenating(1, 1, 1, [1], range(8))
    expressivity.fit(one, expressivity.Task(1, 1, 1, expressivity._signs, lambda s, z: s * z), 8, steps=300)
    ends = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    with torch.no_grad():
        f = one(ends[None, :, :1].expand(8, -1, 1), ends[None, :, 1:].expand(8, -1, 1))
    assert bool(((f - ends[:, :1] * ends[:, 1:]).abs().amax(dim=(1, 2)) >= 1 - 1e-9).all())


def test_binary_contexts_have_one_slope_far_out():
    net = Concatenating(1, 1, 1, [16, 16], range(5))
    s = torch.tensor([1e6, 2e6], dtype=torch.float64)[None, :, None].expand(5, -1, 1)
    with torch.no_grad():
        slope = [(net(s, torch.full_like(s, z)).diff(dim=1) / 1e6)[:, 0, 0] for z in (1.0, -1.0)]
        near = [net(s / 1e6, torch.full_like(s, z)).diff(dim=1)[:, 0, 0] for z in (1.0, -1.0)]
    assert torch.allclose(slope[0], slope[1], rtol=1e-6, atol=1e-9)
    assert not torch.allclose(near[0], near[1], rtol=1e-2, atol=1e-3)  # nearby, the slopes differ


def test_binary_contexts_do_not_separate_the_classes():
    """A modulated network with two contexts as one concatenating network: ReLU(f + M z) + ReLU(g - M z) - M, where M
    bounds both on the box."""
    net = Modulated(2, 1, 1, [8, 8], [8], 4)
    s, z = points(2, 1, 1.0)
    with torch.no_grad():
        f, g = (net(s, torch.full_like(z, sign)) for sign in (1.0, -1.0))
        for m, exact in ((1.01 * float(torch.stack([f, g]).abs().max()), True), (0.0, False)):
            both = {sign: torch.relu(f + m * sign) + torch.relu(g - m * sign) - m for sign in (1.0, -1.0)}
            gap = max(float((both[1.0] - f).abs().max()), float((both[-1.0] - g).abs().max()))
            assert (gap <= 1e-14) is exact


def test_fits_are_repeatable_and_stop_at_the_wanted_error():
    task = TASKS["product"]
    nets = [Modulated(1, 1, 1, [8, 8], [8], 2, range(3)) for _ in range(2)]
    first, second = (expressivity.fit(net, task, 3, steps=400, stop=0.05) for net in nets)
    assert torch.equal(first, second)
    assert bool((first < 0.06).all()) and bool((first > 0.01).all())


def test_a6_noise_on_an_exact_network_gives_the_error_of_the_noise():
    class Exact(torch.nn.Module):
        forward = staticmethod(TASKS["policy"].target)

    task = TASKS["policy"]
    assert expressivity.noisy_error(Exact(), task, 2, 0.1, 0.0).tolist() == [0.0, 0.0]
    s, z, y = task.sample(torch.Generator().manual_seed(0), 1, 200_000)
    rms = float((y / z).square().mean().sqrt())
    measured = expressivity.noisy_error(Exact(), task, 1, 0.1, 0.3, points=100_000)
    assert float(measured) == pytest.approx(0.3 * rms, rel=0.02)


def test_a6_switch_target_is_the_controller_of_the_sign():
    task = TASKS["policy-switch"]
    s, z, y = task.sample(torch.Generator().manual_seed(0), 1, 4000)
    assert float(z.abs().min()) >= 0.2 and float(z.abs().max()) <= 1
    force = (-2 * (s[..., :2] + s[..., 2:])).clamp(-1, 1)
    assert torch.equal(y, torch.where(z > 0, force, -force))
    assert not torch.allclose(y, z * force, atol=0.1)  # as in the interval setting


class Exact(torch.nn.Module):
    """Replaces a network of A.6: z times the controller, whatever the sizes."""

    def __init__(self, *sizes, **more):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3, 1))

    forward = staticmethod(TASKS["policy"].target)


def test_a6_experiment_on_exact_networks_has_a_known_answer(monkeypatch):
    """Both classes get the same noise: exact networks have error noise times the controller's size. Seeds count if
    their clean error reached the level or missed it by at most 10 %."""
    monkeypatch.setattr(expressivity, "Concatenating", Exact)
    monkeypatch.setattr(expressivity, "Modulated", Exact)
    monkeypatch.setattr(expressivity, "NOISE_SETTINGS", {"interval": ("policy", 0.1)})
    monkeypatch.setattr(
        expressivity, "fit", lambda net, task, n, steps, stop: torch.tensor([0.5, 1.09, 1.2]).double() * stop
    )
    errors, sizes = expressivity.noise_experiment(range(3), [0.0, 0.25, 0.5], 1, 0.04, widths=(4,), trunks=(2,))
    clean = pytest.approx(1.09 * 0.04)
    assert [tuple(r[k] for k in ("class", "reached", "clean")) for r in sizes] == [
        ("concatenating", 2, clean),
        ("modulated", 2, clean),
    ]
    assert {r["seed"] for r in errors} == {0, 1} and len(errors) == 2 * 2 * 3
    s, z, y = TASKS["policy"].sample(torch.Generator().manual_seed(5), 1, 200_000)
    size = float((y / z).square().mean().sqrt())
    for row in errors:
        assert row["error"] == pytest.approx(row["noise"] * size, rel=0.03), row


def test_a6_exact_switches_ignore_noise_beyond_the_margin():
    g = torch.Generator().manual_seed(0)
    bound, delta, noise = 3.0, 0.2, 0.5
    s = bound * (2 * torch.rand(1, 5000, 1, generator=g, dtype=torch.float64) - 1)
    far = delta + noise + torch.rand(1, 5000, 1, generator=g, dtype=torch.float64)
    z = far * (2 * torch.randint(2, far.shape, generator=g) - 1)
    n = noise * (2 * torch.rand(far.shape, generator=g, dtype=torch.float64) - 1)
    for net in (twins.switch_network(bound, delta), twins.switch_modulated(delta)):
        assert worst(net, s, z + n, s * z.sign()) <= 1e-13
        assert worst(net, s, z.sign() * delta, s * z.sign()) <= 1e-13  # on the margin itself
        assert worst(net, s, z.sign() * delta / 2, s * z.sign()) > 1  # within the margin the switch is incomplete
    assert worst(twins.switch_network(bound, delta), 2 * s, z, 2 * s * z.sign()) > 1  # beyond the bound
    assert worst(twins.switch_modulated(delta), 2 * s, z, 2 * s * z.sign()) <= 1e-13


def test_a6_slope_within_the_margin():
    """Modulation has the smallest slope possible for all states; concatenation is steeper, by the excess."""
    for bound, delta in ((1.0, 0.2), (3.0, 0.5)):
        floor = bound / (4 * (4 * 3) ** 2)  # hidden widths 3 and 2
        assert twins.excess_slope(twins.switch_modulated(delta), bound, delta) == pytest.approx(0, abs=1e-9)
        assert twins.excess_slope(twins.switch_network(bound, delta), bound, delta) == pytest.approx(bound, rel=0.02)
        assert bound > floor
        # no exact switch has a smaller slope: with a reduced slope it misses the margin
        z = torch.full((1, 1, 1), delta, dtype=torch.float64)
        flat = twins.switch_modulated(2 * delta)
        assert float(flat(bound + 0 * z, z).detach()) == pytest.approx(bound / 2)


# ---------------------------------------------------------------- policies without memory


def test_a8_memoryless_networks_fail_from_some_start():
    """Trained actors on the integrator: each memoryless one has a start and context from which the state never shrinks;
    an actor of the same size and training that sees the sign shrinks every start of the training range."""
    seeds = range(3)
    blind, aware = (twins.train_integrator(seeds, sees, updates=150) for sees in (False, True))
    starts = np.linspace(0.2, 2, 40)
    for i in seeds:
        start, sign = twins.stuck_start(lambda x, i=i: blind(x, 1, i))
        path = twins.trajectory(lambda x, i=i: blind(x, 1, i), [start], sign, 200)
        assert path.min() >= start - 1e-9
        for sign in (1, -1):
            path = twins.trajectory(lambda x, i=i, sign=sign: aware(x, sign, i), starts, sign, 12)
            assert bool((path.min(axis=0) < starts).all())
            assert np.abs(path[-1]).max() < 0.2
        worst_blind = max(
            np.abs(twins.trajectory(lambda x, i=i: blind(x, 1, i), starts, sign, 12)[-1]).max() for sign in (1, -1)
        )
        assert worst_blind > 0.5


def test_a8_one_start_is_solved_without_memory():
    for sign in (1, -1):
        path = twins.trajectory(twins.one_start_policy, [1.0], sign, 6)[:, 0]
        assert path[2:].tolist() == [0.0] * 5
    start, sign = twins.stuck_start(twins.one_start_policy)  # another start is not solved: the policy is 0 there
    assert start == pytest.approx(1.8, abs=1e-9)
    assert twins.trajectory(twins.one_start_policy, [start], sign, 50).min() >= start - 1e-9


@pytest.mark.parametrize("p", [0.5, 0.2, 0.9])
def test_a8_price_of_the_unseen_sign(p):
    """One step of the benchmark's DI: the mean loss is the price plus the squared distance from the best force."""
    wanted = np.array([0.3, -0.4])
    for force in (np.zeros(2), wanted, (2 * p - 1) * wanted, np.array([-0.7, 0.1])):
        losses = regret.first_step_losses(force, wanted)
        mean = p * losses[0] + (1 - p) * losses[1]
        price = 4 * p * (1 - p) * (wanted @ wanted)
        assert mean == pytest.approx(price + np.square(force - (2 * p - 1) * wanted).sum(), rel=1e-9)
        assert mean >= price - 1e-12 and max(losses) >= wanted @ wanted - 1e-12
    assert regret.first_step_losses(np.zeros(2), wanted) == pytest.approx([wanted @ wanted] * 2, rel=1e-12)
    assert regret.first_step_losses(wanted, wanted) == pytest.approx([0, 4 * wanted @ wanted], abs=1e-12)
    # randomised forces: the mean losses of the contexts are never both below |f|^2
    rng = np.random.default_rng(0)
    for scale in (0.1, 0.5):
        forces = scale * rng.standard_normal((64, 2)).clip(-1, 1)
        means = np.mean([regret.first_step_losses(a, wanted) for a in forces], axis=0)
        assert max(means) >= wanted @ wanted
    # control: a policy that sees the sign loses nothing
    assert regret.first_step_losses(wanted, wanted)[0] + regret.first_step_losses(-wanted, wanted)[1] < 1e-20


# ---------------------------------------------------------------- the actor's gradient through a shared adapter


def test_f15_ascent_through_the_adapter_is_unbounded():
    rng = np.random.default_rng(0)
    for _ in range(20):
        w, x, omega = rng.standard_normal((3, 16))
        values, gain = twins.bias_ascent(w, x, omega, 0.1, 200)
        assert gain > 0
        assert bool((values >= values[0] + gain * np.arange(201) - 1e-9).all())
        assert values[-1] > values[0] + 200 * gain * 0.999
        disliked, none = twins.bias_ascent(-np.abs(w), x, omega, 0.1, 200)  # control: the critic rewards no unit
        assert none == 0 and disliked.max() <= 0
    for seed in range(2):
        free, detached = (twins.actor_ascent(d, 400, seed, lr=0.05) for d in (False, True))
        assert free[-1] > 5 and free[-1] > 1.5 * free[200] > 2 * free[100]  # it keeps rising
        assert np.abs(detached).max() < 2


# ---------------------------------------------------------------- variability


def random_law(seed, n=30, contexts=6, dim=3):
    rng = np.random.default_rng(seed)
    weight = rng.random((n, contexts)) * (rng.random((n, contexts)) < 0.5)
    weight[:, 2] *= seed % 2  # zero probability for this context in every second law
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
    codes = synthetic_codes(p=0.3, dim=4)
    label = rng.choice(10, size=5000, p=codes.prob)
    z = codes.centre[label] + codes.noise[0] * rng.standard_normal((5000, 4))
    law = Law.of_samples(z, label, codes.mode, codes.mass)
    assert abs(sum(law.terms().values()) - law.variability()) <= 1e-12
    assert law.variability() == pytest.approx(np.trace(np.cov(z.T, bias=True)), rel=1e-12)
    # each knob of the codes sets one of the three terms
    expected = {"within-context": 4 * 0.2**2, "within-mode": 0.3**2, "between-mode": 0.3 * 0.7 * 2.0**2}
    assert law.terms() == pytest.approx(expected, rel=0.05)


def test_a15_one_mode_alone_has_no_between_mode_term():
    law = Law.of_samples(np.random.default_rng(0).standard_normal((50, 2)), np.arange(50) % 2, np.ones(2), np.ones(2))
    assert law.terms()["between-mode"] == 0
    assert abs(sum(law.terms().values()) - law.variability()) <= 1e-12


def test_a15_general_on_gaussian_codes():
    """Continuous codes: closed-form terms of the Gaussian law, against samples. Compression keeps the third term."""
    codes, rng, n = synthetic_codes(p=0.3, dim=3, noise=0.25, spread=0.4), np.random.default_rng(0), 400_000
    label = rng.choice(10, size=n, p=codes.prob)
    z = codes.centre[label] + codes.noise[label, None] * rng.standard_normal((n, 3))
    by_mode = np.stack([codes.prob[codes.mode == s] @ codes.centre[codes.mode == s] for s in (1.0, -1.0)])
    by_mode /= np.array([[0.3], [0.7]])
    exact = {
        "within-context": 3 * float(codes.prob @ codes.noise**2),
        "within-mode": float(codes.prob @ np.square(codes.centre - by_mode[(codes.mode < 0).astype(int)]).sum(axis=1)),
        "between-mode": 0.3 * 0.7 * float(np.square(by_mode[0] - by_mode[1]).sum()),
    }
    sampled = float(z.var(axis=0).sum())
    assert sampled == pytest.approx(sum(exact.values()), rel=0.01)
    for left_out in exact:
        assert sampled != pytest.approx(sum(v for k, v in exact.items() if k != left_out), rel=0.05), left_out
    squeezed = by_mode[(codes.mode[label] < 0).astype(int)]
    assert float(squeezed.var(axis=0).sum()) == pytest.approx(exact["between-mode"], rel=0.01)


def test_a17_general_on_gaussian_codes():
    """g = sin(B Z) + noise for Gaussian codes: G = sin(B z) is |B|-Lipschitz, and the bound holds. It is tight for
    G = B z, so half the Lipschitz constant would not be a bound."""
    codes, rng, n = synthetic_codes(p=0.3, dim=3), np.random.default_rng(0), 100_000
    label = rng.choice(10, size=n, p=codes.prob)
    z = codes.centre[label] + codes.noise[label, None] * rng.standard_normal((n, 3))
    b, noise = np.linalg.qr(rng.standard_normal((3, 3)))[0], 0.2 * rng.standard_normal((n, 3))
    total = z.var(axis=0).sum()
    for mean, tight in ((np.sin(z @ b.T), False), (z @ b.T, True)):
        variance, unexplained = (mean + noise).var(axis=0).sum(), np.square(noise).mean(axis=0).sum()
        assert variance <= (unexplained + total) * 1.01
        if tight:
            assert variance == pytest.approx(unexplained + total, rel=0.01)
            assert variance > unexplained + 0.25 * total


def brute_force(law, theta, std):
    """tr Cov(g), E[tr Cov(g | Z)] and E[g | Z] of DI's step by Gauss quadrature over starts and noise, exact up to
    rounding; shares only the law with Law.gradient."""
    x, wx = np.polynomial.legendre.leggauss(6)
    p, wp = 0.9 + 0.1 * x, wx / 2
    p, wp = np.concatenate([p, -p]), np.concatenate([wp, wp]) / 2
    h, wh = np.polynomial.hermite_e.hermegauss(8)
    wh = wh / wh.sum()
    f = -np.stack(np.meshgrid(p, p, indexing="ij"), -1).reshape(-1, 1, 2)
    xi = np.stack(np.meshgrid(h, h, indexing="ij"), -1).reshape(1, -1, 2)
    weight = np.outer(np.outer(wp, wp).ravel(), np.outer(wh, wh).ravel())
    mean, power = np.zeros((len(law.z), len(theta))), np.zeros(len(law.z))
    for i, z in enumerate(law.z):
        features = np.append(z, 1)
        for j, joint in enumerate(law.weight[i]):
            force = (features @ theta) * f + std * xi
            reward = -np.square(law.mode[j] * force / law.mass[j] - f).sum(-1)
            score = (xi * f).sum(-1) / std
            mean[i] += joint * (weight * reward * score).sum() * features
            power[i] += joint * (weight * (reward * score) ** 2).sum() * (features @ features)
    pz = law.weight.sum(axis=1)
    conditional = mean / pz[:, None]
    centre = pz @ conditional
    return power.sum() - centre @ centre, power.sum() - pz @ np.square(conditional).sum(axis=1), conditional


@pytest.mark.parametrize("seed", [0, 1])
def test_a17_formulas_are_exact(seed):
    law, theta = random_law(seed, n=6), np.array([0.3, -0.2, 0.1, 0.2])
    r = law.gradient(theta, 0.3)
    variance, noise, mean = brute_force(law, theta, 0.3)
    assert r["variance"] == pytest.approx(variance, rel=1e-11)
    assert r["unexplained"] == pytest.approx(noise, rel=1e-11)
    assert r["explained"] == pytest.approx(variance - noise, rel=1e-9)
    pairs = [(i, j) for i in range(6) for j in range(i)]
    slopes = [np.linalg.norm(mean[i] - mean[j]) / np.linalg.norm(law.z[i] - law.z[j]) for i, j in pairs]
    assert r["L"] == pytest.approx(max(slopes), rel=1e-10)  # the largest slope, not the mean
    assert max(slopes) > 1.2 * np.mean(slopes)
    assert r["bound"] == pytest.approx(noise + max(slopes) ** 2 * law.variability(), rel=1e-10)


def test_policy_is_the_gain_of_each_context_where_the_code_tells_it():
    mode, mass = np.array([1.0, 1.0, -1.0, -1.0]), np.array([0.5, 2.0, 0.8, 1.25])
    law = Law(np.eye(4), np.diag([0.1, 0.2, 0.3, 0.4]), mode, mass)
    for strength in (1.0, 0.5):
        theta = law.policy(strength)
        assert theta[:4] + theta[4] == pytest.approx(strength * mode * mass, rel=1e-9)
    assert law.policy(1.0)[:4] + law.policy(1.0)[4] != pytest.approx(mode / mass, rel=0.1)


@pytest.mark.parametrize("seed", range(8))
def test_a17_bound_holds_and_needs_its_last_term(seed):
    law, theta = random_law(seed), np.array([0.3, -0.2, 0.1, 0.2])
    r = law.gradient(theta, 0.3)
    assert abs(r["unexplained"] + r["explained"] - r["variance"]) <= 1e-9 * r["variance"]
    assert r["variance"] <= r["bound"]
    assert r["unexplained"] < r["variance"]  # without L^2 tr Cov(Z) it would not be a bound


@pytest.mark.parametrize("seed", range(4))
def test_a17_bound_in_three_terms(seed):
    law, theta = random_law(seed), np.array([0.3, -0.2, 0.1, 0.2])
    r, terms = law.gradient(theta, 0.3), law.terms()
    assert r["bound"] == pytest.approx(r["unexplained"] + r["L"] ** 2 * sum(terms.values()), rel=1e-12)
    tight = synthetic_codes(spread=0.0, noise=0.0, masses=1)  # two codes: the between-mode term is needed
    r = Law(tight.centre, np.eye(2) / 2, tight.mode, tight.mass).gradient(np.array([0.2, 0.0, 0.1]), 0.3)
    assert r["variance"] > r["unexplained"]


def test_a17_bound_is_tight_for_two_codes():
    codes = synthetic_codes(spread=0.0, noise=0.0, masses=1)
    r = Law(codes.centre, np.eye(2) / 2, codes.mode, codes.mass).gradient(np.array([0.2, 0.0, 0.1]), 0.3)
    assert r["bound"] == pytest.approx(r["variance"], rel=1e-12)
    assert r["explained"] > 0.1


def test_a17_formulas_agree_with_sampled_gradients():
    law = synthetic_codes(p=0.4).law(200, np.random.default_rng(0))
    theta = np.array([0.4, 0.1, 0.1])
    r, g = law.gradient(theta, 0.3), law.sample_gradients(theta, 0.3, 400_000, np.random.default_rng(1))
    assert np.trace(np.cov(g.T)) == pytest.approx(r["variance"], rel=0.03)


def test_a17_conditional_mean_agrees_with_a_difference_quotient():
    """E[g | z] is the gradient of the expected reward, here by finite differences of its closed form."""
    law, theta, std = random_law(1, n=1), np.array([0.3, -0.2, 0.1, 0.2]), 0.3
    kappa, prob = law.mode / law.mass, law.weight[0]
    m2 = start_moments()[0]

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
    assert [np.mean(radius**j) for j in (1, 2, 3)] == pytest.approx(start_moments(), rel=0.02)


@pytest.mark.parametrize("seed", range(8))
def test_a18_compression_keeps_the_separation_and_drops_the_rest(seed):
    law = random_law(seed)
    before, after = law.terms(), law.compressed().terms()
    assert after["between-mode"] == pytest.approx(before["between-mode"], rel=1e-12)
    assert max(after["within-context"], after["within-mode"]) <= 1e-25
    assert law.compressed().variability() < law.variability()
    again = law.compressed().compressed()  # equality if and only if both other terms vanish
    assert again.variability() == pytest.approx(law.compressed().variability(), rel=1e-12)


def test_a18_the_gradients_variance_can_rise():
    """Refutes A.18 as a general statement by the variance itself, not a bound: the mode is the code's sign, tr Cov(Z)
    falls, and tr Cov(g) rises. In DI's two dimensions, and for the machine-checked law in one."""
    law, theta = twins.push_law(), np.array([0.25, 0.0])
    after = law.compressed()
    assert after.variability() < law.variability()
    assert bool((np.sign(law.z[:, 0]) == np.array([1, 1, -1, -1])).all())
    before, rises = law.gradient(theta, 0.3)["variance"], after.gradient(theta, 0.3)["variance"]
    assert (round(before, 2), round(rises, 2)) == (77.76, 90.75)
    rng = np.random.default_rng(0)
    sampled = [np.trace(np.cov(x.sample_gradients(theta, 0.3, 400_000, rng).T)) for x in (law, after)]
    assert sampled == pytest.approx([before, rises], rel=0.02)
    assert twins.push_variances() == pytest.approx((23 / 2, 825 / 64), rel=1e-13)
    # control: for a policy that does nothing, the variance falls
    idle = np.zeros(2)
    assert after.gradient(idle, 0.3)["variance"] < law.gradient(idle, 0.3)["variance"]


@pytest.mark.parametrize("seed", range(6))
def test_account_of_the_gradients_variance(seed):
    law, theta = random_law(seed), np.array([0.3, -0.2, 0.1, 0.2])
    terms, r = twins.gradient_terms(law, theta, 0.3), law.gradient(theta, 0.3)
    assert sum(terms.values()) == pytest.approx(r["variance"], rel=1e-12)
    assert min(terms.values()) >= 0
    account = twins.compression_account(law, theta, 0.3)
    fall = r["variance"] - law.compressed().gradient(theta, 0.3)["variance"]
    assert account["fall"] == pytest.approx(fall, rel=1e-9, abs=1e-9 * r["variance"])
    for left_out in ("removed", "added", "separation"):
        assert abs(account[left_out]) > 1e-6 * r["variance"], left_out
    # the criterion applies if modes keep their mean gradient, here by symmetry of codes and contexts
    symmetric = twins.push_law()
    symmetric = Law(np.array([[1.0], [3.0], [-1.0], [-3.0]]), symmetric.weight, symmetric.mode, symmetric.mass)
    for gain, std in ((0.25, 0.3), (0.05, 0.3), (0.25, 1.5)):
        a = twins.compression_account(symmetric, np.array([gain, 0.0]), std)
        assert (a["fall"] >= 0) == (a["added"] - a["separation"] <= a["removed"])


@pytest.mark.parametrize("seed", range(6))
def test_variance_falls_for_affine_gradients_of_an_independent_code(seed):
    before, after, gain = twins.affine_gradient_variances(seed)
    assert before - after == pytest.approx(gain, rel=1e-10) and gain > 0
    before, after, gain = twins.affine_gradient_variances(seed, independent=False)
    assert after > before + 1e-3  # control: it rises if the rest of the gradient depends on the code


def test_neither_half_of_the_condition_can_be_dropped():
    sign = np.array([1.0, -1.0])
    assert np.var(sign - sign) == 0 and np.var(0 - sign) == 1  # g = Z - Y with Y = Z, and with Z' = 0
    y, z = np.repeat(sign, 2), np.tile(sign, 2)
    assert np.var(y * (1 - np.abs(z))) == 0 and np.var(y * (1 - np.abs(0 * z))) == 1
    assert np.var(y + z) == 2 and np.var(y + 0 * z) == 1  # with both halves, it falls by E|Z|^2 = 1


def test_information_may_rise_under_compression():
    before, after = information_counterexample()
    assert before == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)), rel=1e-12)
    assert after == pytest.approx(np.log(2), rel=1e-12)
    assert round(before, 3) == 0.562 and round(after, 3) == 0.693


def test_information_falls_where_the_mode_can_be_decoded():
    codes = synthetic_codes(separation=20.0)
    law = codes.law(500, np.random.default_rng(0))
    assert law.information() > law.compressed().information() == pytest.approx(np.log(2), rel=1e-6)


def test_information_falls_under_functions_of_the_code():
    """Merging codes is a function of the code. The revealing law is not, and its information exceeds the code's."""
    for seed in range(6):
        law = random_law(seed)
        merged = Law(law.z[:15], law.weight[:15] + law.weight[15:], law.mode, law.mass)
        assert merged.information() <= law.information() + 1e-12
        assert merged.information() < law.information() - 1e-3  # these codes do lose information
    revealing = Law(np.eye(6), np.diag(law.weight.sum(axis=0)), law.mode, law.mass)
    assert revealing.information() > law.information()


def test_codes_posterior_weighs_wide_and_narrow_contexts():
    """Densities in d dimensions have a factor 1 / noise^d, which matters between contexts of different noise."""
    codes = Codes(np.zeros((2, 3)), np.array([0.5, 1.0]), np.array([0.4, 0.6]), np.array([1.0, -1.0]), np.ones(2))
    assert codes.posterior(np.zeros((1, 3)))[0] == pytest.approx([0.4 * 8 / (0.4 * 8 + 0.6), 0.6 / (0.4 * 8 + 0.6)])


def test_codes_posterior_is_bayes_rule():
    codes = Codes(np.array([[0.0], [1.0]]), np.full(2, 0.5), np.array([0.2, 0.8]), np.array([1.0, -1.0]), np.ones(2))
    odds = 0.8 * np.exp(-((0.3 - 1) ** 2) / 0.5) / (0.2 * np.exp(-(0.3**2) / 0.5))
    assert codes.posterior(np.array([[0.3]]))[0] == pytest.approx([1 / (1 + odds), odds / (1 + odds)], rel=1e-12)


# ---------------------------------------------------------------- the table of proofs/README.md


def test_every_twin_that_the_proofs_name_exists():
    proofs = Path(__file__).parents[1] / "proofs"
    readme, statements = (proofs / "README.md").read_text(), (proofs / "Statements.v").read_text()
    rows = re.findall(r"^\|[^|]*\|\s*`\w+\.v`\s+`(\w+)`\s*\|[^|]*\|([^|]*)\|", readme, re.M)
    assert len(rows) == len(re.findall(r"^Check \(@", statements, re.M))
    for theorem, twin in rows:
        names = re.findall(r"`(test_\w+)`", twin)
        assert names, f"{theorem} names no twin"
        for name in names:
            assert callable(globals().get(name)), f"{theorem}'s twin {name} is not in this file"
