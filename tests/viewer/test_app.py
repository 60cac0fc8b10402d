"""The viewer answers only to this machine, only reads, and shows what models wrote without letting any of it act."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tests.viewer.conftest import NASTY, TASKS, begun

from secondthought.types import Episode, Segment, Task, Verdict
from secondthought.viewer.app import app_for

HOST = "127.0.0.1:8123"


@pytest.fixture
def client(runs: Path) -> TestClient:
    return TestClient(app_for(runs, frozenset((HOST,))), base_url=f"http://{HOST}", follow_redirects=False)


def test_every_page_is_there_and_asks_nobody_else(client: TestClient) -> None:
    pages = [
        "/", "/run/going", "/run/group/done", "/run/killed", "/episodes/group/done", "/probe/group/done", "/probe/going",
        f"/group/step_000002/{TASKS[1].key}/group/done",
    ]  # fmt: skip
    for path in pages:
        found = client.get(path)
        assert found.status_code == 200, path
        assert not re.search(r"""(?:src|href|action)=["'](?:https?:)?//""", found.text), path
        assert found.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert found.headers["x-content-type-options"] == "nosniff"
    assert "62.0" in client.get("/").text
    assert "supported" in client.get("/probe/group/done").text


def test_what_models_wrote_is_inert(client: TestClient) -> None:
    for path in (f"/group/step_000002/{TASKS[1].key}/group/done", "/episodes/group/done?text=%3Cscript%3E"):
        page = client.get(path).text
        assert "<script>window" not in page
        assert 'onerror="hacked' not in page
        assert "\u202e" not in page
    page = client.get(f"/group/step_000002/{TASKS[1].key}/group/done").text
    assert "&lt;script&gt;window.hacked = 1&lt;/script&gt;" in page
    assert "⟨U+202E⟩turned" in page
    assert "{{ 7 * 7 }}" in page  # and no template of ours runs inside of it
    assert "wrong &lt;b&gt;tool&lt;/b&gt;" in client.get("/run/group/done").text


def test_a_megabyte_on_one_line_is_cut_and_can_be_had_whole(client: TestClient, runs: Path) -> None:
    segments = (Segment("prompt", "task", "user", "long?"), Segment("attempt", "policy", "assistant", "x" * 1_000_000))
    task = Task.of("long?", answer=None, family="t")
    begun(runs / "mega", 1).episodes(
        "mega", 1, "mega", [(Episode(task, (), segments, {"attempt": Verdict(0.0, None, "too long")}),)]
    )
    page = client.get(f"/group/mega/{task.key}/mega").text
    assert len(page) < 100_000
    assert "996,000 more characters" in page
    where = re.search(r'href="(/text/[^"]+)"', page)
    assert where
    whole = client.get(where[1])
    assert whole.text == "x" * 1_000_000
    assert whole.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:9", "localhost:8123.evil.example", "", "[::1]:8123"])
def test_other_hosts_are_refused(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_nothing_can_be_changed(client: TestClient, method: str) -> None:
    assert client.request(method, "/run/going").status_code == 405


@pytest.mark.parametrize(
    "path",
    [
        "/run/../outside", "/run/..%2foutside", "/run/%2e%2e/outside", "/run//etc", "/run/group%2f..%2f..%2foutside", "/run/nowhere",
        "/run/notes", "/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2f..%2fstore.py", "/group/..%2f..%2fsecret/x/going",
        "/group/step_000001/nobody/going", "/text/step_000001/nobody/0/0/going", f"/text/step_000001/{TASKS[1].key}/1/99/going",
        "/api/metrics/../outside", "/run/%00", "/run/a%0d%0aset-cookie:x", "/nothing",
    ],
)  # fmt: skip
def test_nothing_outside_is_to_be_had(client: TestClient, path: str) -> None:
    found = client.get(path)
    assert found.status_code == 404, found.text[:200]
    assert "nobody may read this" not in found.text
    assert "Traceback" not in found.text


def test_a_link_out_of_the_folder_leads_nowhere(client: TestClient, runs: Path) -> None:
    (runs / "escape").symlink_to(runs.parent / "outside")
    assert client.get("/run/escape").status_code == 404
    assert "escape" not in client.get("/").text


@pytest.mark.parametrize(
    "query",
    [
        "step=one",
        f"step={9 * '9'}&page={30 * '9'}",
        f"step={5000 * '9'}",
        "page=-1",
        "page=99999999999999999999",
        "sort=x",
        "outcome=%00",
        "text=" + "a" * 5000,
        "split=%F0%9F%98%80",
        "text=%ED%A0%80",
    ],
)
def test_strange_questions_get_an_answer(client: TestClient, query: str) -> None:
    assert client.get(f"/episodes/going?{query}").status_code == 200


def test_half_written_files_are_a_note_and_never_an_error(client: TestClient) -> None:
    assert "1 line of metrics.jsonl could not be read" in client.get("/run/killed").text
    page = client.get("/episodes/killed").text
    assert "step_000003.parquet could not be read" in page
    found = client.get("/api/metrics/killed").json()
    assert ([line["step"] for line in found["lines"]], found["broken"]) == ([1, 2], 1)


def test_live_runs_are_kept_apart_from_finished_ones(client: TestClient) -> None:
    assert client.get("/api/metrics/going?after=1").json()["live"] is True
    assert client.get("/api/metrics/group/done").json()["live"] is False


def test_the_group_shows_who_won(client: TestClient) -> None:
    page = client.get(f"/group/step_000002/{TASKS[1].key}/group/done?number=2").text
    assert "One task, 4 episodes" in page
    order = [int(number) for number in re.findall(r'id="n(\d+)"', page)]
    assert order == [1, 3, 2, 4]  # those whose retry was right come first
    assert 'class="episode chosen" id="n2"' in page
    assert page.count("the same problem") == 2
    assert NASTY.split()[0][1:7] in page


@pytest.mark.parametrize(
    "summary", ['{"probes": ["x"]}', '{"models": [{}]}', '{"probes": {"a": 1}}', '{"kind": "suite", "parts": []}']
)
def test_one_odd_run_hides_no_other(client: TestClient, runs: Path, summary: str) -> None:
    odd = runs / "odd"
    odd.mkdir()
    (odd / "resolved.json").write_text('{"layout": 2, "kind": "suite", "recipe": {}}')
    (odd / "summary.json").write_text(summary)
    found = client.get("/")
    assert found.status_code == 200
    assert "odd" in found.text
    assert "group/done" in found.text
    for page in ("/run/odd", "/probe/odd", "/episodes/odd"):
        assert client.get(page).status_code in (200, 404), page
