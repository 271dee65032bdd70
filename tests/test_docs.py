"""Run the code blocks of the documentation."""

import re
from pathlib import Path

from dmash_core.benchmark.contexts import SETS
from dmash_core.training.raw_runs import scan
from reproduction.figures.tables import aer_table

ROOT = Path(__file__).parents[1]


def blocks(page):
    """The Python blocks of a page, in order."""
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)


def test_the_page_on_the_benchmark_runs_block_by_block(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    *shown, sac = blocks("docs/benchmark.md")
    for block in shown:
        exec(compile(block, "docs/benchmark.md", "exec"), names)
    means = names["run"].frame.groupby("split", observed=True)["value"].mean()
    assert means["train"] > 60  # an oracle that brakes reaches the goal and stays
    assert "steps = 20_000\n" in sac
    exec(compile(sac.replace("20_000", "300"), "docs/benchmark.md", "exec"), names)
    assert names["model"].num_timesteps == 300
    (run,), bad = scan("my-runs")
    assert not bad and run.meta["digest"] == names["run"].meta["digest"]
    table = aer_table([run])
    assert table["split"].tolist() == list(SETS) and set(table["arm"]) == {"sb3-sac"} and set(table["step"]) == {300}


def test_the_readme_s_example_of_the_benchmark_runs():
    (block,) = [block for block in blocks("README.md") if "AIB/" in block]
    names = {}
    exec(compile(block, "README.md", "exec"), names)
    assert names["info"]["context"] == {"mass": 0.5, "inversion": -1.0} and names["sets"]["train"].shape == (20, 2)
