"""Untrusted programs reach nothing: each door is tried."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from secondthought.items.sandbox import run


def error_of(body: str, **limits: int) -> str:
    """What comes of a program whose ``f`` has this body."""
    lines = "\n".join("    " + line for line in body.splitlines())
    ran = run(f"import random, re, typing\ndef f(x):\n{lines}", ["f(1)"], **limits)
    if ran.refused:
        return ran.refused
    return ran.calls[0].error or f"got {ran.calls[0].value}"


@pytest.mark.parametrize(
    "body",
    [
        "return open('/etc/passwd').read()", "import socket\nreturn socket.gethostname()", "import subprocess\nreturn subprocess.run(['id'])",
        "return random._os.system('id')", "return random._os.listdir('/')", "return random._os.stat('/etc/passwd').st_size",
        "return random._os.fork()", "return random._os.kill(1, 9)", "return random._os.getcwd()",
        "return __import__('ctypes')", "return typing.sys.modules['posix'].listdir('/')", "return (lambda: 0).__globals__['__builtins__']['open']('/etc/hostname')",
        "return ().__class__.__base__.__subclasses__()[0] and random._os.unlink('/tmp/x')",
    ],
)  # fmt: skip
def test_doors_are_shut(body: str) -> None:
    assert "PermissionError" in error_of(body)


@pytest.mark.parametrize(
    "body",
    ["while True: pass", "return 10 ** 10 ** 10", "while True:\n    try:\n        x += 1\n    except BaseException: pass"],
)
def test_what_does_not_end_is_ended(body: str) -> None:
    began = time.perf_counter()
    assert error_of(body, seconds=1) in ("it took too long", "too long")
    assert time.perf_counter() - began < 10


@pytest.mark.parametrize(
    "body",
    [
        "return 'a' * 10 ** 11",
        "x = []\nwhile True: x = [x] * 10 ** 6 + x",
        "return f(x)",
        "raise SystemExit",
        "random._os._exit(0)",
    ],
)
def test_nothing_breaks_us(body: str) -> None:
    assert not error_of(body, seconds=1).startswith("got 1")


def test_common_modules_are_there() -> None:
    assert error_of("import math, re, collections, string, itertools\nreturn math.gcd(4, 6)") == "got 2"


def test_no_file_is_written(tmp_path: Path) -> None:
    error_of(f"open({str(tmp_path / 'x')!r}, 'w').write('x')")
    assert not list(tmp_path.iterdir())


def test_a_program_is_traced_and_misread() -> None:
    ran = run("def f(x):\n    y = x + 1\n    if y > 2:\n        y = y * 3\n    return y", ["f(2)"], mutants=9)
    assert ran.calls[0].value == "9"
    assert [line for line, _ in ran.calls[0].lines] == [2, 3, 4, 5, 5]
    assert {m.kind for m in ran.mutants} == {"operator", "comparison", "constant"}
    assert "1" in {m.value for m in ran.mutants}  # x - 1, and then no more than 2
