"""``skill``: a frozen model writes notes on a context by playing against itself, and uses them only if they help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secondthought.cli.base import Json, Prices, Seed, Settings, app, seeded
from secondthought.errors import UserError


@app.command()
def skill(
    context: Annotated[
        str, typer.Argument(help="A text file of your own, or rule-book[:SEED], whose planted rules are known.")
    ],
    model: Annotated[str, typer.Option(help="A model folder, a hub name, or URL#MODEL: it plays all roles.")],
    out: Annotated[Path | None, typer.Option(help="Where everything that is said and written goes.")] = None,
    settings: Settings = None,
    seed: Seed = None,
    prices: Prices = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the play in --out where it stopped.")] = False,
    dry: Annotated[bool, typer.Option("--dry-run", help="Say how many calls it would take, and stop.")] = False,
    as_json: Json = False,
) -> None:
    """Turn a context into a SKILL.md by self-play (Ctx2Skill). Settings: rounds, cases, budget, context_words, tests, rule."""
    import json

    from secondthought.engines.factory import engine_for
    from secondthought.report.formats import write
    from secondthought.runs.progress import show_progress
    from secondthought.skills.contexts import context_of
    from secondthought.skills.play import Play, played
    from secondthought.training.settings import made

    play, text = made(Play, seeded(settings, seed)), context_of(context)
    for name in ("rounds", "cases", "budget", "keep", "max_tokens"):
        if getattr(play, name) < 1:
            raise UserError(f"--set {name}={getattr(play, name)}: {name} must be at least 1")
    calls, (read, written) = play.calls(drawn=text.drawn), play.cost(text)
    cost = (
        f"at most {sum(calls.values())} calls ({', '.join(f'{n} {role}' for role, n in calls.items() if n)}), up to "
        f"{written:,} tokens written and about {read:,} read"
    )
    if prices is not None:
        from secondthought.engines.remote.openai import prices_of

        one, other = prices_of(prices)
        cost += f", ${(read * one + written * other) / 1e6:.2f}"
    if dry:
        typer.echo(cost)
        return
    folder = out or Path("runs") / f"skill_{text.name}"
    with show_progress() as progress:
        progress.phase(cost)
        summary = played(
            play, text, engine_for(model), folder, progress, model=model, resume=resume,
            command={"command": "skill", "context": context, "model": model},
        )  # fmt: skip
        progress.phase("writing the report")
        write(folder)
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
        return
    for number, one in enumerate(summary["replay"]):
        name = "no notes" if number == 0 else f"round {number}"
        mark = "  <- chosen" if number == summary["chosen"] else ""
        typer.echo(
            f"{name:>9}: {one['hard']} of {one['hards']} hard and {one['easy']} of {one['easies']} easy cases, "
            f"{summary['words'][number]} words{mark}"
        )
    for number, found in summary.get("held_out", {}).items():
        solved, gain = found["solved"], found["gain"]
        name = "no notes" if number == "0" else f"notes of round {number}"
        span = f"[{100 * solved['low']:.1f}, {100 * solved['high']:.1f}]"
        line = f"held-out cases with {name}: {100 * solved['value']:.1f} % {span}"
        more = f", {100 * gain['value']:+.1f} points [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]"
        typer.echo(line if number == "0" else line + more)
    typer.echo(f"{folder / 'SKILL.md'}; {folder / 'report.html'}; everything that was said: secondthought view {folder}")
