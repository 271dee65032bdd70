"""The training loop of a block of seeds: act, store, update, evaluate; stop at any time and resume without loss.

A checkpoint contains the complete state (networks, optimisers, replay buffer, histories, environments and random
states), so a run that is interrupted and resumed by the same command gives the same raw run, bit for bit.
"""

import datetime
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from gymnasium.error import InvalidAction
from tqdm import tqdm

from dmash_core.agents.amago import RecurrentAgent, Sequences, sample_sequences
from dmash_core.agents.learner import below, stream
from dmash_core.agents.sac import Agent
from dmash_core.benchmark.contexts import SETS
from dmash_core.benchmark.suite import get_spec
from dmash_core.diagnostics.embeddings import diagnose, shadow_gradients
from dmash_core.errors import Diverged, Interrupted, UserError
from dmash_core.evaluation import Evaluator, Rollout
from dmash_core.methods import InContextMethod
from dmash_core.replay import Batch, Reading, Replay, draw_reading
from dmash_core.training.checkpoint import CheckpointFolder, of_seeds, write_tensors
from dmash_core.training.graphs import use_graphs
from dmash_core.training.log import RunLog
from dmash_core.training.machine import check_device, check_writable, configure_cuda, no_denormals, signals
from dmash_core.training.policies import block_contexts, make_agent
from dmash_core.training.raw_runs import BadRun, provenance, read_run, run_path, write_run
from dmash_core.training.settings import TrainSettings, fulfils, same_config


class Trainer:
    """A block of seeds of one arm on one environment."""

    def __init__(
        self,
        settings: TrainSettings,
        seeds: Sequence[int],
        steps: int | None = None,
        out: str | Path = "runs",
        device: str = "cpu",
        progress: bool = True,
        tf32: bool = False,
    ):
        """``steps`` defaults to the benchmark's; ``tf32`` as in ``configure_cuda``. Raises UserError for invalid
        settings."""
        self.settings, self.seeds, self.out, self.progress = settings, list(seeds), Path(out), progress
        self.spec = get_spec(settings.env)
        self.steps = self.spec.gradient_steps if steps is None else steps
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise UserError(f"seeds must be distinct non-negative integers, not {self.seeds}")
        if self.steps < settings.eval_every or self.steps % settings.eval_every:
            raise UserError(
                f"steps must be a positive multiple of eval_every ({settings.eval_every}), so that a run ends with an "
                f"evaluation, not {self.steps}"
            )
        check_device(device, tf32)
        self.paths = [run_path(self.out, settings.env, settings.label, s) for s in self.seeds]
        # Up to rounding, a seed does not depend on its block, so finished seeds need not be trained again.
        self.seeds = [s for s in self.seeds if not self._finished(s)]
        if not self.seeds:
            return
        name = "-".join(str(s) for s in self.seeds)
        self.checkpoints = CheckpointFolder(self.out / ".progress" / settings.env / settings.label / f"seeds-{name}")
        self.contexts = block_contexts(settings.env, self.seeds)
        configure_cuda(tf32)
        self.agent = make_agent(settings.env, settings.method, self.seeds, settings.sac, device, settings.horizon)
        use_graphs(self.agent)
        layout, place = self.agent.layout, self.agent.device
        self.replay = Replay(layout, len(self.seeds), 20, settings.replay_capacity, place)
        self.rollout = Rollout(self.agent, settings.env, self.contexts["train"])
        self.evaluator = self._evaluator(settings.rollouts_between)
        self.generators = [torch.Generator(place).manual_seed(stream(seed, 3)) for seed in self.seeds]
        self.step = -settings.random_steps  # updates made; negative in the random phase
        self.wall_time = 0.0  # of previous processes
        self.began = time.perf_counter()
        self.started = _now()
        # of the current code, which may change on disk before the run ends
        self.origin = provenance()
        matmul = torch.backends.mkldnn.matmul  # pyright: ignore[reportAttributeAccessIssue]
        self.origin["machine"]["matmul"] = matmul.fp32_precision
        self.origin["machine"] |= {"device": place.type, "tf32": tf32}
        self.log = RunLog()
        self.stop_signal: int | None = None

    # ---------------------------------------------------------------- the loop

    def run(self) -> list[Path]:
        """Train to the end, from the last checkpoint if there is one; returns the paths of all seeds' raw runs.

        Raises Interrupted after a signal, with a checkpoint on disk, and Diverged if a number is not finite, but only
        after the other seeds of the block have been trained to the end.
        """
        if not self.seeds:
            return self.paths
        try:
            self._run()
        except Diverged as error:
            if self.log.returns:
                self._write(error)
            if rest := [i for i, seed in enumerate(self.seeds) if error.seeds and seed not in error.seeds]:
                tqdm.write(f"{error}; training continues with seed {', '.join(str(self.seeds[i]) for i in rest)}")
                self._go_on_with(rest, error)
            raise
        self._write()
        return self.paths

    def _go_on_with(self, rest: list[int], error: Diverged) -> None:
        """Train some seeds of the block to the end in a new block, from the old block's last checkpoint."""
        device, tf32 = self.agent.device.type, self.origin["machine"]["tf32"]
        for name in ("agent", "replay", "rollout", "evaluator"):  # free their memory
            delattr(self, name)
        seeds = [self.seeds[i] for i in rest]
        other = Trainer(self.settings, seeds, self.steps, self.out, device, self.progress, tf32)
        loaded = self.checkpoints.load(say=tqdm.write)
        if loaded and not other.checkpoints.paths():
            tensors, meta = of_seeds(*loaded, rest)
            other.checkpoints.save(meta["step"] + self.settings.random_steps, tensors, meta)
        try:
            other.run()
        except Diverged as later:
            raise Diverged(f"{error}; {later}", error.seeds + later.seeds) from later

    def _run(self) -> None:
        check_writable(self.out)
        loaded = self.checkpoints.load(say=tqdm.write)
        if loaded:
            self._restore(*loaded)
        elif shorter := [str(path) for path in self.paths if path.exists()]:
            tqdm.write(f"{', '.join(shorter)}: shorter than requested or not usable, and no checkpoint to resume from; "
                       "training starts from scratch")  # fmt: skip
        with signals(self._on_signal), self._bar() as bar:
            self.began = time.perf_counter()
            if not loaded:
                method = self.settings.method
                same = not isinstance(method, InContextMethod) and method.shared_draws  # one stream for all
                streams = [0] * self.rollout.batch if same else range(self.rollout.batch)
                self.rollout.reset([(s, 1, i) for s in self.seeds for i in streams])
                self.rollout.history.start_warm_up(self.rollout.obs)
            try:
                self._loop(bar)
            except InvalidAction:  # the first symptom of NaN in a network
                self._check_finite()
                raise
            except Interrupted:
                self._checkpoint()
                raise Interrupted(
                    f"stopped at step {self.step} of {self.steps} with everything saved in {self.checkpoints.folder}; "
                    "rerun the same command to resume",
                    self.stop_signal or signal.SIGINT,
                ) from None
        self._check_finite()

    def _loop(self, bar: tqdm) -> None:
        every, saved = self.settings.eval_every, self.step
        while True:
            if self.step >= 0 and self.step % every == 0 and len(self.log.returns) <= self.step // every:
                last = self.step >= self.steps
                if last:
                    # Before the last evaluation: a longer run resumes here and makes a different evaluation.
                    self._checkpoint()
                    self.evaluator = self._evaluator(self.settings.eval_rollouts)
                self._evaluate(bar)
                if last:
                    return
                if self.step > saved:
                    self._checkpoint()
                    saved = self.step
            if self.stop_signal is not None:
                raise Interrupted
            self._train_step()
            bar.update()

    def _train_step(self) -> None:
        settings, rollout, layout = self.settings, self.rollout, self.agent.layout
        learning, recurrent = self.step >= 0, isinstance(self.agent, RecurrentAgent)
        if self.step % layout.horizon == 0:
            if learning or recurrent:
                rollout.warm_up()
            else:
                if self.step > -settings.random_steps:
                    rollout.reset()
                rollout.history.carry_over()
        if isinstance(self.agent, RecurrentAgent):
            sample, noise = rollout.act(self._draw(torch.randn)), self._draw(torch.randn)
            action = self.agent.explore(sample, noise, self.step + settings.random_steps)
        elif learning:
            action = rollout.act(self._draw(torch.randn), self._reading())
        else:
            action = 2.0 * self._draw(torch.rand) - 1.0
        ends = (self.step + 1) % layout.horizon == 0
        # The replay buffer changes only at the last step of an episode. Until then, update and step are independent,
        # and a GPU updates while the environments step, with the same result as one after the other.
        rollout.step(action, self._learn if learning and not ends else lambda: None)
        if ends:
            self.replay.add(rollout.history.episode().unflatten(1, (rollout.batch,)))
            if learning:
                self._learn()
                self._check_finite(parameters=False)
        self.step += 1

    def _reading(self) -> Reading | None:
        """How the encoder, in training mode, reads the windows when acting in this step, as in the release."""
        method = self.settings.method
        if isinstance(method, InContextMethod) or method.context != "inferred" or method.posterior == "sequence":
            return None
        return draw_reading(self.generators, (self.rollout.batch,), self.agent.layout, method)

    def _learn(self) -> None:
        """The update of this step; the first, at step 0, also updates the actor."""
        every = self.settings.sac.actor_every
        batch: Any = self.sample(1 + (every if self.step % every == 0 else 0))  # of the type that the agent learns from
        with no_denormals():
            losses = self.agent.update(batch, self.rollout.contexts)
        self.log.add(losses)

    def sample(self, passes: int) -> Batch | Sequences:
        """The batch of one update, with ``passes`` policy evaluations for a SAC agent."""
        method = self.settings.method
        if isinstance(method, InContextMethod):
            return sample_sequences(self.replay, self.generators)
        return self.replay.sample(self.generators, self.settings.per_context, passes, method)

    def _draw(self, sampler: Callable) -> torch.Tensor:
        """Random numbers (N, C, d_a), each seed's from its own generator."""
        shape = (self.rollout.batch, self.agent.layout.n_act)
        return torch.stack([sampler(shape, generator=g, device=self.agent.device) for g in self.generators])

    def _evaluator(self, rollouts: int) -> Evaluator:
        return Evaluator(self.agent, self.settings.env, self.contexts, self.seeds, rollouts)

    def _evaluate(self, bar: tqdm) -> None:
        self._check_finite(parameters=False)
        self.log.returns.append(self.evaluator(self.step, lambda: self.stop_signal is not None))
        means = self.log.means()
        # per environment, warm-ups included
        means["env_steps"] = [float(self.rollout.env_steps)] * len(self.seeds)
        if isinstance(self.agent, Agent) and "encoder" in self.agent.modules:
            means |= diagnose(self.evaluator.rollout, self.settings.env, self.seeds, self.step)
            if self.replay.added:
                means |= shadow_gradients(self.agent, self.replay, self.settings.per_context, self.seeds, self.step)
        self.log.diagnostics.append(means)
        aer = self.log.returns[-1].mean(axis=(0, 2, 3))
        bar.set_postfix_str(" ".join(f"{split} {value:.1f}" for split, value in zip(SETS, aer, strict=True)))

    def _check_finite(self, parameters: bool = True) -> None:
        tensors = {f"the sum of {k}": v for k, v in self.log.sums.items()}
        if parameters:
            tensors |= {f"the parameter {k}": v for k, v in self.agent.modules.named_parameters()}
        for name, tensor in tensors.items():
            finite = torch.isfinite(tensor.detach().flatten(1) if tensor.ndim > 1 else tensor.unsqueeze(1)).all(dim=1)
            if not finite.all():
                seeds = [s for s, ok in zip(self.seeds, finite.tolist(), strict=True) if not ok]
                raise Diverged(
                    f"{self.settings.env} {self.settings.label}: {name} is not finite at step {self.step} for seed "
                    f"{', '.join(map(str, seeds))}; its raw run keeps the earlier evaluations, if any, and the "
                    f"last good checkpoint is in {self.checkpoints.folder}",
                    seeds,
                )

    def _on_signal(self, number: int, frame) -> None:
        self.stop_signal = number

    def _bar(self) -> tqdm:
        seeds = ",".join(str(s) for s in self.seeds)
        title = f"{self.settings.env} {self.settings.label} seed {seeds}"
        # The random phase takes time, so it counts in the bar, and only there.
        total, initial = (steps + self.settings.random_steps for steps in (self.steps, self.step))
        hide = not self.progress
        return tqdm(total=total, initial=initial, desc=title, disable=hide, mininterval=1.0, smoothing=0.05)

    # ---------------------------------------------------------------- on disk

    def _finished(self, seed: int) -> bool:
        """Whether a seed has a raw run with this configuration that is long enough."""
        path = run_path(self.out, self.settings.env, self.settings.label, seed)
        if not path.exists():
            return False
        try:
            run = read_run(path)
        except BadRun as error:
            tqdm.write(f"training again, since the raw run cannot be used: {error}")
            return False
        return fulfils(run.meta, self.settings, self.steps, path)

    def _checkpoint(self) -> None:
        self._check_finite()
        tensors = {f"agent.{k}": v for k, v in self.agent.state().items()}
        tensors |= {f"generator.{i}": g.get_state() for i, g in enumerate(self.generators)}
        meta = {
            "config": self.settings.config(),
            "seeds": self.seeds,
            "step": self.step,
            "wall_time_s": self.wall_time + time.perf_counter() - self.began,
            "started": self.started,
        }
        for part in (self.replay, self.rollout, self.log):
            own, values = part.state()
            tensors, meta = tensors | own, meta | values
        self.checkpoints.save(self.step + self.settings.random_steps, tensors, meta)

    def _restore(self, tensors: dict[str, torch.Tensor], meta: dict) -> None:
        same_config(meta["config"], self.settings.config(), self.checkpoints.folder)
        if meta["step"] > self.steps:
            raise UserError(
                f"the checkpoint in {self.checkpoints.folder} is at step {meta['step']}, beyond the requested "
                f"{self.steps}: request at least {meta['step']} steps, or delete it"
            )
        self.agent.load_state(below(tensors, "agent."))
        for i, generator in enumerate(self.generators):
            generator.set_state(tensors[f"generator.{i}"])
        self.replay.load_state(tensors, meta)
        self.rollout.load_state(tensors, meta)
        self.log.load_state(tensors, meta, self.agent.device)
        self.step, self.wall_time, self.started = meta["step"], meta["wall_time_s"], meta["started"]

    def _write(self, diverged: Diverged | None = None) -> None:
        """Write each seed's raw run and final networks; the last checkpoint is kept so that training can be extended.

        A diverged run has only the evaluations before the divergence, as its metadata says, and no networks.
        """
        settings = self.settings
        for i, seed in enumerate(self.seeds):
            if diverged and seed not in diverged.seeds:
                continue
            path = run_path(self.out, settings.env, settings.label, seed)
            meta = {
                "env": settings.env,
                "arm": settings.label,
                "seed": seed,
                "steps": (len(self.log.returns) - 1) * settings.eval_every if diverged else self.steps,
                "config": settings.config(),
                "contexts": {split: self.contexts[split][i].tolist() for split in SETS},
                "env_steps": self.rollout.env_steps * self.rollout.batch,
                "wall_time_s": round(self.wall_time + time.perf_counter() - self.began, 1),
                "block": self.seeds,
                "damaged_checkpoints": self.checkpoints.damaged(),
                "started": self.started,
                "finished": _now(),
                **self.origin,
            }
            if diverged:
                meta["diverged"] = {"step": self.step, "reason": str(diverged).partition(";")[0]}
            else:
                policy = {"env": settings.env, "arm": settings.label, "seed": seed, "steps": self.steps}
                policy |= {"config": meta["config"], "git_commit": self.origin["git_commit"]}
                write_tensors(path.with_suffix(".safetensors"), self.agent.policy_state(i), policy, digest=True)
            write_run(path, self.log.frame(i, settings.eval_every), meta)
        if not diverged:
            self.checkpoints.keep_newest()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
