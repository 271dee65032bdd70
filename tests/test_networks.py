"""Layers and encoder against formulas in float64, and window sampling against a naive implementation."""

import numpy as np
import pytest
import torch
from torch import nn

from dmash_core.agents.sac import Agent
from dmash_core.errors import UserError
from dmash_core.methods import METHODS, Method, get_method, label, replace
from dmash_core.networks.encoder import Encoder, evaluation_positions, random_positions, subset_size
from dmash_core.networks.layers import (
    INPUT_NORMS,
    LSTM,
    OUTPUT_NORMS,
    LayerNorm,
    Linear,
    avg_l1_norm,
    make_norm,
    sim_norm,
    standardise,
)
from dmash_core.replay import History, Layout, Replay


def generators(*seeds):
    return [torch.Generator().manual_seed(s) for s in seeds]


def test_avg_l1_norm_formula():
    x = torch.tensor([[1.0, -3.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    expected = torch.tensor([[1 / 1.5, -3 / 1.5, 2 / 1.5, 0.0], [0.0] * 4], dtype=torch.float64)
    torch.testing.assert_close(avg_l1_norm(x), expected, rtol=1e-15, atol=0)


def test_sim_norm_formula():
    x = np.random.default_rng(0).normal(size=(5, 8))
    expected = np.concatenate([np.exp(g) / np.exp(g).sum(1, keepdims=True) for g in (x[:, :4], x[:, 4:])], axis=1)
    np.testing.assert_allclose(sim_norm(torch.from_numpy(x)).numpy(), expected, rtol=1e-14)


def test_avg_l1_norm_of_small_numbers():
    """The floor is 1e-8: small values above it are normalised as usual."""
    x = torch.tensor([1e-6, -3e-6, 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(avg_l1_norm(x), 1e6 * x, rtol=1e-12, atol=0)
    torch.testing.assert_close(avg_l1_norm(1e-6 * x), x * 1e2, rtol=1e-12, atol=0)  # mean 1e-12, below the floor


def test_window_norm_is_over_all_steps_of_the_window():
    """Normalise the steps read, per feature, by mean and standard deviation (n - 1) of all K steps; then affine."""
    k, layout = 10, Layout(2, 1, 10, 7, standardise=True)
    rows = np.random.default_rng(0).normal(2.0, 3.0, size=(30, layout.row))
    first, positions = torch.tensor([[4, 0, 13]]), torch.tensor([[[9, 2], [0, 0], [3, 5]]])
    read = layout.read(torch.from_numpy(rows), first, positions)
    assert read.shape == (1, 3, 2, 5)
    for b in range(3):
        window = rows[int(first[0, b]) :][:k]
        window = np.hstack([window[:, :3], window[:, 3:5] - window[:, :2]])
        expected = (window - window.mean(axis=0)) / (window.std(axis=0, ddof=1) + 1e-5)
        np.testing.assert_allclose(read[0, b].numpy(), expected[positions[0, b]], rtol=1e-12)
    encoder = Encoder(1, 2, 1, 8, 4, "windownorm", "none", False, generators(0)).double()
    plain = Encoder(1, 2, 1, 8, 4, "none", "none", False, generators(0)).double()
    assert torch.equal(encoder(read), plain(read))  # weight 1 and bias 0 initially
    weight, bias = (torch.randn(1, 5, dtype=torch.float64) for _ in range(2))
    encoder.window_norm.weight.data, encoder.window_norm.bias.data = weight, bias
    torch.testing.assert_close(encoder(read), plain(read * weight + bias))
    masked = encoder(read, torch.zeros(1, 3, 2, 3, dtype=torch.float64))
    torch.testing.assert_close(masked, plain(torch.zeros_like(read)))  # masks are applied after it
    torch.testing.assert_close(standardise(read).mean(-2), torch.zeros(1, 3, 5, dtype=torch.float64))


def test_window_norm_in_replay_and_history():
    """Both read windows through the same function; an agent without the norm rejects such a layout."""
    layout = Layout(n_obs=2, n_act=1, window=10, horizon=7, standardise=True)
    plain = replace(layout, standardise=False)
    made = {}
    for which in (layout, plain):
        replay, history = Replay(which, 1, 3, 21, torch.device("cpu")), History(which, 1, 3, torch.device("cpu"))
        replay.add(torch.randn(1, 3, 17, which.row, generator=torch.Generator().manual_seed(1)))
        history.rows[:] = torch.randn(history.rows.shape, generator=torch.Generator().manual_seed(2))
        method = Method(input_norm="windownorm" if which is layout else "none")
        made[which] = replay.sample(generators(3), 4, 1, method).windows, history.window(torch.arange(10))
    torch.testing.assert_close(made[layout][1], standardise(made[plain][1]))
    assert not torch.allclose(made[layout][0], made[plain][0])
    with pytest.raises(ValueError, match="standardises windows if and only if"):
        Agent(Method(), layout, 2, [0])


@pytest.mark.parametrize("axes", [(5,), (5, 4)])
def test_layer_norm_is_torchs_for_each_seed(axes):
    layer = LayerNorm(3, 8)
    torch.nn.init.normal_(layer.weight), torch.nn.init.normal_(layer.bias)
    x = torch.randn(3, *axes, 8)
    for i in range(3):
        expected = nn.functional.layer_norm(x[i], (8,), layer.weight[i], layer.bias[i])
        torch.testing.assert_close(layer(x)[i], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("input_norm", INPUT_NORMS)
@pytest.mark.parametrize("output_norm", OUTPUT_NORMS)
def test_every_norm_goes_into_the_encoder_where_it_belongs(input_norm, output_norm):
    encoder = Encoder(2, 2, 1, 8, 4, input_norm, output_norm, False, generators(0, 1))
    x = torch.randn(2, 6, 3, 5)
    norm = make_norm("none" if input_norm == "windownorm" else input_norm, 2, 4)  # WindowNorm precedes all layers
    rows = norm(encoder.input(x.flatten(1, 2)).unflatten(1, (6, 3)))
    expected = make_norm(output_norm, 2, 8)(encoder.output(encoder.lstm(rows)))
    torch.testing.assert_close(encoder(x), expected)


def test_linear_is_torchs_linear_for_each_copy():
    layer = Linear((3, 2), 5, 4, generators(0, 1, 2)).double()
    x = torch.randn(3, 2, 7, 5, dtype=torch.float64)
    for i in range(3):
        for j in range(2):
            expected = nn.functional.linear(x[i, j], layer.weight[i, j].T, layer.bias[i, j, 0])
            torch.testing.assert_close(layer(x)[i, j], expected, rtol=1e-13, atol=1e-13)


def test_initialisation_is_torchs_default():
    """Same distribution as torch.nn.Linear: uniform on +-1/sqrt(in) for weight and bias, different for each seed."""
    layer = Linear((2,), 100, 400, generators(0, 1))
    for tensor in (layer.weight, layer.bias):
        assert tensor.abs().max() <= 0.1
        assert tensor.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.1)
    assert nn.Linear(100, 400).weight.std().item() == pytest.approx(layer.weight.std().item(), rel=0.05)
    assert not torch.equal(layer.weight[0], layer.weight[1])
    assert torch.equal(Linear((1,), 100, 400, generators(1)).weight[0], layer.weight[1])


@pytest.mark.parametrize("length", [1, 2, 5])
def test_lstm_is_torchs_lstm(length):
    """The last hidden state and all gradients, in float64, for two independent copies."""
    ours = LSTM(2, 3, 6, generators(0, 1)).double()
    x = torch.randn(2, 7, length, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 7, 6, dtype=torch.float64)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ours_grads = torch.autograd.grad((ours(x) * weight).sum(), [x, *(getattr(ours, name) for name in names)])
    for i in range(2):
        plain = nn.LSTM(3, 6, batch_first=True).double()
        for name in names:
            getattr(plain, f"{name}_l0").data.copy_(getattr(ours, name)[i].T.squeeze(-1))
        last = plain(x[i])[0][:, -1]
        torch.testing.assert_close(ours(x)[i], last, rtol=1e-12, atol=1e-12)
        grads = torch.autograd.grad((last * weight[i]).sum(), [x, *(getattr(plain, f"{name}_l0") for name in names)])
        torch.testing.assert_close(ours_grads[0][i], grads[0][i], rtol=1e-11, atol=1e-12)
        for a, b in zip(ours_grads[1:], grads[1:], strict=True):
            torch.testing.assert_close(a[i].T.squeeze(-1), b, rtol=1e-11, atol=1e-12)


def test_masking_zeroes_whole_vectors():
    encoder = Encoder(1, 2, 1, 8, 4, "none", "none", False, generators(0))
    rows = torch.randn(1, 1, 1, 5)
    keep = torch.tensor([[[[1.0, 0.0, 1.0]]]])  # the action is masked: third entry of [s, s, a, ds, ds]
    masked = rows.clone()
    masked[..., 2] = 0.0
    assert torch.equal(encoder(rows, keep), encoder(masked))
    assert not torch.equal(encoder(rows, keep), encoder(rows))


def test_subset_sizes_of_the_paper():
    assert subset_size(24) == 4 and subset_size(128) == 25 and subset_size(3) == 1
    assert evaluation_positions(24).tolist() == [0, 7, 15, 23]
    assert evaluation_positions(128)[[0, -1]].tolist() == [0, 127]
    assert (np.diff(evaluation_positions(128)) > 0).all()


def test_random_positions_are_uniform_subsets_in_random_order():
    positions = random_positions(torch.rand(20_000, 10, generator=torch.Generator().manual_seed(0)))
    assert positions.shape == (20_000, 2)
    assert (positions[:, 0] != positions[:, 1]).all()
    pairs = np.bincount(positions[:, 0] * 10 + positions[:, 1], minlength=100).reshape(10, 10)
    off = pairs[~np.eye(10, dtype=bool)]
    assert np.abs(off - 20_000 / 90).max() < 5 * (20_000 / 90) ** 0.5  # each ordered pair equally likely


@pytest.mark.parametrize("before_target", [False, True])
def test_window_sampling_against_naive(before_target):
    """Every gathered number against Python loops over the same draws, after the ring buffer has wrapped around."""
    layout = Layout(n_obs=2, n_act=1, window=10, horizon=7)
    n, contexts = 2, 3
    replay = Replay(layout, n, contexts, capacity=21, device=torch.device("cpu"))
    stored = []
    for e in range(5):  # three slots: episodes 2, 3, 4 remain, in slots 2, 0, 1
        episode = torch.randn(n, contexts, 17, layout.row, generator=torch.Generator().manual_seed(e))
        replay.add(episode)
        stored.append(episode)
    slots = [stored[3], stored[4], stored[2]]
    method = Method(masking=0.3, window_before_target=before_target, posterior="gaussian")
    batch = replay.sample(generators(5, 6), 4, 2, method)
    for i in range(n):
        own = generators(5, 6)[i]
        episode, t, noise = replay._draw(own, 4, 2, 3, False)
        uniforms, keep = torch.rand(3, 12, 10, generator=own), torch.rand(3, 12, 2, 3, generator=own) >= 0.3
        code_noise = torch.randn(3, 12, 8, generator=own)
        assert torch.equal(batch.noise[i], noise) and torch.equal(batch.keep[i], keep.float())
        assert torch.equal(batch.code_noise[i], code_noise) and code_noise.shape == (3, 12, 8)
        assert set(batch.keep.unique().tolist()) == {0.0, 1.0}
        for b in range(12):
            rows = slots[episode[b]][i, b // 4]
            here = 10 + int(t[b])
            assert torch.equal(batch.obs[i, b], rows[here, :2])
            assert torch.equal(batch.action[i, b], rows[here, 2:3])
            assert torch.equal(batch.next_obs[i, b], rows[here, 3:5])
            assert batch.reward[i, b] == rows[here, 5]
            assert batch.at_limit[i, b] == (t[b] == 6)
            last = here - 1 if before_target else here
            window = [rows[last - 9 + j] for j in range(10)]
            for p in range(3):
                order = sorted(range(10), key=lambda j: -float(uniforms[p, b, j]))[:2]
                for q, j in enumerate(order):
                    row = window[j]
                    expected = torch.cat([row[:3], row[3:5] - row[:2]])
                    assert torch.equal(batch.windows[i, p, b, q], expected)


@pytest.mark.parametrize("shared", [False, True])
def test_draws_are_independent_over_contexts(shared):
    """Unlike in the release, where contexts 1 to 19 draw identical (episode, step) pairs, and with shared_draws."""
    layout = Layout(1, 1, 4, 50)
    replay = Replay(layout, 1, 20, 100 * 50, torch.device("cpu"))
    for _ in range(100):
        replay.add(torch.zeros(1, 20, 54, layout.row))
    episode, t, noise = replay._draw(generators(0)[0], 12, 1, 100, shared)
    pairs = [tuple(zip(episode[c : c + 12].tolist(), t[c : c + 12].tolist(), strict=True)) for c in range(0, 240, 12)]
    assert len(set(pairs)) == (2 if shared else 20) and pairs[0] not in pairs[1:]
    assert len(set(pairs[1])) > 10 and len(noise.unique()) == 240  # noise is never shared


def test_history_gives_the_window_before_a_step():
    layout = Layout(1, 1, window=10, horizon=12)
    history = History(layout, 1, 1, torch.device("cpu"))

    def push(value):
        history.append(*(torch.full((1, 1, 1), float(value)) for _ in range(3)), torch.zeros(1, 1))

    def read():
        return history.window()[0, 0, :, 0].tolist()  # s of the first and last of the ten rows

    history.start_warm_up(torch.full((1, 1, 1), 7.0))
    assert read() == [7, 7]
    assert history.window(torch.arange(10))[0, 0].tolist() == [[7.0, 0.0, 0.0]] * 10  # s, a = 0, s' - s = 0
    push(1)
    assert read() == [7, 1]
    history.carry_over()
    assert read() == [7, 1]
    for v in range(2, 14):
        push(v)
    assert read() == [4, 13]
    assert history.episode()[0, 0, :, 0].tolist() == [7] * 9 + list(range(1, 14))
    history.carry_over()
    assert history.rows[0, 0, 10:20, 0].tolist() == list(range(4, 14))
    history.start_warm_up(torch.full((1, 1, 1), 5.0))
    assert read() == [5, 5]


def test_history_reads_the_steps_that_are_asked_for():
    layout = Layout(1, 1, window=10, horizon=12)
    history = History(layout, 2, 3, torch.device("cpu"))
    history.rows[:] = torch.randn(history.rows.shape)
    history.now = 17
    positions = torch.randint(10, (2, 3, 4))
    window = history.window(positions)
    for n, b, j in np.ndindex(2, 3, 4):
        expected = layout.encoder_input(history.rows[n, b, 7 + positions[n, b, j]])
        assert torch.equal(window[n, b, j], expected)


def test_methods_refuse_what_cannot_be():
    for bad in (
        dict(masking=1.5),
        dict(window=0),
        dict(embedding=7, output_norm="simnorm"),
        dict(conditioning="adapter"),
        dict(context="true", conditioning="adapter", hypernetwork="shared"),
        dict(input_norm="batch"),
        dict(output_norm="windownorm"),
        dict(objective="none"),
        dict(conditioning="adapter", hypernetwork="shared", adapters="actor-critic"),
        dict(conditioning="adapter", hypernetwork="private", encoder_gradients_from="actor"),
        dict(context="none", conditioning="none", posterior="gaussian"),
        dict(adapters="actor"),
        dict(scale_context=True),
        dict(beta=-0.1),
        dict(beta=0.1),
        dict(kl="add"),
        dict(context="none", conditioning="none", masking=0.2),
        dict(context="true", output_norm="avgl1"),
        dict(input_norm="windownorm", window=1),
        dict(hypernetwork_form="whole"),
        dict(conditioning="adapter", hypernetwork="shared", bottleneck=5),
        dict(conditioning="adapter", hypernetwork="shared", bottleneck=6),
        dict(conditioning="adapter", hypernetwork="private", width=4, bottleneck=8),
    ):
        with pytest.raises(UserError):
            Method(**bad)
    with pytest.raises(UserError, match="did you mean 'dma-star-sh'"):
        get_method("dma-starsh")


def test_labels_name_what_differs_from_the_preset():
    assert label("dma-star-sh", METHODS["dma-star-sh"]) == "dma-star-sh"
    assert label("dma-star", replace(METHODS["dma-star"], masking=0.6, window=8)) == "dma-star+masking=0.6+window=8"
