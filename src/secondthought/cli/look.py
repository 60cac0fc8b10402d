"""``list``, ``view``, ``report``, ``export`` and ``doctor``: what looks at what there is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secondthought.cli.base import Json, app
from secondthought.errors import UserError

ROOMS = {"recipes": "recipes", "probes": "probes", "reproductions": "reproduce", "tasks": "tasks", "items": "items"}


@app.command("list")
def list_all(
    what: Annotated[
        str,
        typer.Argument(
            help="recipes, probes, reproductions, tasks, items or models.", autocompletion=lambda: [*ROOMS, "models"]
        ),
    ],
    as_json: Json = False,
) -> None:
    """Name what is shipped or installed, with a sentence about each."""
    import json

    from secondthought import catalog
    from secondthought.models.names import SHIPPED

    if what == "models":
        found = {f"nano/{path.name}": "shipped" for path in sorted(SHIPPED.iterdir()) if path.is_dir()}
    elif what in ROOMS:
        found = {entry.name: entry.summary or f"from {entry.source}" for entry in catalog.entries(ROOMS[what])}
        if what == "recipes":
            from secondthought.recipes import arms_of

            found |= {f"{name}:{arm}": "an arm" for name in list(found) for arm in (arms_of(name) if name == "rrr" else ())}
    else:
        raise UserError(f"there are no {what} to list; choose {', '.join([*ROOMS, 'models'])}")
    if as_json:
        typer.echo(json.dumps(found))
        return
    width = max(map(len, found), default=0)
    for name, summary in found.items():
        typer.echo(f"{name:{width}}  {summary}")


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    form: Annotated[str, typer.Option("--format", help="html, md, or png (its pictures at 300 dpi).")] = "html",
    out: Annotated[Path | None, typer.Option(help="The file to write; default RUN/report.FORMAT.")] = None,
) -> None:
    """Write a run's report as one file."""
    from secondthought.report import formats

    typer.echo(f"{formats.write(run, form, out)}")


@app.command()
def view(
    runs: Annotated[Path, typer.Argument(help="A folder of runs, or a run.")] = Path("runs"),
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 0,
    browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the browser.")] = True,
) -> None:
    """Look at runs in the browser, live: curves, episodes, and which tokens were paid what."""
    import importlib.util
    import webbrowser

    if missing := [name for name in ("starlette", "uvicorn", "duckdb") if importlib.util.find_spec(name) is None]:
        raise UserError(f"the viewer needs {', '.join(missing)}: pip install 'secondthought[view]'")
    if not runs.is_dir():
        raise UserError(f"there is no folder {runs}")
    from secondthought.viewer.app import serve

    def opened(address: str) -> None:
        typer.echo(f"{address} shows {runs}; Ctrl-C ends it")
        if browser:
            webbrowser.open(address)

    serve(runs, port, opened)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    to: Annotated[str, typer.Option(help="inspect, jsonl, hf-dataset, hub, trl, verifiers (for prime-rl) or art.")],
    out: Annotated[Path | None, typer.Option(help="Where to write; default RUN/exports.")] = None,
    split: Annotated[str | None, typer.Option(help="Only train, before, after, ...; default all episodes.")] = None,
    push: Annotated[str | None, typer.Option(help="With --to hub: the data set's name on the hub.")] = None,
) -> None:
    """Write a run's episodes in another tool's format; ``--to hub`` as a data set with its card, to be pushed."""
    from secondthought.models.sharing import push as pushed
    from secondthought.report import model_card
    from secondthought.runs.export import export as write

    if push and to != "hub":
        raise UserError(f"--push goes with --to hub, not with --to {to}")
    target = write(run, to, out, split=split)
    if to == "hub":
        model_card.for_episodes(run, target, push or "")
    typer.echo(f"{target}")
    if push:
        typer.echo(pushed(target, push, "dataset"))


@app.command()
def doctor() -> None:
    """Check that everything this package needs is here and works."""
    from secondthought.cli.doctor import checks

    wrong = 0
    for name, finding, fine in checks():
        wrong += not fine
        typer.echo(f"{'ok ' if fine else 'BAD'} {name}: {finding}")
    if wrong:
        raise UserError(f"{wrong} of the checks failed; see the lines marked BAD")
