"""Folders of which one file is odd: the list and every page still answer, and say so where there is nothing to show."""

from __future__ import annotations

import json
from pathlib import Path

from starlette.testclient import TestClient

from secondthought.runs.reading import LAYOUT
from secondthought.viewer.app import app_for

GOOD = {"kind": "train", "recipe": {"name": "a"}, "seed": 0, "versions": {}, "layout": LAYOUT}
ODD = [
    b"[]", b"null", b"{}", b"\xff\xfe", b"[[[[", b'"x"', b"[" * 100_000, json.dumps({**GOOD, "kind": 5, "recipe": []}).encode(),
    json.dumps({**GOOD, "recipe": None}).encode(), json.dumps({**GOOD, "recipe": {"name": [1], "steps": "x"}, "seed": {}}).encode(),
]  # fmt: skip
SUMMARIES = [
    b'{"probes": 3}', b'{"probes": {"a": {}}}', b'{"kind": "probe", "models": 3}', b'{"kind": "probe", "models": [{"name": 1}]}',
    b'{"kind": "train", "probes": {"x": {"before": [], "after": null}}}',
]  # fmt: skip
METRICS = [
    b'{"step": "a"}\n', b'{"step": 1e400}\n{"step": null}\n', b'{"a": 1}\n', b'{"step": 1, "x": "y"}\n', b"[1]\n",
    b'{"step": 1, "x": {"a": 1}}\n',
]  # fmt: skip
FILES = [(name, content) for name, more in (("resolved.json", []), ("summary.json", SUMMARIES), ("metrics.jsonl", METRICS))
         for content in (*ODD, *more)]  # fmt: skip


def test_no_odd_file_takes_the_viewer_down(tmp_path: Path) -> None:
    for number, (name, content) in enumerate(FILES):
        folder = tmp_path / f"run{number:03d}"
        (folder / "episodes").mkdir(parents=True)
        (folder / "resolved.json").write_text(json.dumps(GOOD))
        (folder / "metrics.jsonl").write_text('{"step": 1, "loss/x": 0.5}\n')
        (folder / "episodes" / "step_000001.parquet").write_bytes(b"PAR1junk")
        (folder / name).write_bytes(content)
    for name in ("episodes", "checkpoints", "summary.json", "metrics.jsonl"):
        folder = tmp_path / f"kind_{name}"
        folder.mkdir()
        (folder / "resolved.json").write_text(json.dumps(GOOD))
        (folder / name).mkdir() if "." in name else (folder / name).write_text("a file")
    client = TestClient(app_for(tmp_path, frozenset(["testserver"])), raise_server_exceptions=False)
    home = client.get("/")
    assert home.status_code == 200
    assert "kind_episodes" in home.text
    for folder in sorted(tmp_path.iterdir()):
        for page in ("run", "episodes", "probe", "api/metrics"):
            assert client.get(f"/{page}/{folder.name}").status_code in (200, 404), (page, folder.name)
