"""A moving picture of what the method does: two agents in an upright and an inverted world, by their networks."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from dmash_core.errors import UserError
from dmash_core.evaluation import rollout
from dmash_core.training.policies import load_policy
from reproduction.figures.style import arm_style

ARMS = ("dma-star-sh", "dr")
WORLDS = {"upright": (1.0, 1.0), "inverted": (1.0, -1.0)}
"""Name -> (mass, inversion)."""
EPISODES, EVERY, HOLD = 5, 2, 12
"""Episodes in a panel, steps a frame, frames that the end stands still."""
SIDE, GAP, TOP, SCALE, MILLISECONDS = 210, 14, 40, 2, 70
"""Pixels of a panel, between panels and above them; how much larger frames are drawn than shown; time of a frame."""
GOAL = 0.1
"""Radius of the goal at the origin."""


def motion_table(runs_dir: str | Path = "runs", seed: int = 1) -> pd.DataFrame:
    """Positions of each arm of ARMS on DI, seed 0, in both WORLDS, EPISODES episodes from the same starts: columns arm,
    world, episode, step, x, y, reward. UserError if a network is not there."""
    tables = []
    for arm in ARMS:
        path = Path(runs_dir) / "DI" / arm / "seed-0.safetensors"
        agent, _ = load_policy(path)
        for world, context in WORLDS.items():
            seen = rollout(agent, "DI", np.repeat(np.array([context]), EPISODES, axis=0), seed=seed)
            count = min(len(seen["obs"]), len(seen["reward"]))
            grid = pd.MultiIndex.from_product([range(count), range(EPISODES)], names=["step", "episode"])
            xy = seen["obs"][:count, :, :2].reshape(-1, 2)
            table = pd.DataFrame(xy, index=grid, columns=["x", "y"]).reset_index()
            reward = np.asarray(seen["reward"][:count]).reshape(-1)
            tables.append(table.assign(arm=arm, world=world, reward=reward))
    columns = ["arm", "world", "episode", "step", "x", "y", "reward"]
    return pd.concat(tables, ignore_index=True)[columns]


def _panel(draw: ImageDraw.ImageDraw, corner: tuple[int, int], part: pd.DataFrame, step: int, color: str) -> None:
    """One arm in one world up to `step`: the paths so far, where the bodies are, the goal."""
    side, (left, top) = SIDE * SCALE, corner

    def at(x, y):
        return left + (x + 1.1) / 2.2 * side, top + (1.1 - y) / 2.2 * side

    draw.rectangle([left, top, left + side, top + side], outline="#999999", width=SCALE)
    radius = GOAL / 2.2 * side
    x, y = at(0.0, 0.0)
    draw.ellipse([x - radius, y - radius, x + radius, y + radius], outline="#333333", width=2 * SCALE)
    for _, path in part[part["step"] <= step].groupby("episode"):
        places = [at(*row) for row in path[["x", "y"]].clip(-1.09, 1.09).to_numpy()]
        if len(places) > 1:
            draw.line(places, fill=color, width=SCALE)
        x, y = places[-1]
        draw.ellipse([x - 4 * SCALE, y - 4 * SCALE, x + 4 * SCALE, y + 4 * SCALE], fill=color)


def draw_motion(runs_dir: str | Path = "runs", out_dir: str | Path = "figures") -> list[Path]:
    """Write motion-DI.gif and motion-DI.csv; the paths written. The same networks give the same bytes.

    A column for each arm, a row for each world; in a corner the return so far, the mean of the episodes (steps in the
    goal). UserError if a network is missing or the folder cannot be written.
    """
    table, out_dir = motion_table(runs_dir), Path(out_dir)
    font = ImageFont.load_default(13 * SCALE)
    width, height = (2 * SIDE + 3 * GAP) * SCALE, (2 * SIDE + 2 * GAP + TOP) * SCALE
    cells = {key: part for key, part in table.groupby(["arm", "world"])}
    frames = []
    for step in range(0, int(table["step"].max()) + 1, EVERY):
        image = Image.new("RGB", (width, height), "white")
        draw = ImageDraw.Draw(image)
        for column, arm in enumerate(ARMS):
            left = (GAP + column * (SIDE + GAP)) * SCALE
            draw.text((left, 10 * SCALE), arm_style(arm).name, fill=arm_style(arm).color, font=font)
            for row, world in enumerate(WORLDS):
                part, top = cells[arm, world], (TOP + row * (SIDE + GAP)) * SCALE
                _panel(draw, (left, top), part, step, arm_style(arm).color)
                total = part.loc[part["step"] <= step, "reward"].sum() / EPISODES
                said = f"{world}: return {total:.0f}"
                draw.text((left + 6 * SCALE, top + 4 * SCALE), said, fill="#333333", font=font)
        frames.append(image.resize((width // SCALE, height // SCALE), Image.Resampling.LANCZOS))
    frames += frames[-1:] * HOLD
    palette = frames[-1].quantize(32, method=Image.Quantize.MEDIANCUT)
    drawn = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    paths = [out_dir / "motion-DI.gif", out_dir / "motion-DI.csv"]
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        drawn[0].save(paths[0], save_all=True, append_images=drawn[1:], duration=MILLISECONDS, loop=0, optimize=True)
        table.to_csv(paths[1], index=False, float_format="%.4g", lineterminator="\n")
    except OSError as error:
        raise UserError(f"cannot write the moving picture into {out_dir}: {error.strerror or error}") from error
    return paths
