"""The Makefile and `dmash` in unusual folders: spaces and umlauts in the path, and copies that include .venv."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reproduction import cli
from reproduction.paths import ROOT

STUB = """#!/bin/sh
{
  echo "run $(basename "$0")"
  for word in "$@"; do echo "  <$word>"; done
  echo "  JUPYTER_PATH=$JUPYTER_PATH"
} >> "$LOG"
"""


def make(folder, *words, **variables):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")} | {"LOG": str(folder / "log")}
    variables = {"PYTHON": "no-python"} | variables  # never install anything
    command = ["make", *words, *(f"{name}={value}" for name, value in variables.items())]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, timeout=60)


@pytest.fixture
def house(tmp_path):
    """The Makefile in a folder with a space and an umlaut, with programs replaced by stubs that log their arguments."""
    folder = tmp_path / "my päpers"
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("dmash", "python", "ruff"):
        (folder / ".venv" / "bin" / name).write_text(STUB)
        (folder / ".venv" / "bin" / name).chmod(0o755)
    (folder / ".venv" / "pyvenv.cfg").write_text(f"home = /usr/bin\ncommand = /usr/bin/python -m venv {folder}/.venv\n")
    (folder / ".venv" / ".installed").touch()
    (folder / "runs").mkdir()
    return folder


def test_every_target_is_written_for_a_path_with_a_space_and_an_umlaut(house):
    done = make(house, "-n", "help", "setup", "explore", "measure", "reproduce", "train", "claims", "report", "runs")
    assert done.returncode == 0, done.stderr
    assert subprocess.run(["sh", "-n"], input=done.stdout, text=True, cwd=house).returncode == 0
    shown = make(house, "help")
    assert shown.returncode == 0 and "  explore " in shown.stdout and "  setup " in shown.stdout


def test_explore_and_measure_in_a_path_with_a_space_and_an_umlaut(house):
    done = make(house, "explore", "measure")
    assert done.returncode == 0, done.stderr
    log = (house / "log").read_text()
    assert "run dmash\n  <explore>\n  <--runs>\n  <runs>\n  <--out>\n  <build/play>\n" in log
    assert "run dmash\n  <measure>\n  <--runs>\n  <runs>\n" in log
    (house / "log").unlink()
    (house / "runs").rename(house / "old runs")
    assert make(house, "measure", "figures", RUNS="old runs").returncode == 0
    log = (house / "log").read_text()
    assert log.count("  <--runs>\n  <old runs>\n") == 2


def test_a_python_in_a_path_with_a_space(house):
    (house / "py thon").write_text('#!/bin/sh\nexec "' + sys.executable + '" "$@"\n')
    (house / "py thon").chmod(0o755)
    shutil.rmtree(house / ".venv")
    printed = make(house, "-n", "setup", PYTHON="./py thon").stdout
    assert '"./py thon" -m venv' in printed and "--clear" not in printed
    assert "pip install" in printed and "bin/pip " not in printed  # its shebang may name another interpreter


@pytest.mark.parametrize(
    "version, rc, said",
    [
        ((3, 10), 2, "is older than Python 3.11"),
        ((3, 11), 3, ""),
        ((3, 13), 3, "pins the versions tested with Python 3.11; ./python installs the same versions"),
    ],
)
def test_setup_says_what_is_pinned_for_which_python(house, version, rc, said):
    python = house / "python"  # pretends to be another version and creates no environment
    pretend = f"import sys; sys.version_info = {version} + (0,); $2"
    python.write_text(f'#!/bin/sh\ncase "$1" in -c) exec "{sys.executable}" -c "{pretend}" ;; *) exit 3 ;; esac\n')
    python.chmod(0o755)
    shutil.rmtree(house / ".venv")
    done = make(house, "setup", PYTHON="./python")
    assert done.returncode == 2 and said in done.stdout
    assert ("pins the versions" in done.stdout) == (version > (3, 11))
    assert ("-m venv" in done.stdout) == (rc == 3)


def test_make_notices_an_environment_that_was_copied(house, tmp_path):
    assert make(house, "-n", "setup").stdout.count("venv") == 0  # its own environment, already installed
    copy = tmp_path / "copy of it"
    shutil.copytree(house, copy, symlinks=True)
    (copy / ".venv" / ".installed").touch()
    printed = make(copy, "-n", "setup").stdout
    assert "was created for another folder" in printed and "-m venv --clear .venv" in printed
    (copy / ".venv" / "pyvenv.cfg").write_text(
        "home = /usr/bin\nuv = 0.9\n"
    )  # created by a tool that does not record the folder
    assert make(copy, "-n", "setup").stdout.count("venv") == 0
    assert make(house, "-n", "setup", VENV=house / ".venv").stdout.count("--clear") == 0


def test_dmash_says_that_it_runs_the_code_of_another_folder(tmp_path):
    copy = tmp_path / "copy"
    (copy / "reproduction").mkdir(parents=True)
    (copy / "runs" / "DI").mkdir(parents=True)
    (copy / "reproduction" / "cli.py").touch()
    script = "import sys; sys.argv = ['dmash']; from reproduction.cli import main; main()"
    for place, said in [
        (copy, copy),
        (copy / "runs" / "DI", copy),
        (ROOT, None),
        (ROOT / "tests", None),
        (tmp_path, None),
    ]:
        done = subprocess.run(
            [sys.executable, "-P", "-c", script], cwd=place, capture_output=True, text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == 0 and "usage: dmash" in done.stdout
        wanted = f"dmash: running the code in {ROOT}, not in {said}, whose" if said else ""
        assert done.stderr.startswith(wanted) and bool(done.stderr) == bool(said)
    # called by its path, from anywhere
    assert f", not in {copy}, whose" in cli._elsewhere([Path("/"), copy / ".venv" / "bin"])
