"""Batched Walker2d-v5 and Hopper-v5 of Gymnasium with contexts; nothing terminates (terminate_when_unhealthy off).

Models and constants are Gymnasium's constructor defaults.
"""

# mujoco is compiled and has no stubs
# pyright: reportAttributeAccessIssue=false

from inspect import signature

from dmash_core.benchmark.mujoco import MujocoEnv, gravity, strength, uniform

# isort: split
import mujoco
import numpy as np
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv
from gymnasium.envs.mujoco.mujoco_env import expand_model_path
from gymnasium.envs.mujoco.walker2d_v5 import Walker2dEnv


class Walker2d(MujocoEnv):
    """Contexts: gravity and strength."""

    given = {name: p.default for name, p in signature(Walker2dEnv).parameters.items()}
    substeps = given["frame_skip"]

    @classmethod
    def original(cls):
        return mujoco.MjSpec.from_file(expand_model_path(cls.given["xml_file"]))

    @classmethod
    def edit(cls, spec, context):
        gravity(spec, context)
        strength(spec, context)

    def _start(self, streams):
        scale = self.given["reset_noise_scale"]
        self.qpos[:] += uniform(streams, -scale, scale, self.qpos.shape[1])
        self.qvel[:] += uniform(streams, -scale, scale, self.qvel.shape[1])

    def _observe(self):
        return np.column_stack([self.qpos[:, 1:], np.clip(self.qvel, -10, 10)])

    def _step(self, actions):
        self._before = self.qpos[:, 0].copy()
        return super()._step(actions)

    def _reward(self):
        velocity = (self.qpos[:, 0] - self._before) / (self.sims.model.opt.timestep * self.substeps)
        forward = self.given["forward_reward_weight"] * velocity
        cost = self.given["ctrl_cost_weight"] * np.square(self._ctrl).sum(axis=1)
        return forward + self._healthy() * self.given["healthy_reward"] - cost

    def _healthy(self):
        """Whether height and angle of the torso are in their healthy ranges, bool (B,)."""
        low, high = np.array([self.given["healthy_z_range"], self.given["healthy_angle_range"]]).T
        return ((low < self.qpos[:, 1:3]) & (self.qpos[:, 1:3] < high)).all(axis=1)


class Hopper(Walker2d):
    """Contexts: gravity and strength."""

    given = {name: p.default for name, p in signature(HopperEnv).parameters.items()}
    substeps = given["frame_skip"]

    def _healthy(self):
        low, high = self.given["healthy_state_range"]
        state = np.column_stack([self.qpos[:, 2:], self.qvel])
        return super()._healthy() & ((low < state) & (state < high)).all(axis=1)
