"""What runs inside the guarded process: untrusted programs, traced, and programs with one thing changed.

Started by :mod:`secondthought.items.sandbox` as ``python -I -S sandboxed.py``; nothing else may import it. It reads one job as
JSON, leaves every door to the kernel (no files, no network, no processes, little memory and time), and only then compiles what
it was given.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import posix
import resource
import struct
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any

ALLOWED = {
    "compile", "exec", "builtins.id", "object.__getattr__", "object.__setattr__", "object.__delattr__", "code.__new__",
    "sys._getframe", "sys.settrace",
}  # fmt: skip
NO_FILTER = 73  # the exit code of a process that cannot be guarded
LONGEST = 2000  # characters of a value that is passed on
USABLE = (
    "bisect", "collections", "copy", "datetime", "decimal", "fractions", "functools", "heapq", "itertools", "math", "operator",
    "random", "re", "string", "typing",
)  # fmt: skip
"""What programs may import. It must be there before the doors close: nothing is loaded afterwards."""


class TooLong(BaseException):
    """The program ran for more steps than anybody wants to read."""


def limit(seconds: int, megabytes: int) -> None:
    """Limits of the operating system on time, memory, files and processes."""
    for what, value in (
        (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, megabytes << 20), (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NPROC, 0),
    ):  # fmt: skip
        resource.setrlimit(what, (value, value))


def close_doors() -> None:
    """An audit hook and refusals in place of the system's functions make clear errors; what holds is the kernel's filter."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("the operating system is out of reach here")

    for module in (os, posix):  # what no audit event reports, such as os.stat
        for name, thing in list(vars(module).items()):
            if callable(thing) and not isinstance(thing, type):
                setattr(module, name, refuse)

    def watch(event: str, _: object) -> None:
        if event not in ALLOWED:
            raise PermissionError(f"{event} is not allowed here")

    sys.addaudithook(watch)


def leave_it_to_the_kernel(program: bytes) -> None:
    """Let the kernel refuse every system call that is not in the filter, for good. Raises OSError where it would not."""
    import ctypes

    kernel = ctypes.CDLL(None, use_errno=True)
    kernel.prctl.argtypes = [ctypes.c_int, *4 * [ctypes.c_ulong]]
    kept = ctypes.create_string_buffer(program, len(program))
    whole = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(kept)))  # struct sock_fprog
    for arguments in ((4, 0, 0, 0, 0), (38, 1, 0, 0, 0), (22, 2, ctypes.addressof(whole), 0, 0)):
        # not to be looked into (PR_SET_DUMPABLE), no new privileges, and the filter (PR_SET_SECCOMP)
        if kernel.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "the kernel takes no filter of system calls")
    for name in [name for name in sys.modules if "ctypes" in name]:
        del sys.modules[name]


def run(code: CodeType, call: str, steps: int) -> dict[str, Any]:
    """Define the program, evaluate the call, and note every line with what it changed."""
    seen: list[tuple[int, dict[str, str]]] = []
    events = 0

    def trace(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        nonlocal events
        if frame.f_code.co_filename != "program":
            return None
        events += 1
        if events > 50 * steps:
            raise TooLong
        if event in ("line", "return") and frame.f_code.co_name == "f" and len(seen) <= steps:
            shown = {name: repr(value)[:LONGEST] for name, value in list(frame.f_locals.items()) if not callable(value)}
            seen.append((frame.f_lineno, shown))
        return trace

    scope: dict[str, Any] = {"__name__": "program"}
    try:
        exec(code, scope)
        sys.settrace(trace)
        try:
            value = eval(compile(call, "call", "eval"), scope)
        finally:
            sys.settrace(None)
        return {"value": repr(value)[:LONGEST], "lines": seen}
    except TooLong:
        return {"error": "too long"}
    except BaseException as error:  # whatever the program raises is its result
        return {"error": f"{type(error).__name__}: {error}"[:200]}


SWAPS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
METHODS = {
    "upper": "lower", "lower": "upper", "lstrip": "rstrip", "rstrip": "lstrip", "strip": "rstrip", "index": "rindex",
    "find": "rfind",
    "startswith": "endswith", "endswith": "startswith", "split": "rsplit", "isupper": "islower", "islower": "isupper",
    "isdigit": "isalpha", "isalpha": "isdigit", "ljust": "rjust", "rjust": "ljust", "keys": "values", "values": "keys",
    "append": "remove", "title": "upper", "swapcase": "lower", "capitalize": "upper", "partition": "rpartition",
}  # fmt: skip


def mutants(source: str) -> Iterator[tuple[str, ast.Module]]:
    """The program with one thing misread, each with what was misread; line numbers stay."""
    for number in range(len(list(ast.walk(ast.parse(source))))):
        tree = ast.parse(source)
        node = list(ast.walk(tree))[number]
        kind = None
        if isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in SWAPS:
            kind, node.op = "operator", SWAPS[type(node.op)]()
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
            kind, node.ops = "comparison", [SWAPS[type(node.ops[0])](), *node.ops[1:]]
        elif isinstance(node, ast.Constant) and type(node.value) is int:
            kind, node.value = "constant", node.value + 1
        elif isinstance(node, ast.Constant) and type(node.value) is bool:
            kind, node.value = "constant", not node.value
        elif isinstance(node, ast.Attribute) and node.attr in METHODS:
            kind, node.attr = "method", METHODS[node.attr]
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            kind, node.op = "negation", ast.UAdd()
            node.operand = ast.Call(ast.Name("bool", ast.Load()), [node.operand], [])
        if kind:
            yield kind, ast.fix_missing_locations(tree)


def main() -> None:
    """One job in, its results out."""
    job = json.load(sys.stdin)
    for name in USABLE:
        importlib.import_module(name)
    limit(job["seconds"], job["megabytes"])
    if job["filter"]:
        os.closerange(3, 4096)
        try:
            leave_it_to_the_kernel(bytes.fromhex(job["filter"]))
        except OSError:
            os._exit(NO_FILTER)
    end, write = os._exit, os.write
    close_doors()
    sys.stdout = sys.stderr = None
    results: dict[str, Any] = {"runs": [], "mutants": []}
    try:
        program = compile(job["code"], "program", "exec")
        results["runs"] = [run(program, call, job["steps"]) for call in job["calls"]]
        if job["mutants"]:
            for kind, tree in mutants(job["code"]):
                found = run(compile(tree, "program", "exec"), job["calls"][0], job["steps"])
                results["mutants"].append({"kind": kind, **found})
                if len(results["mutants"]) >= job["mutants"]:
                    break
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        results["refused"] = f"{type(error).__name__}: {error}"[:200]
    data = json.dumps(results).encode("utf-8", "surrogatepass")
    while data:
        data = data[write(1, data) :]
    end(0)


if __name__ == "__main__":
    main()
