"""Steps of a layer compiled from one page of C (``native.c``), where a C compiler is at hand.

The first use compiles it in about a second, for this machine, into the user's cache; without a compiler, or with
``SECONDTHOUGHT_NATIVE=0``, everything runs in PyTorch and gives the same numbers. On the CPU only: sums in float32, of
numbers in float32 or (without gradients) in bfloat16.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

SOURCE = Path(__file__).with_name("native.c")
BLOCK = 8  # as in native.c: rows attended together
WIDEST = 256  # as in native.c: numbers in a head
FLAGS = ("-O3", "-march=native", "-ffast-math", "-fPIC")


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """The compiled steps; None where they cannot be had."""
    if os.environ.get("SECONDTHOUGHT_NATIVE", "1") == "0":
        return None
    log = logging.getLogger("secondthought")
    try:
        found = ctypes.CDLL(str(_compiled()))
    except (OSError, subprocess.SubprocessError) as error:
        log.info("no compiled steps, everything runs in PyTorch: %s", error)
        return None
    signatures = {
        "attend": "p" * 11 + "n" * 12,
        "norm": "pppnnfnn",
        "norm_back": "ppppnnn",
        "swiglu": "ppnnnn",
        "swiglu_back": "pppnnn",
        "choose": "p" * 10 + "nnn",
        "logsumexp": "ppnnfnn",
        "logprob_back": "pppppnnfnn",
        "tree_softmax": "pppnnnnnn",
        "tree_softmax_back": "ppppnnnnn",
    }
    found.lanes_here.restype = ctypes.c_long
    kinds = {"p": ctypes.c_void_p, "n": ctypes.c_long, "f": ctypes.c_float}
    for name, signature in signatures.items():
        getattr(found, name).argtypes = [kinds[kind] for kind in signature]
        getattr(found, name).restype = None
    return found


def lanes() -> int:
    """How many numbers a vector has here: heads and inner widths of the compiled steps are whole numbers of vectors."""
    return int(_library().lanes_here())


def fits(x: Tensor, *, half: bool = False, ragged: bool = False) -> bool:
    """Whether the compiled steps may take this tensor (outside of autograd); ``half``: also one in bfloat16 whose last
    dimension is a whole number of vectors (or, where ``ragged``, any number).
    """
    known = x.dtype == torch.float32 or (half and x.dtype == torch.bfloat16)
    if not known or x.device.type != "cpu" or not x.is_contiguous() or library() is None:
        return False
    return ragged or x.dtype == torch.float32 or x.shape[-1] % lanes() == 0


def norm(x_NM: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Root-mean-square norm, and what each row was multiplied by."""
    width = x_NM.shape[-1]
    out_NM, scales_N = torch.empty_like(x_NM), torch.empty(x_NM.numel() // width)
    sizes = (len(scales_N), width, eps, x_NM.itemsize == 2, torch.get_num_threads())
    _library().norm(x_NM.data_ptr(), out_NM.data_ptr(), scales_N.data_ptr(), *sizes)
    return out_NM, scales_N


def norm_back(grad_NM: Tensor, y_NM: Tensor, scales_N: Tensor) -> Tensor:
    """The gradient of :func:`norm`."""
    out_NM = torch.empty_like(y_NM)
    sizes = (len(scales_N), y_NM.shape[-1], torch.get_num_threads())
    _library().norm_back(grad_NM.data_ptr(), y_NM.data_ptr(), scales_N.data_ptr(), out_NM.data_ptr(), *sizes)
    return out_NM


def swiglu(both_NI: Tensor) -> Tensor:
    """``silu(gate) * up``."""
    rows, width = both_NI.shape[0], both_NI.shape[1] // 2
    out_NI = both_NI.new_empty(rows, width)
    _library().swiglu(both_NI.data_ptr(), out_NI.data_ptr(), rows, width, both_NI.itemsize == 2, torch.get_num_threads())
    return out_NI


def swiglu_back(grad_NI: Tensor, both_NI: Tensor) -> Tensor:
    """The gradient of :func:`swiglu`."""
    out_NI = torch.empty_like(both_NI)
    sizes = (both_NI.shape[0], both_NI.shape[1] // 2, torch.get_num_threads())
    _library().swiglu_back(grad_NI.data_ptr(), both_NI.data_ptr(), out_NI.data_ptr(), *sizes)
    return out_NI


@dataclass(frozen=True, slots=True)
class Blocks:
    """Rows that are attended together: rows ``order[starts[b]:starts[b + 1]]`` are of group ``groups[b]``, at most eight."""

    order: Tensor
    starts: Tensor
    groups: Tensor

    @classmethod
    def of(cls, group_of: Sequence[int]) -> Blocks:
        """Blocks of rows, given the group of each."""
        order = sorted(range(len(group_of)), key=group_of.__getitem__)
        starts: list[int] = []
        groups: list[int] = []
        for at, row in enumerate(order):
            if not starts or groups[-1] != group_of[row] or at - starts[-1] == BLOCK:
                starts.append(at)
                groups.append(group_of[row])
        return cls(torch.tensor(order), torch.tensor([*starts, len(order)]), torch.tensor(groups))


def attend(
    qkv_AX: Tensor,
    turns_AC: Tensor,
    own: Tensor,
    trunk: Tensor | None,
    layer: int,
    blocks: Blocks,
    bias_AT: Tensor | None,
    slot: int,
) -> Tensor:
    """One decoding step of attention ``(A, Q*D)``: queries and keys are turned, keys and values put in ``slot``, then read.

    ``own`` is ``(L, 2, B, K, C, D)`` and ``trunk`` ``(L, 2, U, K, P, D)``, read first; ``bias_AT`` is added to scores.
    """
    _, _, _, heads, room, width = own.shape
    rows = qkv_AX.shape[0]
    each = qkv_AX.shape[1] // width // heads - 2
    out_AX = qkv_AX.new_empty(rows, heads * each * width)
    store = own if trunk is None else trunk
    (own_at, own_next, own_half), (at, following, half) = (
        (data.data_ptr(), data.itemsize * data.stride(0), data.itemsize * data.stride(1)) for data in (own, store)
    )
    _library().attend(
        qkv_AX.data_ptr(),
        turns_AC.data_ptr(),
        own_at + layer * own_next,
        own_at + layer * own_next + own_half,
        at + layer * following,
        at + layer * following + half,
        None if bias_AT is None else bias_AT.data_ptr(),
        out_AX.data_ptr(),
        blocks.order.data_ptr(),
        blocks.starts.data_ptr(),
        blocks.groups.data_ptr(),
        *(len(blocks.groups), heads, each, width, room, slot, store.shape[4], 0 if trunk is None else store.shape[4]),
        0 if bias_AT is None else bias_AT.stride(0),
        own.itemsize == 2,
        qkv_AX.itemsize == 2,
        torch.get_num_threads(),
    )
    return out_AX


def choose(logits_BV: Tensor, uniforms_B: Tensor, **ways: Tensor | None) -> tuple[Tensor, Tensor]:
    """Tokens and log-probabilities: the inverse of each row's cumulative distribution at its uniform number, in one pass.

    ``ways`` are what each row is drawn by, ``(B, 1)``, where any differs from the usual: ``temperature`` (0: greedily),
    ``top_p``, ``top_k`` and ``min_p`` (all three or none), ``penalty`` with ``seen`` ``(B, V)``.
    """
    rows, width = logits_BV.shape
    tokens_B, logprobs_B = torch.empty(rows, dtype=torch.long), logits_BV.new_empty(rows)
    kinds = {"top_k": torch.long, "seen": torch.bool}
    names = ("temperature", "top_p", "top_k", "min_p", "penalty", "seen")
    held = [None if (way := ways.get(name)) is None else way.to(kinds.get(name, torch.float32)).contiguous() for name in names]
    places = [None if one is None else one.data_ptr() for one in held]
    found = (uniforms_B.contiguous().data_ptr(), tokens_B.data_ptr(), logprobs_B.data_ptr())
    _library().choose(logits_BV.data_ptr(), *places, *found, rows, width, torch.get_num_threads())
    return tokens_B, logprobs_B


def logsumexp(logits_NV: Tensor, temperature: float) -> Tensor:
    """``logsumexp(logits / temperature)`` of each row, ``(N,)``, without a copy of the logits."""
    rows, width = logits_NV.shape
    out_N = torch.empty(rows)
    sizes = (rows, width, 1 / temperature, logits_NV.itemsize == 2, torch.get_num_threads())
    _library().logsumexp(logits_NV.data_ptr(), out_N.data_ptr(), *sizes)
    return out_N


def logprob_back(grad_N: Tensor, logits_NV: Tensor, sums_N: Tensor, tokens_N: Tensor, temperature: float) -> Tensor:
    """The gradient of each row's log-probability of its token, for the logits; ``sums_N`` are of :func:`logsumexp`."""
    out_NV = torch.empty_like(logits_NV)
    rows, width = logits_NV.shape
    found = (logits_NV.data_ptr(), sums_N.data_ptr(), grad_N.data_ptr(), tokens_N.data_ptr(), out_NV.data_ptr())
    sizes = (rows, width, 1 / temperature, logits_NV.itemsize == 2, torch.get_num_threads())
    _library().logprob_back(*found, *sizes)
    return out_NV


def tree_softmax(trunk: Tensor, own: Tensor, bias: Tensor) -> None:
    """One softmax over the scores ``(R, K, G*E*S, P)`` and ``(R, K, G, E*S, S)`` of each token, in place; ``bias`` is added to
    both side by side, ``(R, 1, 1, 1, S, P+S)``.
    """
    P, S = trunk.shape[-1], own.shape[-1]
    rows = trunk.numel() // P
    sizes = (rows, rows // len(trunk), P, S, own.itemsize == 2, torch.get_num_threads())
    _library().tree_softmax(trunk.data_ptr(), own.data_ptr(), bias.data_ptr(), *sizes)


def tree_softmax_back(by_trunk: Tensor, by_own: Tensor, trunk: Tensor, own: Tensor) -> None:
    """From gradients of those probabilities to gradients of the scores, in place."""
    P, S = trunk.shape[-1], own.shape[-1]
    places = (by_trunk.data_ptr(), by_own.data_ptr(), trunk.data_ptr(), own.data_ptr())
    _library().tree_softmax_back(*places, trunk.numel() // P, P, S, own.itemsize == 2, torch.get_num_threads())


def _library() -> ctypes.CDLL:
    found = library()
    assert found is not None
    return found


def _compiled() -> Path:
    """The shared library for this source on this machine, compiled if it is not there yet."""
    source = SOURCE.read_bytes()
    cpu = Path("/proc/cpuinfo")
    flags = next((line for line in cpu.read_text().splitlines() if line.startswith("flags")), "") if cpu.exists() else ""
    build = "|".join((platform.machine(), platform.processor(), flags, torch.__version__, *FLAGS))
    digest = hashlib.sha256(source + build.encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "secondthought"
    target = cache / f"native-{digest}.so"
    if target.exists():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    compiler = os.environ.get("CC", "cc")
    with tempfile.TemporaryDirectory(dir=cache) as place:
        part, made = Path(place) / "native.o", Path(place) / "native.so"
        for threads in (["-fopenmp"], []):
            # Linked apart: linking with -ffast-math would change how the whole process treats tiny numbers.
            steps = (
                [*FLAGS, *threads, "-c", str(SOURCE), "-o", str(part)],
                ["-shared", *threads, str(part), "-o", str(made), "-lm"],
            )
            done = [subprocess.run([compiler, *step], capture_output=True, text=True, timeout=120) for step in steps]
            if not any(step.returncode for step in done):
                made.replace(target)
                return target
    reason = next((step.stderr.strip() for step in done if step.stderr.strip()), "it failed")
    raise OSError(f"{compiler}: {reason.splitlines()[-1]}")
