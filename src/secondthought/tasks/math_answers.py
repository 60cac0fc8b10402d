"""``--grade math``: answers in LaTeX, fractions, sets, intervals, equations and units, compared by math-verify.

math-verify (https://github.com/huggingface/Math-Verify, Apache-2.0) reads and compares; it is asked in a process of its own,
which is ended where a text takes longer than :data:`SECONDS`. Plain numbers are for ``--grade number``, which needs no other
package.
"""

from __future__ import annotations

import importlib.util
import json
import select
import subprocess
import sys
import threading
import time
import weakref
from typing import Any

from secondthought.errors import UserError
from secondthought.models.thoughts import without_thoughts
from secondthought.types import Json, Verdict

SECONDS = 5.0  # for one text; the first one has a minute more, in which sympy is loaded
LOADING = 60.0
LONGEST = 20_000  # characters of a text that are looked at, from its end


def grade(answer: Json, text: str) -> Verdict:
    """Right if the text gives an answer that is mathematically the wanted one.

    Raises UserError without the package, and for a wanted answer that it cannot read.
    """
    wanted = answer if isinstance(answer, str) else json.dumps(answer)
    said = WORKER.ask({"gold": wanted, "text": without_thoughts(text)[-LONGEST:]})
    if said is None:
        return Verdict(0.0, None, f"unparsable: it could not be read in {SECONDS:g} s")
    if not said["gold"]:
        raise UserError(str(fault(answer)))
    if said["found"] is None:
        return Verdict(0.0, None, f"unparsable: {said.get('error') or 'no answer'}")
    return (
        Verdict(1.0, said["found"], "right") if said["right"] else Verdict(0.0, said["found"], f"wrong answer: want {wanted}")
    )


def fault(answer: Json) -> str | None:
    """What is wrong with a wanted answer; None if it can be read."""
    if isinstance(answer, bool) or not isinstance(answer, str | int | float):
        return f"the answer {answer!r} is no mathematics; choose another --grade, such as exact"
    said = WORKER.ask({"gold": str(answer)})
    if said is None or not said["gold"]:
        return f"math-verify cannot read the answer {answer!r}; choose another --grade, such as exact"
    return None


class Worker:
    """The process, started when it is first asked, and again after it had to be ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._fresh = True

    def ask(self, question: dict[str, Any]) -> dict[str, Any] | None:
        """Its answer; None if it took too long, or fell. Raises UserError without math-verify."""
        with self._lock:
            process = self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            until = time.monotonic() + SECONDS + (LOADING if self._fresh else 0.0)
            try:
                process.stdin.write(json.dumps(question).encode() + b"\n")
                process.stdin.flush()
                line = b""
                while not line.endswith(b"\n"):
                    ready, _, _ = select.select([process.stdout], [], [], max(0.0, until - time.monotonic()))
                    piece = process.stdout.read1(1 << 16) if ready else b""  # type: ignore[attr-defined]
                    if not piece:
                        raise TimeoutError
                    line += piece
            except (OSError, TimeoutError):
                self.close()
                return None
            except BaseException:  # interrupted between question and answer: the next one must not get this one's
                self.close()
                raise
            self._fresh = False
            found: dict[str, Any] = json.loads(line)
            return found

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            if importlib.util.find_spec("math_verify") is None:
                raise UserError("--grade math needs math-verify: pip install 'secondthought[math]'")
            self._process = subprocess.Popen(
                [sys.executable, "-m", "secondthought.tasks.math_worker"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
            weakref.finalize(self, self._process.kill)
            self._fresh = True
        return self._process


WORKER = Worker()
