"""The command line: ``secondthought train | eval | probe | sweep | detect | reproduce | ...``."""

from __future__ import annotations

import errno
import math
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from secondthought.files import UserError

app = typer.Typer(
    help="Train language models to reflect on their own mistakes, and measure whether the reflection is real.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Model = Annotated[str | None, typer.Option(help="A model folder, a hub name, or a shipped model such as nano/countdown.")]
Out = Annotated[Path | None, typer.Option(help="Where to write; default runs/RECIPE.")]
Grade = Annotated[str, typer.Option(help="For your own tasks: exact, number, regex:PATTERN or module:function.")]
Seed = Annotated[int | None, typer.Option(help="The seed that everything else is derived from.")]


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe (rrr_countdown, rrr, ...) or the path of one.")],
    model: Model = None,
    tasks: Annotated[
        str | None, typer.Option(help="countdown, function_calling, FILE.jsonl or hf:DATASET (for rrr and its arms).")
    ] = None,
    grade: Grade = "exact",
    out: Out = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="name=value; may be repeated.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out where it stopped.")] = False,
    track: Annotated[str, typer.Option(help="Also tell tensorboard, wandb, trackio or mlflow; several with commas.")] = "",
    seed: Seed = None,
) -> None:
    """Train a model by a recipe; measures it before and after, and writes a report."""
    from secondthought import recipes
    from secondthought.progress import watcher
    from secondthought.report import html, table
    from secondthought.train import train as run

    chosen = recipes.load(recipe, model=model, tasks=tasks, grade=grade)
    more = [f"seed={seed}"] if seed is not None else []
    chosen = recipes.override(chosen, [*(settings or []), *more, *([f"track={track}"] if track else [])])
    folder = out or Path("runs") / chosen.name
    began = time.perf_counter()
    with watcher() as watching:
        summary = run(chosen, folder, watching, resume=resume)
        watching.phase("writing the report")
        page = html.write(folder)
    typer.echo(table.summary(summary))
    typer.echo(f"{folder}: {time.perf_counter() - began:.0f} s; open {page}")


@app.command("eval")
def evaluate(
    protocol: Annotated[str, typer.Argument(help="reflect_retry (all arms) or answer (first tries only).")],
    model: Annotated[str, typer.Option(help="A model folder, a hub name, or a shipped model such as nano/countdown.")],
    tasks: Annotated[str, typer.Option(help="countdown, function_calling, FILE.jsonl or hf:DATASET.")],
    out: Annotated[Path, typer.Option(help="Where to write summary.json, episodes and report.html.")],
    n: Annotated[int, typer.Option(help="How many problems.", min=1)] = 500,
    temperature: Annotated[float, typer.Option(help="0 is greedy.", min=0)] = 1.0,
    max_tokens: Annotated[int | None, typer.Option(help="For each turn; default 32 for nano, else 512.", min=1)] = None,
    grade: Grade = "exact",
    seed: Seed = None,
) -> None:
    """Measure a model: does reflecting help, and is it the reflection that helps?"""
    from secondthought.evaluate import evaluate as run
    from secondthought.progress import watcher
    from secondthought.report import html, table

    with watcher() as watching:
        summary = run(
            protocol, model, tasks, out, watching,
            n=n, temperature=temperature, max_tokens=max_tokens, grade=grade, seed=seed or 0,
        )  # fmt: skip
        page = html.write(out)
    typer.echo(table.summary(summary))
    typer.echo(f"{out}: open {page}")


@app.command()
def ablate(
    out: Annotated[Path, typer.Option(help="Where to write; finished runs in it are kept.")] = Path("runs/ablation"),
    model: Model = None,
    arms: Annotated[list[str] | None, typer.Option("--arm", help="Recipes to compare; default all arms of Countdown.")] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each arm.", min=1)] = 3,
    settings: Annotated[list[str] | None, typer.Option("--set", help="name=value for every run; may be repeated.")] = None,
) -> None:
    """Compare who is paid (reflection, retry, both, answer, nobody) at equal sampled tokens."""
    from secondthought.ablate import ARMS
    from secondthought.ablate import ablate as run
    from secondthought.progress import watcher
    from secondthought.report.table import arms as arms_table

    with watcher() as watching:
        found = run(out, watching, model=model, arms=arms or ARMS, seeds=seeds, settings=settings or [])
    typer.echo(arms_table(found))
    typer.echo(f"{out}: see arms.png, regimes.png and summary.json")


@app.command()
def pretrain(
    out: Annotated[Path, typer.Option(help="Where to write checkpoints.")],
    corpus: Annotated[str, typer.Option(help="countdown, or duo: Countdown and function calling.")] = "countdown",
    size: Annotated[
        str, typer.Option(help="0.1m, 0.3m, 0.8m, 1m, 3m, 3.3m or 10m; several, separated by commas, are made side by side.")
    ] = "1m",
    steps: Annotated[int | None, typer.Option(help="Default: those of the corpus (6,000).", min=1)] = None,
    workers: Annotated[int, typer.Option(help="Processes, where several models are made.", min=1)] = 2,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out where it stopped.")] = False,
    seed: Seed = None,
) -> None:
    """Train nano models from scratch on a synthetic corpus, then let them sit their exam."""
    from secondthought.engines.hub import engine_for
    from secondthought.nano.exam import GAMES, exam
    from secondthought.nano.family import family_of, grow, last_checkpoint
    from secondthought.probes.second_try import distinct
    from secondthought.progress import watcher

    family = family_of(corpus, size.split(","), steps=steps, seed=seed or 0)
    if len(family) == 1:
        family = dict(zip([""], family.values(), strict=True))  # one alone lives in OUT itself
    with watcher() as watching:
        watching.phase(f"pre-training {size} on {corpus}")
        grow(family, out, workers, watching, resume=resume)
        for member, recipe in family.items():
            place = last_checkpoint(out, member, recipe)
            for name in ("countdown",) if corpus == "countdown" else GAMES:
                watching.phase(f"{member or size}: sitting the exam in {name} on held-out problems")
                game, tasks = GAMES[name]
                for figure, estimate in exam(engine_for(str(place)), game, tasks, distinct(tasks, 1000)).items():
                    typer.echo(f"{figure:14} {estimate}")
            typer.echo(f"{place}")


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    picture: Annotated[Path | None, typer.Option(help="Also save the before/after picture as a PNG here.")] = None,
) -> None:
    """Write report.html of a run anew."""
    from secondthought.report import html

    typer.echo(f"{html.write(run)}")
    if picture is not None:
        typer.echo(f"{html.picture(run, picture)}")


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
Strict = Annotated[bool, typer.Option("--strict", help="Refuse items with faults instead of leaving them out.")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16 or float16.")]
Number = Annotated[int | None, typer.Option(help="A random choice of so many items.", min=1)]
Repeat = Annotated[int, typer.Option(help="The same items with other samples: 0, 1, 2, ...", min=0)]
MaxTokens = Annotated[int | None, typer.Option(help="Default: that of the profile.", min=1)]


@sweeps.command("reflection")
def sweep_reflection(
    places: Annotated[
        list[str],
        typer.Option(
            "--checkpoints",
            "--model",
            help="A folder (searched), a glob, a hub name or hub/name@revision,...; may be repeated.",
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
    seed: Seed = None,
    repeat: Repeat = 0,
) -> None:
    """Do models notice that a chain of thought went wrong, and find their way back? Over checkpoints, what explains it?"""
    from secondthought.progress import watcher
    from secondthought.report import reflection as page
    from secondthought.sweep import Options, checkpoints_of, sweep

    setting = _setting(profile, frame, max_tokens, detector, dtype, seed or 0)
    setting = replace(setting, temperature=temperature, waits=waits, repeat=repeat)
    with watcher() as watching:
        items = _items(tasks, n, seed or 0, strict, watching)
        summary = sweep(out, checkpoints_of(places), items, tasks, setting, Options(frame, dtype), watching)
        watching.phase("writing the report")
        where = page.write(out)
    typer.echo(page.terminal(summary))
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
    seed: Seed = None,
) -> None:
    """Is the reflection a model shows unasked of any use, and how does it go with temperature?"""
    from secondthought.progress import watcher
    from secondthought.report import superficial as page
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
    with watcher() as watching:
        items = _items(tasks, n, seed or 0, strict, watching)
        watching.phase(f"{checkpoint.name}: {len(items.found)} questions x {samples} x {len(grid)} temperatures")
        summary = superficial_reflection(
            out, checkpoint, items, tasks, setting, Options(frame, dtype), watching, temperatures=grid, samples=samples
        )
        where = page.write(out)
    typer.echo(page.terminal(summary))
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


@app.command()
def reproduce(
    what: Annotated[str, typer.Argument(help="rrr, reflection-in-pretraining or reflection-in-nano.")],
    data: Annotated[Path | None, typer.Option(help="The folder with the paper's result files.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write; continued if interrupted. Default runs/WHAT.")] = None,
    budget: Annotated[str, typer.Option(help="quick (minutes) or full (hours), for what must be trained.")] = "quick",
    workers: Annotated[int, typer.Option(help="Processes that train side by side.", min=1)] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make published figures again, from the authors' tables or with the nano family."""
    import json

    folder = out or Path("runs") / what

    if what == "reflection-in-pretraining":
        from secondthought.report.reproduced import table
        from secondthought.reproduce import reflection_in_pretraining as tables

        if data is None:
            raise UserError("--data is needed: the folder with the paper's result files (experiment_results_*.csv)")
        found = tables.reproduce(data)
        typer.echo(json.dumps(found) if as_json else table(found))
    elif what == "reflection-in-nano":
        from secondthought.progress import watcher
        from secondthought.report import reflection as page
        from secondthought.reproduce import reflection_in_nano as nano

        with watcher() as watching:
            summary = nano.reproduce(folder, budget, workers, watching)
            where = page.write(folder / "sweep")
        typer.echo(json.dumps(summary["sweeps"]) if as_json else page.terminal(summary))
        typer.echo(f"{folder}: open {where}", err=as_json)
    elif what == "rrr":
        from secondthought.progress import watcher
        from secondthought.report import rrr as results
        from secondthought.reproduce import rrr, rrr_tables

        with watcher() as watching:
            plan = rrr.reproduce(folder, budget, workers, watching)
            watching.phase("pooling the runs")
            found = rrr_tables.tables(folder, plan)
            where = results.write(folder, found)
        typer.echo(json.dumps(found) if as_json else where.read_text(encoding="utf-8"))
        typer.echo(f"{folder}: see {where} and the pictures beside it", err=as_json)
    else:
        raise UserError(f"there is no {what!r} to reproduce; choose rrr, reflection-in-pretraining or reflection-in-nano")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    to: Annotated[str, typer.Option(help="inspect, jsonl, hf-dataset or trl.")],
    out: Annotated[Path | None, typer.Option(help="Where to write; default RUN/exports.")] = None,
    split: Annotated[str | None, typer.Option(help="Only train, before, after, ...; default all episodes.")] = None,
) -> None:
    """Write a run's episodes in another tool's format."""
    from secondthought.export import export as write

    typer.echo(f"{write(run, to, out, split=split)}")


@app.command()
def doctor() -> None:
    """Check that everything this package needs is here and works."""
    from secondthought.doctor import checks

    wrong = 0
    for name, finding, fine in checks():
        wrong += not fine
        typer.echo(f"{'ok ' if fine else 'BAD'} {name}: {finding}")
    if wrong:
        raise UserError(f"{wrong} of the checks failed; see the lines marked BAD")


def main() -> None:
    """The entry point: a user's mistake is one sentence and exit code 2, a clean stop 130."""
    from secondthought.train import Interrupted

    try:
        app(standalone_mode=False)
    except UserError as error:
        fail(str(error))
    except (typer.Exit, typer.Abort) as stop:
        sys.exit(getattr(stop, "exit_code", 130))
    except Interrupted as stop:
        print(f"secondthought: {stop}", file=sys.stderr)
        sys.exit(130)
    except KeyboardInterrupt:
        print("secondthought: stopped; continue with --resume", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            fail(f"the disk is full ({error.filename or 'while writing'}); free some space and continue with --resume")
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            fail(f"cannot write {error.filename}: {error.strerror}; choose another --out")
        raise
    except Exception as error:
        _usage(error)
        raise


def fail(message: str) -> None:
    """One sentence on standard error, exit code 2."""
    print(f"secondthought: {message}", file=sys.stderr)
    sys.exit(2)


def _usage(error: Any) -> None:
    """Typer's own complaints about arguments carry their own words."""
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):
        fail(error.format_message())


if __name__ == "__main__":
    main()
