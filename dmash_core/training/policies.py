"""Agents for environments of the suite, untrained or from finished runs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from dmash_core.agents.amago import RecurrentAgent
from dmash_core.agents.sac import Agent, SACSettings
from dmash_core.agents.varibad import VariBAD
from dmash_core.benchmark.contexts import SETS
from dmash_core.benchmark.suite import context_sets, get_spec
from dmash_core.errors import UserError
from dmash_core.methods import InContextMethod, Method, method_from
from dmash_core.replay import Layout
from dmash_core.training.checkpoint import read_tensors


def block_contexts(env: str, seeds: Sequence[int]) -> dict[str, np.ndarray]:
    """The three context sets of a block of seeds, (N, 20, d) each."""
    sets = [context_sets(env, seed) for seed in seeds]
    return {split: np.stack([s[split] for s in sets]) for split in SETS}


def make_agent(
    env: str,
    method: Method | InContextMethod,
    seeds: Sequence[int],
    sac: SACSettings | None = None,
    device: str = "cpu",
    horizon: int | None = None,
) -> Agent | RecurrentAgent:
    """A block of untrained agents for an environment of the suite, with episodes of ``horizon`` steps."""
    spec = get_spec(env)
    sizes = (spec.obs_dim, spec.act_dim, method.window or spec.window, horizon or spec.horizon)
    if isinstance(method, InContextMethod):
        return RecurrentAgent(method, Layout(*sizes), seeds, device)
    whole = method.posterior == "sequence"
    layout = Layout(*sizes, whole, standardise=method.input_norm == "windownorm")
    ends = [d.train or (min(d.values or ()), max(d.values or ())) for d in spec.dimensions]
    build = VariBAD if whole else Agent
    return build(method, layout, spec.context_dim, seeds, sac, device, torch.tensor(ends).T)


def load_policy(path: str | Path) -> tuple[Agent | RecurrentAgent, dict]:
    """The networks of a finished run (``seed-*.safetensors``) as an agent of one seed, and the file's metadata."""
    tensors, meta = read_tensors(Path(path), digest=True)
    try:
        config = meta["config"]
        method, sac = method_from(config["method"]), SACSettings(**config["sac"])
        agent = make_agent(config["env"], method, [meta["seed"]], sac, horizon=config.get("horizon"))
        agent.modules.load_state_dict(tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"{path} does not contain the networks of a finished run: {error}") from error
    return agent, meta
