"""Diagnostics: estimators against known values, windows against the agent's, and no effect on training."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import digamma

from dmash_core.benchmark.contexts import SETS
from dmash_core.benchmark.suite import context_sets
from dmash_core.diagnostics import embeddings
from dmash_core.diagnostics.embeddings import (
    by_mode,
    codes,
    cosines,
    diagnose,
    informativeness,
    measures,
    modes,
    shadow_gradients,
)
from dmash_core.evaluation import Rollout
from dmash_core.methods import METHODS, replace
from dmash_core.replay import Replay, random_positions
from dmash_core.training import policies, trainer
from dmash_core.training.policies import make_agent
from dmash_core.training.raw_runs import Run, read_run
from dmash_core.training.settings import TrainSettings
from dmash_core.training.trainer import Trainer
from reproduction import figures

INFERRED = [arm for arm, method in METHODS.items() if method.context == "inferred"]
KINDS = ["dma", "pearl", "dma-star-sh", "dma-star-h", "dma-star-sh-both"]  # a point, a Gaussian, each kind of adapter
NARROW = dict(width=32, hypernetwork_width=8, bottleneck=4)

# ------------------------------------------------------------------ Informativeness


def gaussians(rho, extra=0, n=3000, seed=0):
    """Samples with mutual information -ln(1 - rho^2) / 2; ``extra`` coordinates of z are independent noise."""
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, n, 1))
    return np.hstack([a, rng.standard_normal((n, extra))]), rho * a + np.sqrt(1 - rho**2) * b


@pytest.mark.parametrize("information", [0.0, 0.2, 0.805, 2.0])
def test_informativeness_of_gaussians(information):
    z, c = gaussians(np.sqrt(1 - np.exp(-2 * information)))
    assert informativeness(z, c) == pytest.approx(information, abs=0.05)


def test_informativeness_of_vectors_adds_up():
    pairs = [gaussians(0.8, seed=seed) for seed in range(2)]
    z, c = (np.hstack(side) for side in zip(*pairs, strict=True))
    assert informativeness(z, c) == pytest.approx(2 * -0.5 * np.log(1 - 0.8**2), abs=0.1)


def test_informativeness_by_a_straightforward_twin():
    """All pairwise distances, in the maximum norm and in the release's Euclidean norm."""
    z, c = gaussians(0.95, extra=1, n=300)
    dz, dc = (np.abs(x[:, None] - x) for x in (z, c))
    for release in (False, True):
        if release:  # divide each column by its standard deviation
            dz, dc = dz / z.std(axis=0), dc / c.std(axis=0)
        a, b = (np.linalg.norm(d, axis=2) if release else d.max(axis=2) for d in (dz, dc))
        joint = np.hypot(a, b) if release else np.maximum(a, b)
        radius = np.sort(joint, axis=1)[:, 3]  # the third neighbour: the point itself comes first
        counts = [(d < radius[:, None]).sum(axis=1) for d in (a, b)]  # the point itself is the "+ 1"
        wanted = digamma(3) + digamma(300) - sum(digamma(count) for count in counts).mean()
        assert wanted > 0.2
        assert informativeness(z, c, release=release) == pytest.approx(wanted, abs=1e-9)


def test_the_releases_estimator_is_biased_low():
    z, c = gaussians(np.sqrt(1 - np.exp(-2 * 0.805)))
    assert informativeness(z, c, release=True) == pytest.approx(0.54, abs=0.05)  # as measured in the design notes
    z, c = gaussians(np.sqrt(1 - np.exp(-2 * 0.805)), extra=7)
    assert informativeness(z, c, release=True) == 0.0 < 0.4 < informativeness(z, c)  # never below 0


def test_the_releases_estimator_has_no_units():
    z, c = gaussians(0.7, extra=2)
    scaled = z * np.array([1e-3, 1.0, 50.0]) + 7.0, c * 20.0
    assert informativeness(*scaled, release=True) == pytest.approx(informativeness(z, c, release=True), abs=1e-6)
    assert abs(informativeness(*scaled) - informativeness(z, c)) > 0.05
    assert informativeness(np.ones_like(z), c, release=True) == pytest.approx(0.0, abs=0.05)  # a constant column


@pytest.mark.parametrize("release, norm", [(False, np.inf), (True, 2)])
def test_informativeness_is_infomeasures_where_nothing_ties(release, norm):
    """The package itself does not use infomeasure: importing it configures logging globally."""
    import infomeasure

    z, c = gaussians(0.9, extra=1)
    scaled = [x / x.std(axis=0) for x in (z, c)] if release else (z, c)
    own = infomeasure.mutual_information(*scaled, approach="ksg", k=3, minkowski_p=norm, noise_level=0, base="e")
    assert own > 0.2
    assert informativeness(z, c, release=release) == pytest.approx(own, abs=1e-6)


def test_noise_free_limit():
    """z = c has infinite information; the third neighbour is the third in both marginals, but strictly so in only one,
    since the tie-breaking noise makes the two distances differ: psi(3) - (psi(3) + psi(4)) + psi(n)."""
    c = np.random.default_rng(0).standard_normal((1000, 1))
    assert informativeness(c, c) == pytest.approx(digamma(1000) - digamma(4), abs=1e-3)


CONTEXTS = context_sets("DI")["train"]
KNOWN = CONTEXTS.repeat(64, axis=0)


@pytest.mark.parametrize("release", [False, True])
@pytest.mark.parametrize("offset", [1.0, 1e3, 1e5, 1e6, 1e7, 1e12, -1e6])
def test_informativeness_does_not_know_where_the_codes_lie(release, offset):
    rng = np.random.default_rng(0)
    constant = informativeness(np.full((1280, 8), offset), KNOWN, release=release)
    assert constant == informativeness(np.zeros((1280, 8)), KNOWN, release=release)
    assert constant == pytest.approx(0, abs=0.02)
    points = np.float32(rng.standard_normal((20, 8)) + offset).repeat(64, axis=0)
    if abs(offset) < 1e6:  # beyond, float32 cannot represent such points
        assert informativeness(points, KNOWN, release=release) == pytest.approx(np.log(20), abs=0.02)
    mixed = np.hstack([points, np.full((1280, 1), offset)])  # a constant column next to others
    assert informativeness(mixed, KNOWN, release=release) < np.log(20) + 0.02


@pytest.mark.parametrize("release", [False, True])
@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e-3, 1e3, 1e6, 1e9, 1e12])
def test_informativeness_is_never_above_what_the_contexts_allow(release, scale):
    """At most ln C plus the estimator's (1 - 1/C) / 2W; the tie-breaking noise scales with the codes."""
    rng = np.random.default_rng(0)
    most = np.log(20) + (1 - 1 / 20) / 128 + 1e-3
    points = scale * rng.standard_normal((20, 8)).repeat(64, axis=0)
    if scale < 1e9:  # beyond, in raw units, contexts that differ by 0.04 coincide
        assert informativeness(points, KNOWN, release=release) == pytest.approx(np.log(20), abs=0.02)
    for z in (points, points + 1e5, points.round(0), scale * rng.standard_normal((1280, 8)), points[:, :1]):
        assert -0.1 < informativeness(z, KNOWN, release=release) < most


@pytest.mark.parametrize("release", [False, True])
def test_informativeness_of_discrete_contexts_and_ties(release):
    """ln 2 for two modes, ln 20 for one point per context, 0 for a constant code and for pure noise."""
    rng = np.random.default_rng(0)
    binary = np.repeat([[-1.0], [1.0]], 640, axis=0)
    z = binary * np.ones(8) + 0.02 * rng.standard_normal((1280, 8))
    assert informativeness(z, binary, release=release) == pytest.approx(np.log(2), abs=0.01)
    points = rng.standard_normal((20, 8)).repeat(64, axis=0)
    assert informativeness(points, KNOWN, release=release) == pytest.approx(np.log(20), abs=0.02)
    assert informativeness(np.full((1280, 8), 0.3), KNOWN, release=release) == pytest.approx(0, abs=0.05)
    noise = 0.01 * rng.standard_normal((1280, 8))  # closer to each other than the contexts are
    assert informativeness(noise, KNOWN, release=release) == pytest.approx(0, abs=0.05)


# ------------------------------------------------------------------ the other measures


def test_modes_are_the_discrete_dimension():
    assert modes("DI", np.array([[0.7, -1.0], [0.7, 1.0]])).tolist() == [-1, 1]
    assert modes("DI-Perm", np.array([[0.7, 0.0], [0.7, 1.0]])).tolist() == [-1, 1]
    assert set(modes("ODE", context_sets("ODE")["train"])) == {1.0}


def test_variability_and_its_terms():
    """The three terms, each computed from the samples by its own formula, sum to the mean coordinate variance."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((20, 50, 8)) * rng.random((20, 1, 1)) + rng.standard_normal((20, 1, 8))
    mode = modes("DI", CONTEXTS)
    got = measures(z, CONTEXTS, mode)
    means = z.mean(axis=1)
    by_mode = {s: means[mode == s].mean(axis=0) for s in (-1, 1)}
    p = (mode > 0).mean()
    assert got["variability"] == pytest.approx(z.reshape(-1, 8).var(axis=0).mean(), rel=1e-12)
    assert got["within_context_noise"] == pytest.approx(z.var(axis=1).mean(), rel=1e-12)
    spread = np.mean([np.square(m - by_mode[s]).mean() for m, s in zip(means, mode, strict=True)])
    assert got["within_mode_spread"] == pytest.approx(spread, rel=1e-12)
    separation = p * (1 - p) * np.square(by_mode[1] - by_mode[-1]).mean()
    assert got["between_mode_separation"] == pytest.approx(separation, rel=1e-12)
    assert got["variability"] == pytest.approx(got["within_context_noise"] + spread + separation, rel=1e-12)
    one = measures(z, CONTEXTS, np.ones(20))
    assert one["between_mode_separation"] == 0
    assert one["within_mode_spread"] == pytest.approx(means.var(axis=0).mean(), rel=1e-12)


def test_overlap_is_the_mean_cosine_of_different_contexts():
    z = np.random.default_rng(0).standard_normal((20, 30, 8)) + np.eye(20, 8)[:, None]
    means = z.mean(axis=1)
    cosine = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for i, a in enumerate(means) for b in means[:i]]
    got = measures(z, CONTEXTS, modes("DI", CONTEXTS))
    assert got["overlap"] == pytest.approx(np.mean(cosine), rel=1e-12)
    assert got["overlap_release"] == pytest.approx(0.05 + 0.95 * got["overlap"], rel=1e-12)
    assert cosines(z)[3, 1] == pytest.approx(cosine[4], rel=1e-12)
    assert np.isfinite(cosines(np.zeros((2, 5, 8)))).all()


def test_pairs_of_figure_4():
    within = embeddings.F4_CONTEXTS[:, 1:] == embeddings.F4_CONTEXTS[:, 1]
    pairs = by_mode(np.where(within, 1.0, -1.0))
    assert {kind: (len(v), set(v)) for kind, v in pairs.items()} == {"within": (6, {1.0}), "across": (9, {-1.0})}


# ------------------------------------------------------------------ windows


def evaluated(arm, env="DI", seeds=(0, 1), rollouts=2):
    """A block of untrained agents and a rollout that has just finished an episode in each of four contexts."""
    agent = make_agent(env, replace(METHODS[arm], **NARROW), seeds)
    rollout = Rollout(agent, env, np.stack([context_sets(env)["train"][::5]] * len(seeds)), rollouts)
    rollout.warm_up([(s, i) for s in seeds for i in range(rollout.batch)])
    acted = []  # the codes that the agent acted on, per step
    while True:
        acted.append(agent.conditioning(rollout.history.window(), rollout.contexts).vector)
        if rollout.step(rollout.mean_action())[1]:
            return agent, rollout, torch.stack(acted, dim=2)  # (N, B, T, 8)


@pytest.mark.parametrize("arm", KINDS)
def test_evaluation_mode_codes_are_those_acted_on(arm):
    """With as many windows as (rollout, time) pairs, each of the agent's windows appears exactly once."""
    _, rollout, acted = evaluated(arm)
    z = codes(rollout, [0, 1], windows=10_000)[""]
    acted = acted.reshape(2, 4, 200, 8)
    assert z.shape == acted.shape
    for mine, theirs in zip(z.flatten(0, 1), acted.flatten(0, 1), strict=True):
        order = [x[:, 0].argsort() for x in (mine, theirs)]
        assert torch.allclose(mine[order[0]], theirs[order[1]], atol=1e-5)


@pytest.mark.parametrize("arm", ["pearl", "dma-star-sh"])
def test_training_mode_codes_by_a_straightforward_twin(arm, monkeypatch):
    """Random steps, masks and noise from the same draws, window by window."""
    agent, rollout, _ = evaluated(arm, seeds=(3,))
    monkeypatch.setattr(
        "dmash_core.replay.random_positions", lambda *a: drawn.append(random_positions(*a)) or drawn[-1]
    )
    drawn = []
    z = codes(rollout, [3], step=7, windows=5)["_train_mode"]
    generator = torch.Generator().manual_seed(embeddings.stream(3, embeddings.DIAGNOSTICS_STREAM, 7))
    pair = torch.rand(4, 200, generator=generator).topk(5).indices
    torch.rand(4, 5, 24, generator=generator)
    keep = (torch.rand(4, 5, 4, 3, generator=generator) >= agent.method.masking).float()
    noise = torch.randn(4, 5, 8, generator=generator)
    encoder = agent.modules["encoder"]
    for c in range(4):
        for w in range(5):
            episode, t = divmod(pair[c, w].item(), 100)
            window = rollout.history.rows[0, 2 * c + episode, 24 + t : 48 + t][drawn[0][0, c, w]]
            rows, mask = agent.layout.encoder_input(window)[None, None], keep[None, None, c, w]
            if arm == "pearl":
                mean, variance = encoder.posterior(rows, mask)
                wanted = mean + variance.sqrt() * noise[c, w]
            else:
                wanted = encoder(rows, mask)
            assert torch.allclose(z[0, c, w], wanted[0, 0], atol=1e-6)


def test_draws_are_distinct_and_depend_on_seed_and_step_alone():
    _, rollout, acted = evaluated("dma", rollouts=3)
    z = codes(rollout, [0, 1], step=5)[""]
    for mine, theirs in zip(z.flatten(0, 1), acted.reshape(8, 300, 8), strict=True):
        assert len(torch.unique(theirs, dim=0)) == 300 and len(torch.unique(mine, dim=0)) == len(mine) == 256
    again, other = codes(rollout, [0, 1], step=5)[""], codes(rollout, [0, 1], step=6)[""]
    assert torch.equal(z, again) and not torch.equal(z, other) and not torch.equal(z[0], z[1])


def test_a_block_is_diagnosed_seed_by_seed():
    """Each seed's values, for each set, are computed from its own codes."""
    agent = make_agent("DI", replace(METHODS["dma-star"], **NARROW), [4, 9])
    sets = policies.block_contexts("DI", [4, 9])
    evaluator = trainer.Evaluator(agent, "DI", sets, [4, 9], 1)
    evaluator(50)
    logs = diagnose(evaluator.rollout, "DI", [4, 9], 50)
    assert logs["embedding_windows"] == [100.0, 100.0]  # the maximum for one rollout of 100 steps
    z = codes(evaluator.rollout, [4, 9], 50)
    for i in range(2):
        own = z["_train_mode"][i, 20:40].double().numpy()
        wanted = measures(own, sets["eval-in"][i].astype(np.float32).astype(float), modes("DI", sets["eval-in"][i]))
        assert {k: logs[f"{k}_train_mode@eval-in"][i] for k in wanted} == wanted


# ------------------------------------------------------------------ shadow gradients


def with_replay(arm, seeds, dtype=torch.float64):
    """Untrained agents in double precision and a replay buffer with two episodes of noise."""
    agent = make_agent("DI", replace(METHODS[arm], **NARROW), seeds)
    agent.modules.to(dtype)
    agent.log_alpha = torch.full((len(seeds),), -0.5, dtype=dtype)
    replay = Replay(agent.layout, len(seeds), 20, 200, torch.device("cpu"))
    replay.rows = torch.randn(replay.rows.shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    replay.added = 2
    return agent, replay


@pytest.mark.parametrize("arm", [*KINDS, "dma-star-sh-only-critic"])
def test_shadow_gradients_are_finite_differences(arm):
    """Perturb each code of one seed up and down, for the actor only, the critics only, and both."""
    agent, replay = with_replay(arm, [6])
    got = shadow_gradients(agent, replay, 1, [6], 300)
    generator = torch.Generator().manual_seed(embeddings.stream(6, embeddings.DIAGNOSTICS_STREAM, 300, 1))
    batch = replay.sample([generator], 1, 1, agent.method)
    with torch.no_grad():
        z, _ = agent.embed(batch, slice(1, 2))

        def loss(shift, ways):
            own = [agent.condition_on(z + shift if way in ways else z) for way in ("actor", "critics")]
            return agent.actor_loss(batch.obs, *own, batch.noise[:, 0])[0]

        for name, ways in {"actor": ["actor"], "critics": ["critics"], "both": ["actor", "critics"]}.items():
            steps = 1e-6 * torch.eye(z.numel(), dtype=z.dtype).view(-1, *z.shape)
            slopes = torch.stack([(loss(step, ways) - loss(-step, ways)) / 2e-6 for step in steps])
            assert got[f"shadow_{name}"] == pytest.approx([slopes.norm().item()], rel=1e-5), name
    assert min(map(min, got.values())) > 1e-6


@pytest.mark.parametrize("arm", ["dma-star-sh", "dma-star-sh-both"])
def test_shadow_gradients_touch_nothing(arm):
    agent, replay = with_replay(arm, [0, 1], torch.float32)
    before = {k: v.clone() for k, v in agent.state().items()}
    rng = torch.get_rng_state()
    a = shadow_gradients(agent, replay, 2, [0, 1], 300)
    assert a == shadow_gradients(agent, replay, 2, [0, 1], 300) != shadow_gradients(agent, replay, 2, [0, 1], 301)
    assert all(torch.equal(v, before[k]) for k, v in agent.state().items())
    assert all(p.grad is None for p in agent.modules.parameters()) and torch.equal(rng, torch.get_rng_state())


# ------------------------------------------------------------------ in training

SMALL = dict(random_steps=100, per_context=2, eval_every=150, eval_rollouts=1)


def run(tmp_path, arm, seeds=(0, 1)):
    settings = TrainSettings("DI", arm, replace(METHODS[arm], **NARROW), **SMALL)
    trainer = Trainer(settings, seeds, 300, tmp_path, progress=False)
    return trainer, trainer.run()


@pytest.mark.parametrize("arm", ["dma", "pearl", "dma-star-sh"])
def test_diagnostics_leave_training_bit_for_bit_as_it_was(arm, tmp_path, monkeypatch):
    with_, paths = run(tmp_path / "with", arm, seeds=(0,))
    monkeypatch.setattr(trainer, "diagnose", lambda *_: {})
    monkeypatch.setattr(trainer, "shadow_gradients", lambda *_: {})
    without, bare = run(tmp_path / "without", arm, seeds=(0,))
    a, b = with_.agent.state(), without.agent.state()
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    for one, other in zip(with_.generators, without.generators, strict=True):
        assert torch.equal(one.get_state(), other.get_state())
    assert torch.equal(with_.replay.rows, without.replay.rows)
    for path, plain in zip(paths, bare, strict=True):
        frame, rest = read_run(path).frame, read_run(plain).frame
        metrics = frame["metric"].unique()
        assert {"informativeness", "overlap_release_train_mode", "embedding_windows", "shadow_both"} <= set(metrics)
        kept = frame[frame["metric"].isin(rest["metric"].unique())].reset_index(drop=True)
        assert kept.astype({"metric": str}).equals(rest.astype({"metric": str}))


def test_the_raw_run_says_of_which_set_a_measure_is(tmp_path):
    _, (path,) = run(tmp_path, "dma-star", seeds=(0,))
    frame = read_run(path).frame
    rows = frame[frame["metric"] == "informativeness"]
    assert list(zip(rows["step"], rows["split"], strict=True)) == [(s, k) for s in (0, 150, 300) for k in SETS]
    assert rows[["context", "rollout"]].isna().all(axis=None)
    assert frame.loc[frame["metric"] == "dynamics_loss", "split"].isna().all()


@pytest.mark.parametrize("arm", ["dr", "concat"])
def test_arms_without_an_inferred_code_have_no_embeddings(arm, tmp_path):
    _, paths = run(tmp_path, arm, seeds=(0,))
    assert not {"embedding_windows", "shadow_both"} & set(read_run(paths[0]).frame["metric"])


# ------------------------------------------------------------------ over training


def logged(arm, seed, rows):
    """A run with rows (step, metric, split, value)."""
    frame = pd.DataFrame(rows, columns=["step", "metric", "split", "value"])
    return Run(None, {"env": "DI", "arm": arm, "seed": seed}, frame)


def test_diagnostic_table_and_curves():
    rows = [(s, "overlap", split, v) for split, v in (("train", 0.25), ("eval-in", 9.0)) for s in (10, 20)]
    runs = [
        logged("dma", 0, [*rows, (10, "shadow_both", None, 4.0)]),
        logged(
            "dma", 1, [(10, "overlap", "train", 0.75), (20, "overlap", "train", 0.5), (30, "overlap", "train", 1.0)]
        ),
        logged("dma-star", 0, [(10, "return", "train", 1.0)]),
    ]
    table = figures.diagnostic_table(runs, ["overlap"])
    assert table["arm"].eq("dma").all()
    assert table[["step", "seeds", "value"]].to_numpy().tolist() == [[10, 2, 0.5], [20, 2, 0.375], [30, 1, 1.0]]
    assert table[["low", "high"]].isna().all(axis=None)  # no interval from two seeds: each seed is shown
    assert table["single"].tolist()[:2] == ["0.25 0.75", "0.25 0.5"]
    assert figures.diagnostic_table(runs, ["overlap", "shadow_both"], None)["value"].tolist() == [4.0]
    fig = figures.diagnostic_curves(table, {"overlap": "Overlap"}, ["DI"], ["dma", "dma-star"])
    assert {tuple(map(tuple, line.get_xydata().tolist())) for line in fig.axes[0].lines} == {
        ((0.01, 0.5), (0.02, 0.375)),
        ((0.01, 0.25), (0.02, 0.25)),
        ((0.01, 0.75), (0.02, 0.5)),
        ((0.03, 1.0),),  # thin line of the longer seed
    }
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["DMA (2 seeds)"]
    assert fig.legends[0].get_title().get_text() == "without runs: DMA*"
    # a row per environment
    other = pd.concat([table, table.assign(env="ODE", arm="dma-star"), table.assign(env="ODE", value=3.0)])
    fig = figures.diagnostic_curves(other, {"overlap": "Overlap"}, ["DI", "ODE"], ["dma", "dma-star"])
    assert [ax.get_ylabel() for ax in fig.axes] == ["DI", "ODE"] and fig.axes[0].get_title(loc="left") == "Overlap"
    assert max(line.get_ydata().max() for line in fig.axes[1].lines) == 3.0
    said = [text.get_text() for text in fig.legends[0].get_texts()]
    assert said == ["DMA (2 seeds)", "DMA* (2 seeds, 1 of 2 environments)"]
    assert not fig.legends[0].get_title().get_text()


@pytest.mark.parametrize("values", [(0.005, 0.08), (0.02, 0.03), (0.02, 0.5), (1e-4, 0.3)])
def test_a_logarithmic_axis_has_two_labels_or_more(values):
    run = logged("dma", 0, [(step, "shadow_both", None, value) for step, value in zip((10, 20), values, strict=True)])
    table = figures.diagnostic_table([run], ["shadow_both"], None)
    ax = figures.diagnostic_curves(table, {"shadow_both": "Both"}, ["DI"], ["dma"], "log").axes[0]
    low, high = ax.get_ylim()
    assert low <= min(values) and max(values) <= high
    assert sum(low <= tick <= high for tick in ax.get_yticks()) >= 2


def test_decodability_is_linear_and_held_out():
    rng, line = np.random.default_rng(0), np.linspace(0, 1, 20)
    c, noise = np.stack([line, rng.permutation(line)], axis=1), rng.standard_normal((20, 50, 2))
    straight = embeddings.decodability(c[:, None] @ np.array([[1.0, 2.0], [0.0, 1.0]]) + 1e-3 * noise, c)
    assert straight == pytest.approx(1, abs=1e-3)
    wound = np.stack([np.cos(4 * np.pi * line), np.sin(4 * np.pi * line)], axis=1)[:, None] + 1e-3 * noise
    assert embeddings.decodability(wound, c[:, :1]) < 0.2
    assert embeddings.decodability(noise, c).max() < 0  # noise has no information
    one_hot = np.eye(20)[:, None] + 1e-6 * rng.standard_normal((20, 50, 20))
    assert embeddings.decodability(one_hot, c).max() < 0.1  # identifies each context, but not linearly
