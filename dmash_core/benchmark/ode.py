"""ODE and ODE-k: a scalar differential equation whose right-hand side is a polynomial in a complex action."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from gymnasium.spaces import Box

from dmash_core.benchmark import drawing
from dmash_core.benchmark.contexts import ContextDimension
from dmash_core.benchmark.vector import BatchedEnv

DT = 0.01
X_MAX = 20.0
_AXIS = 70  # height of the x axis in a picture, in pixels from the top
_EDGES = np.array([0.05, 0.1, 0.2, 0.5, 2.0])  # reward _LEVELS[i] while |x| < _EDGES[i], the last one beyond all
_LEVELS = np.array([1, 1 / 2, 1 / 3, 1 / 4, 0.05, 0])


class ODE(BatchedEnv):
    """State and observation x in [-20, 20], action a = a_0 + i a_1 from [-1, 1]^2, contexts c_0, ..., c_(k-1):
    xdot = Re(sum_j c_j a^(j+1)) (Benad et al. 2026, benchmark appendix, after Beukman et al. 2023).

    The reward decreases stepwise with |x|, from 1 below 0.05 to 0 from 2 on. Actions are clipped to [-1, 1].
    """

    metadata = BatchedEnv.metadata | {"render_modes": ["rgb_array"], "render_fps": round(1 / DT)}

    def __init__(self, dimensions: Sequence[ContextDimension], contexts: np.ndarray, horizon: float):
        super().__init__(dimensions, contexts, horizon, Box(-X_MAX, X_MAX, (1,), np.float32), act_dim=2)
        self._x = np.zeros(self.num_envs)

    def _reset(self, streams):
        self._x = np.array([stream.uniform(-1, 1) for stream in streams])

    def _step(self, actions):
        a_re, a_im = np.clip(actions, -1, 1).T
        # In real arithmetic: NumPy's complex product may fuse multiply and add, so its last bit would depend on the
        # machine and on the position in the batch.
        re, im = a_re, a_im
        xdot = self.contexts[:, 0] * re
        for c in self.contexts.T[1:]:
            re, im = re * a_re - im * a_im, re * a_im + im * a_re
            xdot = xdot + c * re
        self._x = np.clip(self._x + DT * xdot, -X_MAX, X_MAX)
        return _LEVELS[np.searchsorted(_EDGES, np.abs(self._x), side="right")]

    def _observe(self):
        return self._x[:, None]

    def _get_physics(self):
        return {"x": self._x}

    def _set_physics(self, physics):
        self._x = physics["x"]

    def picture(self, index):
        """The x axis, stretched around 0 where the rewards are (greener for higher rewards), with the state as a disc.
        Below it, a bar per coefficient from -10 to 10, upwards if positive."""
        picture = _line().copy()
        drawing.disc(picture, _column(self._x[index]), _AXIS, 8, drawing.PLAIN)
        zero, width = 180, 240 / len(self.contexts.T)
        drawing.segment(picture, (40, zero), (280, zero), drawing.GRID)
        for j, c in enumerate(self.contexts[index]):
            top, bottom = sorted((zero, zero - 4 * np.clip(c, -10, 10)))
            left, color = 40 + (j + 0.1) * width, drawing.PLAIN if c > 0 else drawing.CHANGED
            drawing.bar(picture, left, left + 0.8 * width, top, bottom, color)
        return picture


def _column(x: float) -> float:
    return drawing.WIDTH / 2 - 0.5 + 150 * np.arcsinh(x / 0.2) / np.arcsinh(X_MAX / 0.2)


@cache
def _line() -> np.ndarray:
    picture = drawing.canvas()
    for edge, level in zip(_EDGES[::-1], _LEVELS[-2::-1], strict=True):
        shade = 255 - (0.2 + 0.8 * level) * (255 - np.array(drawing.GOAL))
        drawing.bar(picture, _column(-edge), _column(edge), _AXIS - 25, _AXIS + 25, shade)
    drawing.segment(picture, (_column(-X_MAX), _AXIS), (_column(X_MAX), _AXIS), drawing.INK)
    return picture
