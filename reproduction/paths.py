"""Paths of the repository's files, next to the packages, which are installed in place (``pip install -e``)."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
PROOFS = ROOT / "proofs"
TESTS = ROOT / "tests"
PUBLISHED = ROOT / "reproduction" / "published.csv"
GRID = ROOT / "reproduction" / "sweep.yaml"
