"""An agent's update and its acting as CUDA graphs: one launch each, instead of hundreds that a GPU would wait for.

A graph repeats exactly what was captured, random numbers included. Here it draws none: a batch brings all that its
update uses, so a replay cannot repeat noise.
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

WARM_UP = 3  # eager runs before a capture, in which libraries allocate what they keep


def use_graphs(agent: Any) -> None:
    """Where the agent's memory is on a GPU, its updates are CUDA graphs from here on; so is the acting of a SAC agent
    (a recurrent one acts from a history and not from tensors alone)."""
    if agent.device.type != "cuda":
        return
    for optimizer in agent.optimizers.values():
        for group in optimizer.param_groups:
            group["capturable"] = True
    agent.update = Graphed(agent, agent.update)
    if isinstance(agent, Agent):
        agent.act = Graphed(agent, agent.act)  # pyright: ignore[reportAttributeAccessIssue]


class Graphed:
    """A method of a learner, captured once for each set of shapes: same arguments, same results, same effects.

    Arguments are tensors, dataclasses of tensors, or None. What is returned is overwritten by the next call with the
    same shapes. A graph holds addresses: after the first call the learner's state may be written to, not replaced, so
    ``load_state`` comes before.
    """

    def __init__(self, learner: Learner, method: Callable, capture: Callable | None = None):
        """``capture`` turns a function without arguments into its replay, ``cuda_graph`` by default."""
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
    """What happens inside leaves no trace: every tensor of the state is as before, bit for bit and where it was."""
    before = {name: tensor.clone() for name, tensor in learner.state().items()}
    yield
    for name, tensor in learner.state().items():
        if name in before:
            tensor.copy_(before[name])
        else:  # of an optimiser that had made no step yet
            tensor.zero_()


def cuda_graph(run: Callable[[], Any]) -> Callable[[], Any]:
    """A function that repeats what ``run`` does on the GPU and returns the tensors that it returned, written anew."""
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
