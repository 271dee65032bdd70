"""One thread: the same bits whatever else runs on the machine, and no spinning against it."""

import torch

torch.set_num_threads(1)
