"""Executing the notebooks with papermill: parameters are checked first, and the kernel is this interpreter."""

import ast
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dmash_core.errors import UserError, unknown
from reproduction.paths import NOTEBOOKS, ROOT
from reproduction.yaml12 import load, whole

# Where a notebook reads raw runs and writes figures: relative to the root, wherever the notebook was started.
# (figures/ itself is drawn by `dmash figures` alone.)
PROFILES = {
    "recorded": ("runs", "build/notebooks/figures"),
    "smoke": ("build/smoke/runs", "build/smoke/notebooks/figures"),
}


def folders(profile: str, runs_dir: str | None = None, figures_dir: str | None = None) -> tuple[Path, Path]:
    """The folders of raw runs and of figures: those given, else the profile's. UserError for an unknown profile."""
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    runs, figures = PROFILES[profile]
    return ROOT / (runs_dir or runs), ROOT / (figures_dir or figures)


def _find(notebook: str | Path) -> Path:
    for path in (Path(notebook), NOTEBOOKS / notebook, NOTEBOOKS / f"{notebook}.ipynb"):
        if path.is_file():
            return path.resolve()
    raise unknown("notebook", str(notebook), sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")))


def _checked(path: Path, parameters: dict) -> dict:
    """`parameters` with text read as YAML. UserError for a name that the notebook's parameter cell does not have."""
    import papermill

    # papermill itself only warns about an unknown name and then runs the notebook with the default (papermill #701).
    try:
        valid = papermill.inspect_notebook(path)
    except (ValueError, KeyError, OSError) as error:
        raise UserError(f"{path} is not a notebook: {error}") from error
    values = {}
    for name, value in parameters.items():
        if name not in valid:
            raise unknown(f"parameter of {path.name}", name, valid)
        values[name] = _read(value, name, valid[name]["default"], path) if isinstance(value, str) else value
    return values


_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", list: "a list such as [DI]"}


def _read(text: str, name: str, default: str, path: Path):
    """What `text` says in YAML, of the kind that the parameter's default has; UserError where it is of another.

    A folder is no YAML: it may be called 2024, or have a # in its name.
    """
    if name.endswith("_dir"):
        return text
    try:
        value = load(text)
    except ValueError as error:
        raise UserError(f"the value {text!r} of {name} is not YAML") from error
    try:
        kind = type(ast.literal_eval(default))
    except (ValueError, SyntaxError):  # an expression
        kind = type(None)
    value = float(value) if kind is float and type(value) is int else value if kind is float else whole(value)
    if kind in _KINDS and type(value) is not kind:
        raise UserError(f"the parameter {name} of {path.name} has to be {_KINDS[kind]}, not {value!r}")
    return value


def execute(
    notebook: str | Path, parameters: dict, out_dir: str | Path = "build/notebooks", timeout: float | None = None
) -> Path:
    """Execute one notebook, from the root of the repository, and return where its executed copy lies.

    `notebook` is a file or the name of one in notebooks/; text in `parameters` is read as YAML; a relative `out_dir`
    counts from the root; `timeout` is in seconds for one cell, None for no limit. UserError, in one sentence, for an
    unknown notebook or parameter, a place that cannot be written, and a notebook that fails (with its cell and
    exception; the copy then ends at that cell).
    """
    path = _find(notebook)
    values = _checked(path, parameters)
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    out = ROOT / out_dir / path.name
    # Without it the kernel talks to us in the clear over local TCP, and warns about that on every start.
    encrypted = Config(KernelManager={"transport_encryption": "auto"})
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")  # this environment's kernel, not a user's of the same name
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with _kernel_environment():
            papermill.execute_notebook(
                path, out, values, kernel_name="python3", cwd=ROOT, progress_bar=False, execution_timeout=timeout,
                config=encrypted,
            )  # fmt: skip
    except PapermillExecutionError as error:
        first = next(iter(error.source.strip().splitlines()), "")
        what = f"{error.ename}: {' '.join(str(error.evalue).split())}"
        where = f"cell [{error.exec_count}] ({first!r})"
        raise UserError(f"{path.name} failed in {where} with {what}; see {out}") from error
    except CellTimeoutError as error:
        raise UserError(f"{path.name} failed: a cell took more than {timeout:g} seconds; see {out}") from error
    except DeadKernelError as error:
        raise UserError(f"{path.name} failed: its kernel died (out of memory?); see {out}") from error
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror or error}") from error
    return out


@contextmanager
def _kernel_environment() -> Iterator[None]:
    """What a kernel started now inherits: nothing of a user's IPython profile or start-up file, and a backend that
    shows figures, where make's agg would draw every plt.show() into nothing."""
    with tempfile.TemporaryDirectory(prefix="dmash-ipython-") as folder:
        set_ = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "IPYTHONDIR": folder, "PYTHONSTARTUP": None}
        before = {name: os.environ.pop(name, None) for name in set_}
        os.environ.update({name: value for name, value in set_.items() if value is not None})
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def execute_all(
    profile: str = "recorded",
    out_dir: str | Path = "build/notebooks",
    timeout: float | None = None,
    runs_dir: str | Path | None = None,
) -> list[Path]:
    """Execute every notebook in notebooks/ under `profile`, with a line and the seconds for each; where they lie.

    Those that read raw runs read them from `runs_dir`, by default the profile's folder. Stops at the first that fails,
    with the UserError of `execute`.
    """
    import papermill

    folders(profile)
    written = []
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        start, parameters = time.perf_counter(), {"profile": profile}
        if runs_dir is not None and "runs_dir" in papermill.inspect_notebook(path):
            parameters["runs_dir"] = str(runs_dir)
        written.append(execute(path, parameters, out_dir, timeout))
        print(f"{path.name} ({profile}): {time.perf_counter() - start:.0f} s -> {written[-1]}", flush=True)
    return written
