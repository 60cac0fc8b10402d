"""Steps of a layer compiled from one page of C (``native.c``), where a C compiler is at hand.

The first use compiles it in about a second, for this machine, into the user's cache; without a compiler, or with
``SECONDTHOUGHT_NATIVE=0``, everything runs in PyTorch and gives the same numbers. Float32 on the CPU only.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

SOURCE = Path(__file__).with_name("native.c")
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
        "attend": "p" * 9 + "n" * 10,
        "norm": "pppnnfn",
        "norm_back": "ppppnnn",
        "swiglu": "ppnnn",
        "swiglu_back": "pppnnn",
    }
    kinds = {"p": ctypes.c_void_p, "n": ctypes.c_long, "f": ctypes.c_float}
    for name, signature in signatures.items():
        getattr(found, name).argtypes = [kinds[kind] for kind in signature]
        getattr(found, name).restype = None
    return found


def fits(x: Tensor) -> bool:
    """Whether the compiled steps may take this tensor (outside of autograd)."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and x.is_contiguous() and library() is not None


def norm(x_NM: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Root-mean-square norm, and what each row was multiplied by."""
    width = x_NM.shape[-1]
    out_NM, scales_N = torch.empty_like(x_NM), x_NM.new_empty(x_NM.numel() // width)
    rows = len(scales_N)
    _library().norm(x_NM.data_ptr(), out_NM.data_ptr(), scales_N.data_ptr(), rows, width, eps, torch.get_num_threads())
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
    _library().swiglu(both_NI.data_ptr(), out_NI.data_ptr(), rows, width, torch.get_num_threads())
    return out_NI


def swiglu_back(grad_NI: Tensor, both_NI: Tensor) -> Tensor:
    """The gradient of :func:`swiglu`."""
    out_NI = torch.empty_like(both_NI)
    sizes = (both_NI.shape[0], both_NI.shape[1] // 2, torch.get_num_threads())
    _library().swiglu_back(grad_NI.data_ptr(), both_NI.data_ptr(), out_NI.data_ptr(), *sizes)
    return out_NI


def attend(
    qkv_AX: Tensor,
    turns_AC: Tensor,
    own_2BKCD: Tensor,
    trunk_2UKPD: Tensor | None,
    group_A: Tensor,
    bias_AT: Tensor | None,
    slot: int,
    shared: int,
) -> Tensor:
    """One decoding step of attention ``(A, Q*D)``: queries and keys are turned, keys and values put in ``slot``, then read.

    ``shared`` slots of the trunk of each row's group come first, then its own up to ``slot``; ``bias_AT`` is added to scores.
    """
    _, _, heads, room, width = own_2BKCD.shape
    rows = qkv_AX.shape[0]
    each = qkv_AX.shape[1] // width // heads - 2
    out_AX = qkv_AX.new_empty(rows, heads * each * width)
    trunk = trunk_2UKPD if trunk_2UKPD is not None else own_2BKCD
    _library().attend(
        qkv_AX.data_ptr(),
        turns_AC.data_ptr(),
        own_2BKCD[0].data_ptr(),
        own_2BKCD[1].data_ptr(),
        trunk[0].data_ptr(),
        trunk[1].data_ptr(),
        group_A.data_ptr(),
        None if bias_AT is None else bias_AT.data_ptr(),
        out_AX.data_ptr(),
        *(rows, heads, each, width, room, slot, trunk.shape[3], shared),
        0 if bias_AT is None else bias_AT.stride(0),
        torch.get_num_threads(),
    )
    return out_AX


def _library() -> ctypes.CDLL:
    found = library()
    assert found is not None
    return found


def _compiled() -> Path:
    """The shared library for this source on this machine, compiled if it is not there yet."""
    source = SOURCE.read_bytes()
    cpu = Path("/proc/cpuinfo")
    flags = next((line for line in cpu.read_text().splitlines() if line.startswith("flags")), "") if cpu.exists() else ""
    told = "|".join((platform.machine(), platform.processor(), flags, torch.__version__, *FLAGS))
    digest = hashlib.sha256(source + told.encode()).hexdigest()[:16]
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
