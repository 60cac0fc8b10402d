"""Measuring a model on held-out problems and writing down everything that was seen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from secondthought.engines.hub import engine_for, style_of
from secondthought.engines.openai import Bill, Wordbook, endpoint, far
from secondthought.engines.remembered import Remembered
from secondthought.files import UserError, write_json
from secondthought.journal import Journal, estimate_json, scores_json, versions
from secondthought.probes import second_try
from secondthought.progress import Watcher
from secondthought.protocols.answer import answer
from secondthought.protocols.reflect_retry import prompts_for
from secondthought.rollout import rollout
from secondthought.scene import Engine, Sampling
from secondthought.stats import mean
from secondthought.tasks.base import tasks_of
from secondthought.types import Task

PROTOCOLS = ("reflect_retry", "answer")


def measured(
    engine: Engine, problems: list[Task], setting: second_try.Setting, journal: Journal, label: str, step: int, watcher: Watcher
) -> dict[str, Any]:
    """All arms on ``problems``: episodes into the journal, figures and scores of each task into what is returned (JSON)."""
    cases = second_try.measure(engine, problems, setting, tell=lambda done, arms: watcher.step(done, arms, {}))
    journal.episodes(label, step, label, [(case.own,) for case in cases])
    for arm in ("resample", *second_try.SWAPS):
        told = [(case.arms[arm],) for case in cases if arm in case.arms]
        journal.episodes(f"{label}_{arm}", step, f"{label}/{arm}", told)
    decided = second_try.report(cases)
    return {
        "claim": {"claim": decided.claim, "effect": estimate_json(decided.effect), "verdict": decided.verdict},
        "numbers": {k: estimate_json(v) for k, v in second_try.summary(cases).items()},
        "errors": {verdict: second_try.errors(cases, verdict) for verdict in ("attempt", "retry")},
        "tasks": [case.task.key for case in cases],
        "first": scores_json([case.own.verdicts["attempt"].score for case in cases]),
        "second": scores_json([case.score("own") if case.failed else 1.0 for case in cases]),
        "resampled": scores_json([case.score("resample") if case.failed else 1.0 for case in cases]),
        "retries": {arm: scores_json([case.score(arm) for case in cases]) for arm in ("own", "resample", *second_try.SWAPS)},
        "reflection_tokens": [len(case.own["reflection"].tokens) if case.failed else None for case in cases],
        "leak": [case.leak if case.failed else None for case in cases],
    }


@contextmanager
def speaking(model: str, out: Path, prices: tuple[float, float], watcher: Watcher, *, raw: bool = False) -> Iterator[Engine]:
    """What speaks for ``model``. The answers of an endpoint are kept in ``out/cache.sqlite``, so that nothing is paid for twice
    when the same command is given again after an interruption; at the end it is told what was used.
    """
    if not far(model):
        yield engine_for(model)
        return
    out.mkdir(parents=True, exist_ok=True)
    there = endpoint(model, raw=raw, bill=Bill(prices), book=Wordbook(out / "cache.sqlite.words"))
    with closing(Remembered(there, out / "cache.sqlite", there.digest)) as engine:
        try:
            yield engine
        finally:
            watcher.phase(f"{there.url}: {there.bill}")


def evaluate(
    protocol: str,
    model: str,
    tasks: str,
    out: Path,
    watcher: Watcher,
    *,
    n: int = 500,
    temperature: float = 1.0,
    max_tokens: int | None = None,
    grade: str = "exact",
    seed: int = 0,
    prices: tuple[float, float] = (0.0, 0.0),
) -> dict[str, Any]:
    """Measure ``model`` on the first ``n`` different tasks; returns (and writes) the summary.

    ``prices`` are dollars for a million tokens read and written by an endpoint (:func:`speaking`). Raises UserError for an
    unknown protocol, model or tasks, and for a folder already in use.
    """
    if protocol not in PROTOCOLS:
        raise UserError(f"there is no protocol {protocol!r} to evaluate; choose {' or '.join(PROTOCOLS)}")
    style = style_of(model)
    found = tasks_of(tasks, style=style, grade=grade)
    problems = second_try.distinct(found, n)
    sampling = Sampling(temperature=temperature, max_tokens=max_tokens or (32 if style == "terse" else 512))
    asked = {"protocol": protocol, "model": model, "tasks": tasks, "n": n, "temperature": temperature, "grade": grade}
    watcher.phase(f"loading {model}")
    with speaking(model, out, prices, watcher) as engine:
        resolved = {"recipe": {**asked, "seed": seed}, "versions": versions(), "seed": seed}
        journal = Journal(out, resolved, resume=far(model) and not (out / "summary.json").exists())
        if engine.dialect.note:
            watcher.phase(f"note: {engine.dialect.note}")
        watcher.phase(f"measuring {model} on {len(problems)} problems")
        if protocol == "answer":
            groups = rollout(partial(answer, grade=found.grade), problems, 1, engine, sampling, seed=seed)
            journal.episodes("after", 0, "after", groups)
            scores = [group[0].verdicts["attempt"].score for group in groups]
            figures = {"numbers": {"first": estimate_json(mean(scores, [task.key for task in problems]))}}
        else:
            setting = second_try.Setting(found, prompts_for(style), sampling, style, seed)
            figures = measured(engine, problems, setting, journal, "after", 0, watcher)
    summary = {"run": journal.run, **asked, "seed": seed, "after": figures["numbers"]}
    if "errors" in figures:
        summary |= {"errors": {"after": figures["errors"]}, "claim": {"after": figures["claim"]}}
    write_json(out / "summary.json", summary)
    return summary
