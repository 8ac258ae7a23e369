"""One process a GPU: who this process is among those that `torchrun` started, and what they do together."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from seg_core.errors import ConfigError, SegError
from seg_core.metrics import ConfusionMatrix

#: Backends that take their connections apart only when no recorded step speaks to them any more.
_WAITING_BACKENDS = ("nccl",)

#: Backends that take the mean while they exchange, which saves a kernel; gloo does not in every release.
_AVERAGING_BACKENDS = ("nccl",)

#: What is exchanged begins at a multiple of so many numbers, so that kernels read 16 bytes at a time, in bf16 as well.
_ALIGNED = 8

#: What helps where the environment tells of several processes but not all about them.
_START = "start several processes with torchrun, or for one alone unset WORLD_SIZE"

#: Key of the group's store that counts the processes which met an error.
_FAILED = "segproof/failed"


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

    def copy_main(self, module: nn.Module) -> None:
        """Replace weights and buffers of `module` by those of the main process, which all begin with."""
        if self.is_parallel:
            for tensor in module.state_dict().values():
                dist.broadcast(tensor, 0)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace `tensors`, floats of one dtype, by their means over all processes, in one exchange."""
        if self.is_parallel and tensors:
            with torch.no_grad():
                torch._foreach_copy_(list(tensors), self.means(tensors))

    def means(
        self, tensors: Sequence[Tensor], like: Sequence[Tensor] | None = None, dtype: torch.dtype | None = None
    ) -> list[Tensor]:
        """Return the means of `tensors`, floats of one dtype, over all processes, after one exchange.

        Each lies in memory as that of `like` does, or as it does itself: all processes must agree on it, and a tensor
        that does not lie so costs a copy. They are sent and summed as `dtype`, or as they are, and are parts of one
        piece of memory afterwards. The device is asked for no value, so that it can be recorded.
        """
        if not self.is_parallel or not tensors:
            return list(tensors)
        orders = [_memory_order(model) for model in (tensors if like is None else like)]
        turned = [tensor.detach().permute(order) for tensor, order in zip(tensors, orders, strict=True)]
        sizes = [tensor.numel() for tensor in turned]
        count = sum(map(_with_room, sizes))
        flat = torch.empty(count, dtype=dtype or tensors[0].dtype, device=tensors[0].device)
        torch._foreach_copy_(_cut(flat, sizes), [tensor.reshape(-1) for tensor in turned])
        if gaps := _gaps(flat, sizes):  # they are sent, too, and would be whatever lay there before
            torch._foreach_zero_(gaps)
        self._take_mean(flat)
        return [
            part.view(tensor.shape).permute(_inverse(order))
            for part, tensor, order in zip(_cut(flat.to(tensors[0].dtype), sizes), turned, orders, strict=True)
        ]

    def _take_mean(self, flat: Tensor) -> None:
        """Replace `flat` by its mean over all processes."""
        if dist.get_backend() in _AVERAGING_BACKENDS:
            dist.all_reduce(flat, dist.ReduceOp.AVG)
        else:
            dist.all_reduce(flat)
            flat /= self.world_size

    def agree(self, fine: bool) -> bool:
        """Return whether all processes say `fine`: what one leaves out all have to leave out."""
        if not self.is_parallel:
            return fine
        votes = torch.tensor(int(fine), device=self.device)
        dist.all_reduce(votes, dist.ReduceOp.MIN)
        return bool(votes)

    def explain(self, error: BaseException) -> SegError | None:
        """Return what `error` means when it is that of a lost connection to another process, None when it is not."""
        lost = isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error).lower())
        if not (self.is_parallel and lost):
            return None
        return SegError(
            f"rank {self.rank}: another of the {self.world_size} processes has ended; if it has not said why, look for "
            "a lack of memory; the same command resumes the run"
        )

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.is_parallel:
            dist.barrier()


def _memory_order(tensor: Tensor) -> tuple[int, ...]:
    """Return its dimensions from the one with the largest steps in memory to that with the smallest.

    Turned so, a channels_last tensor flattens as it lies; by its own dimensions a kernel has to transpose it first, and
    another one afterwards, for each of a network's weights.
    """
    return tuple(sorted(range(tensor.dim()), key=tensor.stride, reverse=True))


def _with_room(size: int) -> int:
    """Return `size` rounded up to where the next part may begin."""
    return -(-size // _ALIGNED) * _ALIGNED


def _cut(flat: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Return the parts of `flat`, which is as long as all of `sizes` with their room."""
    return [part[:size] for part, size in zip(_with_gaps(flat, sizes), sizes, strict=True)]


def _gaps(flat: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Return what `_cut` leaves out, behind those parts that do not fill their room."""
    return [part[size:] for part, size in zip(_with_gaps(flat, sizes), sizes, strict=True) if size < len(part)]


def _with_gaps(flat: Tensor, sizes: Sequence[int]) -> Sequence[Tensor]:
    return flat.split_with_sizes([_with_room(size) for size in sizes])


def _inverse(order: Sequence[int]) -> list[int]:
    """Return the order that undoes `order`."""
    return sorted(range(len(order)), key=order.__getitem__)


@contextmanager
def workers(device: str) -> Iterator[Workers]:
    """Give this process its place, joining the group that `torchrun` describes in the environment.

    `device` is "auto", "cpu" or "cuda". Processes talk by NCCL on GPUs and by gloo on CPUs. Raises ConfigError when
    CUDA is asked for and missing, there are more processes than GPUs, or the environment lacks a part. An error of one
    process ends all: the first to meet one raises it, the others leave by SystemExit without a word.
    """
    world_size = _number_of("WORLD_SIZE", "1")
    if world_size == 1:
        yield Workers(0, 1, build_device(device))
        return
    rank = _number_of("RANK")
    _said("MASTER_ADDR")
    _number_of("MASTER_PORT")
    store, _, _ = next(rendezvous("env://", rank, world_size))
    try:
        chosen = _own_device(build_device(device))
        cuda = chosen.type == "cuda"
        dist.init_process_group(
            "nccl" if cuda else "gloo",
            store=store,
            rank=rank,
            world_size=world_size,
            device_id=chosen if cuda else None,
        )
        yield Workers(rank, world_size, chosen)
        # Not after an error: the others may wait for this process for ever, and torchrun ends them when it dies.
        if cuda:
            torch.cuda.synchronize(chosen)
        dist.barrier()
    except (Exception, KeyboardInterrupt) as error:
        if dist.is_initialized() and dist.get_backend() in _WAITING_BACKENDS:
            leave_without_teardown(130 if isinstance(error, KeyboardInterrupt) else getattr(error, "exit_code", 1))
        if not _is_first(store):
            raise SystemExit(1) from None
        explained = Workers(rank, world_size, torch.device("cpu")).explain(error)
        if explained is None:
            raise
        raise explained from None
    dist.destroy_process_group()


def _said(name: str, default: str | None = None) -> str:
    """Return what the environment says under `name`; raises ConfigError where it says nothing and has to."""
    value = os.environ.get(name, default)
    if not value:
        raise ConfigError(f"{name}: is not set in the environment; {_START}")
    return value


def _number_of(name: str, default: str | None = None) -> int:
    value = _said(name, default)
    if not value.isdecimal():
        raise ConfigError(f"{name}: is {value!r} in the environment, which is no whole number; {_START}")
    return int(value)


def leave_without_teardown(exit_code: int) -> None:
    """Let this process end with `exit_code` as soon as it has said its last line, freeing nothing.

    A recorded step may wait for a process that is no more, and what it speaks to is not freed before it
    (https://github.com/pytorch/pytorch/issues/115388): without this the process might never end, and torchrun never
    hear of its error. What is registered with atexit before this is not called.
    """

    def leave() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)

    atexit.register(leave)


def build_device(name: str) -> torch.device:
    """Return the device of that name, the GPU for "auto" where there is one; raises ConfigError without CUDA."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: 'cuda' was asked for but torch sees no CUDA device; use device=cpu or device=auto")
    return torch.device(name)


def _own_device(device: torch.device) -> torch.device:
    """Return the GPU of this process among those of its machine."""
    if device.type != "cuda":
        return device
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if local_rank >= torch.cuda.device_count():
        raise ConfigError(
            f"{local_rank + 1} processes on this machine but {torch.cuda.device_count()} GPU(s); "
            "start torchrun with --nproc-per-node no larger than that"
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device


def _is_first(store: Store) -> bool:
    """Whether no other process has met an error before; one whose store is gone is not the first to end."""
    try:
        return int(store.add(_FAILED, 1)) == 1
    except RuntimeError:
        return False
