"""The Actuator Inversion Benchmark; importing it registers its environments with Gymnasium as "AIB/<name>-v0"."""

from dmash_core.benchmark.contexts import SETS, ContextDimension
from dmash_core.benchmark.registration import register_all
from dmash_core.benchmark.suite import SUITE, EnvSpec, context_sets, get_spec, make_batch, overview
from dmash_core.benchmark.vector import BatchedEnv

__all__ = [
    "SETS",
    "SUITE",
    "BatchedEnv",
    "ContextDimension",
    "EnvSpec",
    "context_sets",
    "get_spec",
    "make_batch",
    "overview",
]

register_all()
