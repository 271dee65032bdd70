"""The animation: drawn from measured episodes, reproducible bytes, small enough for a README."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dmash_core.errors import UserError
from reproduction.figures import motion


def episodes(arm, reward):
    """Two episodes of 20 steps per world, on straight lines to the goal, with `reward` at each step."""
    rows = [(mass, inversion, e, t, (1 - t / 20) * (-1) ** e, 0.5 * (1 - t / 20), reward)
            for mass, inversion in ((1.0, 1.0), (1.0, -1.0)) for e in (0, 1) for t in range(20)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["mass", "inversion", "episode", "step", "x", "y", "reward"])
    return table.assign(env="DI", arm=arm, seed=0, steps=100, checkpoint="0", commit="0")


def test_a_moving_picture(tmp_path, monkeypatch):
    tables = {"dma-star-sh": episodes("dma-star-sh", 1.0), "dr": episodes("dr", 0.0)}
    monkeypatch.setattr(motion, "read_tables", lambda root, kind: (tables["dr"], []))
    rolled = []
    monkeypatch.setattr(motion, "episode_table", lambda path: rolled.append(path) or tables["dma-star-sh"])
    (path,) = motion.draw_motion("runs", tmp_path / "a")
    assert [p.parts[-2] for p in rolled] == ["dma-star-sh"]  # measured arms are not rolled out again
    assert motion.draw_motion("runs", tmp_path / "b")[0].read_bytes() == path.read_bytes()
    image = Image.open(path)
    assert image.n_frames > 5 and path.stat().st_size < 1_000_000
    first = np.array(image.convert("RGB")).astype(int)
    image.seek(5)
    assert np.abs(np.array(image.convert("RGB")) - first).max() > 100  # something moves


def test_a_network_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="no checkpoint at"):
        motion.draw_motion(tmp_path, tmp_path)


def test_the_last_frame_has_the_whole_return():
    assert motion.frame_steps(99)[:3] == [0, 2, 4] and motion.frame_steps(99)[-2:] == [98, 99]
    assert motion.frame_steps(100)[-2:] == [98, 100]
