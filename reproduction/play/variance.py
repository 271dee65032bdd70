"""Data for the page on the variance of a code: codes of trained agents, as text. The computations are in
variance.js."""

import base64
from collections.abc import Callable, Sequence
from pathlib import Path

from dmash_core.errors import UserError
from dmash_core.training.checkpoint import crc32
from dmash_core.training.policies import load_policy
from reproduction.figures.style import arm_style
from reproduction.play.export import ENV, checkpoints, write_page
from reproduction.theory.explorer import KNOBS, Scenario, learned_samples


def learned(path: str | Path, rollouts: int = 4) -> dict:
    """The codes of a trained agent, JSON-ready: concatenated, as little-endian float32 in base64, with the context of
    each. UserError for a file without codes of DI."""
    agent, meta = load_policy(path)
    if meta["env"] != ENV:
        raise UserError(f"it is for {meta['env']}, but the page is for {ENV}")
    if agent.method.context != "inferred":
        raise UserError(f"{arm_style(meta['arm']).name} infers no code")
    samples = learned_samples(path, rollouts)
    return {
        "key": f"{meta['arm']}-{meta['seed']}", "name": arm_style(meta["arm"]).name,
        "seed": meta["seed"], "steps": meta["steps"], "commit": (meta["git_commit"] or "unknown")[:8],
        "dim": samples.z.shape[1], "z": base64.b64encode(samples.z.astype("<f4").tobytes()).decode(),
        "label": samples.label.tolist(), "mode": samples.mode.tolist(), "mass": samples.mass.tolist(),
    }  # fmt: skip


def export(paths: Sequence[str | Path], runs: str | Path = "runs", home: str = "") -> tuple[dict, list[str]]:
    """All data of the page, JSON-ready, and a sentence for each of `paths` that is left out. The data are the codes of
    `paths`, then those of every arm in `runs` that infers a code. The page opens with the first of `paths`."""
    codes, bad, seen = [], [], set()
    for path in [*map(Path, paths), *checkpoints(runs)]:
        try:
            mark = crc32(path) if path.is_file() else ""
            if mark and mark in seen:
                continue
            found = learned(path)
            if any(found["key"] == other["key"] for other in codes):
                found["key"] += f"-{mark}"
            codes.append(found)
            seen.add(mark)
        except UserError as error:
            bad += [f"{path}: {error}"] if path in map(Path, paths) else []
    knobs = [
        {"name": name, "title": title, "low": low, "high": high, "step": step, "value": getattr(Scenario(), name)}
        for name, (title, low, high, step) in KNOBS.items()
    ]
    start = codes[0]["key"] if len(paths) > len(bad) else ""
    return {"knobs": knobs, "codes": codes, "start": start, "home": home}, bad


def build(
    out: str | Path = "build/play",
    runs: str | Path = "runs",
    paths: Sequence[str | Path] = (),
    home: str = "",
    say: Callable[[str], None] = print,
) -> Path:
    """Write the page into the folder `out` and return its variance.html, which opens in any browser.

    `paths`, `runs` and `home` as in `export`. UserError if none of `paths` is usable or `out` cannot be written.
    """
    data, bad = export(paths, runs, home)
    if paths and len(bad) == len(paths):
        raise UserError("; ".join(bad))
    for reason in bad:
        say(f"left out: {reason}")
    write_page(out, "codes.js", "dmashCodes", data)
    return Path(out) / "variance.html"
