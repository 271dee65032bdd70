"""The training machine: threads, devices, number formats, signals, folders."""

import ctypes
import os
import signal
import tempfile
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from dmash_core.benchmark.vector import BatchedEnv
from dmash_core.errors import UserError, unknown


def available_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def configure_cpu(threads: int) -> str:
    """Set the number of threads, including the simulators', and choose oneDNN's faster float32 matrix product if it is
    accurate enough; returns the name of the chosen precision.

    On AMD processors with AVX-512 the "bf16" path still multiplies in float32 and is up to 1.35 times as fast. Where it
    does round to bfloat16 (Intel AMX), the check finds an error ten thousand times larger and keeps plain float32.
    """
    torch.set_num_threads(threads)
    BatchedEnv.threads = threads
    _keep_memory()
    setting = torch.backends.mkldnn.matmul  # pyright: ignore[reportAttributeAccessIssue]
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(1, 256, 256, generator=generator) for _ in range(2))
    exact = torch.bmm(a.double(), b.double())
    setting.fp32_precision = "bf16"
    if (torch.bmm(a, b) - exact).abs().max() > 1e-5 * exact.abs().max():
        setting.fp32_precision = "ieee"
    return setting.fp32_precision


def _keep_memory() -> None:
    """Let glibc keep up to 1 GiB of freed memory instead of returning tensors above 128 kB to the kernel.

    An update frees and allocates thousands of pages, each of which the kernel must clear: a quarter of DMA*-SH's time.
    """
    with suppress(OSError, AttributeError):  # not glibc
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((-3, 2**25), (-1, 2**30), (-2, 2**26)):  # thresholds for mmap and trim, top pad
            mallopt(option, value)


@contextmanager
def no_denormals():
    """Within this context, flush numbers below 1e-38 to zero in the current thread.

    Adam's moments of weights behind a dead ReLU decay to such denormals and stay there (2.7 million in DA), and Intel
    processors are many times slower on them. They are 30 orders of magnitude too small to change a weight.
    For updates only: SciPy's k-d trees do not terminate without denormals, and the physics must not depend on this.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def check_device(device: str, tf32: bool = False) -> None:
    """Raise UserError if the device is unknown or missing, or if TF32 is requested on a CPU."""
    if device not in ("cpu", "cuda"):
        raise unknown("device", device, ("cpu", "cuda"))
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device 'cuda' needs a GPU and a PyTorch build with CUDA; use --device cpu")
    if tf32 and device == "cpu":
        raise UserError("tf32 needs --device cuda")


def configure_cuda(tf32: bool) -> None:
    """Use full-precision float32 matrix products, or with ``tf32`` tensor cores and a 10-bit mantissa.

    Recurrent layers use PyTorch's kernels: cuDNN's have their own TF32 switch and would need each seed's weights copied
    into one buffer at every call.
    """
    torch.backends.cuda.matmul.fp32_precision = "tf32" if tf32 else "ieee"
    torch.backends.cudnn.enabled = False


def check_writable(folder: Path) -> None:
    """Raise UserError if the folder is not writable, now rather than after hours of training."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}") from error


class signals:
    """Let SIGINT and SIGTERM call a handler instead of ending the process; a second signal ends it at once."""

    def __init__(self, handler: Callable):
        self.handler = handler

    def __enter__(self):
        def once(number, frame):
            signal.signal(number, signal.SIG_DFL)
            self.handler(number, frame)

        try:
            self.before = {n: signal.signal(n, once) for n in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not in the main thread (a notebook's worker, Ray): the caller handles signals
            self.before = {}

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)
