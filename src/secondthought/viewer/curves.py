"""The curves of a run, read once and then as they grow, and thinned: a run of any length takes a few megabytes and no time."""

from __future__ import annotations

import json
import math
import threading
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

MOST = 2_000  # lines that are kept besides those with intervals
CHUNK = 1 << 22  # bytes that are read at a time

Line = dict[str, float]


@dataclass
class Curves:
    """What metrics.jsonl says: its finite numbers by step, every ``stride``-th line of a long one, all of those that hold an
    interval, and the last.
    """

    folder: Path
    names: dict[str, None] = field(default_factory=dict)
    count: int = 0
    stride: int = 1
    _kept: dict[int, Line] = field(default_factory=dict)
    _last: Line | None = None
    _broken: int = 0
    _tail: bytes = b""
    _offset: int = 0
    _file: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def last(self) -> int | None:
        """The last step."""
        return None if self._last is None else int(self._last["step"])

    @property
    def broken(self) -> int:
        """Lines that could not be read, one that is being written included."""
        return self._broken + bool(self._tail.strip())

    def lines(self, after: int = 0) -> list[Line]:
        """The lines beyond a step, in order."""
        found = [line for step, line in self._kept.items() if step > after]
        if self._last is not None and self._last["step"] > after and self._last["step"] not in self._kept:
            found.append(self._last)
        return sorted(found, key=lambda line: line["step"])

    def refresh(self) -> Curves:
        """Read what is new; all of it where the file is another one."""
        with self._lock:
            try:
                stat = (self.folder / "metrics.jsonl").stat()
                if stat.st_ino != self._file or stat.st_size < self._offset:
                    self._forget(stat.st_ino)
                with (self.folder / "metrics.jsonl").open("rb") as file:
                    file.seek(self._offset)
                    while data := file.read(CHUNK):
                        self._offset += len(data)
                        *whole, self._tail = (self._tail + data).split(b"\n")
                        for line in whole:
                            self._take(line)
            except OSError:
                self._forget(0)
        return self

    def _forget(self, file: int) -> None:
        self.names, self.count, self.stride = {}, 0, 1
        self._kept, self._last, self._broken, self._tail, self._offset, self._file = {}, None, 0, b"", 0, file

    def _take(self, data: bytes) -> None:
        try:
            line: Any = json.loads(data.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            line = None
        step = line.get("step") if isinstance(line, dict) else None
        if not isinstance(step, int) or isinstance(step, bool):
            self._broken += bool(data.strip())
            return
        if self._last is not None and step <= self._last["step"]:  # a step that was done again
            self._kept = {k: one for k, one in self._kept.items() if k < step}
        found = {k: v for k, v in line.items() if isinstance(v, int | float) and -math.inf < v < math.inf}
        self.names |= dict.fromkeys(found)
        self.count, self._last = self.count + 1, found
        if step % self.stride == 0 or any(name.endswith("/low") for name in found):
            self._kept[step] = found
            if len(self._kept) > MOST:
                self._thin()

    def _thin(self) -> None:
        plain = [step for step, line in self._kept.items() if not any(name.endswith("/low") for name in line)]
        if len(plain) > MOST:
            self.stride *= 2
            for step in plain:
                if step % self.stride:
                    del self._kept[step]


@lru_cache(maxsize=256)
def _of(folder: Path) -> Curves:
    return Curves(folder)


def curves_of(folder: Path) -> Curves:
    """The curves of a run as they are now; those that many ask for at once are read once."""
    return _of(folder).refresh()
