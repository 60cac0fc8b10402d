"""Whatever a file holds, its reader takes it or says in one sentence what is wrong: never another exception."""

from __future__ import annotations

import copy
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.attacks.loaders import LOADERS, Loader, episodes, read_episodes_in, written

from secondthought.errors import UserError

EXAMPLES = 2000 if os.environ.get("SECONDTHOUGHT_FUZZ") == "1" else 60
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 3.7, 1e308, float("nan"), float("inf"), 10**30, "", " ", "a", "3", "1/0", "A\x00B", "\ud800", "é" * 9, [], {},
    [None], [1], ["a"], [[]], {"a": None}, {"role": 3}, "{", "[[", "{{question}}", "(" * 60, [[1, [2, [3]]]], {"type": []},
)  # fmt: skip
"""What stands where something else is wanted."""


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value, as the keys that lead there."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, one in inside for place in places(one, (*at, key)))]


@st.composite
def damaged_rows(draw: st.DrawFn, rows: list[Any]) -> list[Any]:
    """Rows in which up to three values are something else, or are not there."""
    whole = [copy.deepcopy(rows)]
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(places(whole, ())[1:]))
        holder: Any = whole
        for key in place[:-1]:
            holder = holder[key]
        if draw(st.booleans()) and isinstance(holder, dict):
            del holder[place[-1]]
        else:
            holder[place[-1]] = copy.deepcopy(draw(st.sampled_from(ODD)))
        if len(places(whole)) < 2:
            break
    found = whole[0] if whole else []
    return found if isinstance(found, list) else [found]


@st.composite
def damaged_bytes(draw: st.DrawFn, sound: bytes) -> bytes:
    """A file cut off, with bytes changed, doubled or put in."""
    data = bytearray(sound)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(("cut", "change", "put in", "take out", "double")))
        if kind == "cut":
            del data[at:]
        elif kind == "change" and at < len(data):
            data[at] = draw(st.integers(0, 255))
        elif kind == "put in":
            data[at:at] = draw(
                st.sampled_from((b"\x00", b'"', b"\n", b",", b"{", b"\xff", b"nan", b"-1", b"1e999", b"\xef\xbb\xbf", b"\r"))
            )
        elif kind == "take out":
            del data[at : at + draw(st.integers(1, 20))]
        else:
            data[at:at] = data[max(at - draw(st.integers(1, 40)), 0) : at]
    return bytes(data)


def reads(file: str, read: Callable[[Path], object], content: bytes) -> None:
    """Read a file: a UserError of one line is the only way to fail."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / file
        path.write_bytes(content)
        said = refused(read, path)
        assert said is None or (said and "\n" not in said), f"no sentence, or more than a line: {said!r}"


def refused(read: Callable[[Path], object], path: Path) -> str | None:
    """What a reader says of a file that it does not take; None where it does."""
    try:
        read(path)
    except UserError as error:
        return str(error)
    return None


OFTEN = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", LOADERS)
def test_a_sound_file_is_read(name: str, tmp_path: Path) -> None:
    loader = LOADERS[name]
    (tmp_path / loader.file).write_bytes(written(loader))
    said = refused(loader.read, tmp_path / loader.file)
    assert said is None or "gives no items" in said, said  # too few rows to build any from, all of them read


@pytest.mark.parametrize("name", [name for name, loader in LOADERS.items() if not isinstance(loader.sound, bytes)])
def test_rows_that_hold_anything(name: str) -> None:
    loader = LOADERS[name]

    @OFTEN
    @given(damaged_rows(list(map(json.loads, written(loader).splitlines()))))
    def check(rows: list[Any]) -> None:
        text = "".join(json.dumps(row) + "\n" for row in rows)
        reads(loader.file, loader.read, text.encode())

    check()


@pytest.mark.parametrize("name", LOADERS)
def test_files_that_are_damaged(name: str) -> None:
    loader: Loader = LOADERS[name]

    @OFTEN
    @example(b"")
    @example(b"\x00")
    @example(b"[" * 100_000)
    @example(b'"' + b"a" * 200_000)
    @given(damaged_bytes(written(loader)))
    def check(content: bytes) -> None:
        reads(loader.file, loader.read, content)

    check()


def test_a_changed_byte_in_episodes_is_noticed(tmp_path: Path) -> None:
    sound = bytearray(episodes(tmp_path))
    at = sound.index(b"It is 4.") if b"It is 4." in sound else sound.index(b"\x28\xb5\x2f\xfd") + 12  # a page, packed by zstd
    sound[at] ^= 1
    (tmp_path / "a.parquet").write_bytes(sound)
    assert "cannot be read" in (refused(read_episodes_in, tmp_path / "a.parquet") or "")


def test_damaged_episodes(tmp_path: Path) -> None:
    sound = episodes(tmp_path)
    (tmp_path / "a.parquet").write_bytes(sound)
    assert refused(read_episodes_in, tmp_path / "a.parquet") is None

    @OFTEN
    @example(b"")
    @example(b"PAR1")
    @given(damaged_bytes(sound))
    def check(content: bytes) -> None:
        reads("a.parquet", read_episodes_in, content)

    check()
