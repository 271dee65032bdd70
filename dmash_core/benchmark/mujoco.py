"""The base of the MuJoCo environments: B simulations in one mjbatch batch, each under a model compiled for its context.

The simulator's fields are per simulation, so contexts, seeds and rollouts share a batch. A field is copied wherever
two of the compiled models differ in it, whatever it is: no list of fields can forget one.
"""

# mujoco is compiled and has no stubs
# pyright: reportAttributeAccessIssue=false

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from dmash_core.benchmark.opengl import make_renderer  # before MuJoCo, which it imports whatever MUJOCO_GL says

# isort: split
import mjbatch
import mujoco
import numpy as np
from gymnasium.spaces import Box

from dmash_core.benchmark.contexts import ContextDimension, check_contexts
from dmash_core.benchmark.vector import BatchedEnv
from dmash_core.errors import Diverged, UserError

PICTURE = (240, 320)  # height and width in pixels
_CONSTRAINT = int(mujoco.mjtDisableBit.mjDSBL_CONSTRAINT)
_ASSETS = ("bvh_aabb", "tex_data")  # arrays that mjbatch does not hold per simulation


class MujocoEnv(BatchedEnv):
    """B simulations of one family; a family says where its model comes from (`original`), how a context changes it
    before it is compiled (`edit`), how an episode starts (`_start`), what is observed (`_observe`) and rewarded
    (`_reward`).

    `qpos` (B, nq), `qvel` (B, nv) and what `field` returns are live views of the simulations.
    """

    _picture: tuple[mujoco.MjModel, mujoco.MjData, mujoco.Renderer] | None = None  # made by the first call of picture()
    substeps = 1  # simulator steps in a control step
    reads: tuple[str, ...] = ()  # quantities of mjData derived from the state that it reads; they become attributes

    def __init__(self, dimensions: Sequence[ContextDimension], contexts: np.ndarray, horizon: float):
        """Raises UserError when `contexts` (B, d) do not fit the dimensions or give a model that does not compile."""
        self.dimensions = tuple(dimensions)
        self._simulate(check_contexts(dimensions, contexts))
        space = Box(-np.inf, np.inf, self._observe().shape[1:], np.float32)
        super().__init__(dimensions, contexts, horizon, space, self.sims.model.nu)
        fps = round(1 / (self.sims.model.opt.timestep * self.substeps))
        self.metadata = self.metadata | {"render_modes": ["rgb_array"], "render_fps": fps}

    def _simulate(self, contexts: np.ndarray) -> None:
        """Start the simulations under contexts (B, d); all that is live is made here, and is not pickled."""
        models, which = self._models(contexts)
        self.sims = mjbatch.Batch(models[0], len(contexts), self.threads)
        self.fields: dict[str, np.ndarray] = {}  # of the model, name -> (B, ...), where the simulations differ
        self._simulated = contexts
        self._write(models, which)
        self.qpos, self.qvel, self._ctrl, self._state, self._warnings = (
            self.sims.bind(name) for name in ("qpos", "qvel", "ctrl", "state", "warning")
        )
        for name in self.reads:
            setattr(self, name, self.sims.bind(name))
        self._disabled = self.sims.expand("disableflags")
        self.sims.reset()

    def _models(self, contexts: np.ndarray) -> tuple[list[mujoco.MjModel], np.ndarray]:
        """The models of the different contexts in (B, d), and which of them each simulation has (B,)."""
        rows, which = np.unique(contexts, axis=0, return_inverse=True)
        names = tuple(dimension.name for dimension in self.dimensions)
        return [_compiled(type(self), names, tuple(row)) for row in rows.tolist()], which

    def _write(self, models: Sequence[mujoco.MjModel], which: np.ndarray) -> None:
        """Give each simulation the fields of its model, wherever one of them differs from the batch's own."""
        template = self.sims.model
        different = _differences([template, *models])
        for name in {**self.fields, **different}:
            if name in different:
                self.field(name)[:] = different[name][1:][which]
            else:  # an earlier context had another value
                self.field(name)[:] = getattr(template if hasattr(template, name) else template.opt, name)
        self.sims.set_const()  # for the scalars that follow from the fields, such as the solver's mean inertia

    def _use_contexts(self, contexts):
        if not np.array_equal(contexts, self._simulated):
            self._write(*self._models(contexts))
            self._simulated = contexts

    def __getstate__(self) -> dict[str, Any]:
        live = {"sims", "fields", "qpos", "qvel", "_ctrl", "_state", "_warnings", "_disabled", "_picture", *self.reads}
        state = {name: value for name, value in self.__dict__.items() if name not in live}
        physics = {name: values.copy() for name, values in self._get_physics().items()}
        return state | {"_physics": physics, "_warned": self._warnings.copy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        physics, warned = state.pop("_physics"), state.pop("_warned")
        self.__dict__.update(state)
        self._simulate(self._simulated)
        super().__setstate__({})
        self._set_physics(physics)
        self._warnings[:] = warned

    @classmethod
    def original(cls) -> mujoco.MjSpec:
        """The original model, before any context."""
        raise NotImplementedError

    @classmethod
    def edit(cls, spec: mujoco.MjSpec, context: Mapping[str, float]) -> None:
        """Apply the context (name -> value) to a model that is not compiled yet."""
        raise NotImplementedError

    @classmethod
    def compile(cls, context: Mapping[str, float], textures: bool = False) -> mujoco.MjModel:
        """The model under a context. Raises UserError with MuJoCo's reason when there is none."""
        spec = cls.original()
        cls.edit(spec, context)
        # Tests of bounding volumes only save time, and mjbatch does not hold the volumes per simulation.
        spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_MIDPHASE
        if not textures:  # they take most of the time that compiling takes
            for texture in spec.textures:
                texture.width = texture.height = 1
        try:
            return spec.compile()
        except ValueError as error:
            said = ", ".join(f"{name} = {value:g}" for name, value in context.items())
            raise UserError(f"MuJoCo cannot simulate the context {said}: {' '.join(str(error).split())}") from error

    def field(self, name: str) -> np.ndarray:
        """A live view (B, ...) of a field of mjModel that differs between simulations or is changed while they run."""
        if name not in self.fields:
            self.fields[name] = self.sims.expand(name)
        return self.fields[name]

    def _reset(self, streams):
        self.sims.reset()
        self._start(streams)
        self.sims.forward()
        self._check()

    def _step(self, actions):
        self._ctrl[:] = actions
        self.sims.step(nstep=self.substeps)
        self._check()
        self._refresh()
        return self._reward()

    def _refresh(self) -> None:
        """Derived quantities of the present state: mj_step leaves those of one simulator step before. Nothing that is
        read depends on constraint forces, so they are left out."""
        if self.reads:
            self._disabled ^= _CONSTRAINT
            self.sims.forward()
            self._disabled ^= _CONSTRAINT

    def _check(self) -> None:
        """Raise Diverged after a warning of the simulator: by then it has put the state back to its default."""
        if self._warnings[..., 1].any():
            i, kind = np.argwhere(self._warnings[..., 1])[0]
            context = ", ".join(f"{d.name} = {c:g}" for d, c in zip(self.dimensions, self.contexts[i], strict=True))
            raise Diverged(
                f"the physics became unstable ({mujoco.mjtWarning(kind).name}) in step {self.elapsed} of an episode of "
                f"environment {i}, whose context is {context}",
                environments=np.flatnonzero(self._warnings[..., 1].any(axis=1)).tolist(),
            )

    def _get_physics(self):
        return {"state": self._state}

    def _set_physics(self, physics):
        self._state[:] = physics["state"]
        self._refresh()

    def picture(self, index):
        if self._picture is None:
            names = [dimension.name for dimension in self.dimensions]
            model = self.compile(dict(zip(names, self.contexts[index].tolist(), strict=True)), textures=True)
            self._picture = model, mujoco.MjData(model), make_renderer(model, *PICTURE)
        model, data, renderer = self._picture
        for name, values in self.fields.items():
            getattr(model if hasattr(model, name) else model.opt, name)[...] = values[index]
        mujoco.mj_setState(model, data, self._state[index], mujoco.mjtState.mjSTATE_INTEGRATION)
        mujoco.mj_forward(model, data)
        renderer.update_scene(data, camera=0)
        return renderer.render()

    def close_extras(self, **kwargs):
        if self._picture is not None:
            self._picture[2].close()
            self._picture = None

    def _start(self, streams: Sequence[np.random.Generator]) -> None:
        """Write the initial states, that of simulation i drawn from `streams[i]` alone, over the model's default."""
        raise NotImplementedError

    def _reward(self) -> np.ndarray:
        """Rewards float64 (B,) of the state that was reached, a fresh array."""
        raise NotImplementedError


def uniform(streams: Sequence[np.random.Generator], low, high, size=None) -> np.ndarray:
    """One call of `uniform(low, high, size)` of each stream, stacked."""
    return np.stack([stream.uniform(low, high, size) for stream in streams])


def gravity(spec: mujoco.MjSpec, context: Mapping[str, float]) -> None:
    """The context "gravity", in m/s^2 downwards."""
    spec.option.gravity[2] = -context["gravity"]


def strength(spec: mujoco.MjSpec, context: Mapping[str, float]) -> None:
    """The context "strength", by which every actuator's gear is scaled."""
    for actuator in spec.actuators:
        actuator.gear[:] *= context["strength"]


@lru_cache(maxsize=1024)  # of some 20 kB each, so that a context costs its compilation once in a process
def _compiled(family: type[MujocoEnv], names: tuple[str, ...], context: tuple[float, ...]) -> mujoco.MjModel:
    """The model of a context; shared, so nothing may be written to it."""
    return family.compile(dict(zip(names, context, strict=True)))


def _differences(models: Sequence[mujoco.MjModel]) -> dict[str, np.ndarray]:
    """Name -> (M, ...) values of each array of mjModel and each option of mjOption in which M models differ."""
    found = {}
    for parts in (models, [model.opt for model in models]):
        for name in dir(parts[0]):
            if name.startswith("_") or not isinstance(getattr(parts[0], name), np.ndarray | float) or name in _ASSETS:
                continue
            values = np.stack([getattr(part, name) for part in parts])
            if (values != values[:1]).any():
                found[name] = values
    return found
