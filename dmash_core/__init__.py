"""Dynamics-aligned shared hypernetworks (DMA*-SH) and the Actuator Inversion Benchmark, reproduced."""

import os

# Before torch is imported: OpenMP's default is to spin, which costs 5 to 10 times the speed as soon as another process
# wants the core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

import dmash_core.benchmark  # noqa: E402, F401  (it registers its environments with Gymnasium)
