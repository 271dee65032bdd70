"""The GPU path, as far as a CPU can check it: updates can be captured, and a capture has no side effects."""

import copy

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dmash_core.agents.amago import sample_sequences
from dmash_core.agents.sac import Agent
from dmash_core.methods import METHODS, InContextMethod, Method, replace
from dmash_core.networks.hypernetwork import WholeHypernetwork
from dmash_core.replay import Replay
from dmash_core.training.graphs import Graphed, unchanged
from dmash_core.training.policies import make_agent

SEEDS = (3, 8)
ARMS = ("dr", "dma-star-sh", "dma-pearl", "pearl", "amago")


def make(arm, device="cpu", width=16):
    """A small block, a function that samples a batch of P passes for it, and contexts, all on the CPU."""
    narrow = {"hypernetwork_width": 8, "bottleneck": 4} if isinstance(METHODS[arm], Method) else {}
    method = replace(METHODS[arm], width=width, window=10, **narrow)
    agent = make_agent("DI", method, SEEDS, device=device)
    replay = Replay(agent.layout, len(SEEDS), 2, 200, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    replay.rows.normal_(generator=generator)
    replay.added = replay.slots
    generators = [torch.Generator().manual_seed(s) for s in SEEDS]

    def sample(passes):
        if isinstance(method, InContextMethod):
            return sample_sequences(replay, generators)
        return replay.sample(generators, 3, passes, method)

    return agent, sample, torch.randn(len(SEEDS), 2, 2, generator=generator)


def eager(run):
    """Stands in for ``cuda_graph``: warm-up runs before capture, and results that each replay overwrites."""
    run(), run()
    result = run()

    def replay():
        again = run()
        for mine, new in zip(*((r.values() if isinstance(r, dict) else (r,)) for r in (result, again)), strict=True):
            mine.copy_(new)
        return result

    return replay


def assert_equal_states(a, b):
    a, b = a.state(), b.state()
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("arm", ARMS)
def test_a_captured_update_is_the_update(arm):
    """Bit for bit, over batches with and without the actor's passes, each kind captured at its first batch."""
    agent, sample, contexts = make(arm)
    twin = copy.deepcopy(agent)
    update = Graphed(agent, agent.update, eager)
    for passes in (1, 3, 1, 1, 3):
        batch = sample(passes)
        ours, theirs = update(batch, contexts), twin.update(batch, contexts)
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)
    assert_equal_states(agent, twin)
    assert len(update.captured) == (1 if arm == "amago" else 2)
    assert all(p.grad_fn is None and not p.requires_grad for p in agent.targets.parameters())


def test_captured_acting_follows_the_parameters():
    agent, sample, contexts = make("dma-star-sh")
    act = Graphed(agent, agent.act, eager)
    obs, windows = torch.randn(2, 4, agent.layout.n_obs), torch.randn(2, 4, 2, 2 * agent.layout.n_obs + 2)
    noise = torch.randn(2, 4, 2)
    seen = []
    for _ in range(2):
        agent.update(sample(3), contexts)
        for drawn in (None, noise, 2 * noise):
            seen.append(act(obs, windows, contexts, drawn).clone())
            assert torch.equal(seen[-1], agent.act(obs, windows, contexts, drawn))
    assert len(act.captured) == 2
    assert len({tuple(a.flatten().tolist()) for a in seen}) == 6


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("updates", [0, 2])
def test_warm_up_leaves_no_trace(arm, updates):
    """For a new agent and one in training: values and addresses of all tensors, and the next update."""
    agent, sample, contexts = make(arm)
    for _ in range(updates):
        agent.update(sample(3), contexts)
    twin, batch = copy.deepcopy(agent), sample(3)
    before = {k: (v.data_ptr(), v.clone()) for k, v in agent.state().items()}
    with unchanged(agent):
        agent.update(batch, contexts)
        changed = agent.state()
        assert not any(torch.equal(changed[k], v) for k, (_, v) in before.items() if k.startswith("targets"))
    after = agent.state()
    assert all(after[k].data_ptr() == p and torch.equal(after[k], v) for k, (p, v) in before.items())
    assert not any(v.any() for k, v in after.items() if k not in before)
    agent.update(batch, contexts), twin.update(batch, contexts)
    assert_equal_states(agent, twin)


class Uncapturable(TorchDispatchMode):
    """Fails if an operation needs the host (reads a number, copies one from it, or has a data-dependent size) or draws
    random numbers."""

    NAMES = ("_local_scalar_dense", "lift_fresh", "nonzero", "masked_select", "_unique2")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        random = torch.Tag.nondeterministic_seeded in func.tags
        assert not random and func.overloadpacket.__name__ not in self.NAMES, f"{func} cannot be captured"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("arm", METHODS)
def test_updates_and_acting_can_be_captured(arm, monkeypatch):
    """Also, each gradient has its parameter's strides, which PyTorch's fused Adam requires on CUDA.

    Optimiser steps are skipped: they are PyTorch's own, and different ones on CUDA.
    """
    monkeypatch.setattr(WholeHypernetwork, "leaves_out", False)  # as on a GPU
    agent, sample, contexts = make(arm)
    agent.update(sample(3), contexts)  # creates what is created only once
    batches = [sample(1), sample(3)]
    for optimizer in agent.optimizers.values():
        monkeypatch.setattr(optimizer, "step", lambda: None)
    with Uncapturable():
        for batch in batches:
            agent.update(batch, contexts)
        if isinstance(agent, Agent):
            windows = None if batch.windows is None else batch.windows[:, 0]
            agent.act(batch.obs, windows, contexts, batch.noise[:, 0])
            if windows is not None and agent.method.posterior != "sequence":  # in training mode
                code_noise = None if batch.code_noise is None else batch.code_noise[:, 0]
                agent.act(batch.obs, windows, contexts, batch.noise[:, 0], batch.keep[:, 0], code_noise)
    params = [p for optimizer in agent.optimizers.values() for group in optimizer.param_groups for p in group["params"]]
    assert params and all(p.grad.stride() == p.stride() for p in params)


HARMS = [lambda x: x.item(), lambda x: x.new_tensor([1.0]), torch.Tensor.nonzero, torch.rand_like, torch.Tensor.normal_]


@pytest.mark.parametrize("harm", HARMS)
def test_the_check_above_can_fail(harm):
    with pytest.raises(AssertionError, match="cannot be captured"), Uncapturable():
        harm(torch.ones(()))
