"""The base of the MuJoCo environments: B simulations in one mjbatch batch, each with a model compiled for its context.

Model fields are per simulation, so contexts, seeds and rollouts share a batch. Every field in which two of the compiled
models differ is copied, so there is no list of fields that could be incomplete.
"""

# mujoco is compiled and has no stubs
# pyright: reportAttributeAccessIssue=false

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from dmash_core.benchmark.opengl import make_renderer  # before MuJoCo, which it imports whatever MUJOCO_GL is

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
_ASSETS = ("bvh_aabb", "tex_data")  # arrays that mjbatch does not store per simulation


class MujocoEnv(BatchedEnv):
    """B simulations of one family. A family implements `original` (its model), `edit` (the context's changes before
    compilation), `_start` (initial states), `_observe` and `_reward`.

    `qpos` (B, nq), `qvel` (B, nv) and the arrays from `field` are live views of the simulations.
    """

    _picture: tuple[mujoco.MjModel, mujoco.MjData, mujoco.Renderer] | None = None  # set by the first call of picture()
    substeps = 1  # simulator steps per control step
    reads: tuple[str, ...] = ()  # derived quantities of mjData that the family uses; they become attributes

    def __init__(self, dimensions: Sequence[ContextDimension], contexts: np.ndarray, horizon: float):
        """Raises UserError if `contexts` (B, d) do not fit the dimensions or a model does not compile."""
        self.dimensions = tuple(dimensions)
        self._simulate(check_contexts(dimensions, contexts))
        space = Box(-np.inf, np.inf, self._observe().shape[1:], np.float32)
        super().__init__(dimensions, contexts, horizon, space, self.sims.model.nu)
        fps = round(1 / (self.sims.model.opt.timestep * self.substeps))
        self.metadata = self.metadata | {"render_modes": ["rgb_array"], "render_fps": fps}

    def _simulate(self, contexts: np.ndarray) -> None:
        """Start the simulations under contexts (B, d); creates all live objects, which are not pickled."""
        models, which = self._models(contexts)
        self.sims = mjbatch.Batch(models[0], len(contexts), self.threads)
        self.fields: dict[str, np.ndarray] = {}  # name -> (B, ...), model fields in which the simulations differ
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
        """The models of the distinct contexts in (B, d), and the model index of each simulation (B,)."""
        rows, which = np.unique(contexts, axis=0, return_inverse=True)
        names = tuple(dimension.name for dimension in self.dimensions)
        return [_compiled(type(self), names, tuple(row)) for row in rows.tolist()], which

    def _write(self, models: Sequence[mujoco.MjModel], which: np.ndarray) -> None:
        """Give each simulation the fields of its model that differ from the batch's template."""
        template = self.sims.model
        different = _differences([template, *models])
        for name in {**self.fields, **different}:
            if name in different:
                self.field(name)[:] = different[name][1:][which]
            else:  # only an earlier context had another value
                self.field(name)[:] = getattr(template if hasattr(template, name) else template.opt, name)
        self.sims.set_const()  # update scalars derived from the fields, such as the solver's mean inertia

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
        """The original model, without a context."""
        raise NotImplementedError

    @classmethod
    def edit(cls, spec: mujoco.MjSpec, context: Mapping[str, float]) -> None:
        """Apply the context (name -> value) to a model before compilation."""
        raise NotImplementedError

    @classmethod
    def compile(cls, context: Mapping[str, float], textures: bool = False) -> mujoco.MjModel:
        """The model under a context. Raises UserError with MuJoCo's reason if it does not compile."""
        spec = cls.original()
        cls.edit(spec, context)
        # Bounding-volume tests only save time, and mjbatch does not store the volumes per simulation.
        spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_MIDPHASE
        if not textures:  # they take most of the compilation time
            for texture in spec.textures:
                texture.width = texture.height = 1
        try:
            return spec.compile()
        except ValueError as error:
            said = ", ".join(f"{name} = {value:g}" for name, value in context.items())
            raise UserError(f"MuJoCo cannot simulate the context {said}: {' '.join(str(error).split())}") from error

    def field(self, name: str) -> np.ndarray:
        """A live view (B, ...) of an mjModel field that differs between simulations or changes while they run."""
        if name not in self.fields:
            self.fields[name] = self.sims.expand(name)
        return self.fields[name]

    def _reset(self, streams):
        for _ in range(2):  # if a state has just been loaded, mjbatch applies it after the first reset
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
        """Recompute derived quantities for the current state: mj_step leaves those of the previous simulator step. No
        quantity in `reads` depends on constraint forces, so these are skipped."""
        if self.reads:
            self._disabled ^= _CONSTRAINT
            self.sims.forward()
            self._disabled ^= _CONSTRAINT

    def _check(self) -> None:
        """Raise Diverged after a simulator warning; the simulator has then already reset the state to its default."""
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
        """Replace the model's default state by initial states, that of simulation i drawn from `streams[i]` only."""
        raise NotImplementedError

    def _reward(self) -> np.ndarray:
        """Rewards float64 (B,) of the state reached, a new array."""
        raise NotImplementedError


def uniform(streams: Sequence[np.random.Generator], low, high, size=None) -> np.ndarray:
    """`uniform(low, high, size)` from each stream, stacked."""
    return np.stack([stream.uniform(low, high, size) for stream in streams])


def gravity(spec: mujoco.MjSpec, context: Mapping[str, float]) -> None:
    """Apply the context "gravity", in m/s^2 downwards."""
    spec.option.gravity[2] = -context["gravity"]


def strength(spec: mujoco.MjSpec, context: Mapping[str, float]) -> None:
    """Scale every actuator's gear by the context "strength"."""
    for actuator in spec.actuators:
        actuator.gear[:] *= context["strength"]


@lru_cache(maxsize=1024)  # about 20 kB each; compiles each context once per process
def _compiled(family: type[MujocoEnv], names: tuple[str, ...], context: tuple[float, ...]) -> mujoco.MjModel:
    """The model of a context; shared, so it must not be modified."""
    return family.compile(dict(zip(names, context, strict=True)))


def _differences(models: Sequence[mujoco.MjModel]) -> dict[str, np.ndarray]:
    """Name -> values (M, ...) of each mjModel array and mjOption option in which M models differ."""
    found = {}
    for parts in (models, [model.opt for model in models]):
        for name in dir(parts[0]):
            if name.startswith("_") or not isinstance(getattr(parts[0], name), np.ndarray | float) or name in _ASSETS:
                continue
            values = np.stack([getattr(part, name) for part in parts])
            if (values != values[:1]).any():
                found[name] = values
    return found
