"""The double integrator (DI, DI-Friction, DI-Perm): a point mass in the plane that must stop at the origin."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from gymnasium.spaces import Box

from dmash_core.benchmark import drawing
from dmash_core.benchmark.contexts import ContextDimension
from dmash_core.benchmark.vector import BatchedEnv

DT = 0.1
_SCALE = 110  # pixels per unit of length in a picture


class DoubleIntegrator(BatchedEnv):
    """State and observation (p, v) in [-1, 1]^4, action a force in [-1, 1]^2 (Benad et al. 2026, benchmark appendix).

    Contexts: mass, friction, inversion, swap; where a variant lacks one, 1, 0, +1 and 0 respectively.
    The reward is 1 if ||p|| <= 0.1, otherwise 0.
    """

    metadata = BatchedEnv.metadata | {"render_modes": ["rgb_array"], "render_fps": round(1 / DT)}

    def __init__(self, dimensions: Sequence[ContextDimension], contexts: np.ndarray, horizon: float):
        super().__init__(dimensions, contexts, horizon, Box(-1.0, 1.0, (4,), np.float32), act_dim=2)
        self._p = np.zeros((self.num_envs, 2))
        self._v = np.zeros((self.num_envs, 2))

    def _set_contexts(self, contexts):
        super()._set_contexts(contexts)
        self._mass = self.column("mass", 1.0)[:, None]
        self._damping = 1 - DT * self.column("friction", 0.0)[:, None] / self._mass

    def _reset(self, streams):
        # Uniform on [-1, 1]^2 conditioned on both |p_i| > 0.8: uniform on [-0.2, 0.2]^2, moved outwards by 0.8.
        u = np.stack([stream.uniform(-0.2, 0.2, size=2) for stream in streams])
        self._p = u + np.copysign(0.8, u)
        self._v = np.zeros((self.num_envs, 2))

    def _step(self, actions):
        force = np.clip(actions, -1, 1)
        # The position is updated with the old velocity; the order is part of the benchmark.
        self._p = np.clip(self._p + self._v * DT, -1, 1)
        self._v = np.clip(self._v * self._damping + force / self._mass * DT, -1, 1)
        return (np.linalg.norm(self._p, axis=1) <= 0.1).astype(np.float64)

    def _observe(self):
        return np.concatenate([self._p, self._v], axis=1)

    def _get_physics(self):
        return {"p": self._p, "v": self._v}

    def _set_physics(self, physics):
        self._p, self._v = physics["p"], physics["v"]

    def picture(self, index):
        """The plane with the goal, and the body: its area shows its mass, a line its movement in half a second at the
        current velocity; it is orange if the actuators are inverted or swapped."""
        picture = _plane().copy()
        p, v = self._p[index], self._v[index]
        changed = self._inversion[index, 0] < 0 or self._swap[index, 0]
        color = drawing.CHANGED if changed else drawing.PLAIN
        drawing.segment(picture, _pixel(p), _pixel(p + v / 2), color)
        drawing.disc(picture, *_pixel(p), 7 * np.sqrt(self._mass[index, 0]), color)
        return picture


def _pixel(p: Sequence[float]) -> tuple[float, float]:
    return drawing.WIDTH / 2 - 0.5 + _SCALE * p[0], drawing.HEIGHT / 2 - 0.5 - _SCALE * p[1]


@cache
def _plane() -> np.ndarray:
    picture = drawing.canvas()
    for at in (-1, 0, 1):
        drawing.segment(picture, _pixel((at, -1)), _pixel((at, 1)), drawing.GRID)
        drawing.segment(picture, _pixel((-1, at)), _pixel((1, at)), drawing.GRID)
    drawing.ring(picture, *_pixel((0, 0)), 0.1 * _SCALE, drawing.GOAL)
    return picture
