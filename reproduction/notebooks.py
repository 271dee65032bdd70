"""The set-up of notebooks, and their execution with papermill.

Parameters are checked before anything runs: here, by the caller of papermill, and again in the notebook, which may also
be executed with plain papermill. The kernel runs this interpreter.
"""

import ast
import hashlib
import importlib.metadata
import io
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dmash_core.errors import UserError, unknown
from reproduction.paths import NOTEBOOKS, ROOT
from reproduction.yaml12 import load, whole

# Where a notebook reads raw runs and writes figures, relative to the root wherever the notebook is started. (Only
# `dmash figures` writes to figures/ itself.)
PROFILES = {
    "recorded": ("runs", "build/notebooks/figures"),
    "smoke": ("build/smoke/runs", "build/smoke/notebooks/figures"),
}


def folders(profile: str, runs_dir: str | None = None, figures_dir: str | None = None) -> tuple[Path, Path]:
    """The folders of raw runs and figures: those given, else the profile's. UserError for an unknown profile."""
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    runs, figures = PROFILES[profile]
    return ROOT / (runs_dir or runs), ROOT / (figures_dir or figures)


# ---------------------------------------------------------------- inside a notebook


@dataclass
class Start:
    """The data of a notebook.

    runs_dir, figures_dir: folders. full: whether the profile is recorded. envs, arms: the checked parameters. runs: the
    raw runs of these environments and arms. found: all raw runs of the folder.
    """

    runs_dir: Path
    figures_dir: Path
    full: bool
    envs: list[str] = field(default_factory=list)
    arms: list[str] = field(default_factory=list)
    runs: list = field(default_factory=list)
    found: list = field(default_factory=list)

    def show(self, fig, table=None, name: str = "") -> None:
        """Show a figure as it would be saved, whatever the backend. With a name, also write it and its table."""
        import matplotlib.pyplot as plt
        from IPython.display import Image, display

        from reproduction.figures.style import save

        if name:
            paths = save(fig, table, name, self.figures_dir)
            shown = next(path for path in paths if path.suffix == ".png").read_bytes()
        else:
            file = io.BytesIO()
            fig.savefig(file, format="png")
            shown = file.getvalue()
        plt.close(fig)
        display(Image(shown))

    def conclude(self, *ids: str) -> None:
        """Show the verdicts of the claims `ids` on the raw runs of this notebook, one line each, as its conclusion."""
        from IPython.display import Markdown, display

        from reproduction.claims import get_claim
        from reproduction.evidence import Evidence, check
        from reproduction.evidence.show import MARKS, why_without_places

        evidence, lines = Evidence(self.runs_dir), []
        for id_ in ids:
            claim = get_claim(id_)
            verdict = check(claim, evidence)
            said = why_without_places(verdict.headline.reason)
            lines.append(f"- **{id_}, {claim.title}**: {MARKS[verdict.verdict]} {verdict.verdict} ({said}).")
        display(Markdown("**What these runs decide**\n\n" + "\n".join(lines).replace("DMA*", r"DMA\*")))


def words(name: str, value: object) -> list[str]:
    """Parse a list-of-words parameter, given as a list or, as by `papermill -p`, as YAML text.

    UserError, in one sentence, for anything else.
    """
    if isinstance(value, str):
        try:
            value = load(value)
        except ValueError as error:
            raise UserError(f"{name} must be a list such as [DI, ODE], not {value!r}") from error
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, str) for one in value):
        raise UserError(f"{name} must be a list such as [DI, ODE], not {value!r}")
    return list(value)


def start(
    profile: str,
    runs_dir: str | None = None,
    figures_dir: str | None = None,
    envs: object = None,
    arms: object = None,
    needs: str = "",
) -> Start:
    """Set up a notebook: folders, the project's style, one thread and, if it names environments or arms, its raw runs.

    Prints which runs were found, which are missing and which files are bad. `needs` is the name of a notebook: `envs`
    and `arms` default to those that its claims need. UserError, in one sentence, for an unknown profile, environment or
    arm, an invalid list, or a `runs_dir` that does not exist.
    """
    import matplotlib.pyplot as plt

    from dmash_core.benchmark.suite import get_spec
    from dmash_core.methods import get_method
    from dmash_core.training.machine import configure_cpu
    from dmash_core.training.raw_runs import scan
    from reproduction.figures.style import STYLE

    runs, figures = folders(profile, runs_dir, figures_dir)
    if runs_dir is not None and not runs.is_dir():
        raise UserError(f"the folder of raw runs {runs_dir} does not exist")
    envs, arms = (None if value is None else words(name, value) for name, value in (("envs", envs), ("arms", arms)))
    for env in envs or ():
        get_spec(env)
    for arm in arms or ():
        get_method(arm.split("+")[0])
    plt.style.use(["default", STYLE])
    configure_cpu(1)
    if needs:
        from reproduction.claims import notebook_needs

        envs, arms = notebook_needs(needs, envs, arms)
    book = Start(runs, figures, profile == "recorded", envs or [], arms or [])
    if envs is None and arms is None:
        return book
    book.found, bad = scan(runs)
    book.runs = [
        run for run in book.found
        if (envs is None or run.meta["env"] in envs) and (arms is None or run.meta["arm"] in arms)
    ]  # fmt: skip
    print(f"{_count(book.runs, 'run')} of these environments and arms; {_count(bad, 'bad file')}")
    for reason in dict.fromkeys(error.reason for error in bad):
        first, *more = (error.path for error in bad if error.reason == reason)
        print(f"left out: {first}{f' and {len(more)} more' if more else ''}: {reason}")
    if lost := _missing(book, envs, arms):
        print(f"missing: {lost}")
    return book


def _count(found: list, noun: str) -> str:
    return f"{len(found)} {noun}{'s' * (len(found) != 1)}"


def _missing(book: Start, envs: Sequence[str] | None, arms: Sequence[str] | None) -> str:
    """One line with the environments without any run and, for the others, the arms without one."""
    if not envs or not arms:
        return ""
    there = {(run.meta["env"], run.meta["arm"]) for run in book.runs}
    none = [env for env in envs if not any((env, arm) in there for arm in arms)]
    parts = [f"all of {', '.join(none)}"] if none else []
    for env in envs:
        lost = [arm for arm in arms if (env, arm) not in there]
        if env not in none and lost:
            parts.append(f"{env}: {', '.join(lost)}")
    return "; ".join(parts)


# ---------------------------------------------------------------- execution


def _find(notebook: str | Path) -> Path:
    for path in (Path(notebook), NOTEBOOKS / notebook, NOTEBOOKS / f"{notebook}.ipynb"):
        if path.is_file():
            return path.resolve()
    raise unknown("notebook", str(notebook), sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")))


def _checked(path: Path, parameters: dict) -> dict:
    """`parameters` with text parsed as YAML. UserError for a name that is not in the notebook's parameter cell."""
    import papermill

    # papermill only warns about an unknown name and then runs the notebook with the default (papermill #701).
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


_KINDS = {int: "an integer", float: "a number", bool: "true or false", str: "text", list: "a list such as [DI]"}


def _read(text: str, name: str, default: str, path: Path):
    """Parse `text` as YAML of the same type as the parameter's default. UserError if the type differs.

    Folders are not parsed: one may be called 2024, or have a # in its name.
    """
    if name.endswith("_dir"):
        return text
    try:
        value = load(text)
    except ValueError as error:
        raise UserError(f"the value {text!r} of {name} is not valid YAML") from error
    try:
        kind = type(ast.literal_eval(default))
    except (ValueError, SyntaxError):  # an expression
        kind = type(None)
    value = float(value) if kind is float and type(value) is int else value if kind is float else whole(value)
    if kind in _KINDS and type(value) is not kind:
        raise UserError(f"the parameter {name} of {path.name} must be {_KINDS[kind]}, not {value!r}")
    return value


def execute(
    notebook: str | Path, parameters: dict, out_dir: str | Path = "build/notebooks", timeout: float | None = None
) -> Path:
    """Execute one notebook from the root of the repository and return the path of the executed copy.

    `notebook` is a file or the name of one in notebooks/; text in `parameters` is parsed as YAML; a relative `out_dir`
    is relative to the root; `timeout` is in seconds per cell, None for no limit. UserError, in one sentence, for an
    unknown notebook or parameter, an output that cannot be written, or a notebook that fails (with its cell and
    exception; the copy then ends at that cell).
    """
    path = _find(notebook)
    values = _checked(path, parameters)
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    out = ROOT / out_dir / path.name
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")  # this environment's kernel, not a user's of the same name
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with _kernel_environment() as folder:
            # Use sockets in a private folder: over TCP, two kernels that start at once may choose the same port, and
            # one of them dies.
            sockets = Config(KernelManager={"transport": "ipc", "ip": f"{folder}/kernel"})
            papermill.execute_notebook(
                path, out, values, kernel_name="python3", cwd=ROOT, progress_bar=False, execution_timeout=timeout,
                config=sockets,
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
def _kernel_environment() -> Iterator[str]:
    """The environment for kernels started inside: no user's IPython profile or start-up file, and a backend that shows
    figures (with make's agg, plt.show() shows nothing). Yields the temporary folder of the profile."""
    with tempfile.TemporaryDirectory(prefix="dmash-ipython-") as folder:
        set_ = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "IPYTHONDIR": folder, "PYTHONSTARTUP": None}
        before = {name: os.environ.pop(name, None) for name in set_}
        os.environ.update({name: value for name, value in set_.items() if value is not None})
        try:
            yield folder
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def _digest(path: Path, parameters: dict, runs_dir: Path) -> str:
    """A digest of everything an execution depends on: notebook, parameters, code, published values, raw runs,
    versions."""
    from reproduction.evidence.cache import PACKAGES, code_files, file_hash

    sha = hashlib.sha256(json.dumps(parameters, sort_keys=True, default=str).encode())
    data = sorted(one for one in runs_dir.rglob("seed-*") if one.is_file())
    for one in (path, *code_files(), *data):
        sha.update(f"{one} {file_hash(one)}\n".encode())
    sha.update(" ".join(importlib.metadata.version(name) for name in (*PACKAGES, "matplotlib")).encode())
    return sha.hexdigest()


def _timed(path: Path, parameters: dict, out_dir: str | Path, timeout: float | None) -> tuple[Path, float]:
    began = time.perf_counter()
    return execute(path, parameters, out_dir, timeout), time.perf_counter() - began


def execute_all(
    profile: str = "recorded",
    out_dir: str | Path = "build/notebooks",
    timeout: float | None = None,
    runs_dir: str | Path | None = None,
    jobs: int | None = None,
    fresh: bool = False,
) -> list[Path]:
    """Execute every notebook in notebooks/ under `profile`, `jobs` in parallel (by default one per core), printing the
    seconds for each. Returns their paths.

    Raw runs are read from `runs_dir`, by default the profile's folder. Unless `fresh`, a notebook is skipped if it was
    executed before and nothing it depends on has changed. Stops at the first failure with the UserError of `execute`.
    """
    import papermill

    from dmash_core.training.machine import available_cores

    runs, _ = folders(profile, None if runs_dir is None else str(runs_dir))
    done, todo = {}, {}
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        parameters = {"profile": profile}
        if runs_dir is not None and "runs_dir" in papermill.inspect_notebook(path):
            parameters["runs_dir"] = str(runs_dir)
        stamp = ROOT / out_dir / ".digests" / path.stem
        digest = _digest(path, parameters, runs)
        if not fresh and (ROOT / out_dir / path.name).exists() and stamp.exists() and stamp.read_text() == digest:
            done[path] = ROOT / out_dir / path.name
            print(f"{path.name} ({profile}): up to date", flush=True)
        else:
            todo[path] = parameters, stamp, digest
    jobs = max(1, min(jobs or available_cores(), len(todo)))
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        waiting = {path: pool.submit(_timed, path, todo[path][0], out_dir, timeout) for path in todo}
        try:
            for path, job in waiting.items():
                done[path], seconds = job.result()
                todo[path][1].parent.mkdir(parents=True, exist_ok=True)
                todo[path][1].write_text(todo[path][2])
                print(f"{path.name} ({profile}): {seconds:.0f} s -> {done[path]}", flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [done[path] for path in sorted(done)]
