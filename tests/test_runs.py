"""Raw runs: round trips, and an error message for every way in which a file can be invalid."""

import json
import os
import resource

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dmash_core.errors import UserError
from dmash_core.training import raw_runs


def make(env="DI", arm="dr", seed=0, steps=10, every=5, contexts=2, rollouts=3):
    """A small valid run, (frame, meta): splits x `contexts` x `rollouts` every `every` steps, and two diagnostics."""
    rng = np.random.default_rng(seed)
    rows = [
        {"step": step, "metric": "return", "split": split, "context": c, "rollout": r, "value": rng.uniform(0, 100)}
        for step in range(0, steps + 1, every)
        for split in raw_runs.SETS
        for c in range(contexts)
        for r in range(rollouts)
    ]
    none = {"step": 3, "split": None, "context": None, "rollout": None}
    rows += [{"metric": "alpha", **none, "value": 0.1}, {"metric": "loss", **none, "value": np.nan}]
    meta = {
        "env": env, "arm": arm, "seed": seed, "steps": steps,
        "config": {"eval_every": every, "eval_rollouts": rollouts, "eval_rollouts_between": rollouts},
        "contexts": {split: [[float(i), -1.0] for i in range(contexts)] for split in raw_runs.SETS},
        "env_steps": steps, "wall_time_s": 1.5, "started": "2026-01-01T00:00:00Z", "finished": "2026-01-01T00:00:01Z",
        "machine": {}, "versions": {}, "git_commit": None, "git_dirty": None,
    }  # fmt: skip
    return pd.DataFrame(rows), meta


def put(root, **kwargs):
    frame, meta = make(**kwargs)
    path = raw_runs.run_path(root, meta["env"], meta["arm"], meta["seed"])
    raw_runs.write_run(path, frame, meta)
    return path


def test_round_trip(tmp_path):
    path = put(tmp_path, arm="dma-star-sh+masking=0.2", seed=7)
    run = raw_runs.read_run(path)
    frame, meta = make(arm="dma-star-sh+masking=0.2", seed=7)
    assert {key: run.meta[key] for key in meta} == meta
    assert list(run.frame.columns) == raw_runs.SCHEMA.names
    for column in frame:
        got = run.frame[column].astype(object).where(run.frame[column].notna(), None).tolist()
        assert got == frame[column].astype(object).where(frame[column].notna(), None).tolist(), column
    assert [p.name for p in path.parent.iterdir()] == ["seed-7.parquet"]  # no temporary file left


def test_nan_diagnostic_stays_nan_and_is_not_null(tmp_path):
    column = pq.ParquetFile(put(tmp_path)).read()["value"]
    assert column.null_count == 0 and np.isnan(column.to_numpy()).sum() == 1


def test_digest_ignores_circumstances_and_sees_everything_else(tmp_path):
    frame, meta = make()
    path = raw_runs.run_path(tmp_path, "DI", "dr", 0)

    def digest(frame, **changes):
        raw_runs.write_run(path, frame, {**meta, **changes})
        return raw_runs.read_run(path).meta["digest"]

    first = digest(frame)
    circumstances = {"wall_time_s": 9.0, "git_commit": "abc", "machine": {"cpu": "x"}, "started": "", "versions": {}}
    assert digest(frame, **circumstances) == first
    assert digest(frame, env_steps=11) != first
    other = frame.copy()
    other.loc[0, "value"] = np.nextafter(other.loc[0, "value"], 1e9)
    assert digest(other) != first


def test_numpy_values_in_the_metadata(tmp_path):
    frame, meta = make()
    meta["contexts"] = {split: np.asarray(values) for split, values in meta["contexts"].items()}
    raw_runs.write_run(raw_runs.run_path(tmp_path, "DI", "dr", 0), frame, {**meta, "env_steps": np.int64(3)})
    assert raw_runs.scan(tmp_path)[0][0].meta["contexts"]["train"] == [[0.0, -1.0], [1.0, -1.0]]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f, m: f.loc.__setitem__((4, "value"), np.inf), "the return at step 0 is not finite"),
        (lambda f, m: f.drop(index=4, inplace=True), "step 0 has 0 instead of 1 .* train, context 1, rollout 1"),
        (lambda f, m: f.__setitem__("rollout", f["rollout"].replace(2, 1)), "has 2 instead of 1 returns"),
        (lambda f, m: f.drop(index=f.index[f["step"] == 10], inplace=True), "no evaluation at step 10"),
        (lambda f, m: f.drop(index=f.index[f["step"] == 5], inplace=True), "no evaluation at step 5"),
        (lambda f, m: m.__setitem__("steps", 16), "no evaluation at step 15"),
        (lambda f, m: m.__setitem__("steps", 9), "an unexpected evaluation at step 10"),
        (lambda f, m: m["contexts"]["eval-in"].append([0.0, 0.0]), "split eval-in, context 2, rollout 0"),
        (lambda f, m: m["contexts"]["eval-in"].pop(), "that the run does not have"),
        (lambda f, m: m["contexts"].pop("eval-in"), "context sets"),
        (lambda f, m: m["config"].__setitem__("eval_rollouts", 4), "step 10 has 0 .* context 0, rollout 3"),
        (lambda f, m: m["config"].__setitem__("eval_rollouts_between", 4), "step 0 has 0 .* context 0, rollout 3"),
        (lambda f, m: m["config"].__setitem__("eval_rollouts_between", 2), "that the run does not have"),
        (lambda f, m: m["config"].pop("eval_rollouts_between"), "eval_rollouts_between"),
        (lambda f, m: m["config"].pop("eval_every"), "eval_every"),
        (lambda f, m: m.pop("env_steps"), "lacks env_steps"),
        (lambda f, m: m.__setitem__("seed", 1), "disagrees with its path"),
        (lambda f, m: f.__setitem__("split", None), "lacks its split"),
        (lambda f, m: f.__setitem__("extra", 1), "columns"),
    ],
)
def test_an_invalid_run_is_refused_when_written_and_when_read(tmp_path, change, reason, monkeypatch):
    frame, meta = make()
    path = raw_runs.run_path(tmp_path, "DI", "dr", 0)
    change(frame, meta)
    with pytest.raises(raw_runs.BadRun, match=reason):
        raw_runs.write_run(path, frame, meta)
    assert not path.exists()
    if "extra" in frame:
        return
    with monkeypatch.context() as patch:  # a writer without checks
        patch.setattr(raw_runs, "_problem", lambda *_: None)
        raw_runs.write_run(path, frame, meta)
    with pytest.raises(raw_runs.BadRun, match=reason) as error:
        raw_runs.read_run(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_evaluations_before_the_last_may_have_fewer_rollouts(tmp_path):
    frame, meta = make()
    meta["config"]["eval_rollouts_between"] = 1
    early = (frame["metric"] == "return") & (frame["step"] < 10)
    frame = frame[~early | (frame["rollout"] == 0)]
    path = raw_runs.run_path(tmp_path, "DI", "dr", 0)
    raw_runs.write_run(path, frame, meta)
    returns = raw_runs.load_returns([raw_runs.read_run(path)])
    assert returns.groupby("step").size().tolist() == [6, 6, 18]
    cut = frame[frame["step"] < 10]
    raw_runs.write_run(path, cut, meta | {"steps": 5, "diverged": {"step": 7, "reason": "not finite"}})
    with pytest.raises(raw_runs.BadRun, match="no evaluation at step 10"):
        raw_runs.write_run(path, cut, meta)


def test_runs_of_the_earlier_agent_are_named(tmp_path):
    path = put(tmp_path)
    rewrite(path, pq.read_table(path), schema_version=1)
    good, (bad,) = raw_runs.scan(tmp_path)
    assert not good and "a run of an earlier agent" in bad.reason


def rewrite(path, table, **changes):
    meta = {**json.loads(table.schema.metadata[b"dmash"]), **changes}
    pq.write_table(table.replace_schema_metadata({"dmash": json.dumps(meta)}), path)


def test_damaged_files_are_named(tmp_path):
    path = put(tmp_path)
    whole, table = path.read_bytes(), pq.ParquetFile(path).read()

    def reason():
        with pytest.raises(raw_runs.BadRun) as error:
            raw_runs.read_run(path)
        return error.value.reason

    for size in (0, 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert "not a complete Parquet file" in reason()
    path.write_text("hello")
    assert "not a complete Parquet file" in reason()
    pq.write_table(table.replace_schema_metadata(None), path)
    assert "no metadata" in reason()
    pq.write_table(table.replace_schema_metadata({"dmash": "{"}), path)
    assert "not JSON" in reason()
    rewrite(path, table, schema_version=99)
    assert "schema version 99" in reason()
    rewrite(path, table, env_steps=1)
    assert "digest" in reason()
    rewrite(path, table.set_column(5, table.schema.field("value"), pa.array(table["value"].to_numpy() + 1)))
    assert "digest" in reason()
    rewrite(path, table.drop_columns("rollout"))
    assert "wrong columns" in reason()
    path.unlink()
    assert "no such file" in reason()


def test_any_flipped_byte_is_noticed_or_harmless(tmp_path):
    path = put(tmp_path)
    whole, rows, noticed = path.read_bytes(), raw_runs.read_run(path).frame, 0
    for position in range(0, len(whole), 7):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        try:
            pd.testing.assert_frame_equal(raw_runs.read_run(path).frame, rows)
        except raw_runs.BadRun:
            noticed += 1
    assert noticed > len(whole) / 7 / 2  # the others hit unused page statistics, versions or wall time


def test_a_moved_file_is_bad(tmp_path):
    path = put(tmp_path)
    moved = tmp_path / "DI" / "concat" / path.name
    moved.parent.mkdir()
    path.rename(moved)
    good, bad = raw_runs.scan(tmp_path)
    assert good == [] and "disagrees with its path" in bad[0].reason


def test_scan_is_sorted_and_leaves_temporary_files_alone(tmp_path):
    paths = [put(tmp_path, arm=arm, seed=seed) for arm in ("dr", "concat") for seed in (1, 0)]
    (paths[0].parent / ".seed-3.parquet.99.tmp").write_text("half")
    (tmp_path / ".progress" / "DI").mkdir(parents=True)
    (tmp_path / ".progress" / "DI" / "x.parquet").write_text("half")
    (paths[0].parent / "seed-9.parquet").write_text("half")
    good, bad = raw_runs.scan(tmp_path)
    assert [run.path for run in good] == sorted(paths)
    assert [error.path.name for error in bad] == ["seed-9.parquet"]
    returns = raw_runs.load_returns(good)
    assert list(returns) == ["env", "arm", "seed", "step", "split", "context", "rollout", "value"]
    assert len(returns) == 4 * 3 * 3 * 2 * 3 and returns["value"].notna().all()
    cells = returns.groupby(["arm", "seed"]).size().index.tolist()
    assert cells == [("concat", 0), ("concat", 1), ("dr", 0), ("dr", 1)]
    assert raw_runs.scan(tmp_path / "nowhere") == ([], []) and len(raw_runs.load_returns([])) == 0


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "DI").write_text("a file where a folder should be")
    with pytest.raises(UserError, match="cannot write the run .*seed-0.parquet"):
        put(tmp_path)


def test_a_full_disk_leaves_the_old_run_and_no_temporary_file(tmp_path):
    path = put(tmp_path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))  # limits the file size: EFBIG, like a full disk
    try:
        with pytest.raises(UserError, match="cannot write the run"):
            put(tmp_path, steps=10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]


def test_provenance_names_this_repository(monkeypatch, tmp_path):
    import torch

    found = raw_runs.provenance()
    assert found["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert found["machine"]["torch_threads"] == torch.get_num_threads() and found["machine"]["cpu"]
    assert None not in (found["versions"]["pyarrow"], found["versions"]["numpy"])
    json.dumps(found)
    monkeypatch.setattr(
        raw_runs, "__file__", str(tmp_path / "training" / "raw_runs.py")
    )  # as if the package were outside git
    assert raw_runs.provenance()["git_commit"] is None and raw_runs.provenance()["git_dirty"] is None
