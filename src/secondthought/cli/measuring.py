"""``probe``, ``sweep``, ``build``, ``detect`` and ``grade``: what measures without training."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from secondthought.cli.base import Number, Prices, Seed, Strict, app
from secondthought.files import UserError

probe = typer.Typer(help="Measure one kind of reflection on one or a few models.", no_args_is_help=True)
sweeps = typer.Typer(help="Measure it over the checkpoints of a pre-training.", no_args_is_help=True)
app.add_typer(probe, name="probe")
app.add_typer(sweeps, name="sweep")

TaskSpec = Annotated[
    str,
    typer.Option(help="chains, countdown, FILE.jsonl of items, or FAMILY:FILE (gsm8k, bbh, cruxeval_o, cruxeval_i, triviaqa)."),
]
OutFolder = Annotated[Path, typer.Option(help="Where to write; the same command continues what was interrupted.")]
Profile = Annotated[str, typer.Option(help="clean (one rule for all tasks) or paper (the paper's triggers and readers).")]
Frame = Annotated[str, typer.Option(help="auto (the chat template where there is one), chat or raw.")]
Temperature = Annotated[
    float | None, typer.Option(help="Default: that of the profile (0, greedy; CruxEval as published 0.2).", min=0)
]
Detector = Annotated[
    str, typer.Option(help="auto, rules, oat_zero, understand_r1_zero, markers, said_wrong, judge:MODEL or judge:URL#MODEL.")
]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16 or float16.")]
Repeat = Annotated[int, typer.Option(help="The same items with other samples: 0, 1, 2, ...", min=0)]
MaxTokens = Annotated[int | None, typer.Option(help="Default: that of the profile.", min=1)]


@sweeps.command("reflection")
def sweep_reflection(
    places: Annotated[
        list[str],
        typer.Option(
            "--checkpoints",
            "--model",
            help="A folder (searched), a glob, a hub name, hub/name@revision,... or URL#MODEL; may be repeated.",
        ),
    ],
    tasks: TaskSpec,
    out: OutFolder,
    n: Number = None,
    profile: Profile = "clean",
    frame: Frame = "auto",
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    waits: Annotated[int, typer.Option(help="How many times the trigger comes.", min=1)] = 2,
    detector: Detector = "auto",
    dtype: Dtype = "float32",
    strict: Strict = False,
    prices: Prices = None,
    seed: Seed = None,
    repeat: Repeat = 0,
) -> None:
    """Do models notice that a chain of thought went wrong, and find their way back? Over checkpoints, what explains it?"""
    from secondthought.engines.openai import prices_of
    from secondthought.progress import watcher
    from secondthought.report import formats, reflection
    from secondthought.sweep import Options, checkpoints_of, sweep

    setting = _setting(profile, frame, max_tokens, detector, dtype, seed or 0)
    setting = replace(setting, temperature=temperature, waits=waits, repeat=repeat)
    options = Options(frame, dtype, prices=prices_of(prices))
    with watcher() as watching:
        items = _items(tasks, n, seed or 0, strict, watching)
        summary = sweep(out, checkpoints_of(places), items, tasks, setting, options, watching)
        watching.phase("writing the report")
        where = formats.write(out)
    typer.echo(reflection.terminal(summary))
    typer.echo(f"{out}: open {where}")


probe.command("reflection")(sweep_reflection)


@probe.command("superficial")
def probe_superficial(
    model: Annotated[str, typer.Option(help="A model folder, a hub name, or a shipped model.")],
    tasks: TaskSpec,
    out: OutFolder,
    n: Annotated[int, typer.Option(help="How many questions.", min=1)] = 100,
    samples: Annotated[int, typer.Option(help="Responses to each question at each temperature.", min=2)] = 8,
    temperatures: Annotated[str, typer.Option(help="Separated by commas.")] = "0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1.0",
    profile: Profile = "clean",
    frame: Frame = "auto",
    max_tokens: MaxTokens = None,
    detector: Detector = "auto",
    dtype: Dtype = "float32",
    strict: Strict = False,
    prices: Prices = None,
    seed: Seed = None,
) -> None:
    """Is the reflection a model shows unasked of any use, and how does it go with temperature?"""
    from secondthought.engines.openai import prices_of
    from secondthought.progress import watcher
    from secondthought.report import formats, superficial
    from secondthought.sweep import Options, checkpoints_of, superficial_reflection

    try:
        grid = [float(t) for t in temperatures.split(",")]
    except ValueError as error:
        raise UserError(f"--temperatures {temperatures!r}: numbers separated by commas are wanted") from error
    if not all(0 <= t < math.inf for t in grid):
        raise UserError(f"--temperatures {temperatures!r}: a temperature is a number of at least 0")
    setting = _setting(profile, frame, max_tokens, detector, dtype, seed or 0)
    checkpoint, *others = checkpoints_of([model])
    if others:
        raise UserError(f"--model {model} holds {1 + len(others)} models; name one, such as {checkpoint.place}")
    options = Options(frame, dtype, prices=prices_of(prices))
    with watcher() as watching:
        items = _items(tasks, n, seed or 0, strict, watching)
        watching.phase(f"{checkpoint.name}: {len(items.found)} questions x {samples} x {len(grid)} temperatures")
        summary = superficial_reflection(
            out,
            checkpoint,
            items,
            tasks,
            setting,
            options,
            watching,
            temperatures=grid,
            samples=samples,
        )
        where = formats.write(out)
    typer.echo(superficial.terminal(summary))
    typer.echo(f"{out}: open {where}")


def _setting(profile: str, frame: str, max_tokens: int | None, detector: str, dtype: str, seed: int) -> Any:
    """The setting of a probe. Raises UserError for a choice that does not exist."""
    from secondthought.probes import detectors
    from secondthought.probes.reflection import Setting

    for name, value, choices in (
        ("profile", profile, ("clean", "paper")), ("frame", frame, ("auto", "chat", "raw")),
        ("dtype", dtype, ("float32", "bfloat16", "float16")), ("detector", detector, ("auto", *detectors.DETECTORS)),
    ):  # fmt: skip
        if value not in choices and not (name == "detector" and value.startswith("judge:")):
            raise UserError(f"--{name} {value!r} does not exist; choose {', '.join(choices)}")
    return Setting(cast(Any, profile), max_tokens=max_tokens, detector=detector, seed=seed)


def _items(tasks: str, n: int | None, seed: int, strict: bool, watching: Any) -> Any:
    from secondthought.tasks.flawed import items_of

    watching.phase(f"items of {tasks}")
    items = items_of(tasks, n=n, seed=seed, tell=lambda done, of: watching.step(done, of, {}))
    if strict:
        items.strictly()
    return items


@app.command()
def build(
    tasks: Annotated[
        str, typer.Argument(help="chains, countdown, or FAMILY:FILE (gsm8k, bbh, cruxeval_o, cruxeval_i, triviaqa).")
    ],
    out: Annotated[Path, typer.Option(help="The JSONL to write.")],
    n: Number = None,
    strict: Strict = False,
    seed: Seed = None,
) -> None:
    """Write verified items (a question, a flawed and a clean chain of thought) to a file one can read and keep."""
    from secondthought.progress import watcher
    from secondthought.tasks.items import write_items

    with watcher() as watching:
        items = _items(tasks, n, seed or 0, strict, watching)
    write_items(out, items.found)
    for why, places in items.left_out.items():
        typer.echo(f"left out: {len(places)} x {why} (first: {places[0]})")
    for why, count in items.not_made.items():
        typer.echo(f"not made: {count} x {why}")
    typer.echo(f"{out}: {len(items.found)} items")


@app.command()
def detect(
    file: Annotated[Path, typer.Argument(help="A CSV file.")],
    text: Annotated[str, typer.Option(help="The column with the texts.")],
    label: Annotated[str | None, typer.Option(help="The column with labels (Yes/No), to compare with.")] = None,
    detector: Annotated[
        str, typer.Option(help="rules, oat_zero, understand_r1_zero, markers, judge:MODEL or judge:URL#MODEL.")
    ] = "rules",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Which of these texts say that something before was wrong?"""
    import json

    from secondthought.detect import detect as run

    found = run(file, text, label, detector)
    if as_json:
        typer.echo(json.dumps(found))
        return
    typer.echo(f"{detector}: {sum(found['predictions'])} of {found['n']} texts reflect")
    for name in ("precision", "recall", "specificity", "f1"):
        if name in found:
            typer.echo(f"{name:12} {found[name]['value']:.3f} [{found[name]['low']:.3f}, {found[name]['high']:.3f}]")


@app.command()
def grade(
    task: Annotated[str, typer.Argument(help="function_calling.")],
    rows: Annotated[Path, typer.Option(help="A JSONL of problems: BFCL, or APIGen/xLAM.")],
    outputs: Annotated[Path, typer.Option(help="A JSONL of what a model wrote: id and text.")],
    answers: Annotated[Path | None, typer.Option(help="BFCL's possible answers, where they stand in another file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Grade what a model wrote, and say why."""
    import json

    from secondthought.tasks.function_calling import FAMILY, grade_outputs, read_rows

    if task != FAMILY:
        raise UserError(f"there is no grader on files for {task!r}; choose {FAMILY}")
    found = grade_outputs(read_rows(rows, answers), outputs)
    if as_json:
        typer.echo(json.dumps(found))
        return
    for kind in sorted({why.partition(":")[0] for why in found["why"]}):
        typer.echo(f"{kind:20} {sum(why.partition(':')[0] == kind for why in found['why'])}")
    typer.echo(f"{sum(found['scores'])} of {len(found['scores'])} right")
