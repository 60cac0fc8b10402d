"""What the Linux kernel lets a guarded process do: compute, read its input, write its output, and end. Everything else fails.

A filter is a classic BPF program that the kernel runs on every system call (seccomp(2)); once set, nothing in the process can
take it off, whatever it gets hold of. Calls that are not listed fail with EPERM, so that a program sees a PermissionError and
its parent a result.
"""

from __future__ import annotations

import platform
import struct
import sys
from collections.abc import Sequence

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CALLS = {  # system calls by name: their numbers on (x86_64, aarch64)
    "read": (0, 63), "write": (1, 64), "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "mremap": (25, 216),
    "madvise": (28, 233),
    "sigaltstack": (131, 132), "futex": (202, 98), "restart_syscall": (219, 128), "clock_gettime": (228, 113),
    "exit": (60, 93), "exit_group": (231, 94), "getrandom": (318, 278),
}  # fmt: skip
PROT_EXEC, EPERM = 4, 1
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000 | EPERM
NUMBER, ARCHITECTURE = 0, 4  # where the kernel puts them; the low half of argument i is at ARGUMENTS + 8 i
ARGUMENTS = 16

Instruction = tuple[int, int, int, int]


def instructions(machine: str) -> list[Instruction]:
    """The filter for a machine: code, jump if true, jump if false, operand. Raises KeyError for an unknown machine."""
    which = list(ARCHITECTURES).index(machine) if machine in ARCHITECTURES else None
    if which is None:
        raise KeyError(machine)
    program: list[Instruction] = [
        (LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, ARCHITECTURES[machine]), (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER), (AT_LEAST, 0, 1, 0x40000000), (RETURN, 0, 0, KILL),  # the second set of numbers of x86_64 (x32)
    ]  # fmt: skip
    for name, numbers in CALLS.items():
        inside = _condition(name)
        program += [(EQUAL, 0, len(inside), numbers[which]), *inside]
    return [*program, (RETURN, 0, 0, REFUSE)]


def _condition(name: str) -> Sequence[Instruction]:
    """What is decided once the call is known: its pipes only, and no memory that can be executed."""
    if name in ("read", "write"):
        return [
            (LOAD, 0, 0, ARGUMENTS), (EQUAL, 0, 1, 0 if name == "read" else 1), (RETURN, 0, 0, ALLOW), (RETURN, 0, 0, REFUSE),
        ]  # fmt: skip
    if name in ("mmap", "mprotect"):
        return [
            (LOAD, 0, 0, ARGUMENTS + 16), (ANY_BIT, 0, 1, PROT_EXEC), (RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW),
        ]  # fmt: skip
    return [(RETURN, 0, 0, ALLOW)]


def filter_here() -> bytes | None:
    """The filter for this machine as the kernel takes it; None where there is none (macOS, Windows, another processor)."""
    if sys.platform != "linux" or platform.machine() not in ARCHITECTURES or sys.maxsize < 2**32:
        return None
    return b"".join(struct.pack("=HBBI", *one) for one in instructions(platform.machine()))
