"""One thread: the same bits whatever else runs on the machine, and no spinning against it."""

from contextlib import suppress

with suppress(ModuleNotFoundError):  # the environments need no torch, nor do their tests
    import torch

    torch.set_num_threads(1)
