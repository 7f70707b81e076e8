"""The device and precision that images are sampled with."""

from __future__ import annotations

import torch


def best_device() -> tuple[torch.device, torch.dtype]:
    """The GPU in half precision, or the CPU in single."""
    if torch.cuda.is_available():
        return torch.device("cuda"), torch.float16
    return torch.device("cpu"), torch.float32
