"""The command line interface, ``dmash COMMAND``. A user error prints one sentence and exits with status 2.

Each command is a function; its parameters and docstring define its options and their help. Commands import what they
need when they run, so that `dmash --help` and error messages appear at once. `train` and `evaluate` take their options
from the settings dataclasses and are therefore built on demand.
"""

import importlib.metadata
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dmash_core.errors import Interrupted, UserError, unknown
from reproduction.paths import GRID, ROOT


def parse_seeds(words: tuple[str, ...]) -> list[int]:
    """Parse seeds and ranges: ("0", "3..5") -> [0, 3, 4, 5]. UserError for anything else, including an empty range."""
    seeds = []
    for word in words:
        first, dots, last = word.partition("..")
        try:
            found = range(int(first), int(last) + 1) if dots else [int(word)]
        except ValueError:
            raise UserError(f"seeds must be integers or ranges such as 0..9, not {word!r}") from None
        if not found:
            raise UserError(f"the range of seeds {word!r} is empty: its start is above its end")
        seeds += found
    return seeds


def _train_command(words: list[str]) -> Callable:
    """Build the `train` command. Its options are the fields of TrainSettings; the arm in `words` sets the defaults of
    the method."""
    from dmash_core.agents.sac import SACSettings
    from dmash_core.benchmark.suite import SUITE, get_spec
    from dmash_core.methods import METHODS, Method, get_method
    from dmash_core.training.machine import available_cores, configure_cpu
    from dmash_core.training.settings import TrainSettings

    arm = next((b for a, b in zip(words, words[1:], strict=False) if a == "--arm"), None)
    arm = next((a.partition("=")[2] for a in words if a.startswith("--arm=")), arm)
    preset = Method() if arm is None else get_method(arm)
    envs = f"Environment: {', '.join(SUITE)}, or ODE-1 to ODE-20."
    arms = f"Arm: {', '.join(METHODS)}; any option of its method can be overridden."

    @dataclass(frozen=True)
    class Train(TrainSettings):
        """Train a block of seeds of one arm on one environment; rerun the command to resume an interrupted run."""

        env: Annotated[str, tyro.conf.arg(help=envs)]
        arm: Annotated[str, tyro.conf.arg(help=arms)]
        method: tyro.conf.OmitArgPrefixes[type(preset)] = preset
        sac: tyro.conf.OmitArgPrefixes[SACSettings] = field(default_factory=SACSettings)
        seeds: tuple[str, ...] = ("0",)
        """Seeds, trained in lock-step; 0..9 is a range."""
        steps: int | None = None
        """Gradient steps, one per vector step after the random phase; by default the benchmark's."""
        out: Path = Path("runs")
        """Folder of raw runs."""
        device: str = "cpu"
        """cpu or cuda."""
        tf32: bool = False
        """Use TF32 for matrix products on the GPU: faster, but less precise than float32."""
        threads: int | None = None
        """CPU threads; the number may change a run's last bits. Default: 1 on the CPU, all cores (for environments) on
        a GPU."""

        def __post_init__(self):  # run() builds and checks the settings, outside of the parser
            pass

        def run(self):
            from dmash_core.training.trainer import Trainer

            threads = (1 if self.device == "cpu" else available_cores()) if self.threads is None else self.threads
            if threads < 1:
                raise UserError(f"threads must be at least 1, not {threads}")
            get_spec(self.env)
            seeds = parse_seeds(self.seeds)
            configure_cpu(threads)
            settings = TrainSettings(**{f.name: getattr(self, f.name) for f in fields(TrainSettings)})
            for path in Trainer(settings, seeds, self.steps, self.out, self.device, tf32=self.tf32).run():
                print(path)

    return Train


def _evaluate_command() -> Callable:
    """Build the `evaluate` command. Its options include the fields of EvalSettings."""
    from dmash_core.benchmark.contexts import SETS
    from dmash_core.evaluation import PROTOCOL, EvalSettings, Evaluator
    from dmash_core.training.machine import configure_cpu
    from dmash_core.training.policies import block_contexts, load_policy
    from reproduction.measured import evaluate_map, table_path, write_table
    from reproduction.statistics import mean_interval

    def evaluate(
        checkpoint: Annotated[Path, tyro.conf.Positional],
        rollouts: int = 10,
        seed: int | None = None,
        grid: int | None = None,
        out: Path | None = None,
        settings: tyro.conf.OmitArgPrefixes[EvalSettings] = PROTOCOL,
    ):
        """Evaluate the networks of a finished run (runs/ENV/ARM/seed-S.safetensors) on the three context sets.

        Args:
            checkpoint: the file that training wrote next to the raw run.
            rollouts: episodes per context.
            seed: seed of the initial states; by default the run's own. With the run's own number of rollouts (its
                eval_rollouts), the initial states are then those of its last evaluation.
            grid: evaluate a grid over the outer ranges instead of the three sets, with this many points per continuous
                dimension, and write the returns as a table.
            out: file for that table; by default seed-S.map.csv next to the checkpoint, which `dmash figures` plots.
        """
        if rollouts < 1:
            raise UserError(f"rollouts must be at least 1, not {rollouts}")
        if out is not None and grid is None:
            raise UserError("--out names the table of a --grid: set --grid to a number of points")
        if grid is not None and out is None and settings != PROTOCOL:
            raise UserError("a map under a changed protocol needs its own file: set --out")
        configure_cpu(1)
        if grid is not None:
            write_table(evaluate_map(checkpoint, grid, rollouts, settings, seed), out or table_path(checkpoint))
            print(out or table_path(checkpoint))
            return
        agent, meta = load_policy(checkpoint)
        env, run_seed = meta["config"]["env"], meta["seed"]
        contexts = block_contexts(env, [run_seed])
        evaluator = Evaluator(agent, env, contexts, [run_seed if seed is None else seed], rollouts, settings)
        returns = evaluator(meta["steps"])[0]
        print(f"{env} {meta['arm']} seed {run_seed}, trained {meta['steps']} steps; {rollouts} rollouts per context")
        if settings != PROTOCOL:
            print(f"differs from the published protocol: {settings.changes()}")
        print("set       AER    95 % interval of the mean over contexts")
        for split, values in zip(SETS, returns.mean(axis=2), strict=True):
            mean, low, high = mean_interval(values)
            print(f"{split:9} {mean:6.1f} [{low:.1f}, {high:.1f}]")

    return evaluate


def measure(checkpoints: Annotated[tuple[Path, ...], tyro.conf.Positional] = (), runs: Path = Path("runs")):
    """Measure networks and write the tables behind the figures next to them, unless they are up to date.

    The tables contain returns over the context plane and, on DI, the cosines of Figure 4 and episodes in two worlds.

    Args:
        checkpoints: files that training wrote next to raw runs; by default those in `runs` of every arm on DI, seed 0,
            trained for the full number of steps.
        runs: folder of raw runs.
    """
    from dmash_core.benchmark.suite import get_spec
    from dmash_core.training.checkpoint import read_tensors
    from dmash_core.training.machine import configure_cpu
    from reproduction import measured

    configure_cpu(1)
    full = get_spec("DI").gradient_steps
    found = (path for path in sorted(runs.glob("DI/*/seed-0.safetensors")) if read_tensors(path)[1]["steps"] >= full)
    for checkpoint in checkpoints or found:
        for path in measured.measure(checkpoint):
            print(f"wrote {path}")


def figures(runs: Path = Path("runs"), out: Path = Path("figures")):
    """Redraw every figure and table from the raw runs; the same runs give the same bytes.

    Args:
        runs: folder of raw runs.
        out: folder for the figures: PDF, PNG and the CSV that each is drawn from.
    """
    from reproduction.figures.build import build_all

    build_all(runs, out)


def notebooks(
    names: Annotated[tuple[Path, ...], tyro.conf.Positional] = (),
    profile: str = "recorded",
    set: tuple[str, ...] = (),
    runs: Path | None = None,
    out: Path = Path("build/notebooks"),
    jobs: int | None = None,
    fresh: bool = False,
):
    """Execute notebooks with papermill: the given ones, or all that are not up to date.

    Args:
        names: notebook files.
        profile: recorded (from the committed raw runs) or smoke (a few steps of everything).
        set: parameters of the given notebooks, as name=value with a YAML value.
        runs: folder of raw runs, by default the profile's; only without names (otherwise use --set runs_dir=...).
        out: folder for executed notebooks.
        jobs: notebooks executed in parallel, by default one per core; only without names.
        fresh: also execute notebooks that are up to date; only without names.
    """
    from reproduction.notebooks import execute, execute_all

    if profile not in ("recorded", "smoke"):
        raise unknown("profile", profile, ("recorded", "smoke"))
    if bad := [word for word in set if "=" not in word]:
        raise UserError(f"parameters must be name=value, not {bad[0]!r}")
    if set and not names:
        raise UserError("--set needs a notebook: give the name of the notebook to set parameters for")
    if runs is not None and names:
        raise UserError("--runs applies to all notebooks; for a given notebook use --set runs_dir=FOLDER")
    parameters = dict(word.split("=", 1) for word in set)
    if not names:
        execute_all(profile, out, runs_dir=runs and runs.absolute(), jobs=jobs, fresh=fresh)
    for name in names:
        print(execute(name, {"profile": profile} | parameters, out))


def play(
    checkpoints: Annotated[tuple[Path, ...], tyro.conf.Positional] = (),
    runs: Path = Path("runs"),
    out: Path = Path("build/play"),
):
    """Write an interactive page with the trained agents; open its index.html in any browser. Also write the page of
    `dmash explore` next to it.

    Args:
        checkpoints: networks of finished runs on DI, one per arm; by default the lowest seed of each arm in the folder
            of raw runs.
        runs: folder of raw runs, with their maps.
        out: folder for the page.
    """
    from dmash_core.training.machine import configure_cpu
    from reproduction.play import export, variance

    configure_cpu(1)
    page = export.build(out, runs, checkpoints)
    variance.build(out, runs)
    print(page)


def explore(
    checkpoints: Annotated[tuple[Path, ...], tyro.conf.Positional] = (),
    runs: Path = Path("runs"),
    out: Path = Path("build/play"),
):
    """Write a page that shows where the variance of a code comes from; open its variance.html in any browser.

    Args:
        checkpoints: networks of finished runs on DI whose codes are added; the page opens with the first.
        runs: folder of raw runs; the page has the codes of the lowest seed of each arm that infers a code.
        out: folder for the page.
    """
    from dmash_core.training.machine import configure_cpu
    from reproduction.play.variance import build

    configure_cpu(1)
    print(build(out, runs, checkpoints))


def report(
    out: Path = Path("build/report"),
    claims: Path = Path("build/claims.json"),
    notebooks: Path = Path("build/notebooks"),
    runs: Path = Path("runs"),
):
    """Build the report site from the checked claims and the executed notebooks; it works offline.

    Args:
        out: folder for the site.
        claims: output of `dmash claims`.
        notebooks: folder of executed notebooks.
        runs: folder of raw runs and networks for the interactive pages.
    """
    from reproduction.report import build

    print(build(out, claims, notebooks, runs))


def smoke(out: Path = Path("build/smoke/runs")):
    """Run two short episodes, the second with learning, of the main arms on every environment and of all arms on DI and
    Cartpole. The raw runs are valid but are not results.

    Args:
        out: folder for raw runs; existing runs are kept.
    """
    from dmash_core.benchmark.suite import SUITE
    from dmash_core.methods import MAIN_ARMS, METHODS
    from dmash_core.training.machine import configure_cpu
    from dmash_core.training.settings import TrainSettings
    from dmash_core.training.trainer import Trainer

    configure_cpu(1)
    for env in SUITE:
        for arm in METHODS if env in ("DI", "Cartpole") else MAIN_ARMS:
            options = dict(horizon=20, random_steps=20, eval_every=40, eval_rollouts=1)
            Trainer(TrainSettings(env, arm, METHODS[arm], **options), [0], 40, out, progress=False).run()
            print(f"smoke: {env} {arm}", flush=True)


def bench(
    arms: tuple[str, ...] = (),
    env: str = "DI",
    window: int | None = None,
    environments: bool = False,
    workers: int | None = None,
    device: str = "cpu",
    blocks: tuple[int, ...] = (1, 5, 10, 20),
    out: Path | None = None,
    json_: Annotated[bool, tyro.conf.arg(name="json")] = False,
):
    """Measure speed and memory of each arm on this machine against a straightforward twin: one seed and one thread on
    the CPU, or blocks of seeds on a GPU.

    Args:
        arms: arms to measure; by default those of the paper's main tables.
        env: environment to measure on (on the CPU).
        window: K; by default the environment's.
        environments: measure the environments instead, against dm_control's own in a SyncVectorEnv.
        workers: measure the speed-up of a sweep with this many workers over one worker instead; needs an otherwise idle
            machine.
        device: cpu or cuda. On cuda: updates on DI with K = 24 and 128 (or `window`), and the time spent waiting for
            environments on DI and Cartpole.
        blocks: numbers of seeds per block (cuda only).
        out: also write the measurements to this file, as JSON.
        json_: print JSON only.
    """
    from dmash_core.benchmark.suite import get_spec
    from dmash_core.methods import MAIN_ARMS, get_method
    from dmash_core.training.machine import check_device, check_writable
    from reproduction.bench import measure, measure_environments, measure_gpu, measure_workers

    say = (lambda line: None) if json_ else print
    if workers is not None and workers < 2:
        raise UserError(f"workers must be at least 2, not {workers}")
    check_device(device)
    get_spec(env)
    if out is not None:
        check_writable(out.parent)
    methods = {arm: replace(get_method(arm), window=window) for arm in arms or MAIN_ARMS}
    if environments:
        rows = measure_environments(say)
    elif device == "cuda":
        rows = measure_gpu(methods, (24, 128) if window is None else (window,), blocks, say)
    else:
        rows = measure(methods, env, say) if workers is None else measure_workers(workers, say)
    if out is not None:
        out.write_text(json.dumps(rows, indent=2) + "\n")
    if json_:
        print(json.dumps(rows, indent=2))


def sweep(
    profile: str = "paper",
    hours: float | None = None,
    jobs: int | None = None,
    out: Path = Path("runs"),
    status: bool = False,
    retry_failed: bool = False,
    clean: bool = False,
    ray: str | None = None,
    grid: Path = GRID,
):
    """Train the cells of a grid. Rerun the command, here or on another machine with the same folder, to continue.

    Exits with status 1 if cells failed. A diverged cell counts as a result and is reported.

    Args:
        profile: profile of the grid to train.
        hours: save everything and stop after this many hours; by default run to the end.
        jobs: cells trained in parallel, one CPU core and about 1 GB each; by default the cores of this machine or
            cluster.
        out: folder of raw runs.
        status: report the state of the sweep and start nothing.
        retry_failed: retry the cells that failed or diverged.
        clean: remove the last checkpoints of finished cells and start nothing. Training such a cell for more steps then
            restarts it from scratch.
        ray: submit the cells to this Ray cluster (an address, auto, or local to start one here); all nodes must see the
            folder of raw runs under the same path.
        grid: file with the profiles.
    """
    from dmash_core.training.machine import available_cores
    from reproduction.claims import training_cells
    from reproduction.sweep.folder import Folder
    from reproduction.sweep.grid import load_profile
    from reproduction.sweep.sweep import Sweep
    from reproduction.sweep.workers import ray_workers

    cells, launch = load_profile(profile, grid, training_cells), None
    cores = available_cores()
    if clean:
        cleaned, size = Folder(out).clean(cells)
        print(f"removed the checkpoints of {cleaned} finished cells, {size / 2**30:.1f} GiB")
        return
    if status:
        result = Folder(out).status(cells)
        if len(result.waiting) == len(cells) and not result.speeds:
            print(f"no cell of the profile {profile} has been started in {out}: {len(cells)} cells waiting")
            return
        for (env, arm), speed in result.speeds.items():
            print(f"speed    {env:12} {arm:16} {speed:6.1f} learning steps/s")
        for cell in result.running:
            print(f"running  {cell}, last checkpoint at step {Folder(out).progress(cell)[0]} of {cell.steps}")
        for cell, reason in result.diverged:
            print(f"diverged {cell}: {reason}")
        for cell, reason in result.failed:
            print(f"failed   {cell}: {reason}")
        print(result.line(jobs or cores))
        return
    if ray:
        launch, cores = ray_workers(ray, out)
    run = Sweep(cells, out, cores if jobs is None else jobs, hours, launch, say=lambda line: print(line, flush=True))
    if retry_failed:
        run.folder.forgive(cells)
    result = run.run()
    for cell, reason in result.diverged:
        print(f"diverged {cell}: {reason}")
    for cell, reason in result.failed:
        print(f"failed   {cell}: {reason}", file=sys.stderr)
    if result.failed:
        sys.exit(1)


runs_app = tyro.extras.SubcommandApp()


@runs_app.command(name="verify")
def verify_runs(runs: Path = Path("runs")):
    """Check every raw run. List each bad file with the reason and exit with status 1 if there are any.

    Args:
        runs: folder of raw runs.
    """
    from dmash_core.training.raw_runs import scan

    good, bad = scan(runs)
    for error in bad:
        print(error)
    print(f"{len(good)} good, {len(bad)} bad in {runs}")
    if bad:
        sys.exit(1)


@runs_app.command(name="list")
def list_runs(env: tuple[str, ...] = (), arm: tuple[str, ...] = (), runs: Path = Path("runs")):
    """List the raw runs: length, AER at the last evaluation in each context set, wall time, commit.

    Args:
        env: list only these environments.
        arm: list only these arms, by folder name.
        runs: folder of raw runs.
    """
    from dmash_core.benchmark.contexts import SETS
    from dmash_core.benchmark.suite import get_spec
    from dmash_core.methods import get_method
    from dmash_core.training.raw_runs import scan

    for one in env:
        get_spec(one)
    for one in arm:
        get_method(one.split("+")[0])
    good, bad = scan(runs)
    columns = "".join(f"{split:>9}" for split in SETS)
    print(f"{'env':12} {'arm':24} {'seed':>4} {'steps':>7}{columns} {'hours':>6}  commit")
    for run in good:
        meta, rows = run.meta, run.frame
        if (env and meta["env"] not in env) or (arm and meta["arm"] not in arm):
            continue
        rows = rows[rows["metric"] == "return"]
        last = rows[rows["step"] == rows["step"].max()].groupby("split", observed=True)["value"].mean()
        aer = "".join(f"{last[split]:9.2f}" for split in SETS)
        commit = (meta["git_commit"] or "unknown")[:8] + ("+changes" if meta["git_dirty"] else "")
        print(
            f"{meta['env']:12} {meta['arm']:24} {meta['seed']:4} {meta['steps']:7}{aer} "
            f"{meta['wall_time_s'] / 3600:6.2f}  {commit}"
        )
    if bad:
        print(f"bad files not listed: {len(bad)} (see dmash runs verify)", file=sys.stderr)


def envs():
    """List the environments: context dimensions, episode length, K, training steps, highest score."""
    from dmash_core.benchmark.suite import SUITE

    print(f"{'environment':15} {'contexts':32} {'horizon':>7} {'K':>4} {'steps':>9} {'score':>6}")
    for name, spec in SUITE.items():
        dimensions = ", ".join(dimension.name for dimension in spec.dimensions)
        print(
            f"{name:15} {dimensions:32} {spec.horizon:7} {spec.window:4} {spec.gradient_steps:9,} {spec.score_high:6g}"
        )
    print("ODE-k (k = 1 to 20) is ODE with k coefficients")


def arms():
    """List the arms: the name for `--arm`, the paper's name, and the options that differ from the defaults."""
    from dataclasses import asdict

    from dmash_core.methods import METHODS
    from reproduction.figures.style import arm_style

    for name, method in METHODS.items():
        default = asdict(type(method)())
        options = ", ".join(f"{key}={value}" for key, value in asdict(method).items() if value != default[key])
        print(f"{name:32} {arm_style(name).name:40} {options}")


def completion(shell: Annotated[Literal["bash", "zsh", "tcsh"], tyro.conf.Positional] = "bash"):
    """Print the completion script for a shell: eval "$(dmash completion bash)".

    Args:
        shell: shell to print the script for.
    """
    _app(made=True).cli(prog="dmash", args=["--tyro-print-completion", shell])


def _check_one(name: str, value: str, runs: Path, train: bool, jobs: int, fresh: bool, json_: bool) -> None:
    """Run `dmash claims --id ID`; `name` and `value` are the claim and published value that `claim_of` finds for ID."""
    from reproduction.claims import get_claim
    from reproduction.evidence import NOT_CHECKED, VERDICTS, Evidence, cache, check, missing_cells
    from reproduction.evidence.show import data, describe
    from reproduction.sweep.sweep import Sweep

    claim = get_claim(name)
    if train and (cells := missing_cells(claim, Evidence(runs))):
        Sweep(cells, runs, jobs).run()
    key, evidence = cache.digest(claim, runs), Evidence(runs)
    verdict = None if fresh else cache.load(claim, key)
    if verdict is None:
        verdict = check(claim, evidence)
        cache.store(claim, verdict, key)
    if json_:
        print(json.dumps(data(claim, verdict, evidence), indent=1))
    else:
        if value:
            print(f"{value} is a published value of {name}\n")
        print(describe(claim, verdict, evidence))
    if verdict.verdict == VERDICTS[NOT_CHECKED]:
        sys.exit(3)


def _check_all(runs: Path, out: Path, readme: bool, fresh: bool, json_: bool) -> None:
    """Run `dmash claims` for all claims."""
    from reproduction.claims import CLAIMS
    from reproduction.evidence import Evidence, cache, check, run_tests
    from reproduction.evidence.claim import write_json
    from reproduction.evidence.show import MARKS, data, state_lines, write_readme

    keys = {claim.id: cache.digest(claim, runs) for claim in CLAIMS.values()}
    evidence = Evidence(runs)
    verdicts = {} if fresh else cache.known(CLAIMS.values(), keys)
    run_tests(plan for claim in CLAIMS.values() if claim.id not in verdicts for plan in claim.plans)
    for claim in CLAIMS.values():
        if claim.id not in verdicts:
            print(f"checking {claim.id}", file=sys.stderr, flush=True)
            verdicts[claim.id] = check(claim, evidence)
            cache.store(claim, verdicts[claim.id], keys[claim.id])
    ordered = [verdicts[id_] for id_ in CLAIMS]
    rows = [data(CLAIMS[verdict.id], verdict, evidence) for verdict in ordered]
    write_json(rows, out)
    if json_:
        print(json.dumps({"claims": rows}, indent=1))
    else:
        for claim in CLAIMS.values():
            same = f" (as {claim.same_as})" if claim.same_as else ""
            verdict = verdicts[claim.id].verdict
            print(f"{claim.id:5} {MARKS[verdict]} {verdict:12} {claim.title}{same}")
        print("\n" + "\n".join(state_lines(ordered, CLAIMS)))
    if readme:
        write_readme(ordered, CLAIMS, evidence)


def _next(runs: Path) -> None:
    """Run `dmash claims --next`."""
    from reproduction.claims import CLAIMS
    from reproduction.evidence import Evidence
    from reproduction.evidence.forecast import cheapest, forecast

    evidence = Evidence(runs)
    print(f"{'claim':6} {'runs':>5} {'core hours':>10}  title")
    for claim, cost in cheapest(CLAIMS.values(), evidence):
        guess = "*" if cost.guessed else " "
        print(f"{claim.id:6} {len(cost.cells):5} {cost.hours:9,.0f}{guess}  {claim.title}")
        for text in forecast(claim, evidence):
            print(f"{'':25}{text}")
    print("runs: those needed for the next look. *: the speed of some was measured in another environment.")


def claims(
    id: str | None = None,
    runs: Path = Path("runs"),
    out: Path = Path("build/claims.json"),
    train: bool = False,
    jobs: int = 1,
    next_: Annotated[bool, tyro.conf.arg(name="next")] = False,
    fresh: bool = False,
    readme: bool = False,
    json_: Annotated[bool, tyro.conf.arg(name="json")] = False,
    calibrate: bool = False,
    record_: Annotated[str | None, tyro.conf.arg(name="record")] = None,
    record_arms: tuple[str, ...] = (),
):
    """Check one claim of the paper, or all of them, against proofs, tests and the available raw runs.

    For one claim, print the verdict and its reason, the comparisons, what is missing and its cost, and the rule. The
    exit status is 0 if the claim was checked, whatever the verdict, and 3 if it could not be. For all claims, print id,
    verdict and title of each and write the details to a JSON file. Verdicts are cached in build/verdicts/ until
    something they depend on changes.

    Args:
        id: a claim, such as T9, or a published value, which selects its claim; by default all claims are checked.
        runs: folder of raw runs.
        out: file for the verdicts of all claims; the report reads it.
        train: first train the missing runs that the claim needs, whatever they cost.
        jobs: runs trained in parallel.
        next_: check nothing; list the claims that training could settle, cheapest first.
        fresh: ignore the cache in build/verdicts/ and check again.
        readme: write docs/comparisons.md, runs/scores.csv, runs/SHA256SUMS and the generated parts of README.md and
            FINDINGS.md.
        json_: print everything as JSON, and nothing else.
        calibrate: check nothing; simulate how often the rules are wrong and write docs/calibration.csv and .md (two
            minutes). Exits with status 1 if a row exceeds its bound.
        record_: check nothing; record changed wordings in reproduction/claims/wordings.csv with this reason.
        record_arms: with --record, the only arms whose runs the change affects; by default all.
    """
    if calibrate or record_ is not None:
        import reproduction.claims  # noqa: F401  it registers them
    if calibrate:
        from reproduction.evidence.calibration import BOUND
        from reproduction.evidence.calibration import calibrate as simulate
        from reproduction.evidence.show import write_calibration

        table = simulate()
        write_calibration(table)
        bounded = table[~table["limit"]]
        print(f"{len(bounded)} rows, at most {bounded['false'].max():.1%} of studies wrong; see docs/calibration.md")
        if (bounded["false"] > BOUND).any():
            sys.exit(1)
        return
    if record_ is not None:
        from dmash_core.methods import get_method
        from reproduction.evidence.wordings import record

        for arm in record_arms:
            get_method(arm)
        print(f"recorded: {', '.join(record(record_, arms=record_arms)) or 'nothing'}")
        return
    if record_arms:
        raise UserError("--record-arms needs --record with the reason for the change")
    if id is None and train:
        raise UserError("--train needs a claim: set --id (dmash sweep trains the whole grid)")
    if id is not None:
        from reproduction.titles import claim_of

        name, value = claim_of(id)  # reject unknown ids before importing anything
    from reproduction.evidence.checks import listen

    listen(lambda line: print(line, file=sys.stderr, flush=True))
    if next_:
        _next(runs)
    elif id is None:
        _check_all(runs, out, readme, fresh, json_)
    else:
        _check_one(name, value, runs, train, jobs, fresh, json_)


# ---------------------------------------------------------------- the application

COMMANDS: dict[str, str] = {
    "train": "train a block of seeds of one arm on one environment",
    "sweep": "train the cells of a grid, on one machine or many",
    "runs": "list raw runs, or verify them",
    "evaluate": "evaluate the networks of a finished run on the three context sets or a grid",
    "claims": "check one claim of the paper, or all of them",
    "measure": "measure committed networks for the figures",
    "figures": "redraw every figure and table from the raw runs",
    "notebooks": "execute notebooks",
    "play": "write an interactive page with the trained agents",
    "explore": "write a page that shows where the variance of a code comes from",
    "report": "build the report site",
    "smoke": "run a few steps of the main arms on every environment",
    "bench": "measure speed and memory",
    "arms": "list the arms",
    "envs": "list the environments",
    "completion": 'print a completion script: eval "$(dmash completion bash)"',
}
_MADE = {"train": _train_command, "evaluate": lambda words: _evaluate_command()}
_PLAIN = (sweep, claims, measure, figures, notebooks, play, explore, report, smoke, bench, arms, envs, completion)


def _app(made: bool = False) -> tyro.extras.SubcommandApp:
    """The application with all commands; those built from settings only if `made`, since building them imports
    torch."""
    app = tyro.extras.SubcommandApp()
    for name, make in _MADE.items() if made else ():
        app.command(make([name]), name=name)
    for command in _PLAIN:
        app.command(command)
    app.command(runs_app, name="runs")
    return app


def _elsewhere(started: list[Path], root: Path = ROOT) -> str | None:
    """A warning if the running code is not that of the repository that contains one of `started`; else None."""
    for folder in started:
        for place in (folder, *folder.parents):
            if (place / "reproduction" / "cli.py").is_file() and not place.samefile(root):
                return (
                    f"running the code in {root}, not in {place}, whose virtual environment was copied or is not "
                    "active; run `make setup` there"
                )
    return None


def main() -> None:
    """Entry point. Exits with 0, with 2 for a user error, or with 130, 141 or 143 after a signal, with everything
    saved."""
    argv = sys.argv[1:]
    try:
        if said := _elsewhere([Path.cwd(), Path(sys.argv[0]).absolute().parent]):
            print(f"dmash: {said}", file=sys.stderr)
        if not argv or argv[0] in ("-h", "--help"):
            print("usage: dmash COMMAND [OPTIONS]; see dmash COMMAND --help for the options of a command\n")
            print("\n".join(f"  {name:10} {text}" for name, text in COMMANDS.items()))
        elif argv[0] == "--version":
            print(f"dmash {importlib.metadata.version('dmash')}")
        elif argv[0] in COMMANDS:
            if argv[0] in _MADE:
                made = tyro.cli(_MADE[argv[0]](argv), prog=f"dmash {argv[0]}", args=argv[1:])
                if made is not None:  # parsed settings, still to be run
                    made.run()
            else:
                _app().cli(prog="dmash", args=argv)
        else:
            raise unknown("command", argv[0], COMMANDS)
        sys.stdout.flush()
    except UserError as error:
        print(f"dmash: {error}", file=sys.stderr)
        sys.exit(2)
    except Interrupted as stop:
        print(f"dmash: {stop}", file=sys.stderr)
        sys.exit(128 + stop.signal)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output, such as head, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python reports it when flushing at exit
        sys.exit(141)


if __name__ == "__main__":
    main()
