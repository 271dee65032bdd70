"""One thread: bit-identical results whatever else runs on the machine, and no spinning against it."""

from contextlib import suppress

with suppress(ModuleNotFoundError):  # neither the environments nor their tests need torch
    import torch

    torch.set_num_threads(1)
