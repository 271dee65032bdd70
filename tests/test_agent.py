"""The method: gradient routing, the fast path against its twin, and formulas."""

import copy

import pytest
import torch
from twin import Twin, log_density

from dmash_core.agents.conditioning import Conditioning
from dmash_core.agents.sac import Agent, SACSettings, squashed_sample
from dmash_core.methods import METHODS, Method, replace
from dmash_core.networks.hypernetwork import HYPERNETWORKS, ChunkedHypernetwork, WholeHypernetwork
from dmash_core.replay import Batch, Layout, Replay
from dmash_core.training.policies import make_agent

LAYOUT = Layout(n_obs=4, n_act=2, window=24, horizon=30)
ARMS = [arm for arm in METHODS if isinstance(METHODS[arm], Method) and METHODS[arm].posterior != "sequence"]


def make(arm, seeds=(0,), **options):
    method = replace(METHODS[arm], **options)
    return Agent(method, LAYOUT, 2, seeds)


def sample_batch(agent, passes=3, n_contexts=20, seed=5):
    """A batch from a replay buffer of random episodes; the updates must agree on any rows."""
    generator = torch.Generator().manual_seed(seed)
    replay = Replay(LAYOUT, agent.n, n_contexts, 90, agent.device)
    for _ in range(2):
        rows = torch.randn(1, n_contexts, LAYOUT.window + LAYOUT.horizon, LAYOUT.row, generator=generator)
        replay.add(rows.expand(agent.n, -1, -1, -1))
    contexts = torch.randn(1, n_contexts, 2, generator=generator).expand(agent.n, -1, -1)
    generators = [torch.Generator().manual_seed(seed + 1 + i) for i in range(agent.n)]
    return replay.sample(generators, 12, passes, agent.method), contexts


def snapshot(agent):
    groups = {name: [p.detach().clone() for p in m.parameters()] for name, m in agent.modules.items()}
    groups |= {f"target {name}": [p.clone() for p in m.parameters()] for name, m in agent.targets.items()}
    return groups | {"log_alpha": [agent.log_alpha.clone()]}


def moved(before, after):
    return {k for k in before if any(not torch.equal(a, b) for a, b in zip(before[k], after[k], strict=True))}


# The specification of the method: all modules that each update changes. E is the encoder, H the shared hypernetwork;
# a, c, d are actor, critics and dynamics model; ah, ch, dh their private hypernetworks. Targets follow the critics.
NAMES = {"E": "encoder", "H": "hypernetwork", "a": "actor", "c": "critic", "d": "dynamics"}
NAMES |= {f"{k}h": f"{NAMES[k]}_hypernetwork" for k in "acd"}
ROUTING = {  # dynamics update, critic update, actor update
    "dr": ("", "c", "a"),
    "concat": ("", "c", "a"),
    "da": ("", "c ch", "a ah"),
    "dma": ("E d", "c", "a"),
    "dma-pearl": ("E d", "c", "a"),
    "dma-star": ("E d", "c", "a"),
    "dma-star-sh": ("E H d", "c", "a"),
    "dma-star-sh-whole": ("E H d", "c", "a"),
    "dma-sh": ("E H d", "c", "a"),
    "dma-star-h": ("E d dh", "c ch", "a ah"),
    "dma-star-h-rl-only": ("E d", "c ch", "a ah"),
    "dma-star-sh-critic": ("E H d", "c E H", "a"),
    "dma-star-sh-actor": ("E H d", "c", "a E H"),
    "dma-star-sh-both": ("E H d", "c E H", "a E H"),
    "dma-star-sh-policy": ("E H d", "c", "a E H"),
    "pearl": ("", "c E", "a"),
    "dma-star-sh-inverse": ("E H d", "c", "a"),
    "dma-star-sh-reward": ("E H d", "c", "a"),
    "da-inferred": ("E d", "c ch", "a ah"),
    "dma-star-causal": ("E d", "c", "a"),
    "dma-star-sh-causal": ("E H d", "c", "a"),
    "dma-star-sh-only-dynamics": ("E H d", "c", "a"),
    "dma-star-sh-only-actor": ("E d", "c", "a ah"),
    "dma-star-sh-only-critic": ("E d", "c ch", "a"),
    "dma-star-sh-only-dynamics-actor": ("E H d", "c", "a"),
    "dma-star-sh-only-dynamics-critic": ("E H d", "c", "a"),
}


def routing(arm, update):
    """The modules, named as in ``snapshot``, that an arm's update ("dynamics", "critic" or "actor") changes."""
    names = {NAMES[word] for word in ROUTING[arm][("dynamics", "critic", "actor").index(update)].split()}
    if update == "critic":
        names |= {f"target {name}" for name in names if name.startswith("critic")}
    return names | {"log_alpha"} if update == "actor" else names


def code_for(agent, batch, contexts, i):
    """The code and KL that ``Agent.update`` uses in the critic's (i = 0) and the actor's (i >= 1) updates."""
    if agent.method.encoder_gradients_from != "none":
        return agent.live_conditioning(batch, 1 + i, agent.method.encoder_trained_by("actor" if i else "critic"))
    return agent.constant_conditioning(embedding(agent, batch, 1 + i), contexts), None


@pytest.mark.parametrize("arm", ARMS)
def test_each_update_moves_exactly_what_it_may(arm):
    agent = make(arm)
    batch, contexts = sample_batch(agent)
    updates = {
        "critic": lambda: agent.update_critic(batch, *with_noise(code_for(agent, batch, contexts, 0), batch)),
        "actor": lambda: agent.update_actor(batch, code_for(agent, batch, contexts, 1)[0], batch.noise[:, 1]),
    }
    if "dynamics" in agent.modules:
        updates["dynamics"] = lambda: agent.update_dynamics(batch)
    updates = [(routing(arm, name), update) for name, update in updates.items()]
    every = set()
    for expected, update in updates:
        before = snapshot(agent)
        update()
        assert moved(before, snapshot(agent)) == expected
        every |= expected
    assert every == set(before)  # every module is trained by some update


def with_noise(code, batch):
    return code[0], batch.noise[:, 0], code[1]


@pytest.mark.parametrize("arm", ARMS)
def test_the_whole_update_makes_those_updates(arm):
    """``Agent.update`` gives the same result as the three updates in sequence."""
    whole, parts = make(arm), make(arm)
    batch, contexts = sample_batch(whole)
    whole.update(batch, contexts)
    if "dynamics" in parts.modules:
        parts.update_dynamics(batch)
    parts.update_critic(batch, *with_noise(code_for(parts, batch, contexts, 0), batch))
    for i in (1, 2):
        parts.update_actor(batch, code_for(parts, batch, contexts, i)[0], batch.noise[:, i])
    for name, value in whole.modules.state_dict().items():
        torch.testing.assert_close(value, parts.modules.state_dict()[name], rtol=1e-4, atol=1e-5, msg=name)


def test_no_parameter_tensor_of_a_group_stays_behind():
    """Every tensor changes: no layer is silently cut off from its loss."""
    for arm in ARMS:
        agent = make(arm)
        batch, contexts = sample_batch(agent)
        before = {k: v.clone() for k, v in agent.modules.state_dict().items()}
        agent.update(batch, contexts)
        still = [k for k, v in agent.modules.state_dict().items() if torch.equal(v, before[k])]
        assert not still, (arm, still)


@torch.no_grad()
def embedding(agent, batch, i):
    if agent.method.context == "inferred":
        return agent.embed(batch, slice(i, i + 1))[0]


def relative(a, b):
    return (a - b).abs().max() / b.abs().max().clamp(min=1e-12)


@pytest.mark.parametrize("arm", ARMS)
def test_fast_path_agrees_with_its_twin(arm):
    """Losses and gradients of dynamics, critic and actor update, on fixed draws, to 1e-9 relative in float64.

    In float32 the losses and most gradients agree to 1e-5. If a hidden unit is within rounding of ReLU's kink, the two
    may fall on different sides of it, and a gradient differs by more (7e-5 seen, arm da).
    Each update starts from fresh networks: Adam's first step is the gradient's sign, which turns rounding near zero
    into differences as large as the learning rate.
    """
    for update in ("dynamics", "critic", "actor"):
        for double, bound in ((True, 1e-9), (False, 1e-5)):
            agent = make(arm)
            twin = Twin(agent)
            batch, contexts = sample_batch(agent)
            if double:
                for module in (agent.modules, agent.targets, twin.parts, twin.targets):
                    module.double()
                for log_alpha in (agent.log_alpha, twin.log_alpha):
                    log_alpha.data = log_alpha.data.double()
                contexts = contexts.double()
                batch = Batch(**{k: None if v is None else v.double() for k, v in vars(batch).items()})
            plain = getattr(twin, f"update_{update}")(batch, contexts, *([1] if update == "actor" else []))
            if update == "dynamics":
                fast = agent.update_dynamics(batch) if plain else {}
            elif update == "critic":
                fast = agent.update_critic(batch, *with_noise(code_for(agent, batch, contexts, 0), batch))
            else:
                fast = agent.update_actor(batch, code_for(agent, batch, contexts, 1)[0], batch.noise[:, 1])
            for name, loss in plain.items():
                assert relative(fast[name][0], loss) < bound, name
            for part, module in twin.parts.items():
                if not double or next(module.parameters()) not in twin.grads:
                    continue
                grads = torch.cat([twin.grads[p].flatten() for p in module.parameters()])
                ours = torch.cat([p.grad.flatten() for p in agent.modules[part].parameters()])
                assert ours.numel() == grads.numel()
                assert relative(ours.norm(), grads.norm()) < bound, part
                # sorted, because the twin stores its weights in a different order
                assert relative(ours.sort().values, grads.sort().values) < bound, part
            if update == "actor":
                assert relative(agent.log_alpha[0], twin.log_alpha) < bound


@pytest.mark.parametrize("arm", ["dma-star", "dma-star-sh", "da", "dma-star-h", "pearl"])
def test_twin_and_fast_path_stay_together(arm):
    """Five updates, so that optimiser state matters; Adam divides by small numbers, so only losses are compared."""
    agent = make(arm)
    twin = Twin(agent)
    for i in range(5):
        batch, contexts = sample_batch(agent, passes=3 if i % 2 else 1, seed=10 + i)
        fast, plain = agent.update(batch, contexts), twin.update(batch, contexts)
    for name, loss in plain.items():
        assert relative(fast[name][0], loss) < 1e-3, name


def test_twin_test_can_fail():
    """Negative control: a twin that ignores the mask violates the bound of the test above."""
    agent = make("dma-star")
    twin = Twin(agent)
    batch, contexts = sample_batch(agent)
    wrong = copy.copy(batch)
    wrong.keep = torch.ones_like(batch.keep)
    agent.update(batch, contexts)
    twin.update(wrong, contexts)
    grads = torch.cat([twin.grads[p].flatten() for p in twin.parts["encoder"].parameters()])
    ours = torch.cat([p.grad.flatten() for p in agent.modules["encoder"].parameters()])
    assert relative(ours.norm(), grads.norm()) > 1e-3


def updated(agent, seed=5):
    """The agent after two updates, the second including the actor's."""
    for passes in (1, 3):
        batch, contexts = sample_batch(agent, passes, seed=seed + passes)
        agent.update(batch, contexts)
    return agent


def test_star_without_its_three_components_is_dma():
    plain = make("dma-star", masking=0.0, input_norm="none", output_norm="none")
    for (name, a), b in zip(updated(make("dma")).state().items(), updated(plain).state().values(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("arm", ["dma-star-sh", "dma-star-h", "da"])
def test_adapters_with_zero_weights_are_no_adapters(arm):
    """Actions, values and predictions equal those of the plain networks with the same parameters."""
    agent, plain = make(arm), make("dr")
    for name, module in agent.modules.items():
        if "hypernetwork" in name:
            for weight in module.last.parameters():
                weight.data.zero_()
    for name in ("actor", "critic"):
        plain.modules[name].load_state_dict(agent.modules[name].state_dict())
    batch, contexts = sample_batch(agent)
    code, nothing = code_for(agent, batch, contexts, 0)[0], Conditioning(None, None)
    for ours, theirs in zip(agent.policy(batch.obs, code), plain.policy(batch.obs, nothing), strict=True):
        assert torch.equal(ours, theirs)
    values = agent.values(agent.modules, batch.obs, batch.action, code)
    torch.testing.assert_close(values, plain.values(plain.modules, batch.obs, batch.action, nothing))
    if "dynamics" in agent.modules:
        x = torch.cat([batch.obs, batch.action], dim=-1)
        predicted, _ = agent.predict(batch, embedding(agent, batch, 0))
        torch.testing.assert_close(predicted, agent.modules["dynamics"](x))


def test_da_with_one_context_is_a_plain_adapter():
    """With a single context, the adapter is one set of weights, applied by the formula."""
    agent = make("da")
    batch, contexts = sample_batch(agent)
    contexts = contexts[:, :1].expand_as(contexts)
    actor, hypernetwork = agent.modules["actor"], agent.modules["actor_hypernetwork"]
    down, up, b_down, b_up = (t[0, 0] for t in hypernetwork(contexts[:, :1]))
    x = actor.second(torch.relu(actor.first(batch.obs)))[0]
    x = torch.relu(x + torch.relu(x @ down.T + b_down) @ up + b_up)
    mean, _ = actor.head(x[None]).chunk(2, dim=-1)
    torch.testing.assert_close(agent.policy(batch.obs, agent.constant_conditioning(None, contexts))[0], mean)


def test_scaled_contexts_run_from_zero_to_one():
    agent = Agent(
        replace(METHODS["da"], scale_context=True), LAYOUT, 2, [0], None, "cpu", torch.tensor([[0.5, -1], [1.5, 1]])
    )
    scaled = agent.conditioning(None, torch.tensor([[[0.5, 1.0], [1.0, -1.0], [2.0, 0.0]]])).vector
    torch.testing.assert_close(scaled, torch.tensor([[[0.0, 1.0], [0.5, 0.0], [1.5, 0.5]]]))


def test_a_gaussian_code_is_its_mean_when_acting_and_sampled_in_training():
    agent = make("dma-pearl")
    batch, _ = sample_batch(agent)
    mean, variance = agent.modules["encoder"].posterior(batch.windows[:, 0], batch.keep[:, 0])
    z, _ = agent.embed(batch, slice(0, 1))
    torch.testing.assert_close((z - mean) / variance.sqrt(), batch.code_noise[:, 0], rtol=1e-3, atol=1e-3)
    acting = agent.conditioning(batch.windows[:, 0], None).vector
    torch.testing.assert_close(acting, agent.modules["encoder"](batch.windows[:, 0]))
    torch.testing.assert_close(acting, mean)  # without masking, the mean is the same in training mode


@pytest.mark.parametrize("lead", [(1,), (2,), (2, 2)])
@pytest.mark.parametrize(("form", "width", "k"), [("chunked", 12, 4), ("chunked", 12, 12), ("whole", 12, 5)])
def test_factored_adapter_equals_built_adapter(form, width, k, lead):
    """Values and all gradients in float64, against omega built for each row, with one and two rows per code."""
    generators = [torch.Generator().manual_seed(i) for i in range(lead[0])]
    net = HYPERNETWORKS[form](lead, 3, 8, width, k, generators).double()
    code = torch.randn(*lead, 7, 3, dtype=torch.float64, requires_grad=True)
    x = torch.randn(*lead, 7, width, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(*lead, 7, width, dtype=torch.float64)
    same(net.adapt(x, code), net(code).adapt(x.unsqueeze(-2)).squeeze(-2), weight, [x, code, *net.parameters()])
    if len(lead) == 1:
        x = torch.randn(*lead, 2, 7, width, dtype=torch.float64, requires_grad=True)
        weight = torch.randn_like(x)
        x, weight = x.transpose(1, 2), weight.transpose(1, 2)  # the layout of the critics
        same(net.adapter(code).adapt(x), net(code).adapt(x), weight, [x, code, *net.parameters()])
        constant = type(net.adapter(code))(*(t.detach() for t in net.adapter(code)))
        same(constant.adapt(x), net(code).adapt(x), weight, [x])


def same(fast, plain, weight, inputs):
    torch.testing.assert_close(fast, plain, rtol=1e-12, atol=1e-12)
    grads = (torch.autograd.grad((t * weight).sum(), inputs) for t in (fast, plain))
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_a_hypernetwork_whose_features_are_off_leaves_them_out():
    """The whole form gives the same values and gradients as with all features, with zeros for those that are off."""
    net = WholeHypernetwork((1,), 3, 8, 12, 5, [torch.Generator().manual_seed(0)]).double()
    net.second.bias.data[..., :3] = -100.0
    code, x = torch.randn(1, 7, 3, dtype=torch.float64), torch.randn(1, 7, 12, dtype=torch.float64)
    h1, alive = net.features(code)
    assert h1.shape[-1] == len(alive) <= 6 and not set(alive.tolist()) & {0, 1, 2}
    grads = []
    for net.leaves_out in (True, False):
        assert (net.features(code)[1] is not None) == net.leaves_out
        loss = net.adapt(x, code).square().sum() + sum(t.square().sum() for t in net(code))
        grads.append(torch.autograd.grad(loss, list(net.parameters())))
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("form", HYPERNETWORKS)
def test_adapter_against_formula(form):
    """One row by hand: ReLU(x + W_up ReLU(W_down x + b_down) + b_up), in float64."""
    net = HYPERNETWORKS[form]((1,), 3, 8, 6, 2, [torch.Generator().manual_seed(0)]).double()
    x, code = torch.randn(1, 1, 6, dtype=torch.float64), torch.randn(1, 1, 3, dtype=torch.float64)
    omega = net(code)
    w_down, w_up = omega.down[0, 0], omega.up[0, 0].T
    expected = torch.relu(x[0, 0] + w_up @ torch.relu(w_down @ x[0, 0] + omega.b_down[0, 0]) + omega.b_up[0, 0])
    torch.testing.assert_close(net.adapt(x, code)[0, 0], expected, rtol=1e-12, atol=1e-12)
    outputs = sum(t[0, 0].numel() for t in omega)
    assert outputs == 6 * 2 + 2 + 2 * 6 + 6


@pytest.mark.parametrize("form", HYPERNETWORKS)
def test_number_of_adapter_weights_is_the_papers(form):
    hyper = make("dma-star-sh", hypernetwork_form=form).modules["hypernetwork"]
    assert sum(t[0, 0].numel() for t in hyper(torch.rand(1, 1, 8))) == 16_672
    assert sum(p.numel() for p in hyper.parameters()) == {"chunked": 38_792, "whole": 1_088_416}[form]


def test_numbers_of_parameters_on_walker_are_the_papers():
    """The paper reports +4.1 % against DA and +9.5 % against DMA (A.7); the whole form would be far from both."""
    count = {
        arm: sum(p.numel() for p in make_agent("Walker", METHODS[arm], [0]).modules.parameters())
        for arm in ("dma-star-sh", "da", "dma", "dma-star-sh-whole")
    }
    assert (count["dma-star-sh"], count["da"], count["dma"]) == (352_366, 338_470, 321_766)
    assert round(100 * (count["dma-star-sh"] / count["da"] - 1), 1) == 4.1
    assert round(100 * (count["dma-star-sh"] / count["dma"] - 1), 1) == 9.5
    assert count["dma-star-sh-whole"] > 4 * count["dma"]


def test_chunks_lie_in_omega_in_the_papers_order():
    """Chunk c of 512 outputs is entries 512 c to 512 c + 511 of [W_down, b_down, W_up, b_up]; the rest is cut off."""
    net = ChunkedHypernetwork((1,), 8, 64, 256, 32, [torch.Generator().manual_seed(0)]).double()
    code = torch.randn(1, 3, 8, dtype=torch.float64)
    down, up, b_down, b_up = net(code)
    omega = torch.cat([down.flatten(2), b_down, up.mT.flatten(2), b_up], dim=-1)[0]
    for c in range(33):
        x = torch.cat([code[0], net.chunks[0, c].expand(3, -1)], dim=-1)
        for layer in (net.first, net.second, net.last):
            x = x @ layer.weight[0] + layer.bias[0]
            x = x if layer is net.last else torch.relu(x)
        cut = omega[:, 512 * c : 512 * (c + 1)]
        torch.testing.assert_close(x[:, : cut.shape[1]], cut, rtol=1e-12, atol=1e-12)
    assert cut.shape[1] == 288


def test_chunk_embeddings_are_standard_normal_at_first():
    generators = [torch.Generator().manual_seed(i) for i in range(40)]
    chunks = ChunkedHypernetwork((40,), 8, 64, 256, 32, generators).chunks
    assert chunks.shape == (40, 33, 8)
    assert abs(chunks.mean().item()) < 0.03 and chunks.std().item() == pytest.approx(1.0, abs=0.03)
    assert chunks.abs().max() > 3.0 and not torch.equal(chunks[0], chunks[1])


def test_squashed_gaussian_log_density():
    """Against the definition by atanh, in float64; the 1e-6 inside the logarithm is the only difference."""
    torch.manual_seed(0)
    mean, log_std = torch.randn(2, 50, 3, dtype=torch.float64) * 0.5
    action, log_prob = squashed_sample(mean, log_std, torch.randn(50, 3, dtype=torch.float64))
    expected = log_density(mean, log_std, action)
    slack = (1e-6 / (1 - action**2)).sum(-1)
    assert ((log_prob - expected).abs() <= slack + 1e-9).all()


def test_exact_log_density_where_the_action_saturates():
    """CleanRL's flattens out, with the numbers given in docs/deviations.md; the exact one is an option."""
    for mean, exact, wanted, slope in [(10.0, False, 15.90, 0.0), (10.0, True, 20.70, 2.0), (-10.0, True, 20.70, -2.0)]:
        at = torch.tensor([mean], requires_grad=True)  # float32, as in training
        _, log_prob = squashed_sample(at, torch.tensor([-3.0]), torch.zeros(1), exact)
        assert log_prob.item() == pytest.approx(wanted, abs=0.006)
        assert torch.autograd.grad(log_prob, at)[0].item() == pytest.approx(slope, abs=1e-2)
    torch.manual_seed(0)
    mean, log_std, noise = torch.randn(3, 50, 3, dtype=torch.float64) * 0.5
    action, log_prob = squashed_sample(mean, log_std, noise, exact=True)
    torch.testing.assert_close(log_prob, log_density(mean, log_std, action))


def test_the_exact_log_density_is_an_option_of_the_updates():
    losses = {}
    for exact in (False, True):
        agent = Agent(METHODS["dr"], LAYOUT, 2, (0,), SACSettings(exact_log_prob=exact))
        batch, contexts = sample_batch(agent)
        losses[exact] = agent.update(batch, contexts)
    assert not SACSettings().exact_log_prob
    for name in ("critic_loss", "actor_loss"):
        assert not torch.equal(losses[False][name], losses[True][name])


@pytest.mark.parametrize("bootstrap", [False, True])
def test_target_at_the_time_limit(bootstrap):
    agent = make("dr", bootstrap_at_time_limit=bootstrap)
    batch, contexts = sample_batch(agent)
    assert 0 < batch.at_limit.sum() < batch.at_limit.numel()
    code = agent.constant_conditioning(None, contexts)
    target = agent.target(batch, code, batch.noise[:, 0])
    last = batch.at_limit.bool()
    assert torch.equal(target[last], batch.reward[last]) != bootstrap
    assert not torch.equal(target[~last], batch.reward[~last])


def test_a_seed_alone_is_the_same_seed_in_a_block():
    """Same parameters and draws, bit for bit; losses of the first updates to 1e-5 (different summation order)."""
    for arm in ARMS:
        block, alone = make(arm, seeds=(3, 4, 5)), make(arm, seeds=(4,))
        for key, value in alone.modules.state_dict().items():
            assert torch.equal(value[0], block.modules.state_dict()[key][1]), (arm, key)
        replay = Replay(LAYOUT, 3, 20, 90, block.device)
        for i in range(2):
            shape = (3, 20, LAYOUT.window + LAYOUT.horizon, LAYOUT.row)
            replay.add(torch.randn(*shape, generator=torch.Generator().manual_seed(i)))
        single = Replay(LAYOUT, 1, 20, 90, block.device)
        single.rows, single.added = replay.rows[1:2].clone(), replay.added
        contexts = torch.randn(3, 20, 2)
        generators = [torch.Generator().manual_seed(i) for i in range(3)]
        lone = [torch.Generator().manual_seed(1)]
        for passes in (3, 1):
            batches = [r.sample(g, 12, passes, block.method) for r, g in ((replay, generators), (single, lone))]
            assert torch.equal(batches[0].obs[1], batches[1].obs[0])
            together = block.update(batches[0], contexts)
            for name, loss in alone.update(batches[1], contexts[1:2]).items():
                assert relative(together[name][1], loss[0]) < 1e-5, (arm, name)


def test_state_round_trip():
    agent = make("dma-star-sh", seeds=(0, 1))
    batch, contexts = sample_batch(agent)
    agent.update(batch, contexts)
    other = make("dma-star-sh", seeds=(7, 8))
    other.load_state({k: v.clone() for k, v in agent.state().items()})
    batch, contexts = sample_batch(agent, seed=9)
    agent.update(batch, contexts)
    other.update(batch, contexts)
    for key, value in agent.state().items():
        assert torch.equal(value, other.state()[key]), key
