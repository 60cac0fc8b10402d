"""The viewer: a local web app that shows runs while they go on. It only reads, and only this machine can ask.

What a model wrote is data: everything is escaped, no script or style from a run is ever run, and the pages fetch nothing from
anywhere else. Requests that name another host (DNS rebinding) or mean to change something are refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import jinja2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from secondthought.report.tokens import inert
from secondthought.report.words import cell, show, verdict
from secondthought.runs.reading import RunFolder
from secondthought.types import OUTCOMES
from secondthought.viewer import pages
from secondthought.viewer.store import PAGE, SORTS, Episodes, Query, run_at, runs_in

HERE = Path(__file__).parent
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class Missing(Exception):
    """There is nothing of that name; the message says what."""


class Viewer:
    """The runs below a folder, and the pages about them."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._episodes: dict[Path, Episodes] = {}
        self.templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "pages"), autoescape=True, trim_blocks=True, lstrip_blocks=True
        )
        self.templates.filters |= {
            "show": show, "cell": cell, "verdict": verdict, "inert": inert, "quoted": partial(quote, safe="/"),
        }  # fmt: skip
        self.templates.globals |= {"outcomes": OUTCOMES, "sorts": tuple(SORTS), "query_of": urlencode}

    def run(self, request: Request) -> RunFolder:
        """The run that a request names. Raises Missing for a name that leaves the folder or is no run."""
        name = request.path_params["name"]
        try:
            folder = (self.root / name).resolve()
            if name == self.root.name and not folder.is_dir():
                folder = self.root  # the viewer was given one run
            found = run_at(folder, name) if folder.is_relative_to(self.root) else None
        except (OSError, ValueError):  # a name that no file can have
            found = None
        if found is None:
            raise Missing(f"there is no run {name!r} in {self.root}")
        return found

    def episodes(self, run: RunFolder) -> Episodes:
        """The index of a run's episodes, kept as long as the viewer lives."""
        if run.folder not in self._episodes:
            self._episodes[run.folder] = Episodes(run.folder)
        return self._episodes[run.folder]

    # --- pages ---------------------------------------------------------------------------------------------------------

    def page(self, template: str, **facts: Any) -> Response:
        """A page from its template."""
        return HTMLResponse(self.templates.get_template(template).render(root=str(self.root), **facts))

    def home(self, request: Request) -> Response:
        """All runs."""
        return self.page("runs.html", runs=[pages.listed(run) for run in runs_in(self.root)], here="runs")

    def overview(self, request: Request) -> Response:
        """One run: its curves and its figures."""
        run = self.run(request)
        others = [one.name for one in runs_in(self.root) if one.name != run.name and (one.folder / "metrics.jsonl").exists()]
        with readable(run):
            return self.page("run.html", run=run, here="overview", overview=pages.overview(run), others=others)

    def browse(self, request: Request) -> Response:
        """A page of episodes."""
        run = self.run(request)
        query = query_from(request)
        index = self.episodes(run)
        found = index.find(query)
        kept = {k: v for k, v in request.query_params.items() if v and k != "page"}
        return self.page(
            "episodes.html", run=run, here="episodes", query=query, found=found, choices=index.choices(), kept=kept,
            unread=index.unread, pages=-(-found.total // PAGE),
        )  # fmt: skip

    def group(self, request: Request) -> Response:
        """All episodes of one task in one step, side by side."""
        run = self.run(request)
        file, task = request.path_params["file"], request.path_params["task"]
        there = self.episodes(run).group(file, task)
        if not there:
            raise Missing(f"there is no task {task!r} in the episodes {file!r} of {run.name}")
        chosen = request.query_params.get("number", "")
        found = pages.group(run, there, number_in(chosen))
        measured = [path for path in self.episodes(run).files() if path.startswith(("before_", "after_"))]
        same = [name for name in measured if name != file and self.episodes(run).group(name, task)]
        return self.page("group.html", run=run, here="episodes", file=file, task=task, group=found, same=same)

    def probe(self, request: Request) -> Response:
        """Arms with intervals, effects and controls, each with the sentences behind it."""
        run = self.run(request)
        with readable(run):
            return self.page("probe.html", run=run, here="probe", sections=pages.sections(run))

    def text(self, request: Request) -> Response:
        """The whole text of one segment, as plain text."""
        run = self.run(request)
        there = self.episodes(run).group(request.path_params["file"], request.path_params["task"])
        number, place = (int(request.path_params[key]) for key in ("number", "place"))
        for episode, _, at in there:
            if at == number and place < len(episode.segments):
                return PlainTextResponse(episode.segments[place].text.encode("utf-8", "replace").decode())
        raise Missing("there is no such segment")

    # --- data ----------------------------------------------------------------------------------------------------------

    def metrics(self, request: Request) -> Response:
        """The lines beyond a step, their pictures, and whether the run still goes on."""
        run = self.run(request)
        return JSONResponse(pages.charts(run, number_in(request.query_params.get("after", "0")) or 0))


@contextmanager
def readable(run: RunFolder) -> Iterator[None]:
    """Turn what a summary of another program makes of a page into a page that says so."""
    try:
        yield
    except pages.ODD as error:
        raise Missing(f"the summary.json of {run.name} is not one that secondthought writes") from error


def number_in(text: str) -> int | None:
    """A whole number from an address, if it is one of a sensible size."""
    return int(text) if text.isdecimal() and len(text) <= 18 else None


def query_from(request: Request) -> Query:
    """The query that an address asks for; parts that make no sense are left out."""
    asked = request.query_params
    step, page = asked.get("step", ""), asked.get("page", "0")
    return Query(
        split=asked.get("split", ""), arm=asked.get("arm", ""), outcome=asked.get("outcome", ""),
        task=asked.get("task", ""), path=asked.get("path", ""),
        step=number_in(step), text=asked.get("text", "")[:200], sort=asked.get("sort", "newest"),
        page=min(number_in(page) or 0, 10**6),
    )  # fmt: skip


class Guard:
    """Refuses other hosts and everything but reading; adds headers that keep pages to themselves."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
        if host not in self.hosts:
            await PlainTextResponse(f"this viewer answers only to {' or '.join(sorted(self.hosts))}", 403)(scope, receive, send)
            return
        if scope["method"] not in ("GET", "HEAD"):
            await PlainTextResponse("this viewer only reads", 405, {"allow": "GET, HEAD"})(scope, receive, send)
            return

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in HEADERS.items())]
            await send(message)

        await self.app(scope, receive, guarded)


def app_for(root: Path, hosts: frozenset[str]) -> ASGIApp:
    """The web app over the runs below ``root``, answering to ``hosts`` (``127.0.0.1:PORT``)."""
    viewer = Viewer(root)

    def answer(make: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                return await run_in_threadpool(make, request)
            except Missing as why:
                if request.url.path.startswith("/api/"):
                    return JSONResponse({"error": str(why)}, 404)
                page = viewer.page("missing.html", why=str(why))
                page.status_code = 404
                return page

        return endpoint

    routes = [
        Route("/", answer(viewer.home)),
        Route("/run/{name:path}", answer(viewer.overview)),
        Route("/episodes/{name:path}", answer(viewer.browse)),
        Route("/group/{file}/{task}/{name:path}", answer(viewer.group)),
        Route("/text/{file}/{task}/{number:int}/{place:int}/{name:path}", answer(viewer.text)),
        Route("/probe/{name:path}", answer(viewer.probe)),
        Route("/api/metrics/{name:path}", answer(viewer.metrics)),
        Mount("/static", StaticFiles(directory=HERE / "static")),
    ]
    return Guard(Starlette(routes=routes), hosts)


def serve(root: Path, port: int, opened: Callable[[str], None]) -> None:
    """Serve until Ctrl-C on 127.0.0.1; ``opened(address)`` is called once it listens. Port 0 takes a free one."""
    import socket

    import uvicorn

    with socket.create_server(("127.0.0.1", port)) as listening:
        port = listening.getsockname()[1]
        hosts = frozenset((f"127.0.0.1:{port}", f"localhost:{port}"))
        config = uvicorn.Config(app_for(root, hosts), log_level="warning", access_log=False, server_header=False)
        opened(f"http://127.0.0.1:{port}/")
        uvicorn.Server(config).run(sockets=[listening])
