"""Data for the page: each arm's networks as text, the embeddings of its training contexts, its map, and the story.

No number on the page is hard-coded: those of the story come from the recorded maps or from episodes run here.
"""

import base64
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd

from dmash_core.agents.amago import RecurrentAgent
from dmash_core.agents.sac import Agent
from dmash_core.benchmark.suite import context_sets, get_spec
from dmash_core.diagnostics.embeddings import modes, rollout_codes
from dmash_core.errors import UserError
from dmash_core.evaluation import EVALUATION_STREAM, Rollout
from dmash_core.networks.encoder import evaluation_positions
from dmash_core.training.checkpoint import crc32
from dmash_core.training.policies import load_policy
from reproduction.figures.style import arm_order, arm_style
from reproduction.measured import read_tables

PAGE = Path(__file__).with_name("page")
ENV = "DI"  # the environment that the page simulates
CONTROLS = {  # name: title, low, high, step, default; the range of the mass is the benchmark's outer range
    "mass": ("mass", None, None, 0.05, 1.0),
    "inversion": ("inversion", -1, 1, 2, 1),
    "friction": ("friction", 0, 1, 0.05, 0),
    "delay": ("delay in steps", 0, 5, 1, 0),
    "obs_noise": ("observation noise", 0, 0.1, 0.005, 0),
    "action_noise": ("action noise", 0, 1, 0.05, 0),
}
TURN, AFTER, STARTS = 15, 100, 20  # the story's turn: its step, the steps that follow, the number of starts
_SQUARE = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])  # a tetrahedron's corners, seen along an axis


@dataclass(frozen=True, eq=False)
class Arm:
    """A trained agent of one seed, with its file's metadata and checksum."""

    agent: Agent
    meta: dict
    checkpoint: str = ""

    @property
    def slug(self) -> str:
        """The arm's label, which names its folder of raw runs."""
        return self.meta["arm"]

    @property
    def name(self) -> str:
        """The arm's name in figures."""
        return arm_style(self.slug).name


def weights(agent: Agent | RecurrentAgent, dtype: str) -> tuple[list, str]:
    """The networks needed for acting (actor, encoder, the actor's hypernetwork): [name, shape, unit] of each tensor,
    and all values in that order, little-endian in base64. UserError for an agent that the page cannot run.

    "int16" stores each tensor in units of its largest absolute entry / 32,767. It takes as much space as float16 and is
    several times more accurate for weights, which are of similar magnitude. "float32" is exact, with unit 1.
    """
    method = agent.method
    if isinstance(agent, RecurrentAgent):
        raise UserError("the page cannot run a recurrent agent")
    for wrong, what in (
        (method.posterior == "sequence", "an agent with a posterior over sequences"),
        (method.adapts("actor") and method.hypernetwork_form != "chunked", "a whole hypernetwork"),
        (agent.n != 1, f"a block of {agent.n} seeds"),
    ):
        if wrong:
            raise UserError(f"the page cannot run {what}")
    parts = ["actor"] + ["encoder"] * (method.context == "inferred")
    parts += [name for name in [hypernetwork_name(agent)] if name]
    shapes, values = [], []
    for name, tensor in agent.modules.state_dict().items():
        if name.split(".")[0] in parts:
            array, unit = tensor[0].numpy().ravel(), 1.0
            if dtype == "int16":
                unit = float(max(np.abs(array).max(), 1e-30)) / 32767
                array = np.rint(array / unit)
            shapes.append([name, list(tensor.shape[1:]), unit])
            values.append(array.astype({"int16": "<i2", "float32": "<f4"}[dtype]))
    return shapes, base64.b64encode(np.concatenate(values).tobytes()).decode()


def hypernetwork_name(agent: Agent) -> str | None:
    """Name of the module that generates the actor's adapter; None if there is none."""
    if not agent.method.adapts("actor"):
        return None
    return "hypernetwork" if agent.method.hypernetwork == "shared" else "actor_hypernetwork"


def planes(means: np.ndarray, output_norm: str) -> list[dict]:
    """Maps of codes (d,) onto planes, from the mean codes (C, d) of the training contexts: "axes" (2, d), "origin" (2,)
    with x = axes z - origin, and "corners" (4, 2) of a simplex or None.

    With SimNorm, each of the two groups of four is a point in a tetrahedron. It is viewed along one of the three axes
    from which its corners form a square: the one along which the means vary least. Other codes are projected onto the
    first two principal axes of the means, scaled so that the means lie within +-0.8.
    """
    if output_norm == "simnorm" and means.shape[1] == 8:
        found = []
        for group in (slice(0, 4), slice(4, 8)):
            orders = [(0, *rest) for rest in permutations((1, 2, 3)) if rest[0] < rest[2]]
            corners = max((_SQUARE[list(o)] for o in orders), key=lambda c: np.var(means[:, group] @ c, axis=0).sum())
            axes = np.zeros((2, 8))
            axes[:, group] = corners.T
            found.append({"axes": axes.tolist(), "origin": [0.0, 0.0], "corners": corners.tolist()})
        return found
    centre = means.mean(axis=0)
    axes = np.linalg.svd(means - centre, full_matrices=False)[2][:2]
    reach = 1.25 * np.abs((means - centre) @ axes.T).max()
    axes = axes / max(reach, 1e-9)
    return [{"axes": axes.tolist(), "origin": (axes @ centre).tolist(), "corners": None}]


def mean_codes(arm: Arm, rollouts: int = 4) -> np.ndarray:
    """Mean embeddings (20, d) of the training contexts, over the windows of `rollouts` episodes each."""
    contexts = context_sets(ENV, arm.meta["seed"])["train"]
    return rollout_codes(arm.agent, ENV, contexts, arm.meta["seed"], rollouts)[""].mean(axis=1)


def turned(arm: Arm, context: Sequence[float], turn: int, steps: int, starts: int) -> dict[str, np.ndarray]:
    """Run `starts` episodes of `steps` steps in `context`, inverting the actuators before step `turn`. Returns "reward"
    (T, B) and, if the arm infers a code, "z" (T, B, d). An arm that is given its context sees the change at once."""
    agent = arm.agent
    own, agent.layout = agent.layout, replace(agent.layout, horizon=steps)
    try:
        running = Rollout(agent, ENV, np.array([[context]]), starts)
    finally:
        agent.layout = own
    column = [dimension.name for dimension in get_spec(ENV).dimensions].index("inversion")
    running.warm_up([(arm.meta["seed"], EVALUATION_STREAM, i) for i in range(starts)])
    seen: dict[str, list] = {"reward": [], "z": []}
    for t in range(steps):
        if t == turn:
            running.env._inversion = -running.env._inversion
            running.contexts[..., column] *= -1
        conditioning = running.conditioning()
        if agent.method.context == "inferred":
            seen["z"].append(conditioning.vector[0].numpy())
        seen["reward"].append(running.step(running.mean_action(conditioning))[0][0])
    return {name: np.stack(values) for name, values in seen.items() if values}


def steps_to_notice(z: np.ndarray, means: np.ndarray, mode: np.ndarray, wanted: float, turn: int) -> np.ndarray:
    """Steps (B,) after `turn` until the nearest mean code of a training context has mode `wanted` for good; inf if
    never. z (T, B, d), means (C, d), mode (C,)."""
    nearest = np.square(z[turn:, :, None] - means).sum(axis=3).argmin(axis=2)
    wrong = mode[nearest] != wanted
    last = np.where(wrong.any(axis=0), len(wrong) - wrong[::-1].argmax(axis=0), 0).astype(float)
    return np.where(last == len(wrong), np.inf, last)


def export_arm(arm: Arm, dtype: str = "int16") -> dict:
    """All data of one arm for the page, JSON-ready. UserError for an arm that the page cannot run."""
    agent, style = arm.agent, arm_style(arm.slug)
    shapes, values = weights(agent, dtype)
    layout, spec = agent.layout, get_spec(ENV)
    dash = [] if style.line == "-" else list(style.line[1])
    data = {
        "arm": arm.slug, "name": style.name, "colour": style.color, "dash": dash, "env": arm.meta["env"],
        "seed": arm.meta["seed"], "steps": arm.meta["steps"], "commit": (arm.meta["git_commit"] or "unknown")[:8],
        "method": asdict(agent.method), "adapts": agent.method.adapts("actor"),
        "hypernetwork": hypernetwork_name(agent),
        "window": layout.window, "positions": evaluation_positions(layout.window, layout.whole).tolist(),
        "n_obs": layout.n_obs, "n_act": layout.n_act, "dimensions": [d.name for d in spec.dimensions],
        "context_range": agent.context_range.tolist(), "dtype": dtype, "shapes": shapes, "weights": values,
    }  # fmt: skip
    if agent.method.context == "inferred":
        means = mean_codes(arm)
        data["codes"] = {
            "contexts": context_sets(ENV, arm.meta["seed"])["train"].tolist(),
            "means": means.round(5).tolist(),
            "planes": planes(means, agent.method.output_norm),
        }
    return data


def _listed(values: dict[str, float], digits: int = 0) -> str:
    """Format numbers by arm name: DR 0, DMA* 75."""
    return ", ".join(f"{name} {value:.{digits}f}" for name, value in values.items())


def story(arms: list[Arm], codes: dict[str, np.ndarray], maps: pd.DataFrame) -> list[dict]:
    """Five steps, each with "title", "text" (what to look for and what was measured) and "state" of the page's
    controls.

    Returns come from the recorded maps of the arms' checkpoints; what happens after a turn is simulated here. Missing
    numbers are reported as such.
    """
    names = {arm.slug: arm.name for arm in arms}
    maps = maps[(maps["env"] == ENV) & maps["arm"].isin(names)]
    recorded = "No map is recorded"
    if len(maps):
        recorded = f"Recorded mean returns out of {get_spec(ENV).horizon} over {maps['rollouts'].min()} starts"

    def returns(mass: float, inversion: int) -> dict[str, float]:
        at = maps[np.isclose(maps["mass"], mass) & (maps["inversion"] == inversion)].set_index("arm")["mean"]
        return {names[slug]: at[slug] for slug in names if slug in at}

    def said(mass: float, inversion: int) -> str:
        numbers = _listed(returns(mass, inversion))
        return f"{recorded}: {numbers}." if numbers else f"{recorded}."

    mass = next(d for d in get_spec(ENV).dimensions if d.name == "mass")
    far = mass.outer[1]
    k = ", ".join(map(str, sorted({arm.agent.layout.window for arm in arms})))
    text = f"Each agent should come to rest inside the ring. It first acts for K = {k} warm-up steps, which fill its "
    text += "window and are not scored; then the scored episode starts. "
    steps = [("An upright world", text + said(mass.default, 1), {})]
    text = "The same mass, but a push to the left moves it to the right. Only arms with the true context are told. "
    steps.append(("Now inverted", text + said(mass.default, -1), {"inversion": -1}))
    back, noticed = {}, {}
    for arm in arms:
        seen = turned(arm, [mass.default, 1.0], TURN, TURN + AFTER, STARTS)
        back[arm.name] = seen["reward"][TURN:].sum(axis=0).mean()
        if arm.slug in codes:
            contexts = context_sets(ENV, arm.meta["seed"])["train"]
            found = np.median(steps_to_notice(seen["z"], codes[arm.slug], modes(ENV, contexts), -1.0, TURN))
            noticed[arm.name] = f"{arm.name} {found:.0f}" if np.isfinite(found) else f"{arm.name} not in most starts"
    own = maps[maps["arm"] == "dr"].groupby("inversion")["mean"].mean()
    lines = [
        f"After {TURN} steps, on the way to the ring, the actuators invert, which never happens in training.",
        "Watch whether z moves from the circles to the triangles as the window fills with the new world. Steps inside",
        f"the ring among the {AFTER} after the inversion, means over {STARTS} starts: {_listed(back)}.",
    ]
    if len(own) == 2 and own[-1] > own[1]:
        lines.append("(DR cannot notice it, but its single policy suits the inverted world.)")
    text = " ".join(lines)
    if noticed:
        text += " Median steps until z stays nearest to an inverted training context: "
        text += f"{', '.join(noticed.values())}; the window has {k} steps."
    steps.append(("Inverted in motion", text, {"turn": [TURN], "steps": TURN + AFTER}))
    text = f"Training masses range from {mass.train[0]:g} to {mass.train[1]:g}; this one is {far:g}. {said(far, 1)}"
    steps.append(("An unseen mass", text, {"mass": far}))
    text = "DR observes only the state. The two worlds need opposite pushes in the same state, but DR has only one. "
    worse = 1
    if len(own) == 2:
        worse = int(own.idxmin())
        text += f"Its recorded mean return over all masses is {own[1]:.1f} upright and {own[-1]:.1f} inverted."
    else:
        text += "No map of DR is recorded."
    text += f" Here it starts in one world, and the actuators invert after {TURN + AFTER // 2} steps."
    steps.append(("Why DR fails", text, {"inversion": worse, "turn": [TURN + AFTER // 2], "steps": TURN + AFTER}))
    return [{"title": title, "text": text, "state": state} for title, text, state in steps]


def export(arms: Sequence[Arm], runs: str | Path = "runs", dtype: str = "int16", home: str = "") -> dict:
    """All data of the page, JSON-ready. `runs` is the folder with the maps; maps that do not match an arm's checkpoint
    are left out. `home` is the address of the report's front page relative to this page."""
    arms = sorted(arms, key=lambda arm: arm_order(arm.slug))
    rows, codes = [export_arm(arm, dtype) for arm in arms], {}
    maps, _ = read_tables(runs)
    if maps.empty:  # an empty table lacks the columns of the context
        maps = maps.reindex(columns=[*maps.columns, *(dimension.name for dimension in get_spec(ENV).dimensions)])
    for arm, row in zip(arms, rows, strict=True):
        own = maps[(maps["env"] == ENV) & (maps["arm"] == arm.slug) & (maps["checkpoint"] == arm.checkpoint)]
        row["map"] = own[["mass", "inversion", "mean", "sd"]].round(3).to_numpy().tolist()
        if "codes" in row:
            codes[arm.slug] = np.array(row["codes"]["means"])
    mass = next(d for d in get_spec(ENV).dimensions if d.name == "mass")
    ends = {"mass": mass.outer}
    controls = [
        {"name": name, "title": title, "low": ends.get(name, (low,))[0], "high": ends.get(name, (high,))[-1],
         "step": step, "value": value, "train": mass.train if name == "mass" else None}
        for name, (title, low, high, step, value) in CONTROLS.items()
    ]  # fmt: skip
    known = maps[maps["checkpoint"].isin([arm.checkpoint for arm in arms])]
    return {
        "env": ENV, "horizon": get_spec(ENV).horizon, "controls": controls, "arms": rows, "home": home,
        "rollouts": int(known["rollouts"].min()) if len(known) else 0, "story": story(arms, codes, known),
    }  # fmt: skip


def checkpoints(runs: str | Path = "runs") -> list[Path]:
    """The networks of the page's environment in a folder of raw runs: the lowest seed of each arm."""
    paths = sorted(Path(runs).glob(f"{ENV}/*/seed-*.safetensors"), key=lambda path: (len(path.stem), path.stem))
    return list({path.parent: path for path in reversed(paths)}.values())


def load_arms(paths: Sequence[str | Path]) -> tuple[list[Arm], list[str]]:
    """The networks in files of finished runs, the first of each arm, and a sentence for each file that is left out."""
    arms, bad = {}, []
    for path in map(Path, paths):
        try:
            agent, meta = load_policy(path)
            if meta["env"] != ENV:
                raise UserError(f"it is for {meta['env']}, but the page is for {ENV}")
            weights(agent, "float32")
            if meta["arm"] in arms:
                raise UserError(f"seed {arms[meta['arm']].meta['seed']} of {meta['arm']} is already included")
            arms[meta["arm"]] = Arm(agent, meta, crc32(path))
        except UserError as error:
            bad.append(f"{path}: {error}")
    return list(arms.values()), bad


def write_page(out: str | Path, file: str, name: str, data: dict) -> None:
    """Write the pages into the folder `out`, and `data` as global variable `name` in the script `file` next to them.
    UserError if `out` cannot be written."""
    out = Path(out)
    text = json.dumps(data, separators=(",", ":"), sort_keys=True)
    try:
        shutil.copytree(PAGE, out, dirs_exist_ok=True)
        (out / file).write_text(f"globalThis.{name} = {text};\n")
    except OSError as error:
        raise UserError(f"cannot write the page into {out}: {error}") from error


def build(
    out: str | Path = "build/play",
    runs: str | Path = "runs",
    paths: Sequence[str | Path] = (),
    home: str = "",
    say: Callable[[str], None] = print,
) -> Path:
    """Write the page into the folder `out` and return its index.html, which opens in any browser.

    Its networks are those in `paths`, by default `checkpoints(runs)`: the first of each arm; the others are reported
    through `say`. `home` as in `export`. UserError if there are no networks or `out` cannot be written.
    """
    arms, bad = load_arms(paths or checkpoints(runs))
    for reason in bad:
        say(f"left out: {reason}")
    if not arms:
        where = " and ".join(map(str, paths)) or runs
        raise UserError(f"no networks for {ENV} in {where}: run make train ENV={ENV} first")
    write_page(out, "data.js", "dmashData", export(arms, runs, home=home))
    return Path(out) / "index.html"
