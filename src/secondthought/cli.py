"""The command line: ``secondthought train | eval | pretrain | report | doctor``."""

from __future__ import annotations

import errno
import sys
import time
from pathlib import Path
from typing import Annotated, Any

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
    tasks: Annotated[str | None, typer.Option(help="Your own tasks: FILE.jsonl or hf:DATASET (for the recipe rrr).")] = None,
    grade: Grade = "exact",
    out: Out = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="name=value; may be repeated.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out where it stopped.")] = False,
    seed: Seed = None,
) -> None:
    """Train a model by a recipe; measures it before and after, and writes a report."""
    from secondthought import recipes
    from secondthought.progress import watcher
    from secondthought.report import html, table
    from secondthought.train import train as run

    chosen = recipes.load(recipe, model=model, tasks=tasks, grade=grade)
    chosen = recipes.override(chosen, [*(settings or []), *([f"seed={seed}"] if seed is not None else [])])
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
    tasks: Annotated[str, typer.Option(help="countdown:test, FILE.jsonl or hf:DATASET.")],
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
    size: Annotated[str, typer.Option(help="0.3m, 0.8m, 1m, 3m or 10m.")] = "1m",
    steps: Annotated[int, typer.Option(help="Steps of 128 documents.", min=1)] = 6000,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out where it stopped.")] = False,
    seed: Seed = None,
) -> None:
    """Train a nano model from scratch on the synthetic corpus, then let it sit its exam."""
    from secondthought.engines.hub import engine_for
    from secondthought.nano.exam import exam
    from secondthought.nano.pretrain import SIZES, Pretraining
    from secondthought.nano.pretrain import pretrain as run
    from secondthought.probes.second_try import distinct
    from secondthought.progress import watcher
    from secondthought.tasks.countdown import Countdown

    if size not in SIZES:
        raise UserError(f"there is no size {size!r}; there is {', '.join(SIZES)}")
    recipe = Pretraining(size=size, steps=steps, seed=seed or 0)
    with watcher() as watching:
        watching.phase(f"pre-training {size} for {steps} steps")

        def tell(step: int, loss: float, rate: float) -> None:
            watching.step(step, steps, {"loss": loss, "speed/tokens_per_second": rate})

        last = run(recipe, out, resume=resume, tell=tell)
        watching.phase("sitting the exam on held-out problems")
        dev = Countdown("dev")
        figures = exam(engine_for(str(last)), dev, distinct(dev, 1000))
    for name, estimate in figures.items():
        typer.echo(f"{name:14} {estimate}")
    typer.echo(f"{last}")


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
