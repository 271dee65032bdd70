"""Notebooks: committed clean, executed by this interpreter, and one sentence for a user error."""

import json
import os
import sys

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from test_figures import put

from dmash_core.errors import UserError
from reproduction import notebooks

COMMITTED = sorted(notebooks.NOTEBOOKS.glob("*.ipynb"))


def write(path, *sources, parameters='profile = "recorded"\nnumber = 1'):
    cells = [new_code_cell(parameters, metadata={"tags": ["parameters"]}), *map(new_code_cell, sources)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


def outputs(path):
    """All text output of an executed notebook."""
    cells = nbformat.read(path, as_version=4).cells
    parts = [part for cell in cells if cell.cell_type == "code" for part in cell.outputs]
    return "".join(part.get("text", "") + part.get("data", {}).get("text/markdown", "") for part in parts)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_committed_notebooks_are_clean(path):
    notebook = json.loads(path.read_text())
    nbformat.validate(notebook)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None, f"{path.name}, cell {cell['id']}"
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert "profile" in papermill.inspect_notebook(path)


def test_there_are_committed_notebooks():
    assert "toy_benchmark" in [path.stem for path in COMMITTED]


def test_parameters_arrive_as_yaml_and_the_kernel_is_this_interpreter(tmp_path):
    source = "import os, sys; print(repr(number), profile, sys.executable, os.getcwd())"
    path = write(tmp_path / "n.ipynb", source, parameters='profile = "recorded"\nnumber = [1]')
    out = notebooks.execute(path, {"number": "[1, 2.5]", "profile": "smoke"}, tmp_path / "out")
    assert out == tmp_path / "out" / "n.ipynb"
    assert outputs(out).split("\n")[0] == f"[1, 2.5] smoke {sys.executable} {notebooks.ROOT}"


def test_numbers_are_those_of_yaml_1_2_and_of_the_parameter_s_kind(tmp_path):
    parameters = "steps = None\nrate = 0.5\ncount = 7\nname = 'x'\nflag = False\nenvs = ['DI']\nruns_dir = None"
    path = write(tmp_path / "n.ipynb", "pass", parameters=parameters)
    given = {"steps": "1e3", "rate": "1e-3", "count": "010", "name": "no", "flag": "true", "envs": "[DI, ODE]"}
    given["runs_dir"] = "/my papers #2/2024"  # a path is plain text
    read = {"steps": 1000, "rate": 0.001, "count": 10, "name": "no", "flag": True, "envs": ["DI", "ODE"]}
    found = notebooks._checked(path, given)
    assert found == read | {"runs_dir": "/my papers #2/2024"} and type(found["steps"]) is int
    assert notebooks._checked(path, {"rate": "1", "steps": "0.5"}) == {"rate": 1.0, "steps": 0.5}
    assert notebooks._checked(path, {"runs_dir": "2024"}) == {"runs_dir": "2024"}
    for name, value, kind in [
        ("count", "1.5", "an integer, not 1.5"),
        ("count", "many", "an integer, not 'many'"),
        ("rate", "fast", "a number, not 'fast'"),
        ("name", "3", "text, not 3"),
        ("flag", "yes", "true or false, not 'yes'"),
        ("envs", "DI", r"a list such as \[DI\], not 'DI'"),
    ]:
        with pytest.raises(UserError, match=f"the parameter {name} of n.ipynb must be {kind}"):
            notebooks._checked(path, {name: value})


def test_unknown_parameters_are_refused_before_anything_runs(tmp_path):
    path = write(tmp_path / "n.ipynb", "open('ran', 'w')")
    with pytest.raises(UserError, match="unknown parameter of n.ipynb 'numbr'; did you mean 'number'.*profile, number"):
        notebooks.execute(path, {"numbr": "2"}, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="'a: b: c' of number is not valid YAML"):
        notebooks.execute(path, {"number": "a: b: c"}, tmp_path / "out")


def test_unknown_notebooks_and_profiles_are_refused(tmp_path):
    with pytest.raises(UserError, match="unknown notebook 'toy_bnchmark'; did you mean 'toy_benchmark'"):
        notebooks.execute("toy_bnchmark", {}, tmp_path)
    with pytest.raises(UserError, match="unknown profile 'smok'; did you mean 'smoke'"):
        notebooks.execute_all("smok", tmp_path)
    (tmp_path / "n.ipynb").write_text("no notebook")
    with pytest.raises(UserError, match="is not a notebook"):
        notebooks.execute(tmp_path / "n.ipynb", {}, tmp_path / "out")


def test_a_failing_notebook_names_cell_and_exception(tmp_path):
    path = write(tmp_path / "n.ipynb", "1 + 1", "x = 3\nraise KeyError('lost')")
    with pytest.raises(UserError) as error:
        notebooks.execute(path, {}, tmp_path / "out")
    assert str(error.value).startswith("n.ipynb failed in cell [3] ('x = 3') with KeyError: 'lost'; see ")
    assert (tmp_path / "out" / "n.ipynb").exists()


def test_a_cell_that_takes_too_long(tmp_path):
    path = write(tmp_path / "n.ipynb", "import time; time.sleep(60)")
    with pytest.raises(UserError, match="n.ipynb failed: a cell took more than 1 seconds"):
        notebooks.execute(path, {}, tmp_path / "out", timeout=1)


def test_a_kernel_that_dies(tmp_path):
    path = write(tmp_path / "n.ipynb", "import os; os._exit(9)")
    with pytest.raises(UserError, match="n.ipynb failed: its kernel died"):
        notebooks.execute(path, {}, tmp_path / "out")


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match="cannot write"):
        notebooks.execute(write(tmp_path / "n.ipynb"), {}, tmp_path / "out")


def test_execute_all_runs_each_under_the_profile_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path)
    for name in ("b", "a"):
        write(tmp_path / f"{name}.ipynb", "print(profile)")
    out = notebooks.execute_all("smoke", tmp_path / "out")
    assert [path.name for path in out] == ["a.ipynb", "b.ipynb"]
    assert [outputs(path) for path in out] == ["smoke\n", "smoke\n"]
    said = capsys.readouterr().out.splitlines()
    assert [line.split(" s -> ")[0].rsplit(" ", 1)[0] for line in said] == ["a.ipynb (smoke):", "b.ipynb (smoke):"]
    before = [path.stat().st_mtime_ns for path in out]
    write(tmp_path / "b.ipynb", "print(profile, 'anew')")
    again = notebooks.execute_all("smoke", tmp_path / "out")  # a is up to date, b is not
    assert [outputs(path) for path in again] == ["smoke\n", "smoke anew\n"]
    assert again[0].stat().st_mtime_ns == before[0]
    assert "a.ipynb (smoke): up to date" in capsys.readouterr().out
    write(tmp_path / "c.ipynb", "raise KeyError('lost')")
    with pytest.raises(UserError, match="c.ipynb failed in cell"):  # in a separate process
        notebooks.execute_all("smoke", tmp_path / "out")


def test_pictures_are_shown_whatever_the_backend(tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")  # as make does
    path = write(tmp_path / "n.ipynb", "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()")
    cell = nbformat.read(notebooks.execute(path, {}, tmp_path / "out"), as_version=4).cells[-1]
    assert any("image/png" in output.get("data", {}) for output in cell.outputs)
    assert os.environ["MPLBACKEND"] == "agg"


def test_all_read_the_runs_that_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path)
    write(tmp_path / "a.ipynb", "print(profile)")
    write(tmp_path / "b.ipynb", "print(runs_dir)", parameters='profile = "recorded"\nruns_dir = None')
    out = notebooks.execute_all("recorded", tmp_path / "out", runs_dir="/some/where")
    assert [outputs(path) for path in out] == ["recorded\n", "/some/where\n"]


def test_folders():
    assert notebooks.folders("recorded") == (notebooks.ROOT / "runs", notebooks.ROOT / "build/notebooks/figures")
    assert notebooks.folders("smoke", figures_dir="/tmp/x")[1].as_posix() == "/tmp/x"
    assert notebooks.ROOT / "build" in notebooks.folders("smoke")[0].parents


def test_toy_benchmark_shows_what_there_is_and_what_is_missing(tmp_path):
    put(tmp_path / "runs", level=10)
    (tmp_path / "runs" / "DI" / "dr" / "seed-1.parquet").write_text("half")
    places = {"runs_dir": str(tmp_path / "runs"), "figures_dir": str(tmp_path / "figures")}
    said = outputs(notebooks.execute("toy_benchmark", places | {"arms": "[dr, concat]"}, tmp_path / "out"))
    assert "1 run of these environments and arms; 1 bad file\n" in said and "seed-1.parquet: not a complete" in said
    assert "missing: all of DI-Friction, DI-Perm, ODE; DI: concat\n" in said
    assert "| DI | DR | 10 | 1 | 21.0 | 22.0 | 23.0 |  |" in said
    assert "| DI | Concat |  | 0 | missing | missing | missing | missing |" in said
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    stems = ("toy-aer", "toy-learning-curves-DI")
    assert names == [f"{stem}.{suffix}" for stem in stems for suffix in ("csv", "pdf", "png")]


def test_parameters_are_checked_inside_a_notebook(tmp_path):
    """Plain papermill passes a list as text."""
    assert notebooks.words("envs", '["DI", "ODE"]') == notebooks.words("envs", ["DI", "ODE"]) == ["DI", "ODE"]
    for wrong in ("DI", "{a: 1}", "[1, 2]", "[DI", 3):
        with pytest.raises(UserError, match=r"envs must be a list such as \[DI, ODE\], not"):
            notebooks.words("envs", wrong)
    for words, said in (
        ({"envs": "[DJ]"}, "unknown environment 'DJ'"),
        ({"arms": ["dq"]}, "unknown arm 'dq'"),
        ({"runs_dir": str(tmp_path / "none")}, "the folder of raw runs .*none does not exist"),
    ):
        with pytest.raises(UserError, match=said):
            notebooks.start("smoke", **words)


def test_a_folder_that_is_not_there_is_an_error_of_the_notebook(tmp_path):
    with pytest.raises(
        UserError, match="toy_benchmark.ipynb failed in cell .*the folder of raw runs .* does not exist"
    ):
        notebooks.execute("toy_benchmark", {"runs_dir": str(tmp_path / "none")}, tmp_path / "out")


def test_every_notebook_starts_with_the_same_call_and_ends_with_words():
    """The same preamble, and a conclusion: the last cell is text or shows the verdicts of claims."""
    for path in COMMITTED:
        cells = nbformat.read(path, as_version=4).cells
        sources = "\n".join(cell.source for cell in cells)
        assert "start(profile" in sources and "scan(" not in sources and "def show(fig" not in sources, path
        assert cells[-1].cell_type == "markdown" or "conclude(" in cells[-1].source, path


HOSTILE = "font.size: 20\naxes.facecolor: 0.5\nfigure.facecolor: yellow\nsavefig.bbox: tight\ntext.usetex: True\n"


def test_pictures_do_not_know_a_user_s_settings(tmp_path, monkeypatch):
    """With any settings of matplotlib, IPython and Python, a notebook draws the same bytes."""
    source = (
        "import matplotlib.pyplot as plt, pandas as pd, builtins\n"
        "from reproduction import figures\n"
        "from reproduction.notebooks import start\nstart(profile)\n"
        "fig, ax = plt.subplots()\nax.plot([1, 2], '--')\n"
        "figures.save(fig, pd.DataFrame({'a': [1.0]}), 'picture', runs_dir)\n"
        "print(getattr(builtins, 'hostile', 'nothing'))"
    )
    assert not any("plt.style.use" in path.read_text() for path in COMMITTED)  # start() does that
    path = write(tmp_path / "n.ipynb", source, parameters="profile = 'recorded'\nruns_dir = None")
    drawn = []
    for folder in ("plain", "hostile"):
        out = notebooks.execute(path, {"runs_dir": str(tmp_path / folder)}, tmp_path / "out")
        assert outputs(out) == "nothing\n"
        drawn.append([file.read_bytes() for file in sorted((tmp_path / folder).iterdir())])
        (tmp_path / "matplotlibrc").write_text(HOSTILE)
        monkeypatch.setenv("MATPLOTLIBRC", str(tmp_path))
        startup = tmp_path / "ipython" / "profile_default" / "startup" / "00.py"
        startup.parent.mkdir(parents=True, exist_ok=True)
        startup.write_text("import builtins; builtins.hostile = 'a profile'")
        monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
        monkeypatch.setenv("PYTHONSTARTUP", str(startup))
    assert len(drawn[0]) == 3 and drawn[0] == drawn[1]
    assert os.environ["IPYTHONDIR"] == str(tmp_path / "ipython") and os.environ["PYTHONSTARTUP"] == str(startup)
