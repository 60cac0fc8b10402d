"""The app that commands join, the options that several of them share, and completion of names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from secondthought.errors import UserError

app = typer.Typer(
    help="Train language models to reflect on their own mistakes, and measure whether the reflection is real.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def run(words: list[str]) -> None:
    """One command in this process, as other processes are asked to run it. Raises what the command line would show."""
    app(words, standalone_mode=False)


def names_of(room: str) -> Callable[[str], list[str]]:
    """What the shell completes a name to: those that are shipped or installed."""

    def complete(incomplete: str) -> list[str]:
        from secondthought import catalog

        return [entry.name for entry in catalog.entries(room) if entry.name.startswith(incomplete)]

    return complete


Model = Annotated[str | None, typer.Option(help="A model folder, a hub name, or a shipped model such as nano/countdown.")]
Tasks = Annotated[
    str | None,
    typer.Option(
        help="NAME[:PLACE] (see: secondthought list tasks), FILE.jsonl or hf:DATASET, each with :train, :dev, :test or :all.",
        autocompletion=names_of("tasks"),
    ),
]
Grade = Annotated[str | None, typer.Option(help="For your own tasks: exact, number, math, regex:PATTERN or module:function.")]
Seed = Annotated[int | None, typer.Option(help="The seed that everything else is derived from.")]
Number = Annotated[int | None, typer.Option(help="A random choice of so many items.", min=1)]
Settings = Annotated[list[str] | None, typer.Option("--set", help="name=value; may be repeated.")]
Prices = Annotated[
    str | None, typer.Option(help="Dollars for a million tokens read and written, such as 0.15,0.60; for a model behind a URL.")
]
Dtype = Annotated[str | None, typer.Option(help="How weights are held: float32, bfloat16 or float16.")]
Precision = Annotated[
    str | None, typer.Option(help="What sampling is done in: auto (bfloat16 where that is faster), model, float32 or bfloat16.")
]
Threads = Annotated[str | None, typer.Option(help="How many, or auto: as many as help beside what else runs here.")]
SamplingFrom = Annotated[
    str | None, typer.Option("--sampling", help="model: temperature, top-p and the rest from the model's generation_config.")
]
Thinking = Annotated[str | None, typer.Option(help="on or off: what the chat template gets as enable_thinking.")]
TopP = Annotated[float | None, typer.Option(help="Draw from the likeliest tokens with this probability together.")]
TopK = Annotated[int | None, typer.Option(help="Draw from so many of the likeliest tokens; 0: from all.")]
MinP = Annotated[float | None, typer.Option(help="Draw from tokens at least this likely, relative to the likeliest.")]
RepetitionPenalty = Annotated[float | None, typer.Option(help="Above 1: what stands in the context becomes less likely.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]


def _version(wanted: bool) -> None:
    if wanted:
        from secondthought import __version__

        typer.echo(f"secondthought {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_version, help="Show the version.")] = False,
) -> None:
    """Train language models to reflect on their own mistakes, and measure whether the reflection is real."""


def seeded(settings: list[str] | None, seed: int | None) -> list[str]:
    """The settings with the seed, where one is given."""
    return [*(settings or []), *([f"seed={seed}"] if seed is not None else [])]


def engine_settings(**given: str | float | None) -> list[str]:
    """What was given of an engine's options, as ``--set`` would say it. Raises UserError for threads that are no number."""
    threads = given.get("threads")
    if threads == "auto":
        given["threads"] = "0"
    elif threads is not None and not (str(threads).isdecimal() and int(threads) > 0):
        raise UserError(f"--threads {threads}: a number of threads, or auto")
    return [f"engine.{name}={value}" for name, value in given.items() if value is not None]
