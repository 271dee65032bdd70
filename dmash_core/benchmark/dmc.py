"""Batched environments of dm_control's suite: its models, observations and rewards, with contexts.

A batch takes the place of dm_control's `Physics`: its methods return arrays for all simulations instead of one, so the
tasks' own `get_observation` and `get_reward` handle the whole batch in one call.
"""

# mujoco is compiled and has no stubs; the quantities in `reads` are attributes set at runtime
# pyright: reportAttributeAccessIssue=false

import warnings
from copy import copy
from types import ModuleType

from dmash_core.benchmark.mujoco import MujocoEnv, gravity, strength, uniform

# isort: split
import mujoco
import numpy as np

with warnings.catch_warnings():  # dm_control warns if there is no display
    warnings.simplefilter("ignore")
    from dm_control.suite import ball_in_cup, base, cartpole, cheetah, reacher, walker

XX, XZ, ZZ = 0, 2, 8  # entries of a rotation matrix in row-major order


_SCALE = np.sqrt(-2 * np.log(0.1))  # as in dm_control: the Gaussian is 0.1 at its margin


def _gaussian(x: np.ndarray, margin: float) -> np.ndarray:
    """dm_control's `tolerance(x, margin=margin)`."""
    return np.exp(-0.5 * (x / margin * _SCALE) ** 2)


class DMCEnv(MujocoEnv):
    """A task of dm_control's suite: `domain` is its module, `task` an instance of its task."""

    domain: ModuleType
    task: base.Task

    @classmethod
    def original(cls):
        xml, assets = cls.domain.get_model_and_assets()
        return mujoco.MjSpec.from_string(xml, assets)

    def _observe(self):
        return np.column_stack(list(self.task.get_observation(self).values()))

    def _reward(self):
        return self.task.get_reward(self)

    def position(self):
        return self.qpos

    def velocity(self):
        return self.qvel

    def _draw_joints(self, streams):
        """Draw limited joints uniformly in their range, other hinges in [-pi, pi], like dm_control's randomizers."""
        model = self.sims.model
        limited, hinge = model.jnt_limited == 1, model.jnt_type == mujoco.mjtJoint.mjJNT_HINGE
        low, high = np.where(limited[:, None], model.jnt_range, (-np.pi, np.pi))[limited | hinge].T
        self.qpos[:, limited | hinge] = uniform(streams, low, high)


class Cartpole(DMCEnv):
    """Cartpole balance; length: half the pole's length, at constant mass; pole_mass: that mass, by default 0.1 kg."""

    domain, task, reads = cartpole, cartpole.Balance(swing_up=False, sparse=False), ("xmat",)

    @classmethod
    def edit(cls, spec, context):
        pole = spec.geom("pole_1")
        pole.fromto = (0, 0, 0, 0, 0, 2 * context["length"])
        pole.mass = context.get("pole_mass", pole.mass)

    def _start(self, streams):
        self.qpos[:] = uniform(streams, (-0.1, -0.034), (0.1, 0.034))
        self.qvel[:] = 0.01 * np.stack([stream.standard_normal(2) for stream in streams])

    def bounded_position(self):
        return np.column_stack([self.qpos[:, 0], self.xmat[:, 2, [ZZ, XZ]]])

    def _reward(self):
        # The task's own get_reward would average over the batch, as if it were several poles on one cart.
        # Its `tolerance` is inlined, bit for bit, since its checks cost as much as half a simulator step.
        upright = (self.xmat[:, 2, ZZ] + 1) / 2
        centered = (1 + _gaussian(self.qpos[:, 0], margin=2)) / 2
        control = np.maximum(1 - self._ctrl[:, 0] ** 2, 0.0)
        velocity = _gaussian(self.qvel[:, 1], margin=5)
        return upright * ((4 + control) / 5) * ((1 + velocity) / 2) * centered


class Cheetah(DMCEnv):
    """Cheetah run; length: a factor on the legs."""

    domain, task, reads = cheetah, cheetah.Cheetah(), ("sensordata",)

    @classmethod
    def edit(cls, spec, context):
        for leg in "bf":
            for part in ("thigh", "shin", "foot"):
                geom, body = spec.geom(leg + part), spec.body(leg + part)
                geom.pos[[0, 2]] *= context["length"]
                geom.size[1] *= context["length"]
                if part != "thigh":
                    body.pos[[0, 2]] *= context["length"]

    def _start(self, streams):
        limited = self.sims.model.jnt_limited == 1
        # dm_control's first step after the draw still uses the forces of the default pose; adding the draw after that
        # step gives the same, bit for bit.
        self.sims.step()
        self.qpos[:, limited] += uniform(streams, *self.sims.model.jnt_range[limited].T)
        self.sims.step(nstep=199)

    def _observe(self):
        return np.column_stack([self.qpos[:, 1:], self.qvel])

    def speed(self):
        return self.sensordata[:, 0]


class ReacherEasy(DMCEnv):
    """Reacher easy; length: a factor on both links."""

    target_size = 0.05
    domain, task, reads = reacher, reacher.Reacher(target_size), ("geom_xpos",)
    target, finger = 6, 9  # geoms

    def _simulate(self, contexts):
        super()._simulate(contexts)
        self._radii = float(self.sims.model.geom_size[[self.target, self.finger], 0].sum())  # the same in all contexts

    @classmethod
    def edit(cls, spec, context):
        spec.geom("target").size[0] = cls.target_size
        for geom in (spec.geom("arm"), spec.geom("hand")):
            geom.fromto[3] *= context["length"]
        for body in (spec.body("hand"), spec.body("finger")):
            body.pos[0] *= context["length"]

    def _start(self, streams):
        self._draw_joints(streams)
        angle, radius = uniform(streams, (0, 0.05), (2 * np.pi, 0.2)).T
        self._target()[:] = np.column_stack([radius * np.sin(angle), radius * np.cos(angle)])

    def _target(self):
        """The position of the target (B, 2), which is part of the model."""
        return self.field("geom_pos")[:, self.target, :2]

    def finger_to_target(self):
        return self.geom_xpos[:, self.target, :2] - self.geom_xpos[:, self.finger, :2]

    def _reward(self):
        squares = np.square(self.finger_to_target())
        distance = np.sqrt(squares[:, 0] + squares[:, 1])
        return (distance <= self._radii).astype(np.float64)

    def _get_physics(self):
        return super()._get_physics() | {"target": self._target()}

    def _set_physics(self, physics):
        self._target()[:] = physics["target"]
        super()._set_physics(physics)


class ReacherHard(ReacherEasy):
    """Reacher hard: a smaller target."""

    target_size = 0.015


class BallInCup(DMCEnv):
    """Ball in cup, catch; gravity; length: the string's, and a longer string also starts the ball lower."""

    domain, task, reads = ball_in_cup, ball_in_cup.BallInCup(), ("site_xpos", "xpos")
    substeps = 10

    @classmethod
    def edit(cls, spec, context):
        gravity(spec, context)
        string = spec.tendon("string")
        spec.body("ball").pos[2] -= context["length"] - string.range[1]
        string.range[1] = context["length"]

    def _start(self, streams):
        model, ball = copy(self.sims.model), self.sims.model.body("ball").id
        data = mujoco.MjData(model)
        for i, stream in enumerate(streams):  # draw ball positions until one is free of contacts
            model.body_pos[ball] = self.field("body_pos")[i, ball]
            while True:
                data.qpos[2:] = stream.uniform(-0.2, 0.2), stream.uniform(0.2, 0.5)
                mujoco.mj_fwdPosition(model, data)
                if data.ncon == 0:
                    break
            self.qpos[i] = data.qpos

    def in_target(self):
        model = self.sims.model
        target, ball = model.site("target").id, model.body("ball").id
        distance = np.abs(self.site_xpos[:, target, ::2] - self.xpos[:, ball, ::2])
        return (distance < model.site_size[target, ::2] - model.geom("ball").size[0]).all(axis=1).astype(np.float64)


class Walker(DMCEnv):
    """Walker walk; gravity and strength."""

    domain, task, reads = walker, walker.PlanarWalker(move_speed=1), ("xmat", "xpos", "sensordata")
    substeps = 10

    @classmethod
    def edit(cls, spec, context):
        gravity(spec, context)
        strength(spec, context)

    def _start(self, streams):
        self._draw_joints(streams)

    def orientations(self):
        return self.xmat[:, 1:, [XX, XZ]].reshape(len(self.xmat), -1)

    def torso_height(self):
        return self.xpos[:, 1, 2]

    def torso_upright(self):
        return self.xmat[:, 1, ZZ]

    def horizontal_velocity(self):
        return self.sensordata[:, 0]
