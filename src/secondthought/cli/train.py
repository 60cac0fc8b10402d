"""``train``, ``launch``, ``plan``, ``merge``, ``serve`` and ``pretrain``: what makes models, and what moves them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from secondthought.cli.base import (
    Dtype,
    Grade,
    MinP,
    Model,
    Number,
    Precision,
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
    run,
    seeded,
)  # fmt: skip
from secondthought.errors import UserError

LOST = 0.1  # of what adapters change, from which a word is said

RecipeName = Annotated[
    str,
    typer.Argument(
        help="A shipped recipe (see: secondthought list recipes), NAME:ARM for one of its arms, or the path of a .py file.",
        autocompletion=names_of("recipes"),
    ),
]


@app.command()
def train(
    recipe: RecipeName,
    model: Model = None,
    tasks: Tasks = None,
    grade: Grade = None,
    out: Annotated[Path | None, typer.Option(help="Where to write; default runs/RECIPE.")] = None,
    settings: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out where it stopped.")] = False,
    sampling: SamplingFrom = None,
    thinking: Thinking = None,
    top_p: TopP = None,
    top_k: TopK = None,
    min_p: MinP = None,
    repetition_penalty: RepetitionPenalty = None,
    dtype: Dtype = None,
    precision: Precision = None,
    threads: Threads = None,
    track: Annotated[str, typer.Option(help="Also to tensorboard, wandb, trackio or mlflow; several with commas.")] = "",
    seed: Seed = None,
) -> None:
    """Train a model by a recipe; measures it before and after, and writes a report."""
    from secondthought import recipes
    from secondthought.runs.progress import show_progress
    from secondthought.training.settings import override

    shape = {"sampling": sampling, "top_p": top_p, "top_k": top_k, "min_p": min_p, "repetition_penalty": repetition_penalty}
    words = engine_settings(**shape, precision=precision, threads=threads, thinking=thinking)
    words += [f"weights={dtype}"] if dtype else []
    given: dict[str, Any] = {"model": model, "tasks": tasks, "grade": grade, "settings": [*words, *seeded(settings, seed)]}
    command = began_with(out or Path("runs") / recipe.replace(":", "-"), given) if resume else given
    chosen = recipes.load(recipe, model=command["model"], tasks=command["tasks"], grade=command["grade"] or "exact")
    chosen = override(chosen, [*command["settings"], *([f"track={track}"] if track else [])])
    folder = out or Path("runs") / chosen.name.replace(":", "-")
    began = time.perf_counter()
    from secondthought.training.loop import train as start

    with show_progress() as progress:
        if not resume and (estimate := planned(chosen)):
            progress.phase(estimate)
        summary = start(chosen, folder, progress, resume=resume, command=command)
        if not summary:  # another process writes the report
            return
        progress.phase("writing the report")
        from secondthought.report import formats, terminal

        page = formats.write(folder)
    typer.echo(terminal.summary(summary))
    typer.echo(f"{folder}: {time.perf_counter() - began:.0f} s; open {page}")


def planned(recipe: Any) -> str:
    """What a training will take, in a line; nothing for nano models, which are done before one has read it."""
    from secondthought.models.names import style_of
    from secondthought.report.terminal import plan_in_short
    from secondthought.training import plan as planning

    if style_of(recipe.model) == "terse" or recipe.engine.backend != "torch" or recipe.engine.at:
        return ""
    return plan_in_short(planning.plan(recipe), recipe.total_steps)


def began_with(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """What is given now, and what the run was started with where nothing is."""
    from secondthought.runs.reading import read_run

    before = read_run(folder).resolved.get("command") if (folder / "resolved.json").is_file() else None
    if before is None:
        return given
    kept = {name: before.get(name) if value is None else value for name, value in given.items()}
    return {**kept, "settings": [*before.get("settings", ()), *given["settings"]]}


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False})
def launch(
    context: typer.Context,
    processes: Annotated[int, typer.Option(help="How many processes train as one.", min=1)] = 2,
    ray: Annotated[
        str | None, typer.Option(help="On a Ray cluster: its address, auto, or local for one on this machine.")
    ] = None,
) -> None:
    """Run a command in several processes: secondthought launch --processes 2 train rrr_countdown --out runs/two."""
    words = list(context.args)
    if ray == "train":  # --ray without an address
        ray, words = "auto", ["train", *words]
    if not words or words[0] != "train":
        raise UserError("launch runs train in several processes: secondthought launch --processes 2 train RECIPE ...")
    if ray is None:
        from secondthought.distributed import local

        local.launch(words, processes)
    else:
        from secondthought.distributed import ray as cluster

        cluster.launch(words, processes, ray, run)


@app.command()
def plan(
    recipe: Annotated[str, typer.Argument(help="A recipe, as train takes it, or a probe.")],
    model: Model = None,
    tasks: Tasks = None,
    n: Number = None,
    settings: Settings = None,
) -> None:
    """Estimate memory, tokens and time of a recipe or a probe on this machine; nothing is loaded or trained."""
    from secondthought import catalog

    if catalog.exists("probes", recipe):
        from secondthought.report import terminal
        from secondthought.training.plan import plan_probe
        from secondthought.training.settings import engine_options, made

        if model is None:
            raise UserError(f"plan {recipe} needs --model")
        words = list(settings or [])
        engine = engine_options([word for word in words if word.startswith("engine.")])
        given = {name: value for name, value in {"tasks": tasks, "n": n}.items() if value is not None}
        chosen = made(catalog.find("probes", recipe), [w for w in words if not w.startswith("engine.")], **given)
        typer.echo(terminal.plan_of_probe(recipe, *plan_probe(chosen, model, engine)))
        return
    if n is not None:
        raise UserError("plan takes --n for a probe; for a recipe, --set eval_problems=N")
    from secondthought import recipes
    from secondthought.report import terminal
    from secondthought.training import plan as planning
    from secondthought.training.settings import override

    chosen = override(recipes.load(recipe, model=model, tasks=tasks), settings or [])
    typer.echo(terminal.plan(planning.plan(chosen), chosen.total_steps))


@app.command()
def merge(
    run: Annotated[Path | None, typer.Argument(help="A run folder, one of its checkpoints, or a model folder.")] = None,
    out: Annotated[Path | None, typer.Option(help="A new folder to write.")] = None,
    model: Annotated[str | None, typer.Option(help="Instead of a run: FILE.gguf, hub/name:FILE.gguf, or a hub name.")] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16; default: as the model was saved.")] = "",
    push: Annotated[str | None, typer.Option(help="Also push it to the hub under this name, with its card.")] = None,
) -> None:
    """Write a trained model, or a GGUF file, as one Hugging Face folder with a model card; adapters are merged in float32."""
    from secondthought.models.hub import save
    from secondthought.models.sharing import push as pushed
    from secondthought.report import model_card
    from secondthought.runs.files import complete_folders

    if out is None or (run is None) == (model is None):
        raise UserError("merge needs a run (or --model NAME) and --out FOLDER")
    if run is None:
        save(str(model), out, dtype=dtype)
        typer.echo(f"{out}: the model {model}")
        if push:
            typer.echo(pushed(out, push))
        return
    whole = next((place for place in (run, *run.parents[:2]) if (place / "resolved.json").is_file()), None)
    if whole == run:
        found = complete_folders(run / "checkpoints")
        if not found:
            raise UserError(f"{run} has no checkpoint yet")
        run = found[-1]
    place = run / "model" if (run / "model").is_dir() else run
    lost = save(str(place), out, dtype=dtype)
    if whole is not None:
        model_card.beside(whole, out, push or "")
    typer.echo(f"{out}: the model of {place}" + (f"; {lost}" if lost is not None else ""))
    if lost is not None and lost.lost > LOST:
        typer.echo("the change is small beside the step of this precision: --dtype float32 keeps all of it", err=True)
    if push:
        typer.echo(pushed(out, push))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def serve(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="A model folder, a hub name, or a shipped model such as nano/countdown.")],
    port: Annotated[int, typer.Option(help="Where to listen.", min=1, max=65535)] = 8000,
    host: Annotated[
        str, typer.Option(help="0.0.0.0: whoever reaches it may ask; weights are changed with SECONDTHOUGHT_TOKEN only.")
    ] = "127.0.0.1",
    exchange: Annotated[Path | None, typer.Option(help="Weights are taken from this folder only.")] = None,
    backend: Annotated[str, typer.Option(help="torch, or vllm (in an environment that has it; see docs/vllm.md).")] = "torch",
    dtype: Dtype = None,
    precision: Precision = None,
    threads: Threads = None,
) -> None:
    """Serve a model to a training on another machine (--set engine.at=http://HOST:PORT), and to any OpenAI client."""
    if backend == "vllm":
        from secondthought.engines.vllm import engine as vllm

        vllm.serve(model, host, port, context.args)
    if backend != "torch":
        raise UserError(f"--backend {backend}: choose torch or vllm")
    if context.args:
        raise UserError(f"serve has no option {context.args[0]}; --backend vllm takes those of vLLM")
    from secondthought.engines.factory import torch_engine
    from secondthought.engines.remote.server import serve as listening
    from secondthought.models.hub import precision_called
    from secondthought.training.settings import engine_options

    options = engine_options(engine_settings(precision=precision, threads=threads))
    engine = torch_engine(model, options, dtype=precision_called(dtype or "float32"))
    server = listening(engine, model, host, port, exchange)
    typer.echo(f"{model} at http://{host}:{port} (Ctrl-C ends it)")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        typer.echo("closed")
    finally:
        server.server_close()


@app.command()
def pretrain(
    out: Annotated[Path, typer.Option(help="Where to write checkpoints.")],
    corpus: Annotated[
        str,
        typer.Option(help="countdown; duo; zero-0 ... -20-untaught, adder, asker, rivals, mirror, gamer, knower, chooser."),
    ] = "countdown",
    size: Annotated[
        str, typer.Option(help="0.1m, 0.3m, 0.8m, 1m, 3m, 3.3m or 10m; several, separated by commas, are made side by side.")
    ] = "1m",
    steps: Annotated[int | None, typer.Option(help="Default: those of the corpus (6,000).", min=1)] = None,
    workers: Annotated[int, typer.Option(help="Processes, where several models are made.", min=1)] = 2,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out where it stopped.")] = False,
    seed: Seed = None,
) -> None:
    """Train nano models from scratch on a synthetic corpus, then let them sit their exam."""
    from secondthought.engines.factory import engine_for
    from secondthought.nano.exam import GAMES, exam
    from secondthought.nano.family import family_of, grow, last_checkpoint
    from secondthought.runs.progress import show_progress
    from secondthought.tasks.base import distinct

    family = family_of(corpus, size.split(","), steps=steps, seed=seed or 0)
    if len(family) == 1:
        family = dict(zip([""], family.values(), strict=True))  # one alone lives in OUT itself
    with show_progress() as progress:
        progress.phase(f"pre-training {size} on {corpus}")
        grow(family, out, workers, progress, resume=resume)
        for member, recipe in family.items():
            place = last_checkpoint(out, member, recipe)
            if (probe := _exam_of(corpus)) is not None:
                for figure, estimate in probe.report(probe.measure(engine_for(str(place)), progress)).figures.items():
                    typer.echo(f"{figure:14} {estimate}")
            for name in {"countdown": ("countdown",), "duo": tuple(GAMES)}.get(corpus, ()):
                progress.phase(f"{member or size}: sitting the exam in {name} on held-out problems")
                game, tasks = GAMES[name]
                for figure, estimate in exam(engine_for(str(place)), game, tasks, distinct(tasks, 1000)).items():
                    typer.echo(f"{figure:14} {estimate}")
            typer.echo(f"{place}")


def _exam_of(corpus: str) -> Any:
    """The probe that a model of a corpus is measured by when it is made; None for those that sit an exam."""
    from secondthought.probes.answer import Answer
    from secondthought.probes.digits import Digits
    from secondthought.probes.judge import JudgeProbe
    from secondthought.probes.second_try import SecondTry
    from secondthought.probes.unasked import Unasked

    exams: dict[str, Any] = {
        "zero": Unasked(tasks="announced"), "adder": Digits(tasks="addition:8"), "asker": Answer(tasks="addition:4"),
        "rivals": JudgeProbe(tasks="countdown"), "lake": SecondTry(tasks="frozen_lake", n=1000),
    }  # fmt: skip
    return exams.get(corpus.partition("-")[0])
