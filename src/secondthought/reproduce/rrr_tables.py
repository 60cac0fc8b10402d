"""What the runs of :mod:`secondthought.reproduce.rrr` say together. Everything is read from their folders.

Scores of several seeds are pooled and resampled by problem (the same problems in every seed); ``seeds`` holds a t-interval over
the seeds' own means beside it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from secondthought.files import UserError
from secondthought.journal import estimate_json, scores_of
from secondthought.nano.family import size_of
from secondthought.probes.second_try import distinct
from secondthought.reproduce.rrr import TASKS, UNTRAINED, Plan, Run, TaskName, finished
from secondthought.stats import difference, mean, over_seeds
from secondthought.tasks.drills import KINDS
from secondthought.tasks.tool_world import ToolWorld
from secondthought.types import Estimate

Json = dict[str, Any]
OTHER = {"countdown": "function_calling", "function_calling": "countdown"}


class Evaluations:
    """Some evaluations of the same problems, one for each seed: their scores pooled, in the order of seeds and problems."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.found: list[Json] = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        self.tasks: list[str] = [key for one in self.found for key in one["tasks"]]

    def scores(self, measure: str) -> list[float]:
        """``first``, ``second`` or ``resampled`` of every problem."""
        return [score for one in self.found for score in scores_of(one, measure)]

    def retries(self, arm: str) -> list[float]:
        """The score of a retry, nan where the first try was right."""
        return [score for one in self.found for score in scores_of(one["retries"], arm)]

    def mean(self, measure: str, kept: Callable[[str], bool] = lambda key: True) -> Json:
        """A measure over all (kept) problems."""
        pairs = [(s, key) for s, key in zip(self.scores(measure), self.tasks, strict=True) if kept(key)]
        return estimate_json(mean([s for s, _ in pairs], [key for _, key in pairs]))

    def seeds(self, measure: str) -> Json:
        """The same with an interval over seeds."""
        return estimate_json(over_seeds([mean(scores_of(one, measure)).value for one in self.found]))

    def minus(self, other: Evaluations, measure: str, kept: Callable[[str], bool] = lambda key: True) -> Json:
        """The difference to another, problem by problem and seed by seed."""
        rows = [
            (new, old, key)
            for new, old, key in zip(self.scores(measure), other.scores(measure), self.tasks, strict=True)
            if kept(key)
        ]
        return estimate_json(paired(rows))

    def by_problem(self, measure: str) -> dict[str, float]:
        """The mean over seeds for each problem."""
        found: dict[str, list[float]] = {}
        for key, score in zip(self.tasks, self.scores(measure), strict=True):
            found.setdefault(key, []).append(score)
        return {key: fmean(scores) for key, scores in found.items()}

    def own_minus(self, arm: str) -> Json:
        """On the failures: the retry after the own reflection less that of another arm."""
        rows = zip(self.retries("own"), self.retries(arm), self.tasks, strict=True)
        return estimate_json(paired([(own, other, key) for own, other, key in rows if not math.isnan(own)]))

    def errors(self, verdict: str) -> dict[str, float]:
        """The share of each class of error, mean over seeds."""
        classes = dict.fromkeys(why for one in self.found for why in one["errors"][verdict])
        return {why: fmean(one["errors"][verdict].get(why, 0.0) for one in self.found) for why in classes}

    def length(self, retry: float | None = None) -> Json:
        """Tokens of a reflection; those whose retry scored ``retry``, or all."""
        rows = [
            (float(tokens), key)
            for one in self.found
            for tokens, score, key in zip(one["reflection_tokens"], scores_of(one["retries"], "own"), one["tasks"], strict=True)
            if tokens is not None and retry in (None, score)
        ]
        return estimate_json(mean([t for t, _ in rows], [key for _, key in rows], unit="tokens"))


def paired(rows: Sequence[tuple[float, float, str]]) -> Estimate:
    """The difference of pairs of scores, clustered by problem."""
    return difference([a for a, _, _ in rows], [b for _, b, _ in rows], [key for _, _, key in rows])


def tables(out: Path, plan: Plan) -> Json:
    """All tables of a plan, as far as its runs are there; written to summary.json. Raises UserError if none is."""
    runs = finished(out, plan)
    if not runs:
        raise UserError(f"{out} holds no finished run of this plan")
    summary: Json = {
        "runs": len(runs), "sizes": list(plan.sizes), "seeds": plan.seeds, "problems": plan.problems, "tokens": plan.tokens,
        "parameters": parameters(out, runs), "tasks": {task: task_tables(out, plan, runs, task) for task in TASKS},
    }  # fmt: skip
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return summary


def parameters(out: Path, runs: Iterable[Run]) -> dict[str, int]:
    """How many numbers a model of each size has."""
    return {run.size: json.loads((run.aside(out) / "drills.json").read_text())["parameters"] for run in runs}


def task_tables(out: Path, plan: Plan, runs: Sequence[Run], task: TaskName) -> Json:
    """Everything about one task: sizes, arms, whom the trained beat, and what became of the rest."""

    def of(arm: str, size: str) -> list[Run]:
        return [run for run in runs if (run.task, run.arm, run.size) == (task, arm, size)]

    sizes = {
        size: size_table(out, task, of(UNTRAINED, size), of("rrr", size), plan) for size in sorted(plan.sizes, key=size_of)
    }
    compared = {
        size: {arm: arm_table(out, task, of(arm, size), runs) for arm in plan.arms if of(arm, size)} for size in plan.compared
    }
    beats = {
        f"{small} trained, {large} untrained": against(out, of("rrr", small), of(UNTRAINED, large))
        for small, large in zip(sorted(plan.trained, key=size_of), sorted(plan.untrained, key=size_of), strict=False)
        if of("rrr", small) and of(UNTRAINED, large)
    }
    return {"sizes": {k: v for k, v in sizes.items() if v}, "arms": compared, "beats": beats}


def evaluations(out: Path, runs: Sequence[Run], label: str) -> Evaluations:
    """One evaluation of each run."""
    return Evaluations([run.folder(out) / "evaluations" / f"{label}.json" for run in runs])


def at_zero(out: Path, runs: Sequence[Run]) -> Evaluations:
    """What runs do at temperature 0."""
    return Evaluations([run.aside(out) / "greedy.json" for run in runs])


def size_table(out: Path, task: str, untrained: Sequence[Run], trained: Sequence[Run], plan: Plan) -> Json:
    """One size on one task: both tries before and after, controls, errors, lengths, and by what was held out."""
    if not untrained or not untrained[0].at_zero:
        return {}
    before = evaluations(out, untrained, "before")
    zero = at_zero(out, [untrained[0]])
    found: Json = {"before": side(before), "greedy_before": {m: zero.mean(m) for m in ("first", "second")}}
    if not trained:
        return found
    before, after = evaluations(out, trained, "before"), evaluations(out, trained, "after")
    found |= {"before": side(before), "after": side(after), "seeds": len(trained)}
    found["change"] = {m: after.minus(before, m) for m in ("first", "second")}
    found["change_of_each_seed"] = [
        mean(scores_of(a, "second")).value - mean(scores_of(b, "second")).value
        for a, b in zip(after.found, before.found, strict=True)
    ]
    greedy = at_zero(out, trained)
    zero = at_zero(out, [untrained[0]] * len(trained))
    found["greedy_after"] = {m: greedy.mean(m) for m in ("first", "second")}
    found["greedy_change"] = {m: greedy.minus(zero, m) for m in ("first", "second")}
    if task == "function_calling":
        held = {t.key: str(t.answer["held"]) for t in distinct(ToolWorld("test"), plan.problems)}  # type: ignore[index, call-overload]
        found["held"] = {
            kind: {
                "before": before.mean("second", lambda key, kind=kind: held[key] == kind),  # type: ignore[misc]
                "after": after.mean("second", lambda key, kind=kind: held[key] == kind),  # type: ignore[misc]
                "change": after.minus(before, "second", lambda key, kind=kind: held[key] == kind),  # type: ignore[misc]
            }
            for kind in ("tool", "template")
        }
    return found


def side(found: Evaluations) -> Json:
    """The figures of one side of a training."""
    return {
        **{measure: found.mean(measure) for measure in ("first", "second", "resampled")},
        **{f"own_minus_{arm}": found.own_minus(arm) for arm in ("donor", "generic", "empty", "resample")},
        "errors": {verdict: found.errors(verdict) for verdict in ("attempt", "retry")},
        "length": found.length(), "length_right": found.length(1.0), "length_wrong": found.length(0.0),
    }  # fmt: skip


def arm_table(out: Path, task: str, runs: Sequence[Run], everything: Sequence[Run]) -> Json:
    """One arm: what it reached, what it cost, and what became of everything else."""
    before, after = evaluations(out, runs, "before"), evaluations(out, runs, "after")
    told = [json.loads((run.folder(out) / "summary.json").read_text()) for run in runs]
    return {
        "seeds": len(runs),
        "sampled_tokens": [one["training"]["sampled_tokens"] for one in told],
        **{m: after.mean(m) for m in ("first", "second", "resampled")},
        **{f"{m}_gain": after.minus(before, m) for m in ("first", "second")},
        "own_minus_donor": after.own_minus("donor"),
        **rest(out, task, runs),
    }


def rest(out: Path, task: str, runs: Sequence[Run]) -> Json:
    """Everything that was not trained on, after less before: the other task, copying, sorting, the corpus."""
    untrained = [run._replace(arm=UNTRAINED) for run in runs]
    other = [run._replace(task=OTHER[task], arm=UNTRAINED) for run in runs]  # type: ignore[arg-type]
    old = Evaluations([run.folder(out) / "evaluations" / "before.json" for run in other])
    new = Evaluations([run.aside(out) / "evaluations" / "other.json" for run in runs])
    found: Json = {
        "other": {
            "before": side(old), "after": side(new),
            "change": {measure: new.minus(old, measure) for measure in ("first", "second")},
        }
    }  # fmt: skip
    pairs = [
        tuple(json.loads((run.aside(out) / "drills.json").read_text()) for run in (a, b))
        for a, b in zip(untrained, runs, strict=True)
    ]
    for kind in KINDS:
        rows = [(b[kind][key], a[kind][key], key) for a, b in pairs for key in a[kind]]
        found[kind] = {"before": fmean(old for _, old, _ in rows), "change": estimate_json(paired(rows))}
    found["perplexity"] = {
        part: {
            "before": fmean(math.exp(a["loss"][part]) for a, _ in pairs),
            "after": fmean(math.exp(b["loss"][part]) for _, b in pairs),
        }
        for part in pairs[0][0]["loss"]
    }
    return found


def against(out: Path, small: Sequence[Run], large: Sequence[Run]) -> Json:
    """``second`` of a trained model less that of a larger untrained one, on the same problems, means over seeds."""
    ours, theirs = (evaluations(out, runs, label) for runs, label in ((small, "after"), (large, "before")))
    mine, other = ours.by_problem("second"), theirs.by_problem("second")
    rows = [(mine[key], other[key], key) for key in mine if key in other]
    return {
        "trained": estimate_json(mean([a for a, _, _ in rows], [key for _, _, key in rows])),
        "untrained": estimate_json(mean([b for _, b, _ in rows], [key for _, _, key in rows])),
        "difference": estimate_json(paired(rows)),
    }
