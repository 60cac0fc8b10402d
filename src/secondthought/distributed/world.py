"""Processes that train as one: each rolls out and learns from its share of the groups, and every number is a sum over all.

The same loop runs in every process. Tasks are drawn by all and dealt by turns; gradients and denominators are added up, so a
step is the step that one process would have made, but for the order of a sum. The first process keeps the journal. Started by
``secondthought launch --processes N``, by ``torchrun`` or by Ray; one process alone is a world of size 1.
"""

from __future__ import annotations

import atexit
import math
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed.nn  # first: imported later, its defaults would hold the group beyond its end, and its threads with it
from torch import Tensor
from torch import distributed as dist

from secondthought.errors import UserError

T = TypeVar("T")
PATIENCE = timedelta(hours=6)  # others wait while the first one measures


class World:
    """One process alone."""

    rank = 0
    size = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes things down."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """The part of this process: every ``size``-th."""
        return list(items[self.rank :: self.size])

    def gathered(self, mine: Sequence[T]) -> list[T]:
        """The parts of all, in the order that :meth:`share` took them from; in the other processes, nothing."""
        return list(mine)

    def everywhere(self, mine: Sequence[T]) -> list[T]:
        """The parts of all, in that order, in every process."""
        return list(mine)

    def total(self, numbers: Sequence[float]) -> list[float]:
        """Sums over all processes."""
        return list(numbers)

    def means(self, samples: Sequence[Sequence[float]]) -> list[float]:
        """The mean of each sample over all processes; what is nan (ungraded) does not count, and of nothing the mean is nan."""
        graded = [[x for x in sample if not math.isnan(x)] for sample in samples]
        sums = self.total([number for sample in graded for number in (math.fsum(sample), len(sample))])
        return [s / n if n else math.nan for s, n in zip(sums[::2], sums[1::2], strict=True)]

    def agreed(self, names: Iterable[str]) -> list[str]:
        """The names that any process has, in an order that all know."""
        return list(names)

    def most(self, number: float) -> float:
        """The largest over all processes."""
        return number

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Each tensor becomes the sum over all processes."""

    def wait(self) -> None:
        """Until all are here."""


class ProcessGroup(World):
    """One of several processes, which ``torch.distributed`` connects."""

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.device = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")

    def gathered(self, mine: Sequence[T]) -> list[T]:
        """Pickled and sent to the first process."""
        parts: list[Any] | None = [None] * self.size if self.first else None
        dist.gather_object(list(mine), parts)
        return [] if parts is None else _interleaved(parts)

    def everywhere(self, mine: Sequence[T]) -> list[T]:
        """Pickled and sent to all."""
        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, list(mine))
        return _interleaved(parts)

    def total(self, numbers: Sequence[float]) -> list[float]:
        """In double precision."""
        tensor = torch.tensor(list(numbers), dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        return [float(number) for number in tensor.tolist()]

    def agreed(self, names: Iterable[str]) -> list[str]:
        """Pickled and sent to all."""
        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, list(names))
        return list(dict.fromkeys(name for part in parts for name in part))

    def most(self, number: float) -> float:
        """In double precision."""
        tensor = torch.tensor(number, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return float(tensor)

    def add(self, tensors: Sequence[Tensor]) -> None:
        """In buckets of like type, so that few messages are sent."""
        for dtype in dict.fromkeys(t.dtype for t in tensors):
            alike = [t for t in tensors if t.dtype == dtype]
            flat = torch.cat([t.flatten() for t in alike])
            dist.all_reduce(flat)
            for tensor, part in zip(alike, flat.split([t.numel() for t in alike]), strict=True):  # type: ignore[no-untyped-call]
                tensor.copy_(part.view_as(tensor))

    def wait(self) -> None:
        """A barrier."""
        dist.barrier()


def _interleaved(parts: Sequence[Sequence[T]]) -> list[T]:
    """The order that :meth:`World.share` took the parts from."""
    longest = max(map(len, parts))
    return [part[i] for i in range(longest) for part in parts if i < len(part)]


def world_of_environment() -> World:
    """The world that this process was started into (``WORLD_SIZE``, ``RANK``, ``MASTER_ADDR``, as torchrun sets them).

    Raises UserError if the others cannot be reached.
    """
    if dist.is_initialized():
        return ProcessGroup()
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return World()
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    try:
        dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"the other processes cannot be reached: {reason}") from error
    atexit.register(_part)
    return ProcessGroup()


def _part() -> None:
    """Join the threads of the group before the interpreter goes: one that goes first would abort the process."""
    if dist.is_initialized():
        dist.destroy_process_group()


def member(work: Callable[[], None]) -> NoReturn:
    """Do the ``work`` of one process of several, then end the process without taking the interpreter apart.

    The threads of a group outlive it where something of torch still holds it (split weights do), and one that asks for the
    interpreter while that is taken apart aborts the process. Exit handlers run, output is written, and the exit code is what
    ``work`` would have ended with.
    """
    code: Any = 0
    try:
        work()
    except SystemExit as stop:
        code = stop.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)
