"""The command line: one sentence and exit status 2 for a user error, never a traceback."""

import json
import subprocess
import sys
import time

import pytest
import torch

from dmash_core.errors import UserError
from dmash_core.methods import METHODS, replace
from dmash_core.training.raw_runs import read_run
from reproduction import bench, cli


def call(monkeypatch, *words):
    """(exit status, output) of a command run in this process."""
    monkeypatch.setattr("sys.argv", ["dmash", *map(str, words)])
    try:
        cli.main()
    except SystemExit as stop:
        return stop.code
    return 0


TRAIN = ("train", "--env", "DI", "--arm")


@pytest.mark.parametrize(
    "words, said",
    [
        (("trian",), "unknown command 'trian'; did you mean 'train'?"),
        (("train", "--env", "DJ", "--arm", "dr"), "unknown environment 'DJ'; did you mean 'DI'? Valid: DI, DI-"),
        (("train", "--env", "ODE-21", "--arm", "dr"), "ODE-k exists for k = 1, ..., 20"),
        ((*TRAIN, "dma-start"), "unknown arm 'dma-start'; did you mean 'dma-star'? Valid: dr, concat"),
        ((*TRAIN, "dr", "--steps", "12345"), "positive multiple of eval_every (5000)"),
        ((*TRAIN, "dr", "--seeds", "1", "1"), "distinct non-negative"),
        ((*TRAIN, "dr", "--seeds", "one"), "seeds must be integers or ranges such as 0..9, not 'one'"),
        ((*TRAIN, "dr", "--seeds", "5..2"), "the range of seeds '5..2' is empty"),
        (("runs", "list", "--env", "DJ"), "unknown environment 'DJ'"),
        (("claims", "--id", "F99"), "unknown claim 'F99'; did you mean"),
        ((*TRAIN, "dr", "--threads", "0"), "threads must be at least 1"),
        ((*TRAIN, "dr", "--random-steps", "150"), "multiple of the 100 steps"),
        (("evaluate", "nowhere.safetensors"), "no checkpoint at nowhere.safetensors"),
        (("evaluate", __file__), "is not a checkpoint of this project"),
        (("notebooks", "--profile", "smok"), "unknown profile 'smok'; did you mean 'smoke'?"),
        (("notebooks", "--set", "steps=3"), "give the name of the notebook"),
        (("notebooks", "a.ipynb", "--set", "steps"), "parameters must be name=value"),
        (("bench", "--arms", "dq"), "unknown arm 'dq'"),
        (("bench", "--device", "gpu"), "unknown device 'gpu'"),
        ((*TRAIN, "dr", "--tf32"), "tf32 needs --device cuda"),
    ],
)
def test_mistakes(monkeypatch, capsys, tmp_path, words, said):
    words = (*words, "--out", tmp_path) if words[0] == "train" else words
    assert call(monkeypatch, *words) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error
    assert error.count("\n") == 1


def test_mistakes_that_the_parser_finds(monkeypatch, capsys):
    """tyro's own messages: wrong types, unknown options, values out of range."""
    for words, said in (
        ((*TRAIN, "dr", "--steps", "many"), "many"),
        ((*TRAIN, "dr", "--masknig", "0.2"), "--masking"),
        ((*TRAIN, "dma-star", "--masking", "3"), "must be in [0, 1]"),
        ((*TRAIN, "dma-star", "--input-norm", "batch"), "avgl1"),
    ):
        assert call(monkeypatch, *words) == 2
        assert said in capsys.readouterr().err


def test_train_evaluate_and_again(monkeypatch, capsys, tmp_path):
    words = (*TRAIN, "dma-star", "--seeds", "2..3", "--steps", 200, "--eval-every", 200, "--random-steps", 100)
    words += ("--eval-rollouts", 1, "--width", 16, "--masking", 0.5, "--out", tmp_path)
    assert call(monkeypatch, *words) == 0
    paths = capsys.readouterr().out.split()
    assert [p.rsplit("/", 1)[1] for p in paths] == ["seed-2.parquet", "seed-3.parquet"]
    meta = read_run(paths[0]).meta
    assert meta["arm"] == "dma-star+masking=0.5+width=16" and meta["config"]["method"]["masking"] == 0.5
    assert call(monkeypatch, *words) == 0  # already done: nothing is trained
    assert call(monkeypatch, *words, "--per-context", 3) == 2
    assert "made with per_context = 12, but 3 is requested" in capsys.readouterr().err
    assert call(monkeypatch, "evaluate", paths[0].replace(".parquet", ".safetensors"), "--rollouts", 1) == 0
    out = capsys.readouterr().out
    assert "trained 200 steps" in out and "eval-out" in out


def test_seed_ranges():
    assert cli.parse_seeds(("0", "3..5")) == [0, 3, 4, 5]
    with pytest.raises(UserError):
        cli.parse_seeds(("3..",))


def test_lists_and_version(monkeypatch, capsys, tmp_path):
    """The lists of valid choices."""
    for words, said in (
        (("--version",), "dmash 0.1.0"),
        (("arms",), "dma-star-sh "),
        (("envs",), "Reacher-H-Perm"),
        (("completion", "bash"), "--bootstrap-at-time-limit"),  # completes options of settings too
        (("sweep", "--profile", "evidence", "--status", "--out", tmp_path), "no cell of the profile evidence has been"),
    ):
        assert call(monkeypatch, *words) in (0, None)
        assert said in capsys.readouterr().out, words
    assert call(monkeypatch, "train", "--help") in (0, None)
    out = "".join(capsys.readouterr().out.split())
    assert "Reacher-H-Perm" in out and "dma-star-sh-only-critic" in out and "--eval-rollouts-between" in out


def test_fields_are_declared_once():
    """The options of `train` are the fields of its settings, so a new field needs no second declaration."""
    from dataclasses import fields

    from dmash_core.training.settings import TrainSettings

    made = {f.name: f.default for f in fields(cli._train_command([]))}
    assert all(made[f.name] == f.default for f in fields(TrainSettings) if f.name not in ("method", "sac"))


def test_an_unknown_claim_is_refused_without_importing_them():
    """Fast (under a second on an idle machine), since neither torch nor any claim is imported."""
    code = (
        "import sys; sys.argv = ['dmash', 'claims', '--id', 'nothing']\n"
        "from reproduction import cli\n"
        "try: cli.main()\n"
        "except SystemExit as stop: assert stop.code == 2\n"
        "assert 'torch' not in sys.modules and 'reproduction.claims' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "T9 (Gains over DR and Concat)" in done.stderr


def test_bench_row(capsys):
    """A small end-to-end measurement: its counts exist and are plausible; times are not asserted."""
    method = replace(METHODS["dma-star-sh"], width=16, bottleneck=4)
    row = bench.measure_arm("DI", "dma-star-sh", method, rounds=1, updates=2)
    assert set(bench.COLUMNS) <= set(row) and row["ratio_to_twin"] is not None
    assert 0 < row["ms_per_update"] and 0 < row["outside_update"] < 1 and row["peak_mib"] > 100
    assert row["ms_row_adapters"] is None
    json.dumps(row)
    assert bench.measure_arm("DI", "da", METHODS["da"], rounds=1, updates=2)["ms_row_adapters"] > 0


def test_every_arm_reaches_the_process_that_measures_it():
    for arm, method in METHODS.items():
        call = ["DI", arm, method], {"rounds": 1}
        assert bench._from_words(bench._words(*call)) == call


def test_an_adapter_for_each_row_is_the_same_update(tmp_path):
    """What `ms_row_adapters` measures computes what DA computes with one adapter for each context."""
    trainer = bench._past_random_phase(bench._trainer("DI", "da", METHODS["da"], str(tmp_path)))
    agent, batch, contexts = trainer.agent, trainer.sample(3), trainer.rollout.contexts
    each_row = contexts.repeat_interleave(12, dim=1)
    before = {name: tensor.clone() for name, tensor in agent.state().items()}
    ours = agent.update(batch, contexts)
    agent.load_state(before)
    theirs = agent.update(batch, each_row)
    assert each_row.shape == (1, 240, 2) and ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-5)


def test_gpu_bench_rows(monkeypatch):
    """The rows of ``bench --device cuda``, small and on the CPU: counts are plausible; times are not asserted."""
    method = replace(METHODS["dma-star-sh"], width=16, bottleneck=4, window=5)
    ours = bench.measure_block("dma-star-sh", method, 2, "cpu", updates=2, target=float("inf"))
    twin = bench.measure_block("dma-star-sh", method, None, "cpu", updates=2)
    assert bench.measure_block("amago", replace(METHODS["amago"], width=16, window=5), None, "cpu", updates=2) == {}
    assert ours["seed_updates_per_s"] == pytest.approx(2 * ours["updates_per_s"], abs=0.2)
    assert (ours["learner"], twin["learner"], twin["seeds"]) == ("ours", "twin", 1)
    assert "aten::" in ours["profile"] and "profile" not in twin
    monkeypatch.setattr(bench, "configure_cpu", lambda threads: None)
    slow, step = {"seconds": 0.02}, bench.BatchedEnv.step
    monkeypatch.setattr(bench.BatchedEnv, "step", lambda *a: (time.sleep(slow["seconds"]), step(*a))[1])
    wait = bench.measure_wait("DI", "dr", replace(METHODS["dr"], width=16, window=5), 1, "cpu", 1, horizon=10)
    assert 0 < wait["waits"] < 1 and wait["ms_per_step"] > 20
    json.dumps([ours, twin, wait])


def test_environment_bench_row(monkeypatch):
    monkeypatch.setattr(bench, "DM_CONTROL", {"Cartpole": ("cartpole", "balance")})
    said = []
    (row,) = bench.measure_environments(said.append, rounds=1, steps=3)
    assert row["env"] == "Cartpole" and len(said) == 2 and row["ratio_cpu"] > 0
    assert row["ratio_one_thread"] == pytest.approx(row["one_thread"] / row["dm_control"], abs=0.06)
    json.dumps(row)


def test_bench_of_workers():
    """A small end-to-end run; ratios are not asserted, since tests share their machine."""
    row = bench.measure_workers(2, lambda line: None, steps=100)
    assert row["speed_up"] > 0 and row["jobs"] == 2 and row["machine"]["cores"]


def test_a_fresh_interpreter_knows_the_claims_whose_wordings_it_records():
    """It must not report "nothing has changed" because it knows no claim."""
    code = """
import sys
from reproduction.cli import main
from reproduction.evidence import wordings
from reproduction.evidence.claim import registered
wordings.record = lambda why, arms: [f"{len(registered())} claims"]
sys.argv[1:] = ["claims", "--record", "x"]
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and int(done.stdout.removeprefix("recorded: ").split()[0]) > 40, done.stderr


def test_a_reader_that_has_seen_enough_is_no_error():
    """`dmash runs list | head`: no traceback, and the exit status of a broken pipe."""
    dmash = subprocess.Popen(
        [sys.executable, "-m", "reproduction.cli", "runs", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    dmash.stdout.close()
    assert dmash.stderr.read() == b""
    assert dmash.wait() == 141
