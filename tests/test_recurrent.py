"""The in-context arms and VariBAD: sequences, memory, statistics and losses against plain twins; routing; resuming."""

import copy
import math

import pytest
import torch
from stops import run_until
from torch import distributions, nn
from torch.nn.functional import leaky_relu

from dmash_core.agents import amago
from dmash_core.agents.amago import GAMMAS, RecurrentAgent, sample_sequences, squashed_log_prob, values
from dmash_core.agents.varibad import VariBAD
from dmash_core.errors import UserError
from dmash_core.evaluation import Rollout
from dmash_core.methods import METHODS, replace
from dmash_core.networks.layers import GRU
from dmash_core.networks.sequence import HEADS, Statistics, Transformer
from dmash_core.replay import History, Layout, Replay
from dmash_core.training.policies import block_contexts, make_agent
from dmash_core.training.raw_runs import read_run
from dmash_core.training.settings import TrainSettings
from dmash_core.training.trainer import Trainer

ARMS = ["amago", "amago-transformer"]
LAYOUT = Layout(n_obs=3, n_act=2, window=6, horizon=10)


@pytest.fixture(autouse=True)
def few_sequences(monkeypatch):
    monkeypatch.setattr(amago, "SEQUENCES", 5)


def make(arm="amago", seeds=(0,), layout=LAYOUT, **options):
    return RecurrentAgent(replace(METHODS[arm], width=32, **options), layout, seeds)


def random_replay(n=1, layout=LAYOUT, contexts=4, episodes=3, seed=0):
    """Random rows, actions in (-1, 1); each observation is the next observation of the row before, except at resets."""
    generator = torch.Generator().manual_seed(seed)
    replay = Replay(layout, n, contexts, episodes * layout.horizon, torch.device("cpu"))
    for _ in range(episodes):
        rows = torch.randn(1, contexts, layout.window + layout.horizon, layout.row, generator=generator)
        rows[..., layout.n_obs : layout.n_obs + layout.n_act].tanh_()
        for t in range(1, rows.shape[2]):
            if not layout.begins(t):
                rows[:, :, t, : layout.n_obs] = rows[:, :, t - 1, layout.n_obs + layout.n_act : -1]
        replay.add(rows.expand(n, -1, -1, -1))
    return replay


def generators(seeds):
    return [torch.Generator().manual_seed(100 + s) for s in seeds]


def sample(seeds=(0,), layout=LAYOUT):
    return sample_sequences(random_replay(len(seeds), layout), generators(seeds))


# ---------------------------------------------------------------- sequences


@pytest.mark.parametrize("layout", [LAYOUT, Layout(n_obs=3, n_act=2, window=9, horizon=4)])
def test_sequences_against_a_loop(layout):
    """Every field, timestep by timestep, from the episode selected by the random draws."""
    replay, k = random_replay(2, layout), layout.window
    batch = sample_sequences(replay, generators((0, 1)))
    begins = set(range(0, k, layout.horizon)) | {k}
    starts = set()
    for n, generator in enumerate(generators((0, 1))):
        context, episode, first = (torch.randint(e, (5,), generator=generator) for e in (4, 3, layout.horizon + 1))
        for b in range(5):
            rows = replay.rows[n, context[b], episode[b]]
            for i in range(k + 1):
                t = int(first[b]) + i
                assert batch.time[n, b, i] == t
                s, a, s_next, r = (x[0] for x in layout.split(rows[None, min(t, len(rows) - 1)]))
                if i < k:
                    assert torch.equal(batch.obs[n, b, i], s) and torch.equal(batch.action[n, b, i], a)
                    assert batch.reward[n, b, i] == r
                    assert batch.unbroken[n, b, i] == (0.0 if t + 1 in begins and i + 1 < k else 1.0)
                else:
                    assert torch.equal(batch.obs[n, b, i], layout.split(rows[t - 1])[2])
                if t in begins and i < k:
                    assert not batch.previous[n, b, i].any()
                    starts.add(t)
                else:
                    _, a, _, r = layout.split(rows[t - 1])
                    assert torch.equal(batch.previous[n, b, i], torch.cat([r[None], a]))
    assert k in starts  # includes the reset between warm-up and episode


@pytest.mark.parametrize("arm", ARMS)
def test_what_is_trained_on_is_what_was_acted_on(arm, monkeypatch):
    """A Rollout's timesteps and states in warm-up and episode match those sampled from the replay buffer."""
    monkeypatch.setattr(amago, "SEQUENCES", 40)
    agent = make_agent("DI", replace(METHODS[arm], width=32), [0])
    rollout, layout = Rollout(agent, "DI", block_contexts("DI", [0])["train"]), agent.layout
    seen, states = [], []
    embed, step = agent._embed_timesteps, agent.modules["sequence"].step

    def watched(steps):
        seen.append(steps[0])
        return embed(steps)

    def stepped(*args):
        state, memory = step(*args)
        states.append(state[0])
        return state, memory

    agent._embed_timesteps, agent.modules["sequence"].step = watched, stepped
    rollout.warm_up([(0, i) for i in range(20)])
    ended = False
    while not ended:
        _, ended = rollout.step(rollout.mean_action())
    agent._embed_timesteps = embed
    assert len(seen) == layout.window + layout.horizon
    replay = Replay(layout, 1, 20, layout.horizon, agent.device)
    replay.add(rollout.history.episode().unflatten(1, (20,)))
    batch = sample_sequences(replay, generators((0,)))
    context = torch.randint(20, (40,), generator=generators((0,))[0])
    # starts of episodes
    assert not seen[0][:, layout.n_obs :].any() and layout.window in batch.time[0, :, :-1]
    for b in range(40):
        for i, t in enumerate(batch.time[0, b, :-1].tolist()):
            steps = torch.cat([batch.obs[0, b, i], batch.previous[0, b, i]])
            assert torch.equal(steps, seen[t][context[b]])
    # from the start of the warm-up, the states of a sequence match those from the memory
    whole = torch.stack(seen, dim=1)[None, :, : layout.window + 1]
    x = embed(whole.flatten(1, 2)).unflatten(1, whole.shape[1:3])
    time = torch.arange(layout.window + 1).expand(1, 20, -1)
    unrolled = agent.modules["sequence"](x, time)[0]
    assert torch.allclose(unrolled, torch.stack(states[: layout.window + 1], dim=1), atol=2e-6)


# ---------------------------------------------------------------- networks


@pytest.mark.parametrize("arm", ARMS)
def test_a_later_observation_never_changes_an_earlier_state(arm):
    agent, batch = make(arm), sample()
    before = agent.states(batch)
    for t in range(1, LAYOUT.window + 1):
        changed = replace_fields(batch, obs=batch.obs.clone(), previous=batch.previous.clone())
        changed.obs[:, :, t] += 3.0
        changed.previous[:, :, t] -= 1.0
        after = agent.states(changed)
        assert torch.equal(after[:, :, :t], before[:, :, :t])
        assert (after[:, :, t:] - before[:, :, t:]).abs().amax(dim=(0, 1, 3)).min() > 1e-4


def replace_fields(batch, **fields):
    return type(batch)(**(vars(batch) | fields))


@pytest.mark.parametrize("arm", ARMS)
def test_stepping_against_a_full_unroll(arm):
    """Far beyond K: the GRU against one unroll, the Transformer against attention to the K previous timesteps."""
    agent = make(arm, seeds=(0, 1))
    network, length = agent.modules["sequence"], LAYOUT.window + LAYOUT.horizon
    x = torch.randn(2, 3, length, 32, generator=torch.Generator().manual_seed(1))
    memory, states = network.start(3), []
    for t in range(length):
        state, advanced = network.step(x[:, :, t], t, memory)
        again, memory = network.step(x[:, :, t], t, memory)  # repeating a timestep changes nothing
        assert torch.equal(again, state) and torch.equal(advanced, memory)
        states.append(state)
    states = torch.stack(states, dim=2)
    if arm == "amago":
        unrolled = network(x, None)
    else:
        unrolled = banded_attention(network, x, LAYOUT.window + 1)
        k = LAYOUT.window + 1
        short = network(x[:, :, :k], torch.arange(k).expand(2, 3, -1))
        assert torch.allclose(short, unrolled[:, :, :k], atol=1e-6)
    assert torch.allclose(states, unrolled, atol=1e-6)


def banded_attention(network: Transformer, x, reach):
    """One head and seed at a time, with a mask: a timestep attends to itself and the ``reach - 1`` before it."""
    n, b, length, width = x.shape
    age = torch.arange(length)[:, None] - torch.arange(length)
    mask = (age >= 0) & (age < reach)
    h = network.input(x.flatten(1, 2)) + network.positions[:length].repeat(b, 1)
    for block in network.blocks:
        qkv = block.qkv(block.norm(h)).unflatten(1, (b, length)).chunk(3, dim=-1)
        heads = []
        for i in range(HEADS):
            part = slice(i * width // HEADS, (i + 1) * width // HEADS)
            q, k, v = (t[..., part] for t in qkv)
            scores = (q @ k.transpose(-1, -2) / math.sqrt(width // HEADS)).masked_fill(~mask, -math.inf)
            heads.append(scores.softmax(dim=-1) @ v)
        h = block.after(h, torch.cat(heads, dim=-1).flatten(1, 2))
    return network.norm(h).unflatten(1, (b, length))


def test_gru_is_torch_gru():
    ours = GRU(2, 3, 4, 2, generators((0, 1)))
    x, state = torch.randn(2, 5, 7, 3), torch.randn(2, 2, 5, 4)
    out, last = ours(x, state)
    for n in range(2):
        theirs = nn.GRU(3, 4, 2, batch_first=True)
        for parameter, weight in zip(theirs.parameters(), ours.weights, strict=True):
            parameter.data.copy_(weight[n])
        expected = theirs(x[n], state[n])
        assert torch.allclose(out[n], expected[0], atol=1e-6) and torch.allclose(last[n], expected[1], atol=1e-6)


# ---------------------------------------------------------------- statistics and PopArt


def test_statistics_against_exponential_second_moments():
    ours, generator = Statistics(1, 2, 0.05).double(), torch.Generator().manual_seed(0)
    mean = square = torch.zeros(2, dtype=torch.float64)
    for t in range(1, 30):
        rows = torch.randn(1, 9, 2, generator=generator, dtype=torch.float64) * 3 + 10
        weight = (torch.rand(1, 9, generator=generator) < 0.7).double()
        ours.update(rows, weight)
        kept, beta = rows[weight.bool()], 0.05 / (1 - 0.95**t)
        mean = (1 - beta) * mean + beta * kept.mean(0)
        square = (1 - beta) * square + beta * kept.square().mean(0)
    assert torch.allclose(ours.mean[0], mean) and torch.allclose(ours.var[0], square - mean**2)
    assert torch.allclose(ours.normalise(rows)[0], (rows[0] - mean) / (square - mean**2).sqrt())


def test_constant_inputs_are_only_centred():
    statistics = Statistics(1, 1, 0.1)
    statistics.update(torch.full((1, 4, 1), 7.0))
    assert torch.allclose(statistics.normalise(torch.tensor([[[7.0], [8.0]]])), torch.tensor([[[0.0], [1.0]]]))


def test_popart_cancels():
    """AMAGO's recursion for the output's scale and shift: updates of the statistics keep the unnormalised value at the
    initial deviation times the output, and normalised errors are raw errors divided by the deviation."""
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(50, generator=generator, dtype=torch.float64)
    mean, square, w, b = 0.0, amago.VALUE_SCALE**2, 1.0, 0.0
    sigma = math.sqrt(square - mean**2)
    for beta in (1.0, 0.5, 0.1, 0.01):
        target = 30 * torch.randn(50, generator=generator, dtype=torch.float64) + 200
        old_mean, old_sigma = mean, sigma
        mean = (1 - beta) * mean + beta * target.mean().item()
        square = (1 - beta) * square + beta * target.square().mean().item()
        sigma = math.sqrt(square - mean**2)
        w, b = w * old_sigma / sigma, (old_sigma * b + old_mean - mean) / sigma
        assert torch.allclose(sigma * (w * output + b) + mean, amago.VALUE_SCALE * output, rtol=1e-12)
        normalised_error = w * output + b - (target - mean) / sigma
        assert torch.allclose(normalised_error, (amago.VALUE_SCALE * output - target) / sigma, rtol=1e-9)


# ---------------------------------------------------------------- losses


def plain_value(modules, n, c, state, action, gamma):
    """One critic at one gamma: three linear layers on [state, action, log(1 + 1 / (1 - gamma))]."""
    entry = torch.full_like(state[:, :1], math.log(1 + 1 / (1 - gamma)))
    x = torch.cat([state, action.clamp(-0.999, 0.999), entry], dim=1)
    for i, layer in enumerate(modules["critic"].layers):
        x = x @ layer.weight[n, c] + layer.bias[n, c]
        x = leaky_relu(x) if i < 2 else x
    return 10.0 * x[:, 0]


def plain_losses(agent, batch, n):
    """One seed's losses as defined in AMAGO, one gamma and one critic at a time."""
    modules, rows = agent.modules, batch.action[n].flatten(0, 1)
    states = agent.states(batch)[n]
    state, after = states[:, :-1].flatten(0, 1), states[:, 1:].flatten(0, 1).detach()
    reward, unbroken = batch.reward[n].flatten(), batch.unbroken[n].flatten()
    actor_loss = critic_loss = 0.0
    targets = []

    def policy(actor, state, g):
        out = actor(state.expand(agent.n, -1, -1))[n].unflatten(-1, (len(GAMMAS), -1))[:, g]
        mean, log_std = out.chunk(2, dim=-1)
        return mean, -5.0 + 3.5 * (log_std.tanh() + 1.0)

    frozen = {"critic": copy.deepcopy(modules["critic"]).requires_grad_(False)}
    for g, gamma in enumerate(GAMMAS):
        mean, log_std = policy(agent.targets["actor"], after, g)
        next_action = torch.tanh(mean + log_std.exp() * batch.noise[n, 1, :, g])
        pair = [plain_value(agent.targets, n, c, after, next_action, gamma) for c in batch.critics[n].tolist()]
        target = (10.0 * reward + gamma * torch.minimum(*pair)).detach()
        targets.append(target)
        kept = target[unbroken.bool()]
        sigma = max(kept.var(unbiased=False).item(), 1e-4) ** 0.5  # initially the statistics are the batch's

        q = torch.stack([plain_value(modules, n, c, state, rows, gamma) for c in range(4)])
        critic_loss += (((q - target) / sigma) ** 2)[:, unbroken.bool()].mean() / len(GAMMAS)

        mean, log_std = policy(modules["actor"], state, g)
        action = torch.tanh(mean + log_std.exp() * batch.noise[n, 0, :, g])
        q_policy = torch.stack([plain_value(frozen, n, c, state.detach(), action, gamma) for c in range(4)])
        likelihood = squashed_log_prob(mean, log_std, rows)
        better = (q.mean(0) > q_policy.mean(0)).detach().to(q.dtype)
        actor_loss -= (q_policy.amin(0) / sigma + 0.1 * better * likelihood).mean() / len(GAMMAS)
    return {"actor": actor_loss, "critic": critic_loss}, torch.stack(targets, dim=1)


@pytest.mark.parametrize("arm", ARMS)
def test_losses_and_gradients_against_a_plain_twin(arm, monkeypatch):
    """In float64, for each seed of a block; rows are split into chunks of 7, the last one shorter."""
    monkeypatch.setattr(amago, "VALUE_ROWS", 7)
    agent, batch = make(arm, seeds=(0, 1)), sample((0, 1))
    agent.modules.double(), agent.targets.double()
    batch = replace_fields(batch, **{k: v.double() for k, v in vars(batch).items() if v.is_floating_point()})
    twins = [plain_losses(agent, batch, n) for n in range(2)]
    target = agent.target(batch, agent.states(batch)[:, :, 1:].flatten(1, 2))
    losses, _ = agent.losses(batch)
    for n, (twin, plain_target) in enumerate(twins):
        assert torch.allclose(target[n], plain_target, rtol=1e-10)
        for name, loss in twin.items():
            assert torch.allclose(losses[name][n], loss, rtol=1e-10), name
    for name in ("actor", "critic"):
        ours = torch.autograd.grad(losses[name].sum(), agent.parameters, retain_graph=True, allow_unused=True)
        plain = sum(twin[name] for twin, _ in twins)
        theirs = torch.autograd.grad(plain, agent.parameters, retain_graph=True, allow_unused=True)
        for a, b in zip(ours, theirs, strict=True):
            assert (a is None) == (b is None)
            assert a is None or torch.allclose(a, b, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("arm", ARMS)
def test_each_loss_moves_exactly_what_it_may(arm):
    """Both losses train encoder and sequence model end to end, each trains its own head, neither the statistics."""
    agent, batch = make(arm), sample()
    losses, _ = agent.losses(batch)
    reached = {}
    for name, loss in losses.items():
        grads = torch.autograd.grad(loss.sum(), agent.parameters, retain_graph=True, allow_unused=True)
        which = {id(p) for p, g in zip(agent.parameters, grads, strict=True) if g is not None and g.abs().max() > 0}
        reached[name] = {k for k, m in agent.modules.items() if any(id(p) in which for p in m.parameters())}
        partial = [k for k in reached[name] if any(id(p) not in which for p in agent.modules[k].parameters())]
        assert not partial  # no layer is cut off
    shared = {"timestep", "norm", "sequence"}
    assert reached == {"actor": shared | {"actor"}, "critic": shared | {"critic"}}
    agent.modules["input"].updates += amago.RATE_WARM_UP  # otherwise some steps are below rounding
    before = {k: v.clone() for k, v in agent.state().items()}
    agent.update(batch, None)
    still = {k for k, v in agent.state().items() if k in before and torch.equal(v, before[k])}
    assert not still  # an update changes every tensor: networks, targets, statistics


def test_target_takes_the_smaller_of_two_drawn_critics():
    """The pair is drawn without replacement and uniformly: 6 pairs, 1,000 draws."""
    pairs = [tuple(sorted(sample_critics(s))) for s in range(1000)]
    counts = {pair: pairs.count(pair) for pair in set(pairs)}
    assert len(counts) == 6 and min(counts.values()) > 120  # expected 167, standard deviation 12
    agent, batch = make(), sample()
    agent.targets["critic"].layers[2].bias.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1, 1) * 100)
    after = torch.zeros(1, 5 * LAYOUT.window, 32)
    for pair, smaller in (((1, 3), 1), ((3, 2), 2)):
        target = agent.target(replace_fields(batch, critics=torch.tensor([pair])), after)
        expected = 10.0 * batch.reward.flatten(1, 2).unsqueeze(-1) + torch.tensor(GAMMAS) * 1000.0 * (smaller + 1)
        assert (target - expected).abs().max() < 20.0  # the networks' own output


def sample_critics(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(4, generator=generator).topk(2).indices.tolist()


def test_values_are_clipped_at_saturated_actions():
    agent, state = make(), torch.randn(1, 4, 32)
    critics = list(agent.modules["critic"].parameters())
    action = torch.full((1, 4, 1, 2), 0.9995, requires_grad=True)
    q = values(critics, state, action)
    assert torch.equal(q, values(critics, state, torch.ones(1, 4, 1, 2)))
    assert not torch.autograd.grad(q.sum(), action)[0].any()


def test_log_density_against_torch_distributions():
    mean, log_std = torch.randn(2, 40, 3, dtype=torch.float64)
    action = torch.rand(40, 3, dtype=torch.float64) * 1.98 - 0.99
    normal = distributions.Normal(mean, log_std.exp())
    squashed = distributions.TransformedDistribution(normal, distributions.TanhTransform())
    assert torch.allclose(squashed_log_prob(mean, log_std, action), squashed.log_prob(action).sum(-1))
    ends = squashed_log_prob(mean, log_std, torch.ones_like(mean))
    assert torch.equal(ends, squashed_log_prob(mean, log_std, torch.full_like(mean, 0.99)))


# ---------------------------------------------------------------- VariBAD


def varibad(seeds=(0,), k=6, beta=1.0):
    method = replace(METHODS["varibad"], width=32, beta=beta)
    return VariBAD(method, Layout(n_obs=3, n_act=2, window=k, horizon=10, whole=True), 2, seeds)


def varibad_batch(agent, passes=3):
    replay = random_replay(agent.n, agent.layout)
    return replay.sample(generators(range(agent.n)), 4, passes, agent.method)


def test_varibad_reads_the_whole_window_in_order():
    agent = varibad()
    batch, replay, k = varibad_batch(agent), random_replay(1, agent.layout), agent.layout.window
    assert batch.windows.shape == (1, 4, 16, k, 8) and batch.code_noise.shape == (1, 4, k, 10)
    episode, t = (torch.randint(e, (16,), generator=g) for g in generators((0,)) for e in (3, 10))
    for i in range(16):
        last = k + int(t[i])
        rows = agent.layout.encoder_input(replay.rows[0, i // 4, episode[i], last - k + 1 : last + 1])
        assert torch.equal(batch.windows[0, 0, i], rows) and torch.equal(batch.windows[0, 3, i], rows)
    history = History(agent.layout, 1, 1, agent.device)
    assert history.positions.tolist() == list(range(k))


def test_varibad_elbo_against_a_loop():
    """One posterior and transition at a time, the KL from torch.distributions; float64."""
    agent = varibad()
    agent.modules.double()
    batch = varibad_batch(agent)
    windows, noise = batch.windows[:, 0, ::4].double(), batch.code_noise.double()
    error, kl = agent.elbo(windows, noise)
    posteriors = agent.modules["encoder"].posteriors(windows)
    k, decoder = agent.layout.window, agent.modules["dynamics"]
    layers = decoder.first, decoder.second, decoder.head
    for b in range(4):
        prior = distributions.Normal(torch.zeros(10).double(), torch.ones(10).double())
        for t in range(k):
            mean, log_variance = posteriors[0, b, t].chunk(2)
            posterior = distributions.Normal(mean, log_variance.exp().sqrt())
            assert torch.allclose(kl[0, b, t], distributions.kl_divergence(posterior, prior).sum())
            prior, z = posterior, mean + posterior.scale * noise[0, b, t]
            for j in range(k):
                s, a, difference = windows[0, b, j].split([3, 2, 3])
                x = torch.cat([s, a, z])
                for layer in layers:
                    x = x @ layer.weight[0] + layer.bias[0, 0]
                    x = torch.relu(x) if layer is not decoder.head else x
                assert torch.allclose(error[0, b, t, j], (x - (s + difference)).square().mean())


def test_varibad_posterior_is_causal_and_the_last_one_enters():
    agent = varibad()
    windows = varibad_batch(agent).windows[:, 0]
    before = agent.modules["encoder"].posteriors(windows)
    for t in range(1, agent.layout.window):
        changed = windows.clone()
        changed[:, :, t] += 1.0
        after = agent.modules["encoder"].posteriors(changed)
        assert torch.equal(after[:, :, :t], before[:, :, :t]) and not torch.allclose(after[:, :, t], before[:, :, t])
    assert torch.equal(agent.conditioning(windows, None).vector, before[:, :, -1])


def test_varibad_each_update_moves_exactly_what_it_may():
    agent = varibad(seeds=(0, 1))
    batch, contexts = varibad_batch(agent), torch.zeros(2, 4, 2)
    z = agent.embed(batch, slice(1, None))[0].detach().unflatten(1, (3, -1))
    updates = {
        "dynamics": lambda: agent.update_dynamics(batch),
        "critic": lambda: agent.update_critic(batch, agent.constant_conditioning(z[:, 0], contexts), batch.noise[:, 0]),
        "actor": lambda: agent.update_actor(batch, agent.constant_conditioning(z[:, 1], contexts), batch.noise[:, 1]),
    }
    expected = {"dynamics": {"encoder", "dynamics"}, "critic": {"critic"}, "actor": {"actor"}}
    for name, update in updates.items():
        before = {k: v.clone() for k, v in agent.modules.state_dict().items()}
        update()
        moved = {k for k, v in agent.modules.state_dict().items() if not torch.equal(v, before[k])}
        assert moved == {k for k in before if k.split(".")[0] in expected[name]}, name
    assert agent.optimizers["dynamics"].param_groups[0]["lr"] == 1e-3
    norms = torch.stack([p.grad.flatten(1).norm(dim=1) for p in agent.groups["dynamics"]]).norm(dim=0)
    assert (norms <= 1.0 + 1e-5).all()


def test_varibad_a_seed_alone_is_the_same_seed_in_a_block():
    block, alone = varibad(seeds=(3, 4)), varibad(seeds=(4,))
    replay, single = random_replay(2, block.layout), random_replay(1, block.layout)
    many, lone = generators((0, 1)), generators((1,))
    for passes in (3, 1):
        batches = replay.sample(many, 4, passes, block.method), single.sample(lone, 4, passes, alone.method)
        together = block.update(batches[0], torch.zeros(2, 4, 2))
        for name, value in alone.update(batches[1], torch.zeros(1, 4, 2)).items():
            assert torch.allclose(together[name][1], value[0], rtol=1e-5), name


def test_varibad_learns_to_decode_and_beta_matters():
    """On one batch the error over all pairs falls; with larger beta the posteriors stay closer to each other."""
    kl = {}
    for beta in (0.1, 10.0):
        agent = varibad(beta=beta)
        batch = varibad_batch(agent)
        logs = [agent.update_dynamics(batch) for _ in range(150)]
        assert logs[-1]["dynamics_loss"] < 0.8 * logs[0]["dynamics_loss"]
        kl[beta] = logs[-1]["kl"].item()
    assert kl[10.0] < 0.5 * kl[0.1]


# ---------------------------------------------------------------- optimiser, exploration, whole runs


def test_rate_warms_up_and_each_seed_is_clipped_alone(monkeypatch):
    agent = make(seeds=(0, 1))
    wanted = torch.tensor([50.0, 0.01])
    loss = sum((p.flatten(1).sum(dim=1) for p in agent.parameters), torch.zeros(2))
    size = math.sqrt(sum(p[0].numel() for p in agent.parameters))
    agent.modules["input"].updates += 50
    agent._descend(loss * wanted / size)
    norms = torch.stack([p.grad.flatten(1).norm(dim=1) for p in agent.parameters]).norm(dim=0)
    assert norms.tolist() == pytest.approx([1.0, 0.01], rel=1e-4)
    assert agent.optimizers["all"].param_groups[0]["lr"] == pytest.approx(0.1 * amago.LEARNING_RATE)
    agent.modules["input"].updates += 1000
    agent._descend(sum((p.flatten(1).sum(dim=1) for p in agent.parameters), torch.zeros(2)))
    assert agent.optimizers["all"].param_groups[0]["lr"] == amago.LEARNING_RATE


def test_exploration_schedule():
    agent, zero, one = make(seeds=(3, 4)), torch.zeros(2, 200, 2), torch.ones(2, 200, 2)
    scale = agent.explore(zero, one, 0)
    assert torch.allclose(scale, agent.explore(zero, one, 1), atol=1e-5)  # within an episode
    assert 0.0 <= scale.min() < 0.05 and 0.95 < scale.max() <= 1.0 and abs(scale.mean() - 0.5) < 0.05
    assert not torch.allclose(scale, agent.explore(zero, one, LAYOUT.horizon), atol=0.1)  # another episode
    late, end = (agent.explore(zero, one, s).max().item() for s in (500_000, 5_000_000))
    assert 0.45 < late <= 0.525 and 0.045 < end <= 0.05
    alone = make(seeds=(4,)).explore(zero[:1], one[:1], 7)
    assert torch.equal(alone[0], agent.explore(zero, one, 7)[1])
    assert agent.explore(one, 9 * one, 0).max() == 1.0


@pytest.mark.parametrize("arm", ARMS)
def test_a_seed_alone_is_the_same_seed_in_a_block(arm):
    block, alone = make(arm, seeds=(3, 4)), make(arm, seeds=(4,))
    for key, value in alone.modules.state_dict().items():
        assert torch.equal(value[0], block.modules.state_dict()[key][1]), key
    replay, single = random_replay(2), random_replay(1)
    many, lone = generators((0, 1)), generators((1,))
    for _ in range(3):
        batch, other = sample_sequences(replay, many), sample_sequences(single, lone)
        assert all(torch.equal(a[1], b[0]) for a, b in zip(vars(batch).values(), vars(other).values(), strict=True))
        together = block.update(batch, None)
        for name, value in alone.update(other, None).items():
            assert torch.allclose(together[name][1], value[0], rtol=1e-5), name


@pytest.mark.parametrize("arm", ARMS)
def test_training_on_one_batch_lowers_the_critic_loss(arm, monkeypatch):
    monkeypatch.setattr(amago, "LEARNING_RATE", 1e-3)
    agent, batch = make(arm), sample()
    losses = [agent.update(batch, None)["critic_loss"].item() for _ in range(150)]
    assert losses[-1] < 0.5 * losses[0]


def train(out, arm, cuts=(), seeds=(0, 1)):
    settings = TrainSettings(
        "DI", arm, replace(METHODS[arm], width=16, window=4), random_steps=100, eval_every=150, eval_rollouts=1
    )
    for cut in cuts:
        run_until(Trainer(settings, seeds, 300, out, progress=False), cut)
    return [read_run(path).meta["digest"] for path in Trainer(settings, seeds, 300, out, progress=False).run()]


@pytest.mark.parametrize("arm", [*ARMS, "varibad"])
def test_resumed_run_equals_undisturbed_run(arm, tmp_path):
    """Stopped before learning starts, at an episode boundary, and in the middle of a scored episode."""
    assert train(tmp_path / "cut", arm, cuts=(-63, 100, 163)) == train(tmp_path / "whole", arm)


def test_impossible_options():
    with pytest.raises(TypeError, match="context"):  # not an option of an arm without a context
        replace(METHODS["amago"], context="true")
    with pytest.raises(UserError, match="recurrence"):
        replace(METHODS["amago"], recurrence="lstm")
    with pytest.raises(UserError, match="width must be between"):
        replace(METHODS["amago"], width=0)
    with pytest.raises(UserError, match="multiple of 16"):
        replace(METHODS["amago-transformer"], width=40)
    with pytest.raises(UserError, match="without masking and norms"):
        replace(METHODS["varibad"], masking=0.2)
