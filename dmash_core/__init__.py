"""Dynamics-aligned shared hypernetworks (DMA*-SH) and the Actuator Inversion Benchmark, reproduced."""

import os

# Set before importing torch: by default OpenMP threads spin, a slowdown of 5 to 10 times as soon as another process
# needs the core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

import dmash_core.benchmark  # noqa: E402, F401  (it registers its environments with Gymnasium)
