"""The command line, ``dmash COMMAND``. A user's mistake is one sentence and exit status 2."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated

import tyro

from dmash_core.errors import Interrupted, UserError, unknown
from reproduction.paths import ROOT


def parse_seeds(words: tuple[str, ...]) -> list[int]:
    """Seeds as numbers or ranges: ("0", "3..5") -> [0, 3, 4, 5]."""
    seeds = []
    for word in words:
        first, dots, last = word.partition("..")
        try:
            seeds += range(int(first), int(last) + 1) if dots else [int(word)]
        except ValueError:
            raise UserError(f"seeds are numbers or ranges such as 0..9, not {word!r}") from None
    return seeds


def _train(argv: list[str]) -> None:
    from dmash_core.agents.sac import SACSettings
    from dmash_core.benchmark.suite import get_spec
    from dmash_core.methods import Method, get_method
    from dmash_core.training.machine import available_cores, configure_cpu
    from dmash_core.training.settings import TrainSettings
    from dmash_core.training.trainer import Trainer

    # The arm decides the defaults of the method's options, so it is looked up before the rest is parsed.
    arm = next((b for a, b in zip(argv, argv[1:], strict=False) if a == "--arm"), None)
    arm = next((a.partition("=")[2] for a in argv if a.startswith("--arm=")), arm)
    preset = Method() if arm is None else get_method(arm)
    defaults = {f.name: f.default for f in fields(TrainSettings)}

    @dataclass(frozen=True)
    class Train:
        """Train a block of seeds of one arm on one environment; the same command continues an interrupted run."""

        env: str
        """Environment, for instance DI, ODE, ODE-7."""
        arm: str
        """Arm, for instance dr, concat, da, dma, dma-star, dma-star-sh; any option of the method can be changed."""
        seeds: tuple[str, ...] = ("0",)
        """Seeds, trained in lock-step; 0..9 is a range."""
        steps: int | None = None
        """Gradient steps, one for each vector step after the random phase; the benchmark's number by default."""
        out: Path = Path("runs")
        """Folder of raw runs."""
        device: str = "cpu"
        """cpu or cuda."""
        tf32: bool = False
        """Let the GPU multiply in TF32: faster, and no longer float32."""
        threads: int | None = None
        """CPU threads, on which the bits of a run may depend; 1 by default, all cores for the environments of a GPU."""
        random_steps: int = defaults["random_steps"]
        """Vector steps of random actions before step 0, which are not counted."""
        per_context: int = defaults["per_context"]
        """Transitions of each training context in a batch."""
        replay_capacity: int = defaults["replay_capacity"]
        """Transitions kept per context."""
        eval_every: int = defaults["eval_every"]
        """Steps between evaluations."""
        eval_rollouts: int = defaults["eval_rollouts"]
        """Rollouts per context at the last evaluation."""
        eval_rollouts_between: int | None = defaults["eval_rollouts_between"]
        """Rollouts per context at the evaluations before it; by default 2 on MuJoCo and eval-rollouts elsewhere."""
        horizon: int | None = None
        """Steps of an episode, for trials; the environment's by default."""
        method: tyro.conf.OmitArgPrefixes[type(preset)] = preset
        sac: tyro.conf.OmitArgPrefixes[SACSettings] = field(default_factory=SACSettings)

    args = tyro.cli(Train, prog="dmash train", args=argv)
    threads = (1 if args.device == "cpu" else available_cores()) if args.threads is None else args.threads
    if threads < 1:
        raise UserError(f"threads must be at least 1, not {threads}")
    get_spec(args.env)
    configure_cpu(threads)
    settings = TrainSettings(**{f.name: getattr(args, f.name) for f in fields(TrainSettings)})
    seeds = parse_seeds(args.seeds)
    trainer = Trainer(settings, seeds, args.steps, args.out, args.device, tf32=args.tf32)
    for path in trainer.run():
        print(path)


def _evaluate(argv: list[str]) -> None:
    from dmash_core.benchmark.contexts import SETS as SPLITS
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
            checkpoint: the file that training left beside the raw run.
            rollouts: episodes per context.
            seed: seed of the initial states; by default the run's own, which, with as many rollouts as the run had
                (its eval_rollouts), are those of its last evaluation.
            grid: instead of the three sets take a grid of the outer ranges, so many points a continuous dimension, and
                write its returns as a table.
            out: file of that table; by default seed-S.map.csv beside the checkpoint, which `dmash figures` draws.
        """
        if rollouts < 1:
            raise UserError(f"rollouts must be at least 1, not {rollouts}")
        if out is not None and grid is None:
            raise UserError("--out is the file of a --grid's table: say how many points")
        if grid is not None and out is None and settings != PROTOCOL:
            raise UserError("a map that is not of the published protocol needs a place of its own: name it with --out")
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
        print(
            f"{env} {meta['arm']} seed {run_seed}, trained {meta['steps']} steps; {rollouts} rollouts in each context"
        )
        if settings != PROTOCOL:
            print(f"not the published protocol: {settings.changes()}")
        print("set       AER    95 % interval of the mean over contexts")
        for split, values in zip(SPLITS, returns.mean(axis=2), strict=True):
            mean, low, high = mean_interval(values)
            print(f"{split:9} {mean:6.1f} [{low:.1f}, {high:.1f}]")

    tyro.cli(evaluate, prog="dmash evaluate", args=argv)


def _figures(argv: list[str]) -> None:
    from reproduction.figures.build import build_all

    def figures(runs: Path = Path("runs"), out: Path = Path("figures")):
        """Draw every figure and table again from the raw runs; the same runs give the same bytes.

        Args:
            runs: folder of raw runs.
            out: folder of figures, PDF, PNG and the CSV that each is drawn from.
        """
        build_all(runs, out)

    tyro.cli(figures, prog="dmash figures", args=argv)


def _notebooks(argv: list[str]) -> None:
    from reproduction.notebooks import execute, execute_all

    def notebooks(
        names: Annotated[tuple[Path, ...], tyro.conf.Positional] = (),
        profile: str = "recorded",
        set: tuple[str, ...] = (),
        runs: Path | None = None,
        out: Path = Path("build/notebooks"),
    ):
        """Execute notebooks with papermill; all of them unless some are named.

        Args:
            names: notebook files.
            profile: recorded (from the committed raw runs) or smoke (a few steps of everything).
            set: parameters of the named notebooks as name=value, value in YAML.
            runs: without names: folder of raw runs, by default the profile's (a named one takes --set runs_dir=...).
            out: folder of executed notebooks.
        """
        if profile not in ("recorded", "smoke"):
            raise unknown("profile", profile, ("recorded", "smoke"))
        if bad := [word for word in set if "=" not in word]:
            raise UserError(f"parameters are name=value, not {bad[0]!r}")
        if set and not names:
            raise UserError("parameters belong to a notebook: name the notebook that --set is for")
        if runs is not None and names:
            raise UserError("--runs is for all notebooks; of a named one say --set runs_dir=FOLDER")
        parameters = dict(word.split("=", 1) for word in set)
        if not names:
            execute_all(profile, out, runs_dir=runs and runs.absolute())
        for name in names:
            print(execute(name, {"profile": profile} | parameters, out))

    tyro.cli(notebooks, prog="dmash notebooks", args=argv)


def _play(argv: list[str]) -> None:
    from dmash_core.training.machine import configure_cpu
    from reproduction.play.export import build

    def play(
        checkpoints: Annotated[tuple[Path, ...], tyro.conf.Positional] = (),
        runs: Path = Path("runs"),
        out: Path = Path("build/play"),
    ):
        """Write the page on which one plays with the trained agents; a browser opens its index.html as it is.

        Args:
            checkpoints: networks of finished runs on DI, one for each arm; by default the lowest seed of each arm in
                the folder of raw runs.
            runs: folder of raw runs, with their maps.
            out: folder of the page.
        """
        configure_cpu(1)
        print(build(out, runs, checkpoints))

    tyro.cli(play, prog="dmash play", args=argv)


def _report(argv: list[str]) -> None:
    from reproduction.report import build

    def report(
        out: Path = Path("build/report"),
        claims: Path = Path("build/claims.json"),
        notebooks: Path = Path("build/notebooks"),
        runs: Path = Path("runs"),
    ):
        """Build the report site from the checked claims and the executed notebooks; it is read without a network.

        Args:
            out: folder of the site.
            claims: what `dmash claims` wrote.
            notebooks: folder of executed notebooks.
            runs: folder of raw runs, with the networks to play with.
        """
        print(build(out, claims, notebooks, runs))

    tyro.cli(report, prog="dmash report", args=argv)


def _smoke(argv: list[str]) -> None:
    from dmash_core.benchmark.suite import SUITE
    from dmash_core.methods import MAIN_ARMS, METHODS
    from dmash_core.training.machine import configure_cpu
    from dmash_core.training.settings import TrainSettings
    from dmash_core.training.trainer import Trainer

    def smoke(out: Path = Path("build/smoke/runs")):
        """Two short episodes of the main arms on every environment, of all arms on DI and Cartpole, the second of them
        learning; real raw runs, no results.

        Args:
            out: folder of raw runs; runs that are there already are not made again.
        """
        configure_cpu(1)
        for env in SUITE:
            for arm in METHODS if env in ("DI", "Cartpole") else MAIN_ARMS:
                options = dict(horizon=20, random_steps=20, eval_every=40, eval_rollouts=1)
                Trainer(TrainSettings(env, arm, METHODS[arm], **options), [0], 40, out, progress=False).run()
                print(f"smoke: {env} {arm}", flush=True)

    tyro.cli(smoke, prog="dmash smoke", args=argv)


def _bench(argv: list[str]) -> None:
    from dmash_core.benchmark.suite import get_spec
    from dmash_core.methods import MAIN_ARMS, get_method
    from dmash_core.training.machine import check_device, check_writable
    from reproduction.bench import measure, measure_environments, measure_gpu, measure_workers

    def bench(
        arms: tuple[str, ...] = MAIN_ARMS,
        env: str = "DI",
        window: int | None = None,
        environments: bool = False,
        workers: int | None = None,
        device: str = "cpu",
        blocks: tuple[int, ...] = (1, 5, 10, 20),
        out: Path | None = None,
        json_: Annotated[bool, tyro.conf.arg(name="json")] = False,
    ):
        """Measure speed and memory of each arm on this machine, beside a straightforward twin: one seed and one thread
        on the CPU, or blocks of seeds on a GPU.

        Args:
            arms: which arms.
            env: environment whose sizes are used.
            window: K; the environment's by default.
            environments: measure instead the environments, beside dm_control's own in a SyncVectorEnv.
            workers: measure instead how many times as fast a sweep with so many workers is as one with one worker;
                for a machine that does nothing else.
            device: cpu or cuda. On cuda: DI, K = 24 and 128 unless window says one; waits for environments on DI and
                Cartpole.
            blocks: on cuda, the numbers of seeds.
            out: also write the measurements there, as JSON.
            json_: print JSON only.
        """
        say = (lambda line: None) if json_ else print
        if workers is not None and workers < 2:
            raise UserError(f"workers must be at least 2, not {workers}")
        check_device(device)
        get_spec(env)
        if out is not None:
            check_writable(out.parent)
        methods = {arm: replace(get_method(arm), window=window) for arm in arms}
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

    tyro.cli(bench, prog="dmash bench", args=argv)


def _sweep(argv: list[str]) -> None:
    from dmash_core.training.machine import available_cores
    from reproduction.sweep.folder import Folder
    from reproduction.sweep.grid import GRID, load_profile
    from reproduction.sweep.sweep import Sweep
    from reproduction.sweep.workers import ray_workers

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
        """Train the cells of a grid; the same command goes on, here or on another machine over the same folder.

        Exit status 1 when cells failed; a cell that diverged is a result, and named.

        Args:
            profile: which list of the grid.
            hours: stop, with everything saved, after this time; without it, work to the end.
            jobs: cells at a time, one CPU core and about 1 GB each; by default the cores of this machine or cluster.
            out: folder of raw runs.
            status: say where the sweep stands, and start nothing.
            retry_failed: try the cells again that failed or diverged.
            clean: remove the last checkpoints of finished cells, and start nothing; asked for more steps, such a cell
                then starts anew.
            ray: submit the cells to this Ray cluster (an address, auto, or local to start one here); its nodes must
                see the folder of raw runs under the same path.
            grid: the file of profiles.
        """
        cells, launch = load_profile(profile, grid), None
        cores = available_cores()
        if clean:
            cleaned, size = Folder(out).clean(cells)
            print(f"removed the checkpoints of {cleaned} finished cells, {size / 2**30:.1f} GiB")
            return
        if status:
            result = Folder(out).status(cells)
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
        run = Sweep(
            cells, out, cores if jobs is None else jobs, hours, launch, say=lambda line: print(line, flush=True)
        )
        if retry_failed:
            run.folder.forgive(cells)
        result = run.run()
        for cell, reason in result.diverged:
            print(f"diverged {cell}: {reason}")
        for cell, reason in result.failed:
            print(f"failed   {cell}: {reason}", file=sys.stderr)
        if result.failed:
            sys.exit(1)

    tyro.cli(sweep, prog="dmash sweep", args=argv)


def _runs(argv: list[str]) -> None:
    from dmash_core.benchmark.contexts import SETS as SPLITS
    from dmash_core.training.raw_runs import scan

    def verify(runs: Path = Path("runs")):
        """Check every raw run; name each bad file with the reason, exit status 1 if there is any.

        Args:
            runs: folder of raw runs.
        """
        good, bad = scan(runs)
        for error in bad:
            print(error)
        print(f"{len(good)} good, {len(bad)} bad in {runs}")
        if bad:
            sys.exit(1)

    def list_(env: tuple[str, ...] = (), arm: tuple[str, ...] = (), runs: Path = Path("runs")):
        """List the raw runs: length, AER of the last evaluation in each context set, wall time, commit.

        Args:
            env: only these environments.
            arm: only these arms, as their folders are called.
            runs: folder of raw runs.
        """
        good, bad = scan(runs)
        columns = "".join(f"{split:>9}" for split in SPLITS)
        print(f"{'env':12} {'arm':24} {'seed':>4} {'steps':>7}{columns} {'hours':>6}  commit")
        for run in good:
            meta, rows = run.meta, run.frame
            if (env and meta["env"] not in env) or (arm and meta["arm"] not in arm):
                continue
            rows = rows[rows["metric"] == "return"]
            last = rows[rows["step"] == rows["step"].max()].groupby("split", observed=True)["value"].mean()
            aer = "".join(f"{last[split]:9.2f}" for split in SPLITS)
            commit = (meta["git_commit"] or "unknown")[:8] + ("+changes" if meta["git_dirty"] else "")
            print(
                f"{meta['env']:12} {meta['arm']:24} {meta['seed']:4} {meta['steps']:7}{aer} "
                f"{meta['wall_time_s'] / 3600:6.2f}  {commit}"
            )
        if bad:
            print(f"and {len(bad)} bad, see dmash runs verify", file=sys.stderr)

    tyro.extras.subcommand_cli_from_dict({"list": list_, "verify": verify}, prog="dmash runs", args=argv)


def _claims(argv: list[str]) -> None:
    from reproduction.claims import CLAIMS, get_claim
    from reproduction.evidence import NOT_CHECKED, ROOT, VERDICTS, Evidence, check, missing_cells, run_tests
    from reproduction.evidence.claim import as_data, write_json
    from reproduction.evidence.wordings import RULES, ledger, order, record
    from reproduction.sweep.sweep import Sweep

    def data(claim, verdict) -> dict:
        rows = ledger()
        mine, shared = rows.get(claim.id, []), rows.get(RULES, [])
        return as_data(claim, verdict) | {
            "wordings": mine, "shared_rules": shared, "order": order(mine, shared, verdict)
        }  # fmt: skip

    def claims(
        id: str | None = None,
        runs: Path = Path("runs"),
        out: Path = Path("build/claims.json"),
        train: bool = False,
        jobs: int = 1,
        readme: bool = False,
        json_: Annotated[bool, tyro.conf.arg(name="json")] = False,
        calibrate: bool = False,
        record_: Annotated[str | None, tyro.conf.arg(name="record")] = None,
    ):
        """Check one claim of the paper, or all of them, from proofs, tests and the raw runs that are there.

        One claim: its rule, what was published and measured, the verdict and the reason. Exit status 0 when it was
        checked, whatever the verdict, and 3 when it could not be. All claims: a line each, details in a JSON file.

        Args:
            id: the claim, for instance T9; without it all of them.
            runs: folder of raw runs.
            out: file for the verdicts of all claims, which the report reads.
            train: first train the runs that the claim needs and that are missing, with everything that costs.
            jobs: runs trained at a time.
            readme: write the table of headline claims into README.md, and that of comparisons into FINDINGS.md.
            json_: print everything that is known as JSON, and nothing else.
            calibrate: check no claim, but simulate how often the rules are wrong, into docs/calibration.csv and .md
                (two minutes); exit status 1 if a row is above its bound.
            record_: check no claim, but write the wordings that have changed into reproduction/claims/wordings.csv,
                with this reason.
        """
        if calibrate:
            from reproduction.evidence.calibration import BOUND
            from reproduction.evidence.calibration import calibrate as simulate
            from reproduction.evidence.show import write_calibration

            table = simulate()
            write_calibration(table)
            bounded = table[~table["limit"]]
            print(f"{len(bounded)} rows, at most {bounded['false'].max():.1%} of studies wrong; docs/calibration.md")
            if (bounded["false"] > BOUND).any():
                sys.exit(1)
            return
        if record_ is not None:
            print(f"worded anew: {', '.join(record(record_)) or 'nothing'}")
            return
        if id is None:
            if train:
                raise UserError("--train belongs to a claim: name it with --id (dmash sweep trains the whole grid)")
            evidence = Evidence(runs)
            run_tests(plan for claim in CLAIMS.values() for plan in claim.plans)
            verdicts = [check(claim, evidence) for claim in CLAIMS.values()]
            rows = [data(CLAIMS[verdict.id], verdict) for verdict in verdicts]
            write_json(rows, out)
            if json_:
                print(json.dumps({"claims": rows}, indent=1))
            for verdict in () if json_ else verdicts:
                head = verdict.headline
                published = f"published {head.published}; " if head.published else ""
                print(f"{verdict.id:5} {verdict.verdict:12} {published}measured {head.measured or 'no number'}")
            if readme:
                from reproduction.evidence.show import findings_tables, readme_table, with_table

                written = {"README.md": readme_table(verdicts, CLAIMS)}
                written["FINDINGS.md"] = findings_tables(verdicts, CLAIMS, evidence)
                for name, table in written.items():
                    (ROOT / name).write_text(with_table((ROOT / name).read_text(), table))
            return
        claim, evidence = get_claim(id), Evidence(runs)
        if train and (cells := missing_cells(claim, evidence)):
            Sweep(cells, runs, jobs).run()
            evidence = Evidence(runs)
        verdict = check(claim, evidence)
        if json_:
            print(json.dumps(data(claim, verdict), indent=1))
        else:
            from reproduction.evidence.show import describe

            print(describe(claim, verdict))
        if verdict.verdict == VERDICTS[NOT_CHECKED]:
            sys.exit(3)

    tyro.cli(claims, prog="dmash claims", args=argv)


COMMANDS: dict[str, tuple[Callable[[list[str]], None], str]] = {
    "train": (_train, "train a block of seeds of one arm on one environment"),
    "sweep": (_sweep, "train the cells of a grid, on one machine or many"),
    "runs": (_runs, "list raw runs, or verify them"),
    "evaluate": (_evaluate, "evaluate the networks of a finished run on the three context sets or a grid"),
    "claims": (_claims, "check one claim of the paper, or all of them"),
    "figures": (_figures, "draw every figure and table again from the raw runs"),
    "notebooks": (_notebooks, "execute notebooks"),
    "play": (_play, "write the page on which one plays with the trained agents"),
    "report": (_report, "build the report site"),
    "smoke": (_smoke, "every arm on every environment for a few steps"),
    "bench": (_bench, "measure speed and memory"),
}


def _elsewhere(started: list[Path], root: Path = ROOT) -> str | None:
    """A sentence where the code that runs is not that of the repository that the user is in, or has called."""
    for folder in started:
        for place in (folder, *folder.parents):
            if (place / "reproduction" / "cli.py").is_file() and not place.samefile(root):
                return (
                    f"this runs the code in {root}, and not that in {place}, whose environment was copied or is not "
                    "active; `make setup` there mends it"
                )
    return None


def main() -> None:
    """Entry point; exit status 0, 2 for a user's mistake, 130, 141 or 143 after a signal with everything saved."""
    argv = sys.argv[1:]
    try:
        if said := _elsewhere([Path.cwd(), Path(sys.argv[0]).absolute().parent]):
            print(f"dmash: {said}", file=sys.stderr)
        if not argv or argv[0] in ("-h", "--help"):
            print("usage: dmash COMMAND [OPTIONS]; dmash COMMAND --help tells a command's options\n")
            print("\n".join(f"  {name:10} {text}" for name, (_, text) in COMMANDS.items()))
        elif argv[0] in COMMANDS:
            COMMANDS[argv[0]][0](argv[1:])
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
    except BrokenPipeError:  # whoever read our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python says so when it flushes at its end
        sys.exit(141)


if __name__ == "__main__":
    main()
