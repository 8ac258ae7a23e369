"""One process a GPU: who this process is among those that `torchrun` started, and what they do together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist

from seg_core.errors import ConfigError
from seg_core.metrics import ConfusionMatrix


@dataclass(frozen=True)
class Workers:
    """This process's place: `rank` of `world_size`, computing on `device`. One process alone is rank 0 of 1."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    @property
    def is_parallel(self) -> bool:
        """Whether there are others."""
        return self.world_size > 1

    def sum_matrix(self, matrix: ConfusionMatrix) -> ConfusionMatrix:
        """Add up the matrices of all processes, in place and on each of them."""
        if self.is_parallel:
            counts = torch.from_numpy(matrix.counts).to(self.device)
            dist.all_reduce(counts)
            matrix.counts[...] = counts.cpu().numpy().astype(np.int64)
        return matrix

    def average(self, values: torch.Tensor) -> torch.Tensor:
        """Return the mean of `values` over all processes."""
        if self.is_parallel:
            dist.all_reduce(values)
            values /= self.world_size
        return values

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.is_parallel:
            dist.barrier()


@contextmanager
def workers(device: str) -> Iterator[Workers]:
    """Give this process its place, joining the group that `torchrun` describes in the environment.

    `device` is "auto", "cpu" or "cuda". Processes talk by NCCL on GPUs and by gloo on CPUs. Raises ConfigError when
    CUDA is asked for and missing, or there are more processes than GPUs.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = build_device(device)
    if world_size == 1:
        yield Workers(0, 1, chosen)
        return
    rank, local_rank = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0"))
    if chosen.type == "cuda":
        if local_rank >= torch.cuda.device_count():
            raise ConfigError(
                f"{local_rank + 1} processes on this machine but {torch.cuda.device_count()} GPU(s); "
                "start torchrun with --nproc-per-node no larger than that"
            )
        chosen = torch.device("cuda", local_rank)
        torch.cuda.set_device(chosen)
    cuda = chosen.type == "cuda"
    dist.init_process_group(
        "nccl" if cuda else "gloo", rank=rank, world_size=world_size, device_id=chosen if cuda else None
    )
    yield Workers(rank, world_size, chosen)
    # Not after an error: the others may wait for this process for ever, and torchrun ends them when it dies.
    if cuda:
        torch.cuda.synchronize(chosen)
    dist.barrier()
    dist.destroy_process_group()


def build_device(name: str) -> torch.device:
    """Return the device of that name, the GPU for "auto" where there is one; raises ConfigError without CUDA."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: 'cuda' was asked for but torch sees no CUDA device; use device=cpu or device=auto")
    return torch.device(name)
