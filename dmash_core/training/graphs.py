"""An agent's update and action as CUDA graphs: one launch each instead of hundreds that leave the GPU waiting.

A graph repeats exactly what was captured, random numbers included. The graphs here draw none: a batch contains all
random numbers that its update uses, so a replay cannot repeat noise.
"""

import warnings
from collections.abc import Callable
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import is_dataclass
from typing import Any

import torch
from torch import Tensor

from dmash_core.agents.learner import Learner
from dmash_core.agents.sac import Agent

WARM_UP = 3  # eager runs before a capture, for persistent allocations of libraries


def use_graphs(agent: Any) -> None:
    """If the agent is on a GPU, run its updates as CUDA graphs from now on, and the actions of a SAC agent too (a
    recurrent agent acts on a history, not only on tensors)."""
    if agent.device.type != "cuda":
        return
    for optimizer in agent.optimizers.values():
        for group in optimizer.param_groups:
            group["capturable"] = True
    agent.update = Graphed(agent, agent.update)
    if isinstance(agent, Agent):
        agent.act = Graphed(agent, agent.act)  # pyright: ignore[reportAttributeAccessIssue]


class Graphed:
    """A learner's method, captured once per set of argument shapes, with the same results and side effects.

    Arguments are tensors, dataclasses of tensors, or None. The next call with the same shapes overwrites the returned
    tensors. A graph stores addresses: after the first call the learner's state may be modified in place but not
    replaced, so call ``load_state`` before.
    """

    def __init__(self, learner: Learner, method: Callable, capture: Callable | None = None):
        """``capture`` turns a function without arguments into its replay; ``cuda_graph`` by default."""
        self.learner, self.method, self.capture = learner, method, capture or cuda_graph
        self.captured: dict[tuple, tuple[Callable[[], Any], list[Tensor | None]]] = {}

    def __call__(self, *arguments):
        given = _tensors(arguments)
        shapes = tuple(None if t is None else t.shape for t in given)
        if shapes not in self.captured:
            own = deepcopy(arguments)
            with unchanged(self.learner):
                self.captured[shapes] = self.capture(lambda: self.method(*own)), _tensors(own)
        replay, inputs = self.captured[shapes]
        for tensor, value in zip(inputs, given, strict=True):
            if tensor is not None and value is not None:
                tensor.copy_(value)
        return replay()


def _tensors(arguments: tuple) -> list[Tensor | None]:
    return [t for a in arguments for t in (vars(a).values() if is_dataclass(a) else (a,))]


@contextmanager
def unchanged(learner: Learner):
    """Restore every tensor of the learner's state on exit, bit for bit and in place."""
    before = {name: tensor.clone() for name, tensor in learner.state().items()}
    yield
    for name, tensor in learner.state().items():
        if name in before:
            tensor.copy_(before[name])
        else:  # of an optimiser that had not made a step yet
            tensor.zero_()


def cuda_graph(run: Callable[[], Any]) -> Callable[[], Any]:
    """Capture ``run``; the result replays it on the GPU and returns the same tensors with new values."""
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This instance was constructed with capturable=True")
        for _ in range(WARM_UP):
            run()
    with torch.cuda.graph(graph, stream=stream):
        result = run()
    torch.cuda.current_stream().wait_stream(stream)

    def replay():
        graph.replay()
        return result

    return replay
