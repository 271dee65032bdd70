"""Figures: the plotted numbers, notes on missing and unequal runs, and reproducible bytes."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread
from test_runs import make

from dmash_core.benchmark.suite import SUITE
from dmash_core.errors import UserError
from dmash_core.training import raw_runs
from reproduction import figures, measured
from reproduction.figures.networks import cosine_matrices, trajectories
from reproduction.paths import ROOT
from reproduction.statistics import mean_interval


def put(root, env="DI", arm="dr", seed=0, steps=10, level=None, **kwargs):
    """A synthetic run; with `level` its returns are level + step + 1 (train), + 2 (eval-in), + 3 (eval-out)."""
    frame, meta = make(env=env, arm=arm, seed=seed, steps=steps, **kwargs)
    if level is not None:
        shift = frame["split"].map({split: i + 1 for i, split in enumerate(raw_runs.SETS)})
        frame["value"] = (level + frame["step"] + shift).fillna(0.0)
    raw_runs.write_run(raw_runs.run_path(root, env, arm, seed), frame, meta)


@pytest.fixture
def some(tmp_path):
    root = tmp_path / "runs"
    for seed, level in enumerate((10, 20, 40)):
        put(root, arm="dma-star-sh", seed=seed, level=level, steps=10 if seed else 15)
    put(root, arm="dr", level=5)
    put(root, env="ODE", arm="dr", level=5, steps=20)
    put(root, arm="dma-star-sh+masking=0.2", level=1)
    return root


def test_learning_table_by_hand(some):
    table = figures.learning_table(raw_runs.scan(some)[0], "DI")
    assert list(dict.fromkeys(table["arm"])) == ["dr", "dma-star-sh", "dma-star-sh+masking=0.2"]
    curve = table[(table["arm"] == "dma-star-sh") & (table["split"] == "eval-in")]
    assert curve["step"].tolist() == [0, 5, 10, 15]
    assert curve["seeds"].tolist() == [3, 3, 3, 1]  # only seed 0 has step 15
    want = [mean_interval(np.array([10, 20, 40][:n]) + step + 2) for step, n in ((0, 3), (5, 3), (10, 3), (15, 1))]
    np.testing.assert_allclose(curve[["aer", "low", "high"]], want)
    alone = table[table["arm"] == "dr"]
    assert alone["aer"].tolist() == [6, 11, 16, 7, 12, 17, 8, 13, 18] and alone[["low", "high"]].isna().all(axis=None)


def test_learning_curves_draw_the_table(some):
    fig, table = figures.learning_curves(raw_runs.scan(some)[0], "DI")
    assert [ax.get_title() for ax in fig.axes] == list(raw_runs.SETS)
    assert all(ax.get_ylim() == (0, 100) and ax.get_xlim()[0] == 0 for ax in fig.axes)
    for split, ax in zip(raw_runs.SETS, fig.axes, strict=True):
        drawn = {(line.get_color(), *line.get_xydata()[:, 1]): line for line in ax.lines}
        parts = table[table["split"] == split].groupby(["arm", "seeds"])
        assert len(drawn) == len(ax.lines) == len(parts)
        for (arm, seeds), part in parts:
            line = drawn[(figures.arm_style(arm).color, *part["aer"])]
            np.testing.assert_allclose(line.get_xdata() * 1000, part["step"])
            fewer = seeds < table.loc[table["arm"] == arm, "seeds"].max()
            assert fewer == (line.get_marker() == "None"), "the longer seeds' way on is thin and unmarked"
    assert [text.get_text() for text in fig.legends[0].get_texts()] == [
        "DR (1 seed, 10 steps)",
        "DMA*-SH (3 seeds, 10 steps, then 1 to 15)",
        "DMA*-SH (masking=0.2) (1 seed, 10 steps)",
    ]
    with pytest.raises(UserError, match="no runs of DI-Perm"):
        figures.learning_curves(raw_runs.scan(some)[0], "DI-Perm")


def test_two_seeds_are_drawn_one_by_one_and_have_no_interval(tmp_path):
    for seed, level in enumerate((10, 30)):
        put(tmp_path, arm="dr", seed=seed, level=level, steps=10)
    found = raw_runs.scan(tmp_path)[0]
    fig, table = figures.learning_curves(found, "DI")
    assert table["low"].isna().all() and fig.legends[0].get_texts()[0].get_text() == "DR (2 seeds)"
    for split, ax in zip(raw_runs.SETS, fig.axes, strict=True):
        mean, *seeds = (line.get_ydata().tolist() for line in ax.lines)
        offset = raw_runs.SETS.index(split) + 1
        assert seeds == [[10 + step + offset for step in (0, 5, 10)], [30 + step + offset for step in (0, 5, 10)]]
        assert mean == pytest.approx(np.mean(seeds, axis=0).tolist())
        assert all(
            np.isnan(band.get_paths()[0].vertices).all() if band.get_paths() else True for band in ax.collections
        )
    dots = [line.get_xdata().tolist() for line in figures.interval_figure(figures.aer_table(found)).axes[0].lines]
    assert [21.0, 41.0] in dots


def test_an_interval_beyond_the_axis_has_an_arrow(tmp_path):
    for seed, level in enumerate((0, 60, 85)):
        put(tmp_path, arm="dr", seed=seed, level=level, steps=10)
    ax = figures.interval_figure(figures.aer_table(raw_runs.scan(tmp_path)[0])).axes[0]
    assert {(line.get_marker(), *line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 1} >= {
        ("<", 0), (">", 100),
    }  # fmt: skip


def measured_networks(root):
    """Fake tables next to fake networks: two arms in two worlds, and cosines of one arm."""
    for arm in ("dr", "dma-star-sh"):
        about = {"env": "DI", "arm": arm, "seed": 0, "steps": 2500, "checkpoint": "0", "commit": "0"}
        rows = [
            (1.0, inversion, episode, t, 0.1 * t * inversion, 0.05 * episode, float(t == 2))
            for inversion in (1.0, -1.0) for episode in range(5) for t in range(4)
        ]  # fmt: skip
        folder = root / "DI" / arm
        measured.write_table(pd.DataFrame(rows, columns=measured.KINDS["episodes"]).assign(**about),
                             folder / "seed-0.episodes.csv")  # fmt: skip
        cells = [(mode, i, j, (i == j) - 0.1) for mode in ("evaluation", "training") for i, j in np.ndindex(6, 6)]
        if arm != "dr":
            measured.write_table(pd.DataFrame(cells, columns=measured.KINDS["cosines"]).assign(**about),
                                 folder / "seed-0.cosines.csv")  # fmt: skip


def test_what_networks_do_is_drawn_from_their_tables(tmp_path):
    measured_networks(tmp_path / "runs")
    stems = {path.name for path in figures.build_all(tmp_path / "runs", tmp_path / "out")}
    drawn = {f"{stem}.{kind}" for stem in ("trajectories-DI", "cosines-DI") for kind in ("pdf", "png", "csv")}
    assert stems == drawn | {"motion-DI.gif"}
    fig, table = trajectories(measured.read_tables(tmp_path / "runs", "episodes")[0])
    assert [ax.get_title() for ax in fig.axes] == ["DR, seed 0, 2.5k steps", "DMA*-SH, seed 0, 2.5k steps"] and len(
        table
    ) == 80
    said = [text.get_text() for text in fig.axes[1].get_legend().get_texts()]
    assert said[0] == "upright (inversion +1): 1" and "inverted (inversion -1): 1" in said
    fig, table = cosine_matrices(measured.read_tables(tmp_path / "runs", "cosines")[0])
    assert [text.get_text() for text in fig.axes[0].texts[:2]] == ["0.90", "-0.10"] and len(table) == 72


def test_an_arm_looks_the_same_everywhere():
    for part in ("name", "color", "marker"):
        assert len({getattr(style, part) for style in figures.ARMS.values()}) == len(figures.ARMS), part
    star, changed = figures.arm_style("dma-star-sh"), figures.arm_style("dma-star-sh+masking=0.2")
    assert star.name == "DMA*-SH" and changed.name == "DMA*-SH (masking=0.2)"
    assert changed.color == star.color and changed.line != star.line
    assert figures.arm_style("dr+shared_draws=True").line != figures.arm_style("dr").line
    assert figures.arm_style("brand-new").name == "brand-new"


def test_aer_table_says_steps_seeds_and_what_is_missing(some):
    table = figures.aer_table(raw_runs.scan(some)[0], envs=["DI-Perm"], arms=["da"])
    text = figures.aer_markdown(table)
    shown = [text.get_text() for ax in figures.interval_figure(table).axes for text in ax.texts]
    assert shown == ["missing"] * int(table["aer"].isna().sum()) and len(shown) > 0
    table = table.set_index(["env", "arm", "split"]).sort_index()
    row = table.loc["DI", "dma-star-sh", "train"]
    assert (row["step"], row["seeds"], row["note"]) == (10, 3, "seeds end between 10 and 15")
    np.testing.assert_allclose(row[["aer", "low", "high"]].astype(float), mean_interval([21, 31, 51]))
    assert table.loc[("ODE", "dr", "eval-out"), ["step", "seeds", "aer", "note"]].tolist() == [20, 1, 28, ""]
    for cell in (("DI-Perm", "da"), ("DI", "da"), ("ODE", "da")):
        assert table.loc[cell, "aer"].isna().all() and (table.loc[cell, "note"] == "missing").all()
        assert (table.loc[cell, "seeds"] == 0).all() and table.loc[cell, "step"].isna().all()
    assert all((*cell, "train") not in table.index for cell in (("DI-Perm", "dr"), ("ODE", "dma-star-sh")))
    assert r"| DI | DMA\*-SH | 10 | 3 | 34.3 [-3.6, 72.3] | 35.3 [-2.6, 73.3] | 36.3 [-1.6, 74.3] | seeds end" in text
    assert "| DI-Perm | DA |  | 0 | missing | missing | missing | missing |" in text
    assert "| ODE | DR | 20 | 1 | 26.0 | 27.0 | 28.0 |  |" in text


def test_each_row_of_the_plain_table_is_of_its_arm(tmp_path):
    levels = {"dr": 5, "concat": 20, "da": 40, "dma-star": 60}
    for arm, level in levels.items():
        put(tmp_path, arm=arm, level=level)
    text = figures.aer_markdown(figures.aer_table(raw_runs.scan(tmp_path)[0]))
    rows = {cells[1]: cells[4:7] for line in text.splitlines() if len(cells := line.strip("| ").split(" | ")) > 6}
    for arm, level in levels.items():
        assert rows[figures.arm_style(arm).name.replace("*", r"\*")] == [f"{level + 10 + i:.1f}" for i in (1, 2, 3)]
    assert len(rows) == 1 + len(levels)  # the header only


def test_seeds_without_a_common_step_are_not_mixed(tmp_path):
    put(tmp_path, seed=0, steps=10, every=5, level=0)
    put(tmp_path, seed=1, steps=9, every=3, level=0)
    found = raw_runs.scan(tmp_path)[0]
    table = figures.aer_table(found)
    assert (table["note"] == "seeds have no evaluated step in common").all() and table["aer"].isna().all()
    fig, table = figures.learning_curves(found, "DI")
    assert table.empty and "no step in common" in fig.legends[0].get_texts()[0].get_text()


def cell(table, *key):
    (row,) = table.set_index(["env", "arm", "split"]).loc[[key]].to_dict("records")
    return row


def test_five_seeds_have_a_bootstrap(tmp_path):
    for seed in range(5):
        put(tmp_path, arm="dr", seed=seed, level=10 * seed)
    row = cell(figures.score_table(raw_runs.scan(tmp_path)[0], reps=50), "DI", "dr", "train")
    assert row["value"] == pytest.approx(31) and row["low"] < 31 < row["high"]


def test_score_table_by_hand(some):
    put(some, env="DI-Friction", arm="dr", level=45)
    put(some, env="DI-Friction", arm="dr", seed=1, level=55)
    table = figures.score_table(raw_runs.scan(some)[0], ["Cartpole"], ["da"], reps=50)
    row = cell(table, "DI", "dma-star-sh", "train")  # in the environment's units, at the last step common to all seeds
    assert (row["step"], row["seeds"], row["note"]) == ("10", 3, "some seeds go on to 15")
    assert row["value"] == pytest.approx(np.mean([21, 31, 51])) and np.isnan(row["low"])  # no bootstrap from 3 seeds
    # DR: DI has only seed 0, DI-Friction two: the aggregate uses seed 0. Step 10, shifts 1, 2, 3: the mean adds 2.
    row = cell(table, "All", "dr", "aggregated")
    assert (row["over"], row["step"], row["seeds"]) == ("DI, DI-Friction, ODE", "10 to 20", 1)
    assert row["note"] == "1 seeds lack an environment" and np.isnan(row["low"])
    assert row["value"] == pytest.approx(np.mean([(5 + 12) / 100, (45 + 12) / 100, (5 + 22) / 200]))
    row = cell(table, "Overlap", "dr", "eval-in")
    assert (row["over"], row["seeds"]) == ("DI-Friction", 2) and row["value"] == pytest.approx((57 + 67) / 200)
    for key in (("Cartpole", "dr"), ("DI", "da"), ("Overlap", "dma-star-sh")):
        row = cell(table, *key, "train")
        assert row["seeds"] == 0 and np.isnan(row["value"]) and row["note"] == "missing"
    text = figures.score_markdown(table, "train")
    assert (
        r"| DI | DMA\*-SH | 10 | 3 | 34.3 |" in text
        and "| Cartpole | every arm | | 0 | missing | not at hand | |" in text
    )
    assert "| All | DR | 10 to 20 | 1 |" in text and "| 0.56 (N-3) | over DI, DI-Friction, ODE; 1 seeds" in text


def test_published_values_stand_beside_the_arm_they_are_of():
    table = figures.published_scores().set_index(["split", "env", "arm"])
    assert table.index.is_unique and not table["published"].isna().any()
    assert table.loc[("aggregated", "WalkerGym", "amago"), ["published", "id"]].tolist() == [3924, "T2-16"]
    assert table.loc[("eval-in", "DI-Friction", "dma-star-sh"), "published"] == 71  # published as 0.71 of 100
    gains = figures.published_scores(("relative gain %",)).set_index(["split", "env", "arm"])
    assert gains.loc[("eval-out", "All", "concat"), ["published", "id"]].tolist() == [11.5, "T9-11"]


def test_pairs_are_compared_at_equal_steps(tmp_path):
    for seed in range(2):
        put(tmp_path, arm="dma-star-sh", seed=seed, steps=20, level=30)
        put(tmp_path, arm="dr", seed=seed, steps=10, level=20)
        put(tmp_path, env="ODE", arm="dma-star-sh", seed=seed, level=30)
    seen = []

    def measure(x, y):
        seen.append((x.tolist(), y.tolist()))
        return 0.5, 0.4, 0.6

    table = figures.pair_table(raw_runs.scan(tmp_path)[0], "dma-star-sh", ["dr", "da"], measure, ("All", "Overlap"))
    row = cell(table, "All", "dr", "train")
    assert (row["over"], row["step"], row["seeds"], row["value"]) == ("DI", "10", 2, 0.5)
    np.testing.assert_allclose(seen[0], ([[0.41], [0.41]], [[0.31], [0.31]]))
    for key in (("All", "da", "train"), ("Overlap", "dr", "train")):
        assert cell(table, *key)["note"] == "missing" and np.isnan(cell(table, *key)["value"])


def test_context_table_by_hand(some):
    found = raw_runs.scan(some)[0]
    table = figures.context_table(found, "DI")
    got = table[(table["arm"] == "dma-star-sh") & (table["split"] == "train") & (table["context"] == 1)].iloc[0]
    assert (got["c0"], got["c1"], got["step"], got["seeds"]) == (1.0, -1.0, 10, 3)
    np.testing.assert_allclose(got[["value", "low", "high"]].astype(float), mean_interval([21, 31, 51]))
    axes = figures.context_figure(table).axes
    assert len(axes) == 3 * table["arm"].nunique() and axes[0].get_ylim() == (0, 100)
    other = found[0].meta | {"contexts": {split: [[9.0, 9.0]] for split in raw_runs.SETS}}
    with pytest.raises(UserError, match="differ between seeds"):
        figures.context_table([*found, raw_runs.Run(found[0].path, other, found[0].frame)], "DI")


def test_a_sweep_keeps_the_place_of_what_is_missing(some):
    points = [
        ("dma-star-sh", x, "DI", f"dma-star-sh{arm}") for x, arm in ((0.0, "+masking=0.0"), (0.2, "+masking=0.2"))
    ]
    table = figures.sweep_table(raw_runs.scan(some)[0], [*points, ("dma-star-sh", 0.4, "DI", "dma-star-sh")])
    assert list(dict.fromkeys(table["x"])) == [0.0, 0.2, 0.4]
    train = table[table["split"] == "train"].set_index("x")["aer"]
    assert np.isnan(train[0.0]) and train[0.2] == 12 and train[0.4] == pytest.approx(np.mean([21, 31, 51]))
    ax = figures.sweep_figure(table, "masking", 100).axes[0]
    assert [text.get_text() for text in ax.texts] == ["missing"]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), train)


def test_findings_are_drawn_with_the_published_value():
    common = {"verdict": "undecided", "published_id": "", "low": None, "high": None, "unit": "AER", "seeds": 1}
    rows = [("a", 31.0, 40.0), ("b", None, 50.0), ("c", 3000.0, 3258.0)]
    common |= {"published": "as text"}
    fig, table = figures.finding_figure([common | {"what": w, "value": v, "paper": p} for w, v, p in rows])
    assert table["what"].tolist() == ["a", "c"] and len(fig.axes) == 2  # scales differ by a power of ten
    drawn = [[line.get_xdata().tolist() for line in ax.lines] for ax in fig.axes]
    assert drawn == [[[31.0], [40.0]], [[3000.0], [3258.0]]]


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_same_runs_give_the_same_bytes(some, tmp_path):
    figures.build_all(some, tmp_path / "a")
    import matplotlib

    with matplotlib.rc_context({"font.size": 20, "pdf.fonttype": 3, "axes.facecolor": "red"}):  # a user's settings
        figures.build_all(some, tmp_path / "b")
    # another process, with a different hash seed and time zone
    code = f"from reproduction.figures import build_all; build_all({str(some)!r}, {str(tmp_path / 'c')!r})"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, capture_output=True)
    first = contents(tmp_path / "a")
    stems = ("learning-curves-DI", "other-arms-DI", "learning-curves-ODE", "aer")
    suffixes = ("pdf", "png", "csv")
    assert set(first) == {f"{stem}.{suffix}" for stem in stems for suffix in suffixes} | {"aer.md"}
    assert first == contents(tmp_path / "b") == contents(tmp_path / "c")
    for name, data in first.items():
        assert b"atplotlib" not in data and b"CreationDate" not in data, name
    assert b"/FontFile2" in first["aer.pdf"]  # TrueType, so that text stays text
    assert imread(tmp_path / "a" / "aer.png").shape[1] == 1050  # 7 inches at 150 dots

    put(some, arm="dr", level=6)  # different runs give different bytes
    figures.build_all(some, tmp_path / "b")
    changed = contents(tmp_path / "b")
    for name in ("aer.pdf", "aer.png", "aer.csv", "aer.md", "learning-curves-DI.png"):
        assert changed[name] != first[name]
    assert changed["learning-curves-ODE.png"] == first["learning-curves-ODE.png"]


def test_the_csv_is_what_is_drawn(some, tmp_path):
    figures.build_all(some, tmp_path)
    back = pd.concat([pd.read_csv(tmp_path / f"{name}-DI.csv") for name in ("learning-curves", "other-arms")])
    back = back.drop_duplicates()  # an arm is also drawn beside its variants
    table = figures.learning_table(raw_runs.scan(some)[0], "DI")
    pd.testing.assert_frame_equal(back.reset_index(drop=True), table, check_dtype=False, rtol=1e-5)


def test_every_run_is_in_a_picture_and_the_architectures_beside_what_they_vary(some):
    put(some, arm="dma-sh", level=1)
    found = raw_runs.scan(some)[0]
    pictures = figures.by_picture(found)
    assert {run.path for _, drawn in pictures.values() for run in drawn} == {run.path for run in found}
    assert {run.meta["arm"] for run in pictures["architecture-DI"][1]} == {"dma-star-sh", "dma-sh"}
    assert {run.meta["arm"] for run in pictures["other-arms-DI"][1]} == {"dma-star-sh", "dma-star-sh+masking=0.2"}


def test_build_all_names_bad_runs_and_leaves_them_out(some, tmp_path, capsys):
    figures.build_all(some, tmp_path / "a")
    broken = some / "DI" / "concat" / "seed-0.parquet"
    broken.parent.mkdir()
    broken.write_text("half a run")
    capsys.readouterr()
    written = figures.build_all(some, tmp_path / "b")
    said = capsys.readouterr().out
    assert f"left out: {broken}: not a complete Parquet file" in said
    assert all(f"wrote {path}" in said for path in written) and "13 files from 6 runs" in said
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_no_runs_is_said_and_nothing_is_written(tmp_path, capsys):
    assert figures.build_all(tmp_path / "runs", tmp_path / "figures") == []
    assert "no runs in" in capsys.readouterr().out and not (tmp_path / "figures").exists()


def test_a_place_that_cannot_be_written(some, tmp_path):
    (tmp_path / "figures").write_text("a file")
    with pytest.raises(UserError, match="cannot write the figure learning-curves-DI"):
        figures.build_all(some, tmp_path / "figures")


def test_csv_has_no_float_noise(tmp_path):
    from matplotlib.figure import Figure

    figures.save(Figure(), pd.DataFrame({"x": [0.1 + 0.2, np.nan]}), "t", tmp_path)
    assert (tmp_path / "t.csv").read_bytes() == b'x\n0.3\n""\n'


def test_titles_of_neighbouring_panels_do_not_overlap():
    """With the longest labels of arms that the committed runs have, which leave the panels least room."""
    committed = pd.read_csv(ROOT / "figures" / "aer.csv")
    arms = committed[["arm", "step"]].drop_duplicates("arm")
    envs, splits = pd.DataFrame({"env": list(SUITE)}), pd.DataFrame({"split": raw_runs.SETS})
    rows = arms.merge(envs, how="cross").merge(splits, how="cross")
    fig = figures.interval_figure(rows.assign(seeds=1, aer=1.0, low=1.0, high=1.0))
    FigureCanvasAgg(fig).draw()
    boxes = [(ax.get_subplotspec().rowspan.start, ax.title.get_window_extent()) for ax in fig.axes]
    assert len(boxes) == 3 * len(SUITE)
    for (row, box), (other, following) in itertools.pairwise(boxes):
        assert row != other or box.x1 < following.x0, "titles overlap"
