"""``train``, ``eval``, ``ablate``, ``pretrain`` and ``reproduce``: what takes minutes or hours, and can go on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from secondthought.cli.base import Grade, Model, Prices, Seed, app
from secondthought.files import UserError

Out = Annotated[Path | None, typer.Option(help="Where to write; default runs/RECIPE.")]


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
    from secondthought.report import formats, table
    from secondthought.train import train as run

    chosen = recipes.load(recipe, model=model, tasks=tasks, grade=grade)
    more = [f"seed={seed}"] if seed is not None else []
    chosen = recipes.override(chosen, [*(settings or []), *more, *([f"track={track}"] if track else [])])
    folder = out or Path("runs") / chosen.name
    began = time.perf_counter()
    with watcher() as watching:
        summary = run(chosen, folder, watching, resume=resume)
        if not summary:  # another process of the crew tells
            return
        watching.phase("writing the report")
        page = formats.write(folder)
    typer.echo(table.summary(summary))
    typer.echo(f"{folder}: {time.perf_counter() - began:.0f} s; open {page}")


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
        from secondthought.launch import launch as run

        run(words, processes)
    else:
        from secondthought.cluster import launch as run_on

        run_on(words, processes, ray)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def serve(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="A model folder, a hub name, or a shipped model such as nano/countdown.")],
    port: Annotated[int, typer.Option(help="Where to listen.", min=1, max=65535)] = 8000,
    host: Annotated[str, typer.Option(help="0.0.0.0 for other machines to reach it; there is no password.")] = "127.0.0.1",
    backend: Annotated[str, typer.Option(help="torch, or vllm (in an environment that has it; see docs/vllm.md).")] = "torch",
) -> None:
    """Serve a model to a training elsewhere (--set engine.at=http://HOST:PORT), and to any OpenAI client."""
    if backend == "vllm":
        from secondthought.engines import vllm

        vllm.serve(model, host, port, context.args)
    if backend != "torch":
        raise UserError(f"--backend {backend}: choose torch or vllm")
    if context.args:
        raise UserError(f"serve has no option {context.args[0]}; --backend vllm takes those of vLLM")
    from secondthought.engines.hub import torch_engine
    from secondthought.engines.serving import serve as listening

    server = listening(torch_engine(model), model, host, port)
    typer.echo(f"{model} at http://{host}:{port} (Ctrl-C ends it)")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        typer.echo("closed")


@app.command("plan")
def plan_run(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe, or the path of a .py file.")],
    model: Model = None,
    tasks: Annotated[str | None, typer.Option(help="countdown, function_calling, FILE.jsonl or hf:DATASET.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="name=value; may be repeated.")] = None,
) -> None:
    """Estimate memory and time of a recipe's steps on this machine; nothing is loaded or trained."""
    from secondthought import recipes
    from secondthought.plan import plan
    from secondthought.report import table

    chosen = recipes.override(recipes.load(recipe, model=model, tasks=tasks), settings or [])
    typer.echo(table.plan(plan(chosen), chosen.steps))


@app.command("eval")
def evaluate(
    protocol: Annotated[str, typer.Argument(help="reflect_retry (all arms) or answer (first tries only).")],
    model: Annotated[
        str, typer.Option(help="A model folder, a hub name, a shipped model, vllm:MODEL, or http://HOST:PORT/v1#MODEL.")
    ],
    tasks: Annotated[str, typer.Option(help="countdown, function_calling, FILE.jsonl or hf:DATASET.")],
    out: Annotated[Path, typer.Option(help="Where to write summary.json, episodes and report.html.")],
    n: Annotated[int, typer.Option(help="How many problems.", min=1)] = 500,
    temperature: Annotated[float, typer.Option(help="0 is greedy.", min=0)] = 1.0,
    max_tokens: Annotated[int | None, typer.Option(help="For each turn; default 32 for nano, else 512.", min=1)] = None,
    grade: Grade = "exact",
    prices: Prices = None,
    seed: Seed = None,
) -> None:
    """Measure a model: does reflecting help, and is it the reflection that helps?"""
    from secondthought.engines.openai import prices_of
    from secondthought.evaluate import evaluate as run
    from secondthought.progress import watcher
    from secondthought.report import formats, table

    with watcher() as watching:
        summary = run(
            protocol, model, tasks, out, watching,
            n=n, temperature=temperature, max_tokens=max_tokens, grade=grade, seed=seed or 0,
            prices=prices_of(prices),
        )  # fmt: skip
        page = formats.write(out)
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
def merge(
    run: Annotated[Path, typer.Argument(help="A run folder, one of its checkpoints, or a model folder.")],
    out: Annotated[Path, typer.Option(help="A new folder to write.")],
    push: Annotated[str | None, typer.Option(help="Also push it to the hub under this name.")] = None,
) -> None:
    """Write a trained model as one Hugging Face folder; adapters are merged into it."""
    from secondthought.engines.hub import save
    from secondthought.files import complete_folders

    if (run / "resolved.json").is_file():
        found = complete_folders(run / "checkpoints")
        if not found:
            raise UserError(f"{run} has no checkpoint yet")
        run = found[-1]
    place = run / "model" if (run / "model").is_dir() else run
    save(str(place), out, push)
    typer.echo(f"{out}: the model of {place}")


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
def reproduce(
    what: Annotated[str, typer.Argument(help="rrr, reflection-in-pretraining or reflection-in-nano.")],
    data: Annotated[Path | None, typer.Option(help="The folder with the paper's result files.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write; continued if interrupted. Default runs/WHAT.")] = None,
    budget: Annotated[str, typer.Option(help="quick (minutes) or full (hours), for what must be trained.")] = "quick",
    workers: Annotated[int, typer.Option(help="Processes that train side by side.", min=1)] = 2,
    only_tables: Annotated[
        bool, typer.Option("--only-tables", help="Run nothing; tables of what is there already (rrr).")
    ] = False,
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
        from secondthought.report import formats, reflection
        from secondthought.reproduce import reflection_in_nano as nano

        with watcher() as watching:
            summary = nano.reproduce(folder, budget, workers, watching)
            where = formats.write(folder / "sweep")
        typer.echo(json.dumps(summary["sweeps"]) if as_json else reflection.terminal(summary))
        typer.echo(f"{folder}: open {where}", err=as_json)
    elif what == "rrr":
        from secondthought.progress import watcher
        from secondthought.report import rrr as results
        from secondthought.reproduce import rrr, rrr_tables

        with watcher() as watching:
            plan = rrr.plan_of(budget) if only_tables else rrr.reproduce(folder, budget, workers, watching)
            watching.phase("pooling the runs")
            found = rrr_tables.tables(folder, plan)
            where = results.write(folder, found)
        typer.echo(json.dumps(found) if as_json else where.read_text(encoding="utf-8"))
        typer.echo(f"{folder}: see {where} and the pictures beside it", err=as_json)
    else:
        raise UserError(f"there is no {what!r} to reproduce; choose rrr, reflection-in-pretraining or reflection-in-nano")
