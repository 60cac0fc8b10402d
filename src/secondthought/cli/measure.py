"""``probe``, ``reproduce`` and ``data``: what measures, and what it is measured on."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from secondthought.cli.base import (
    Dtype,
    Grade,
    Json,
    MinP,
    Number,
    Precision,
    Prices,
    RepetitionPenalty,
    SamplingFrom,
    Seed,
    Settings,
    Tasks,
    Thinking,
    Threads,
    TopK,
    TopP,
    app,
    engine_settings,
    names_of,
    seeded,
)  # fmt: skip
from secondthought.errors import UserError

Detector = Annotated[str, typer.Option(help="rules, oat_zero, understand_r1_zero, markers, judge:MODEL or judge:URL#MODEL.")]


class Probes(TyperGroup):
    """A command for every probe that can be found: one function, and the options of the probe's dataclass in its help."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The shipped and the installed ones."""
        from secondthought import catalog

        return ["all", *(entry.name for entry in catalog.entries("probes"))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a name or a .py path, whether or not there is such a probe."""
        from secondthought import catalog

        if cmd_name == "all":
            every = typer.Typer(rich_markup_mode=None, add_completion=False)
            every.command("all", help=inspect.getdoc(all_probes))(all_probes)
            return typer.main.get_command(every)
        summary = {entry.name: entry.summary for entry in catalog.entries("probes")}.get(cmd_name, "")
        one = typer.Typer(rich_markup_mode=None, add_completion=False)
        one.command(cmd_name, help=summary)(probe)
        return typer.main.get_command(one)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The chosen command, with all that its ``--help`` says; commands that are merely listed need no import."""
        from secondthought import catalog

        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and name is not None and catalog.exists("probes", name):
            command.help = _help(name, command.help or "")
        return name, command, rest


def _help(name: str, summary: str) -> str:
    """What ``probe NAME --help`` says: the probe's first sentence, its options with their defaults, and what they mean."""
    from secondthought import catalog
    from secondthought.training.settings import options

    kind = catalog.find("probes", name)
    given = {key: default for key, (_, default) in options(kind).items()}
    shown = ", ".join(f"{key}={','.join(map(str, v)) if isinstance(v, tuple) else v}" for key, v in given.items())
    text = [f"\b\n{one}" if "  " in one else one for one in (inspect.getdoc(kind) or "").split("\n\n") if ">>>" not in one]
    return "\n\n".join([summary, *text, f"Options for --set, with their defaults: {shown}"]).replace("``", "")


probes = typer.Typer(cls=Probes, no_args_is_help=True, help="Measure one thing on any number of models or checkpoints.")
app.add_typer(probes, name="probe")


def probe(
    context: typer.Context,
    model: Annotated[
        list[str],
        typer.Option(
            help="A folder (searched), a glob, a hub name, hub/name@revision,..., vllm:MODEL or URL#MODEL; repeatable."
        ),
    ],
    tasks: Tasks = None,
    out: Annotated[Path | None, typer.Option(help="Where to write; the same command goes on. Default runs/PROBE.")] = None,
    n: Number = None,
    grade: Grade = None,
    temperature: Annotated[float | None, typer.Option(help="0 is greedy; default: that of the probe.", min=0)] = None,
    max_tokens: Annotated[int | None, typer.Option(help="For each turn; default: that of the probe.", min=1)] = None,
    frame: Annotated[str, typer.Option(help="auto (the chat template where there is one), chat or raw.")] = "auto",
    sampling: SamplingFrom = None,
    thinking: Thinking = None,
    top_p: TopP = None,
    top_k: TopK = None,
    min_p: MinP = None,
    repetition_penalty: RepetitionPenalty = None,
    dtype: Dtype = None,
    precision: Precision = None,
    threads: Threads = None,
    settings: Settings = None,
    prices: Prices = None,
    extra: Annotated[
        str | None, typer.Option(help="Further fields of every request to a URL, as JSON; null drops one.")
    ] = None,
    stop_after: Annotated[
        int,
        typer.Option(
            "--stop-after-first-answer", help="End every turn behind its K-th candidate answer (early stopping).", min=0
        ),
    ] = 0,
    seed: Seed = None,
) -> None:
    """Measure a probe on models; its own options are given with --set."""
    from secondthought import catalog
    from secondthought.engines.remote.openai import extra_of, prices_of
    from secondthought.probes.run import Options, run_probe
    from secondthought.report import formats, terminal
    from secondthought.runs.progress import show_progress
    from secondthought.training.settings import engine_options, made

    name = str(context.info_name)
    kind = catalog.find("probes", name)
    for option, value, choices in (
        ("frame", frame, ("auto", "chat", "raw")),
        ("dtype", dtype or "float32", ("float32", "bfloat16", "float16")),
    ):
        if value not in choices:
            raise UserError(f"--{option} {value!r} does not exist; choose {', '.join(choices)}")
    known = {f.name for f in fields(kind)}
    given = {"tasks": tasks, "n": n, "grade": grade, "temperature": temperature, "max_tokens": max_tokens}
    given = {key: value for key, value in given.items() if value is not None}
    for key in given:
        if key not in known:
            raise UserError(f"the probe {name} takes no --{key.replace('_', '-')}; see: secondthought probe {name} --help")
    if sampling == "model" and temperature is not None:
        raise UserError("--sampling model takes the temperature from the model; leave --temperature out")
    shape = {"sampling": sampling, "top_p": top_p, "top_k": top_k, "min_p": min_p, "repetition_penalty": repetition_penalty}
    engine = engine_options(engine_settings(**shape, precision=precision, threads=threads, thinking=thinking))
    chosen = made(kind, seeded(settings, seed), **given)
    from secondthought.probes.checkpoints import checkpoints_of

    folder = out or Path("runs") / chosen.name
    with show_progress() as progress:
        asked = Options(
            frame, dtype or "float32", engine, prices=prices_of(prices), extra=extra_of(extra), stop_after=stop_after
        )
        summary = run_probe(chosen, checkpoints_of(model), folder, progress, asked)
        progress.phase("writing the report")
        page = formats.write(folder)
    typer.echo(terminal.summary(summary))
    typer.echo(f"{folder}: open {page}")


def all_probes(
    model: Annotated[list[str], typer.Option(help="A folder, a hub name, vllm:MODEL or URL#MODEL; repeatable.")],
    tasks: Annotated[str | None, typer.Option(help="The SPEC of problems; default: drawn ones.")] = None,
    items: Annotated[str | None, typer.Option(help="The SPEC of items with chains of thought; default: drawn ones.")] = None,
    questions: Annotated[str | None, typer.Option(help="The SPEC of questions with options; default: drawn ones.")] = None,
    n: Annotated[int, typer.Option(help="How many of each.", min=1)] = 50,
    max_tokens: Annotated[int, typer.Option(help="For each turn; default: those of each probe.", min=0)] = 0,
    only: Annotated[str, typer.Option(help="Only these probes, separated by commas.")] = "",
    plan: Annotated[bool, typer.Option("--plan", help="Say what it would cost, and stop.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Go on though an endpoint may charge for it.")] = False,
    out: Annotated[Path, typer.Option(help="Where to write; the same command goes on.")] = Path("runs/all"),
    thinking: Thinking = None,
    prices: Prices = None,
    threads: Threads = None,
) -> None:
    """Run all probes that a model's access allows: what they cost first, one report in the end."""
    from secondthought.engines.remote.openai import is_endpoint, prices_of
    from secondthought.probes.checkpoints import checkpoints_of
    from secondthought.probes.run import Options
    from secondthought.probes.suite import Wanted, estimated, run_suite
    from secondthought.report import card, formats, terminal
    from secondthought.runs.progress import show_progress
    from secondthought.training.settings import engine_options

    names = tuple(one for one in only.split(",") if one)
    wanted = Wanted(tasks or "", items or "", questions or "", n, max_tokens, names)
    places = checkpoints_of(model)
    options = Options(engine=engine_options(engine_settings(threads=threads, thinking=thinking)), prices=prices_of(prices))
    with show_progress() as progress:
        for place in places:
            progress.phase(f"{place.name}: counting what it would take")
            found = estimated(place, wanted, options)
            rows = {probe: (cost.calls, cost.read, cost.written, found.seconds(cost)) for probe, cost in found.costs.items()}
            typer.echo(terminal.costs(place.name, rows, options.prices))
        if plan:
            return
        if any(is_endpoint(place.place) for place in places) and not yes:
            raise UserError("an endpoint may charge for this; add --yes to go on, or a smaller --n")
        summary = run_suite(places, wanted, out, progress, options)
        progress.phase("writing the report")
        for one in summary["parts"]:
            formats.write(out / one["folder"])
        page, short = formats.write(out), card.write(out)
    typer.echo(terminal.suite(summary))
    typer.echo(f"{out}: open {page}; to hand on: {short}")


@app.command()
def reproduce(
    name: Annotated[
        str,
        typer.Argument(help="See: secondthought list reproductions; or a .py path.", autocompletion=names_of("reproduce")),
    ],
    budget: Annotated[str, typer.Option(help="quick (minutes) or full (hours).")] = "quick",
    out: Annotated[Path | None, typer.Option(help="Where to write; the same command goes on. Default runs/NAME.")] = None,
    data: Annotated[Path | None, typer.Option(help="The folder with the paper's result files, where they are needed.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes side by side.", min=1)] = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Make a paper's claims again: each with its published and its measured value, interval and verdict."""
    import json

    from secondthought import catalog
    from secondthought.report import terminal
    from secondthought.reproduce.base import check_budget
    from secondthought.runs.progress import show_progress
    from secondthought.training.settings import made

    kind = catalog.find("reproduce", name)
    known = {f.name for f in fields(kind)}
    given: dict[str, Any] = {k: v for k, v in {"data": data, "workers": workers}.items() if v is not None}
    for key in given:
        if key not in known:
            raise UserError(f"the reproduction {name} takes no --{key}")
    chosen = made(kind, settings or [], **given)
    check_budget(chosen, budget)
    folder = out or Path("runs") / chosen.name
    with show_progress(stderr=as_json) as progress:
        found = chosen.run(budget, folder, progress)
    if as_json:
        typer.echo(json.dumps(found.json(chosen.name, budget), allow_nan=False))
        return
    typer.echo(terminal.claims(chosen.name, budget, found.claims))
    if found.page is not None:
        typer.echo(f"{folder}: open {found.page}")


# --- data ------------------------------------------------------------------------------------------------------------

data = typer.Typer(no_args_is_help=True, help="Build items, grade outputs, and find out which texts reflect.")
app.add_typer(data, name="data")


@data.command()
def build(
    tasks: Annotated[
        str, typer.Argument(help="arithmetic, countdown, FAMILY:FILE, or critiques:TASKS.", autocompletion=names_of("items"))
    ],
    out: Annotated[Path, typer.Option(help="The JSONL to write.")],
    n: Number = None,
    model: Annotated[str | None, typer.Option(help="critiques: whose answers are criticised.")] = None,
    critic: Annotated[str, typer.Option(help="critiques: program, or a model (a folder, a hub name, URL#MODEL).")] = "program",
    show: Annotated[bool, typer.Option("--show-answer", help="critiques: name a right answer where one is wrong.")] = False,
    grade: Grade = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse items with faults instead of leaving them out.")] = False,
    seed: Seed = None,
) -> None:
    """Write verified items (a question, a flawed and a clean chain of thought), or critiques of a model's answers, to a file
    one can read, edit and keep.
    """
    from secondthought.items.base import write_items
    from secondthought.items.load import items_of
    from secondthought.runs.progress import show_progress

    if tasks.partition(":")[0] == "critiques":
        from secondthought.items.load import tasks_of
        from secondthought.models.names import style_of
        from secondthought.training.critiques import build_critiques

        if model is None:
            raise UserError("whose answers? add --model NAME")
        spec = tasks.partition(":")[2] or "countdown"
        found = tasks_of(spec, style=style_of(model), grade=grade or "exact", split="train")
        with show_progress() as progress:
            count = build_critiques(
                found, out, model=model, n=n or 100, critic=critic, show=show, seed=seed or 0, progress=progress
            )
        typer.echo(f"{out}: {count} critiques; train on them with: train cft --set imitate.file={out}")
        return
    with show_progress() as progress:
        progress.phase(f"items of {tasks}")
        items = items_of(tasks, n=n, seed=seed or 0, on_progress=lambda done, of: progress.step(done, of, {}))
    if strict:
        items.strictly()
    write_items(out, items.found)
    for note in items.notes():
        typer.echo(note)
    typer.echo(f"{out}: {len(items.found)} items")


@data.command()
def detect(
    file: Annotated[Path, typer.Argument(help="A CSV file.")],
    text: Annotated[str, typer.Option(help="The column with the texts.")],
    label: Annotated[str | None, typer.Option(help="The column with labels (Yes/No), to compare with.")] = None,
    detector: Detector = "rules",
    as_json: Json = False,
) -> None:
    """Which of these texts say that something before was wrong?"""
    import json

    from secondthought.probes.agreement import detect as run

    found = run(file, text, label, detector)
    if as_json:
        typer.echo(json.dumps(found))
        return
    typer.echo(f"{detector}: {sum(found['predictions'])} of {found['n']} texts reflect")
    for name in ("precision", "recall", "specificity", "f1"):
        if name in found:
            typer.echo(f"{name:12} {found[name]['value']:.3f} [{found[name]['low']:.3f}, {found[name]['high']:.3f}]")


@data.command()
def grade(
    task: Annotated[str, typer.Argument(help="function_calling.")],
    rows: Annotated[Path, typer.Option(help="A JSONL of problems: BFCL, or APIGen/xLAM.")],
    outputs: Annotated[Path, typer.Option(help="A JSONL of what a model wrote: id and text.")],
    answers: Annotated[Path | None, typer.Option(help="BFCL's possible answers, where they stand in another file.")] = None,
    as_json: Json = False,
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
