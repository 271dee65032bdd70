"""The Actuator Inversion Benchmark; importing it registers its environments with Gymnasium as "AIB/<name>-v0"."""

from dmash_core.benchmark.contexts import SETS, ContextDimension, ContextSpace
from dmash_core.benchmark.registration import register_all
from dmash_core.benchmark.scoring import evaluate
from dmash_core.benchmark.suite import SUITE, EnvSpec, context_sets, get_spec, make_batch, overview
from dmash_core.benchmark.vector import BatchedEnv
from dmash_core.benchmark.wrappers import (
    ContextObservation,
    ContextSampler,
    TransitionWindow,
    VectorContextObservation,
    VectorContextSampler,
    VectorTransitionWindow,
)

__all__ = [
    "SETS",
    "SUITE",
    "BatchedEnv",
    "ContextDimension",
    "ContextObservation",
    "ContextSampler",
    "ContextSpace",
    "EnvSpec",
    "TransitionWindow",
    "VectorContextObservation",
    "VectorContextSampler",
    "VectorTransitionWindow",
    "context_sets",
    "evaluate",
    "get_spec",
    "make_batch",
    "overview",
]

register_all()
