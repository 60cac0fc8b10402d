"""What the runs of :mod:`secondthought.reproduce.rrr_runs` show together. Everything is read from their folders.

Scores of several seeds are pooled and resampled by problem (the same problems in every seed); ``seeds`` holds a t-interval over
the seeds' own means beside it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, cast

from secondthought.errors import UserError
from secondthought.nano.family import size_of
from secondthought.reproduce.pooled import Pooled, paired
from secondthought.reproduce.rrr_runs import FORGETTING, TASKS, UNTRAINED, Plan, Run, TaskName, finished
from secondthought.runs.files import write_json
from secondthought.runs.reports import estimate_json
from secondthought.stats import mean
from secondthought.tasks.base import distinct
from secondthought.tasks.copy_sort import KINDS
from secondthought.tasks.tool_world import ToolWorld

Json = dict[str, Any]
OTHER = {"countdown": "tool_world", "tool_world": "countdown"}


def tables(out: Path, plan: Plan) -> Json:
    """All tables of a plan, as far as its runs are there; written to summary.json. Raises UserError if none is."""
    runs = finished(out, plan)
    if not runs:
        raise UserError(f"{out} holds no finished run of this plan")
    summary: Json = {
        "runs": len(runs), "sizes": list(plan.sizes), "seeds": plan.seeds, "problems": plan.problems, "tokens": plan.tokens,
        "parameters": parameters(out, runs), "tasks": {task: task_tables(out, plan, runs, task) for task in TASKS},
    }  # fmt: skip
    write_json(out / "summary.json", summary)
    return summary


def parameters(out: Path, runs: Iterable[Run]) -> dict[str, int]:
    """How many numbers a model of each size has."""
    return {run.size: json.loads((run.aside(out) / "forgetting.json").read_text())["parameters"] for run in runs}


def task_tables(out: Path, plan: Plan, runs: Sequence[Run], task: TaskName) -> Json:
    """Everything about one task: sizes, arms, whom the trained beat, and what became of the rest."""

    def of(arm: str, size: str) -> list[Run]:
        return [run for run in runs if (run.task, run.arm, run.size) == (task, arm, size)]

    sizes = {
        size: size_table(out, task, of(UNTRAINED, size), of("rrr", size), plan) for size in sorted(plan.sizes, key=size_of)
    }
    compared = {
        size: {arm: arm_table(out, task, of(arm, size)) for arm in plan.arms if of(arm, size)} for size in plan.compared
    }
    beats = {
        f"{small} trained, {large} untrained": against(out, of("rrr", small), of(UNTRAINED, large))
        for small, large in zip(sorted(plan.trained, key=size_of), sorted(plan.untrained, key=size_of), strict=False)
        if of("rrr", small) and of(UNTRAINED, large)
    }
    return {"sizes": {k: v for k, v in sizes.items() if v}, "arms": compared, "beats": beats}


def reports(out: Path, runs: Sequence[Run], label: str) -> Pooled:
    """One report of each run."""
    return Pooled.of([run.folder(out) for run in runs], f"{label}_second_try")


def at_zero(out: Path, runs: Sequence[Run]) -> Pooled:
    """What runs do at temperature 0."""
    return Pooled.of([run.aside(out) for run in runs], "greedy")


def size_table(out: Path, task: TaskName, untrained: Sequence[Run], trained: Sequence[Run], plan: Plan) -> Json:
    """One size on one task: both tries before and after, controls, errors, lengths, and by what was held out."""
    if not untrained or not untrained[0].at_zero:
        return {}
    before = reports(out, untrained, "before")
    zero = at_zero(out, [untrained[0]])
    found: Json = {"before": side(before), "greedy_before": {m: estimate_json(zero.mean(m)) for m in ("first", "second")}}
    if not trained:
        return found
    before, after = reports(out, trained, "before"), reports(out, trained, "after")
    found |= {"before": side(before), "after": side(after), "seeds": len(trained)}
    found["change"] = {m: estimate_json(after.minus(before, m)) for m in ("first", "second")}
    found["change_of_each_seed"] = [
        a.arm("second").estimate.value - b.arm("second").estimate.value
        for a, b in zip(after.reports, before.reports, strict=True)
    ]
    greedy = at_zero(out, trained)
    zero = at_zero(out, [untrained[0]] * len(trained))
    found["greedy_after"] = {m: estimate_json(greedy.mean(m)) for m in ("first", "second")}
    found["greedy_change"] = {m: estimate_json(greedy.minus(zero, m)) for m in ("first", "second")}
    if task == "tool_world":
        held = {t.key: str(cast(dict[str, Any], t.answer)["held"]) for t in distinct(ToolWorld("test"), plan.problems)}

        def kept(kind: str) -> Callable[[str], bool]:
            return lambda key: held[key] == kind

        found["held"] = {
            kind: {
                "before": estimate_json(before.mean("second", kept(kind))),
                "after": estimate_json(after.mean("second", kept(kind))),
                "change": estimate_json(after.minus(before, "second", kept(kind))),
            }
            for kind in ("tool", "template")
        }
    return found


def side(found: Pooled) -> Json:
    """The figures of one side of a training."""
    own = "retry_after_failure"
    return {
        **{measure: estimate_json(found.mean(measure)) for measure in ("first", "second", "resampled")},
        **{f"own_minus_{arm}": estimate_json(found.between(own, name)) for arm, name in CONTROLS.items()},
        "errors": {"attempt": found.table("How first tries fail"), "retry": found.table("How retries fail")},
        "length": estimate_json(found.length("reflection_tokens")),
        "length_right": estimate_json(found.length("reflection_tokens", (own, 1.0))),
        "length_wrong": estimate_json(found.length("reflection_tokens", (own, 0.0))),
    }  # fmt: skip


CONTROLS = {"donor": "donor", "generic": "generic", "empty": "empty", "resample": "resample_after_failure"}


def arm_table(out: Path, task: TaskName, runs: Sequence[Run]) -> Json:
    """One arm: what it reached, what it cost, and what became of everything else."""
    before, after = reports(out, runs, "before"), reports(out, runs, "after")
    summaries = [json.loads((run.folder(out) / "summary.json").read_text()) for run in runs]
    return {
        "seeds": len(runs),
        "sampled_tokens": [one["training"]["sampled_tokens"] for one in summaries],
        **{m: estimate_json(after.mean(m)) for m in ("first", "second", "resampled")},
        **{f"{m}_gain": estimate_json(after.minus(before, m)) for m in ("first", "second")},
        "own_minus_donor": estimate_json(after.between("retry_after_failure", "donor")),
        **rest(out, task, runs),
    }


def rest(out: Path, task: TaskName, runs: Sequence[Run]) -> Json:
    """Everything that was not trained on, after less before: the other task, copying, sorting, the corpus."""
    untrained = [run._replace(arm=UNTRAINED) for run in runs]
    old = reports(out, [run._replace(task=cast(TaskName, OTHER[task]), arm=UNTRAINED) for run in runs], "before")
    new = Pooled.of([run.aside(out) for run in runs], "other_second_try")
    found: Json = {
        "other": {
            "before": side(old), "after": side(new),
            "change": {measure: estimate_json(new.minus(old, measure)) for measure in ("first", "second")},
        }
    }  # fmt: skip
    pairs = [
        tuple(json.loads((run.aside(out) / FORGETTING).read_text()) for run in (a, b))
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
    mine, other = reports(out, small, "after").by_unit("second"), reports(out, large, "before").by_unit("second")
    rows = [(mine[key], other[key], key) for key in mine if key in other]
    return {
        "trained": estimate_json(mean([a for a, _, _ in rows], [key for _, _, key in rows])),
        "untrained": estimate_json(mean([b for _, b, _ in rows], [key for _, _, key in rows])),
        "difference": estimate_json(paired(rows)),
    }
