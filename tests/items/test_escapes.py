"""A program that gets past every guard written in Python still reaches nothing: the kernel refuses.

Each escape first takes back what the Python guards took away (the real ``posix`` functions are rebuilt through ctypes or found in modules
that were loaded before), so that only the kernel's filter is left.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
from pathlib import Path

import pytest

from secondthought import UserError
from secondthought.items import sandbox, seccomp
from secondthought.items.sandbox import run

pytestmark = pytest.mark.skipif(seccomp.filter_here() is None, reason="no filter of system calls on this system")

LIBC = """
import sys
_frame = sys._getframe()
while _frame.f_back: _frame = _frame.f_back
_main = _frame.f_globals
def syscall(number, *args):
    return _main['kernel_for_tests'](number, *args)
"""
# The child is started with its Python guards left out and libc at hand: what is tested is the kernel alone.
OPENED = """
import ctypes
kernel = ctypes.CDLL(None, use_errno=True)
def kernel_for_tests(number, *arguments):
    ctypes.set_errno(0)
    found = kernel.syscall(number, *arguments)
    return found, ctypes.get_errno()
def close_doors():
    pass
"""


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The guarded process without any guard but the kernel's."""
    source = sandbox.SCRIPT.read_text()
    begin, end = source.index("def close_doors"), source.index("def leave_it_to_the_kernel")
    path = tmp_path / "bare.py"
    path.write_text(source[:begin] + OPENED + "\n\n" + source[end:])
    monkeypatch.setattr(sandbox, "SCRIPT", path)
    return tmp_path


def came_to(body: str, **limits: int) -> str:
    lines = "\n".join("    " + line for line in body.splitlines())
    ran = run(f"{LIBC}\nimport os\ndef f(x):\n{lines}", ["f(1)"], **limits)
    return ran.refused or ran.calls[0].error or f"got {ran.calls[0].value}"


CALLS = [  # system calls of x86_64 that a program would like to make
    ("open", 2), ("openat", 257), ("openat2", 437), ("stat", 4), ("unlink", 87), ("rename", 82), ("truncate", 76), ("mkdir", 83), ("chmod", 90),
    ("link", 86), ("symlink", 88), ("readlink", 89), ("getdents", 217), ("chdir", 80), ("mount", 165), ("socket", 41), ("connect", 42),
    ("socketpair", 53), ("bind", 49), ("fork", 57), ("vfork", 58), ("clone", 56), ("clone3", 435), ("execve", 59), ("execveat", 322), ("kill", 62),
    ("tgkill", 234), ("ptrace", 101), ("process_vm_readv", 310), ("pidfd_open", 434), ("io_uring_setup", 425), ("bpf", 321), ("prctl", 157),
    ("seccomp", 317), ("setrlimit", 160), ("prlimit64", 302), ("memfd_create", 319), ("shmget", 29), ("dup", 32), ("dup2", 33), ("pipe", 22),
    ("fcntl", 72), ("ioctl", 16), ("setsid", 112), ("setuid", 105), ("unshare", 272), ("setns", 308), ("personality", 135), ("userfaultfd", 323),
    ("keyctl", 250), ("uname", 63), ("getpid", 39), ("sysinfo", 99), ("inotify_init", 253), ("timer_create", 222), ("nanosleep", 35),
]  # fmt: skip


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86_64")
@pytest.mark.parametrize(("name", "number"), CALLS, ids=[name for name, _ in CALLS])
def test_the_kernel_refuses(bare: Path, name: str, number: int) -> None:
    assert came_to(f"return syscall({number}, 0, 0, 0, 0, 0, 0)") == "got (-1, 1)"  # EPERM


@pytest.mark.parametrize(
    "body",
    [
        "return open('/etc/passwd').read()", "return open('/proc/self/environ').read()", "return open('/proc/1/environ').read()", "return os.listdir('/')",
        "return open('SECRET', 'w')", "return os.truncate('SECRET', 0)", "return os.rename('SECRET', 'SECRET.gone')", "return os.unlink('SECRET')",
        "return os.fork()", "return os.posix_spawn('/bin/sh', ['sh'], {})", "return os.execv('/bin/sh', ['sh', '-c', 'touch SECRET.new'])",
        "if os.system('touch SECRET.new'): raise OSError\nreturn 1", "return os.kill(os.getppid(), 9)", "return os.killpg(0, 9)",
        "import socket\nreturn socket.socket()", "import threading\nt = threading.Thread(target=print)\nt.start()", "return os.dup(1)", "return os.read(3, 1)",
        "return os.write(2, b'x')", "import mmap\nreturn mmap.mmap(-1, 4096, prot=7)", "return os.getcwd()", "import subprocess\nreturn subprocess.run(['id'])",
    ],
)  # fmt: skip
def test_python_cannot_either(bare: Path, body: str) -> None:
    secret = bare / "secret"
    secret.write_text("mine")
    came = came_to(body.replace("SECRET", str(secret)))
    assert not came.startswith("got"), came
    assert secret.read_text() == "mine"
    assert sorted(path.name for path in bare.iterdir()) == ["bare.py", "secret"]


def test_no_secret_of_ours_is_there(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-never-to-be-seen")
    assert "sk-never" not in came_to("return dict(os.environ)")


@pytest.mark.parametrize(
    "body", ["while True: os.write(1, b'x' * 65536)", "os.write(1, b'{}'); os._exit(0)", "os.write(1, b'x' * 10**6)"]
)
def test_floods_and_forged_output_break_nothing(bare: Path, body: str) -> None:
    began = time.perf_counter()
    assert not came_to(body, seconds=1).startswith("got")
    assert time.perf_counter() - began < 10


def test_a_connection_is_refused_though_somebody_listens(bare: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.2)
        port = listening.getsockname()[1]
        assert not came_to(f"import socket\nreturn socket.create_connection(('127.0.0.1', {port}))").startswith("got")
        with pytest.raises(TimeoutError):
            listening.accept()


def test_a_system_that_cannot_guard_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "filter_here", lambda: None)
    with pytest.raises(UserError, match="cannot be run safely on this system; SECONDTHOUGHT_UNGUARDED=1"):
        run("def f(x): return x", ["f(1)"])
    monkeypatch.setenv("SECONDTHOUGHT_UNGUARDED", "1")
    assert run("def f(x): return x", ["f(1)"]).calls[0].value == "1"


def test_the_filter_is_what_it_says() -> None:
    for machine in seccomp.ARCHITECTURES:
        program = seccomp.instructions(machine)
        assert program[-1] == (seccomp.RETURN, 0, 0, seccomp.REFUSE)
        jumps = [(at, jump) for at, (code, *both, _) in enumerate(program) if code != seccomp.RETURN for jump in both]
        assert all(0 <= jump < 256 and at + 1 + jump < len(program) for at, jump in jumps)
    with pytest.raises(KeyError):
        seccomp.instructions("riscv64")
    found = seccomp.filter_here()
    assert found is not None
    assert len(found) % struct.calcsize("=HBBI") == 0
    assert sys.platform == "linux"
