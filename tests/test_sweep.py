"""The sweep: nothing is lost or trained twice, whatever tests/faults.py kills or damages."""

import json
import multiprocessing
import os
import random
import shutil
import sys
import time

import faults
import pytest

from dmash_core.benchmark.suite import SUITE
from dmash_core.errors import UserError
from dmash_core.methods import MAIN_ARMS
from dmash_core.training.raw_runs import run_path
from reproduction import cli
from reproduction.claims import training_cells
from reproduction.sweep import lease
from reproduction.sweep.folder import Folder
from reproduction.sweep.grid import load_profile
from reproduction.sweep.lease import Lease
from reproduction.sweep.sweep import Sweep


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Folder and digests of an undisturbed sweep of two cells."""
    folder = tmp_path_factory.mktemp("reference")
    return folder, faults.reference(folder)


@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: fault.__name__)
def test_faults(fault, good, tmp_path):
    result = fault(tmp_path, good[1], 1, random.Random(fault.__name__))
    if result.note.startswith("not tried"):
        pytest.skip(result.note)
    assert (result.tries, result.lost, result.doubled) == (1, 0, 0)


def test_undisturbed(good, capsys, monkeypatch):
    folder, digests = good
    assert None not in digests.values() and len(set(digests.values())) == 3  # including the folder
    cells = faults.cells(folder)
    status = Folder(folder / "runs").status(cells)
    assert (len(status.done), len(status.waiting), status.unmeasured, status.core_seconds) == (2, 0, 0, 0.0)
    assert status.speeds[("DI", cells[0].label)] > 0
    Sweep(cells, folder / "runs", launch=lambda cell: 1 / 0, say=faults.quiet).run()  # starts nothing
    # remaining work is estimated from the speed of existing runs
    more = Folder(folder / "empty").status(cells), Folder(folder / "runs").status(faults.cells(folder, seeds=[0, 7]))
    assert more[0].unmeasured == 2 and more[1].unmeasured == 0 and more[1].core_seconds > 0

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["dmash", *words])
        try:
            cli.main()
            return 0, capsys.readouterr().out
        except SystemExit as end:
            return end.code, capsys.readouterr().out

    runs = str(folder / "runs")
    assert command("runs", "verify", "--runs", runs) == (0, f"2 good, 0 bad in {runs}\n")
    code, text = command("runs", "list", "--runs", runs, "--env", "DI", "--arm", cells[0].label)
    assert code == 0 and len(text.splitlines()) == 3
    assert len(command("runs", "list", "--runs", runs, "--env", "ODE")[1].splitlines()) == 1
    grid = str(faults.grid(folder))
    code, text = command("sweep", "--profile", "tiny", "--grid", grid, "--out", runs, "--status")
    assert code == 0 and "2 done, 0 running, 0 failed, 0 waiting" in text
    shutil.copytree(runs, folder / "bad")
    path = run_path(folder / "bad", *cells[0].key)
    path.write_bytes(path.read_bytes()[:-9])
    code, text = command("runs", "verify", "--runs", str(folder / "bad"))
    assert code == 1 and str(path) in text and "not a complete Parquet file" in text
    assert command("sweep", "--profile", "nope", "--out", runs)[0] == 2


# ---------------------------------------------------------------- profiles


def test_profiles():
    evidence = load_profile("evidence")
    assert len(evidence) == 18 + 3 + 12 + 9 + 9 + 6
    assert [str(c) for c in evidence[:2]] == ["DI dr seed 0", "DI concat seed 0"]
    assert {c.env for c in evidence} == set(SUITE)  # all environments with fixed context sets
    longer = {c.key: c.steps for c in load_profile("evidence-more")}
    assert longer["HopperGym", "dma-star-sh", 0] == 500_000  # extends the first one's 200,000 steps
    paper = load_profile("paper", claims=training_cells)
    assert len({cell.key for cell in paper}) == len(paper)
    short = [cell for cell in paper if cell.steps != SUITE.get(cell.env, SUITE["ODE"]).gradient_steps]
    assert {cell.arm for cell in short} <= {"dma-star-sh-whole"}  # claim C1
    assert [cell.seed for cell in paper[:9]] == [0] * 9 and paper[0].env == "DI"
    # at least ten seeds of the paper's arms in every environment with fixed context sets
    assert {(env, arm, seed) for env in SUITE for arm in MAIN_ARMS for seed in range(10)} <= {c.key for c in paper}


def test_a_cell_named_twice_is_trained_once(tmp_path):
    path = tmp_path / "grid.yaml"
    block = "{envs: [DI], arms: [dr], seeds: [0], steps: %d}"
    path.write_text(f"p: [{block % 50_000}, {{envs: [DI], arms: [dr], seeds: [1]}}, {block % 100_000}]")
    assert [(c.seed, c.steps) for c in load_profile("p", path)] == [(0, 100_000), (1, 100_000)]


@pytest.mark.parametrize(
    ("block", "word"),
    [
        ("{envs: [DJ], arms: [dr], seeds: [0]}", "'DJ'"),
        ("{envs: [DI], arms: [dx], seeds: [0]}", "'dx'"),
        ("{envs: [DI], arms: [dr], seed: [0]}", "'seed'"),
        ("{envs: [DI], arms: [dr], seeds: [0], settings: {eval_evry: 3}}", "did you mean 'eval_every'"),
        ("{envs: [DI], arms: [dr], seeds: [0], settings: {sac: {gama: 1}}}", "did you mean 'gamma'"),
        ("{envs: [DI], arms: [dma], seeds: [0], method: {mask: 1}}", "did you mean 'masking'"),
        (
            "{envs: [DI], arms: [dma], seeds: [0], method: {masking: much}}",
            "method option 'masking' of DI dma must be a number, not 'much'",
        ),
        ("{envs: [DI], arms: [dr], seeds: 3}", r"seeds of a block .* list such as \[0, 1\], not 3"),
        ("{envs: [DI], seeds: [0]}", "arms of a block .* not None"),
        ("{envs: [DI], arms: [dr], seeds: [0], steps: 0}", "steps .* not 0"),
        ("{envs: [DI], arms: [dr], seeds: [0], method: [masking]}", "method .* mapping"),
        ("DI", "a block of profile p .* mapping"),
        ("{envs: [DI], arms: [dr], seeds: [0.5]}", r"seeds of a block .* not \[0.5\]"),
        ("{envs: [DI], arms: [dr], seeds: [yes]}", r"seeds of a block .* not \['yes'\]"),
        ("{envs: [DI], arms: [dr], seeds: [0], steps: 1.5}", "steps .* not 1.5"),
        (
            "{envs: [DI], arms: [dr], seeds: [0], settings: {eval_every: often}}",
            "setting 'eval_every' of DI dr must be an integer, not 'often'",
        ),
        ("{envs: [DI], arms: [dr], seeds: [0], settings: {eval_every: 10.5}}", "an integer, not 10.5"),
        ("{envs: [DI], arms: [dr], seeds: [0], settings: {eval_every: true}}", "an integer, not True"),
        (
            "{envs: [DI], arms: [dr], seeds: [0], settings: {sac: {critic_lr: fast}}}",
            "SAC setting 'critic_lr' of DI dr must be a number, not 'fast'",
        ),
        ("{envs: [DI], arms: [dr], seeds: [0], settings: {sac: 3}}", "sac of DI dr must be a mapping"),
        ("{envs: [DI], arms: [dma], seeds: [0], method: {scale_context: no}}", "must be true or false, not 'no'"),
        ("{envs: [DI], arms: [dma], seeds: [0], method: {context: tru}}", "did you mean 'true'"),
        ("{envs: [DI], arms: [dr], seeds: [0], seeds: [1]}", "cannot read the grid .*duplicate key"),
    ],
)
def test_mistakes_in_the_grid(tmp_path, block, word):
    (tmp_path / "grid.yaml").write_text(f"p: [{block}]")
    with pytest.raises(UserError, match=word):
        load_profile("p", tmp_path / "grid.yaml")


def test_numbers_in_a_grid_are_those_of_yaml_1_2(tmp_path):
    settings = "{eval_every: 1e3, random_steps: 2_000, sac: {critic_lr: 1e-3, gamma: 0, actor_every: 2.0}}"
    block = f"envs: [DI], arms: [dma-pearl], seeds: [010, 011, 1e1], steps: 1e4, settings: {settings}"
    (tmp_path / "grid.yaml").write_text(f"p: [{{{block}, method: {{beta: 1}}}}]")
    cells = load_profile("p", tmp_path / "grid.yaml")
    assert [(cell.seed, cell.steps) for cell in cells] == [(10, 10_000), (11, 10_000)]  # 1e1 is seed 10 again
    made = cells[0].train_settings()
    assert (made.eval_every, made.random_steps, made.sac.critic_lr, made.sac.actor_every) == (1000, 2000, 0.001, 2)
    assert all(type(value) is int for value in (made.eval_every, made.random_steps, made.sac.actor_every))
    assert type(made.sac.gamma) is float and type(made.method.beta) is float and made.method.beta == 1.0


def test_an_empty_grid(tmp_path):
    (tmp_path / "grid.yaml").write_text("")
    with pytest.raises(UserError, match="not a mapping of profile names"):
        load_profile("p", tmp_path / "grid.yaml")


# ---------------------------------------------------------------- leases


def _contend(folder, barrier, wins):
    barrier.wait()
    if Lease.take(folder):
        with wins.get_lock():
            wins.value += 1
    barrier.wait()  # no process may die, which frees the lease, before all have tried


def _take_and_die(folder):
    assert Lease.take(folder)


def test_one_of_many_gets_the_lease(tmp_path):
    context = multiprocessing.get_context("fork")
    for i in range(5):
        folder = tmp_path / str(i)
        if i % 2:  # leave a dead owner's lease
            process = context.Process(target=_take_and_die, args=(folder,))
            process.start()
            process.join()
            assert Lease.newest(folder) == 1 and not Lease.held(folder)
        wins, barrier = context.Value("i", 0), context.Barrier(6)
        processes = [context.Process(target=_contend, args=(folder, barrier, wins)) for _ in range(6)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert wins.value == 1


def test_leases_expire(tmp_path):
    mine = Lease.take(tmp_path)
    assert Lease.held(tmp_path) and Lease.take(tmp_path) is None
    mine.release()
    mine = Lease.take(tmp_path)
    assert mine.number == 2 and [p.name for p in tmp_path.iterdir()] == ["2"]
    # the pid of a dead process, reused by another
    owner = json.loads(mine.path.read_text())
    mine.path.write_text(json.dumps(owner | {"born": "1"}))
    assert not Lease.held(tmp_path)
    # another machine: only its heartbeats count
    mine.path.write_text(json.dumps(owner | {"where": "elsewhere"}))
    assert Lease.held(tmp_path)
    os.utime(mine.path, (time.time() - lease.EXPIRE - 1,) * 2)
    assert not Lease.held(tmp_path)
    mine.beat()
    assert Lease.held(tmp_path) and not mine.lost()
    # killed before writing its owner: the file's age decides
    mine.path.write_text("")
    assert Lease.held(tmp_path)
    os.utime(mine.path, (time.time() - lease.EXPIRE - 1,) * 2)
    assert Lease.take(tmp_path).number == 3 and mine.lost()


# ---------------------------------------------------------------- the sweep's own rules, with fake workers


class Pretend:
    def __init__(self, code, output=""):
        self.code, self.text, self.stopped = code, output, False

    def poll(self):
        return self.code

    def output(self):
        return self.text

    def stop(self):
        self.code = 143


def test_a_crash_is_tried_again_three_times(tmp_path):
    starts = []
    wanted = faults.cells(tmp_path, seeds=[0])

    def launch(cell):
        starts.append(cell)
        return Pretend(-11, "Traceback\nboom")

    status = Sweep(wanted, tmp_path / "runs", launch=launch, say=faults.quiet, poll=0).run()
    assert len(starts) == 3 and "status -11 (boom)" in status.failed[0][1]
    Sweep(wanted, tmp_path / "runs", launch=launch, say=faults.quiet, poll=0).run()
    assert len(starts) == 3
    Folder(tmp_path / "runs").forgive(wanted)
    Sweep(wanted, tmp_path / "runs", launch=launch, say=faults.quiet, poll=0).run()
    assert len(starts) == 6


def test_errors_in_a_row_stop_the_sweep(tmp_path):
    wanted = faults.cells(tmp_path, seeds=list(range(9)))
    with pytest.raises(UserError, match="3 cells in a row.*cannot write x: No space left"):
        Sweep(
            wanted, tmp_path, launch=lambda c: Pretend(2, "cannot write x: No space left"), say=faults.quiet, poll=0
        ).run()


def test_the_time_limit(tmp_path):
    workers = []

    def launch(cell):
        workers.append(Pretend(None))
        return workers[-1]

    wanted = faults.cells(tmp_path, seeds=[0, 1, 2])
    status = Sweep(wanted, tmp_path, jobs=2, hours=0.5 / 3600, launch=launch, say=faults.quiet, poll=0.01).run()
    assert [w.code for w in workers] == [143, 143] and len(status.waiting) == 3
    with pytest.raises(UserError, match="positive"):
        Sweep(wanted, tmp_path, jobs=0)
