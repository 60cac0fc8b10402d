"""The app that commands join, and the options that several of them share."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    help="Train language models to reflect on their own mistakes, and measure whether the reflection is real.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Model = Annotated[str | None, typer.Option(help="A model folder, a hub name, or a shipped model such as nano/countdown.")]
Grade = Annotated[str, typer.Option(help="For your own tasks: exact, number, regex:PATTERN or module:function.")]
Seed = Annotated[int | None, typer.Option(help="The seed that everything else is derived from.")]
Number = Annotated[int | None, typer.Option(help="A random choice of so many items.", min=1)]
Prices = Annotated[
    str | None, typer.Option(help="Dollars for a million tokens read and written, such as 0.15,0.60; for a model behind a URL.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse items with faults instead of leaving them out.")]
