"""A disk that is full in the middle of a checkpoint: one sentence, nothing half written, and the run goes on where there is room."""

from __future__ import annotations

import errno
from collections import namedtuple
from pathlib import Path

import pytest

from secondthought.runs.files import new_folder

Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize("free", [0, 1 << 30])
def test_what_a_library_makes_of_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr("secondthought.runs.files.shutil.disk_usage", lambda _: Usage(1 << 40, 0, free))

    def write() -> None:
        with new_folder(tmp_path / "step_1") as folder:
            (folder / "model.safetensors").write_bytes(b"half")
            raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 2008448 vs 2008400")

    with pytest.raises(OSError if free == 0 else RuntimeError) as failed:
        write()
    assert getattr(failed.value, "errno", errno.ENOSPC) == errno.ENOSPC
    assert not list(tmp_path.iterdir())
