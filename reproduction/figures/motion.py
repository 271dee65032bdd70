"""An animation of two trained agents in an upright and an inverted world."""

from pathlib import Path

import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from dmash_core.errors import UserError
from reproduction.figures.networks import GOAL
from reproduction.figures.style import arm_style
from reproduction.measured import episode_table, read_tables

ARMS = ("dma-star-sh", "dr")
WORLDS = {"upright": 1.0, "inverted": -1.0}
"""Name -> inversion."""
EVERY, HOLD = 2, 12
"""Steps per frame, and number of frames for which the last one is held."""
SIDE, GAP, TOP, SCALE, MILLISECONDS = 210, 14, 40, 2, 70
"""Pixels of a panel, between panels and above them; supersampling factor; duration of a frame."""


def motion_table(runs_dir: str | Path = "runs") -> pd.DataFrame:
    """The episodes of seed 0 of ARMS on DI, in the columns of `measured.episode_table`.

    They are read from the tables next to the networks or, if there is no table, rolled out. UserError if there is no
    network either.
    """
    committed, _ = read_tables(runs_dir, "episodes")
    tables = []
    for arm in ARMS:
        here = committed[(committed["env"] == "DI") & (committed["arm"] == arm) & (committed["seed"] == 0)]
        tables.append(here if len(here) else episode_table(Path(runs_dir) / "DI" / arm / "seed-0.safetensors"))
    return pd.concat(tables, ignore_index=True)


def frame_steps(last: int) -> list[int]:
    """The steps shown in frames: every EVERY-th, and the last one, so that the return is complete."""
    return [*range(0, last, EVERY), last]


def _panel(draw: ImageDraw.ImageDraw, corner: tuple[int, int], part: pd.DataFrame, color: str) -> None:
    """Draw one arm in one world: the paths so far, the current positions, the goal."""
    side, (left, top) = SIDE * SCALE, corner

    def at(x, y):
        return left + (x + 1.1) / 2.2 * side, top + (1.1 - y) / 2.2 * side

    draw.rectangle([left, top, left + side, top + side], outline="#999999", width=SCALE)
    radius = GOAL / 2.2 * side
    x, y = at(0.0, 0.0)
    draw.ellipse([x - radius, y - radius, x + radius, y + radius], outline="#333333", width=2 * SCALE)
    for _, path in part.groupby("episode"):
        places = [at(*row) for row in path[["x", "y"]].clip(-1.09, 1.09).to_numpy()]
        if len(places) > 1:
            draw.line(places, fill=color, width=SCALE)
        x, y = places[-1]
        draw.ellipse([x - 4 * SCALE, y - 4 * SCALE, x + 4 * SCALE, y + 4 * SCALE], fill=color)


def draw_motion(runs_dir: str | Path = "runs", out_dir: str | Path = "figures") -> list[Path]:
    """Write motion-DI.gif and return the paths written. The same episodes, which are in trajectories-DI.csv, give the
    same bytes.

    A column per arm, a row per world; the corner shows the return so far (steps in the goal), averaged over episodes.
    UserError if a network is missing or the folder cannot be written.
    """
    table, path = motion_table(runs_dir), Path(out_dir) / "motion-DI.gif"
    font = ImageFont.load_default(13 * SCALE)
    width, height = (2 * SIDE + 3 * GAP) * SCALE, (2 * SIDE + 2 * GAP + TOP) * SCALE
    frames = []
    for step in frame_steps(int(table["step"].max())):
        image = Image.new("RGB", (width, height), "white")
        draw = ImageDraw.Draw(image)
        for column, arm in enumerate(ARMS):
            left = (GAP + column * (SIDE + GAP)) * SCALE
            draw.text((left, 10 * SCALE), arm_style(arm).name, fill=arm_style(arm).color, font=font)
            for row, (world, inversion) in enumerate(WORLDS.items()):
                part = table[(table["arm"] == arm) & (table["inversion"] == inversion) & (table["step"] <= step)]
                top = (TOP + row * (SIDE + GAP)) * SCALE
                _panel(draw, (left, top), part, arm_style(arm).color)
                total = part["reward"].sum() / part["episode"].nunique()
                draw.text(
                    (left + 6 * SCALE, top + 4 * SCALE), f"{world}: return {total:.0f}", fill="#333333", font=font
                )
        frames.append(image.resize((width // SCALE, height // SCALE), Image.Resampling.LANCZOS))
    frames += frames[-1:] * HOLD
    palette = frames[-1].quantize(32, method=Image.Quantize.MEDIANCUT)
    drawn = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn[0].save(path, save_all=True, append_images=drawn[1:], duration=MILLISECONDS, loop=0, optimize=True)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    return [path]
