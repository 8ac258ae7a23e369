"""How much memory a run needed at most."""

from __future__ import annotations

import sys

import torch


def peak_memory_mb(device: torch.device) -> float:
    """Return the peak in MiB: of what torch held on a GPU, else of the whole process; 0 where no system tells."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
