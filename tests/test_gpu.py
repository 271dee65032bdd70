"""The GPU path on a GPU; skipped without one. tests/test_graphs.py checks what a CPU can check."""

import copy

import numpy as np
import pytest
import torch
from stops import run_until
from test_graphs import SEEDS, make
from test_training import settings

from dmash_core.methods import METHODS
from dmash_core.training.graphs import unchanged, use_graphs
from dmash_core.training.machine import configure_cuda
from dmash_core.training.raw_runs import read_run
from dmash_core.training.trainer import Trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA machine")
ARMS = ("dr", "dma-star-sh", "dma-pearl", "pearl", "amago", "varibad")


@pytest.fixture(autouse=True)
def float32():
    configure_cuda(tf32=False)


def moved(batch):
    return type(batch)(**{k: None if v is None else v.cuda() for k, v in vars(batch).items()})


def on_gpu(arm):
    """The block of ``make`` with its batches and contexts on the GPU."""
    agent, sample, contexts = make(arm, "cuda")
    return agent, lambda passes: moved(sample(passes)), contexts.cuda()


def gradients(agent):
    return {
        f"{name}.{i}": p.grad.cpu()
        for name, optimizer in agent.optimizers.items()
        for i, p in enumerate(optimizer.param_groups[0]["params"])
    }


def apart(ours, theirs):
    """The largest difference divided by the largest entry."""
    return ((ours.cpu() - theirs.cpu()).abs().max() / theirs.abs().max().cpu().clamp(min=1e-6)).item()


@pytest.mark.parametrize("arm", METHODS)
def test_losses_and_gradients_are_those_of_the_cpu(arm):
    """One update at full width, to 1e-4 of the largest entry. Optimisers make no step: Adam's first step is the sign of
    the gradient, which turns a rounding error into a learning rate."""
    (here, sample, contexts), (there, _, _) = make(arm, width=256), make(arm, "cuda", 256)
    for optimizer in (*here.optimizers.values(), *there.optimizers.values()):
        optimizer.step = lambda: None
    batch = sample(3)
    ours, theirs = there.update(moved(batch), contexts.cuda()), here.update(batch, contexts)
    assert max(apart(ours[k], theirs[k]) for k in theirs) < 1e-4
    ours, theirs = gradients(there), gradients(here)
    assert max(apart(ours[k], theirs[k]) for k in theirs) < 1e-4


@pytest.mark.parametrize("arm", ARMS)
def test_a_captured_update_is_the_eager_one(arm):
    agent, batch, contexts = on_gpu(arm)
    eager = copy.deepcopy(agent)
    use_graphs(agent)
    for passes in (1, 3, 1, 1, 3, 3):
        drawn = batch(passes)
        ours, theirs = agent.update(drawn, contexts), eager.update(drawn, contexts)
        assert max(apart(ours[k], theirs[k]) for k in theirs) < 1e-6
    ours, theirs = agent.state(), eager.state()
    assert ours.keys() == theirs.keys() and max(apart(ours[k], theirs[k]) for k in theirs) < 1e-6


@pytest.mark.parametrize("arm", ARMS)
def test_replays_use_the_noise_of_their_batch(arm):
    """The same batch from the same state has the same effect; with other noise it has a different one."""
    agent, batch, contexts = on_gpu(arm)
    use_graphs(agent)
    first = batch(3)
    other = type(first)(**(vars(first) | {"noise": torch.randn_like(first.noise)}))
    agent.update(first, contexts)

    def actor_after(drawn):
        with unchanged(agent):
            agent.update(drawn, contexts)
            return torch.cat([p.detach().flatten(1) for p in agent.modules["actor"].parameters()], dim=1).clone()

    once, again, differs = actor_after(first), actor_after(first), actor_after(other)
    assert torch.equal(once, again)
    assert all(not torch.equal(a, b) for a, b in zip(once, differs, strict=True))


def test_training_draws_other_noise_for_each_seed_and_step(tmp_path):
    trainer = Trainer(settings("dma-star-sh"), SEEDS, 150, tmp_path, "cuda", progress=False)
    trainer.replay.rows.normal_()
    trainer.replay.added = trainer.replay.slots
    draws = [row for _ in range(3) for row in trainer.sample(3).noise.flatten(1)]
    assert not any(torch.equal(a, b) for i, a in enumerate(draws) for b in draws[:i])


def run(path, arm="dma-star-sh", seeds=SEEDS, steps=300, device="cuda", **options):
    trainer = Trainer(settings(arm, **options), seeds, steps, path, device, progress=False)
    return [read_run(p) for p in trainer.run()]


@pytest.mark.parametrize("arm", ["dma-star-sh", "amago"])
def test_resumed_run_equals_undisturbed_run(arm, tmp_path):
    """Stopped in the random phase, mid-episode, and at an episode boundary."""
    whole = run(tmp_path / "whole", arm)
    for moment in (37, 149, 200):
        run_until(Trainer(settings(arm), SEEDS, 300, tmp_path / "cut", "cuda", progress=False), moment)
    cut = run(tmp_path / "cut", arm)
    assert [r.meta["digest"] for r in cut] == [r.meta["digest"] for r in whole]
    assert whole[0].meta["machine"]["device"] == "cuda" and whole[0].meta["machine"]["gpu"]


def test_tf32_is_another_product():
    """Negative control for the 1e-4 above: TF32 exceeds it."""
    a, b = (torch.randn(10, 256, 256, device="cuda") for _ in range(2))
    exact = torch.bmm(a.double(), b.double())
    error = {}
    for tf32 in (True, False):
        configure_cuda(tf32)
        error[tf32] = apart(torch.bmm(a, b), exact)
    assert error[False] < 1e-5 < error[True]


def test_learning_curves_of_cpu_and_gpu_agree(tmp_path):
    """DI, five seeds per device with different random streams: the intervals of the mean final return overlap."""
    means = {}
    for device in ("cpu", "cuda"):
        runs = run(
            tmp_path / device, "dma-star", range(5), 2000, device, random_steps=500, per_context=12, eval_every=2000
        )
        final = [r.frame[r.frame["metric"] == "return"]["value"].mean() for r in runs]
        means[device] = np.mean(final), 2.78 * np.std(final, ddof=1) / np.sqrt(5)  # t of 4 degrees of freedom, 95 %
    difference = abs(means["cpu"][0] - means["cuda"][0])
    assert difference <= means["cpu"][1] + means["cuda"][1]


def test_wide_blocks_keep_their_seeds_apart(tmp_path):
    """A seed alone matches the seed in a block: the losses of the first updates agree to 1e-3."""

    def losses(run):
        frame = run.frame[(run.frame["metric"] != "return") & (run.frame["step"] == 150)]
        return dict(zip(frame["metric"], frame["value"], strict=True))

    block = run(tmp_path / "block", "dr", (4, 5, 6), 150)
    (alone,) = run(tmp_path / "alone", "dr", (5,), 150)
    assert losses(alone) == pytest.approx(losses(block[1]), rel=1e-3)


@pytest.mark.parametrize("arm", ["concat", "da", "dma-pearl", "varibad"])
def test_whole_runs(arm, tmp_path):
    """With actions from graphs, warm-ups, evaluations and diagnostics on the device."""
    (one,) = run(tmp_path, arm, (0,), 150)
    assert np.isfinite(one.frame["value"]).all()
