"""The Actuator Inversion Benchmark; importing it registers its environments with Gymnasium as "AIB/<name>-v0"."""

from .contexts import SETS, ContextDimension
from .registration import register_all
from .suite import SUITE, EnvSpec, context_sets, get_spec, make_batch
from .vector import BatchedEnv

__all__ = [
    "SETS",
    "SUITE",
    "BatchedEnv",
    "ContextDimension",
    "EnvSpec",
    "context_sets",
    "get_spec",
    "make_batch",
]

register_all()
