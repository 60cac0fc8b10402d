"""Reflect, Retry, Reward on a real language model: what it learns, against trying again and against being paid for answers.

OUT/ARM/seed_S/        a whole run for each arm and seed (:mod:`secondthought.reproduce.arms`); each goes on where it stopped
OUT/ARM/seed_S/aside/  the same model greedily, on tasks that it was not trained on, and on text
OUT/untrained/aside/   the same of the untrained model
OUT/summary.json, results.md, reflections.md, arms.png
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, cast

from secondthought.engines.base import Access, Engine, LogitsEngine, require
from secondthought.engines.factory import engine_for
from secondthought.engines.watched import Watched
from secondthought.errors import UserError
from secondthought.probes.answer import Answer
from secondthought.protocols.base import Draft
from secondthought.report import rrr_real as page
from secondthought.reproduce.arms import BASE, compare, made, run_all
from secondthought.reproduce.base import OURS, Reproduced, Reproduction, check_budget, claim
from secondthought.reproduce.pooled import Pooled, paired
from secondthought.reproduce.rrr_tables import side
from secondthought.runs.files import complete_folders, write_json
from secondthought.runs.progress import Progress
from secondthought.runs.reading import read_groups, read_metrics
from secondthought.runs.reports import estimate_from, estimate_json, report_from, report_json
from secondthought.stats import mean
from secondthought.tasks.jsonl import need, rows_of
from secondthought.training.recipe import Recipe
from secondthought.types import Claim, Episode, Task

RECIPE = "rrr_function_calling_qwen2.5_0.5b"
ARMS = (BASE, "start_only", "answer", "random_reward", "retry_only", "no_start")
UNTRAINED = "untrained"
SIDE_BY_SIDE = 12  # problems whose reflections are shown before and after


@dataclass(frozen=True)
class RealReflectRetryReward(Reproduction):
    """Train and measure what is not there yet. The other arms stop once they have sampled as many tokens as the recipe's first
    run took, its recorded failures included; those that run out of steps before say so by their tokens in the table.

    tasks        the problems: bfcl:FOLDER, or a file of rows of function calling
    model        the model; empty: that of the recipe
    arms         arms of the recipe, separated by commas; rrr is the recipe itself
    seeds        runs of the recipe itself; 0: one (quick) or three (full). The other arms get one
    tokens       sampled tokens at which every arm stops; 0: as many as the recipe's first run took
    others       tasks that are not trained on (a SPEC), asked greedily before and after: what was forgotten
    text         rows of question and answer, whose perplexity is measured before and after
    n            how many of either
    settings     name=value for every run, separated by semicolons
    """

    name: ClassVar[str] = "rrr_real"
    needs: ClassVar[str] = "--set tasks=bfcl:FOLDER"
    budgets: ClassVar[dict[str, str]] = {
        "quick": "one short run of the recipe; for a model of 0.5B not timed yet",
        "full": "three seeds of the recipe and one of each other arm: hours, not timed yet",
    }
    tasks: str = ""
    model: str = ""
    arms: str = ",".join(ARMS)
    seeds: int = 0
    tokens: int = 0
    others: str = ""
    text: str = ""
    n: int = 100
    settings: str = ""

    def run(self, budget: str, out: Path, progress: Progress) -> Reproduced:
        """Do what is not done yet in ``out``, then look at all of it. Raises UserError without tasks."""
        check_budget(self, budget)
        if not self.tasks:
            raise UserError("which problems? write --set tasks=bfcl:FOLDER (docs/function_calling.md)")
        plan, settings = self.plan(budget), self.chosen(budget)

        def recipe_of(arm: str, seed: int) -> Recipe:
            tokens = self.tokens or (0 if arm == BASE else spent(out / BASE / "seed_0"))
            equal = [f"token_budget={tokens}"] if tokens else []
            return made(arm, self.model or None, seed, [*equal, *settings], self.tasks, RECIPE)

        runs = [(arm, seed) for seed in range(max(plan.values())) for arm, seeds in plan.items() if seed < seeds]
        run_all(out, runs, recipe_of, progress)
        recipe = recipe_of(BASE, 0)
        self.asides(out / UNTRAINED, recipe.model, recipe, progress)
        for run in finished(out, plan):
            self.asides(run, str(complete_folders(run / "checkpoints")[-1] / "model"), recipe, progress)
        progress.phase("comparing the runs")
        found = {**compare(out, recipe, progress, by_rates=False), **tables(out, plan), "model": recipe.model}
        write_json(out / "summary.json", found)
        return Reproduced(claims_of(found), found, page.write(out, found))

    def plan(self, budget: str) -> dict[str, int]:
        """How many seeds each arm gets."""
        names = [arm for arm in self.arms.split(",") if arm] if budget == "full" else [BASE]
        most = self.seeds or (3 if budget == "full" else 1)
        return {arm: most if arm == BASE else 1 for arm in names}

    def chosen(self, budget: str) -> list[str]:
        """The settings of every run."""
        short = ["collect.problems=48", "start.steps=6", "reward.steps=6", "eval_problems=48"] if budget == "quick" else []
        return [*short, *(s for s in self.settings.split(";") if s)]

    def asides(self, folder: Path, model: str, recipe: Recipe, progress: Progress) -> None:
        """What a model does greedily, with other tasks, and with text; each measured once."""
        load = cache(lambda: Watched(engine_for(model, recipe.engine), progress.beat))

        def kept(name: str, make: Callable[[], Any]) -> None:
            path = folder / "aside" / f"{name}.json"
            if not path.exists():
                progress.phase(f"{folder.name}: {name}")
                path.parent.mkdir(parents=True, exist_ok=True)
                write_json(path, make())

        def greedy() -> Any:
            (make, *_) = recipe.probes
            probe = make(
                tasks=recipe.test, n=recipe.eval_problems, temperature=0.0, max_tokens=recipe.max_tokens, seed=0, controls=False
            )
            return report_json(probe.report(probe.measure(load(), progress)))

        def others() -> Any:
            probe = Answer(tasks=self.others, n=self.n, temperature=0.0, max_tokens=320)
            return report_json(probe.report(probe.measure(load(), progress)))

        kept("greedy", greedy)
        if self.others:
            kept("others", others)
        if self.text:
            kept("text", lambda: perplexity_of(load(), model, self.text, self.n))


reproduction = RealReflectRetryReward


def perplexity_of(engine: Engine, model: str, text: str, n: int) -> dict[str, float]:
    """The loss in nats a token on the first ``n`` answers of rows of question and answer, each after its question, by line.

    Raises UserError for rows without either, and for a model that gives no log-probabilities.
    """
    require(engine, Access.LOGITS, "perplexity", model)
    found = {}
    for line, row in islice(rows_of(text), n):
        question, answer = need(row, ("question", "answer"), f"{text}, line {line}")
        task = Task.of(question, answer=answer, family="text")
        (prompt,) = engine.renderer.render(task, Draft(task).segments)
        (logprobs,) = cast(LogitsEngine, engine).score([prompt.tokens], [engine.renderer.encode(answer)])
        found[str(line)] = -math.fsum(logprobs) / len(logprobs)
    return found


def spent(run: Path) -> int:
    """The tokens that a finished run sampled, those of its recorded failures included; 0 where there is no such run."""
    cost = run / "episodes" / "collected.json"
    collected = json.loads(cost.read_text(encoding="utf-8"))["sampled_tokens"] if cost.exists() else 0
    return int(collected + sum(line["tokens/sampled"] for line in read_metrics(run))) if (run / "summary.json").exists() else 0


def finished(out: Path, plan: Mapping[str, int]) -> list[Path]:
    """The finished runs of a plan."""
    runs = [out / arm / f"seed_{seed}" for arm, seeds in plan.items() for seed in range(seeds)]
    return [run for run in runs if (run / "summary.json").exists()]


def tables(out: Path, plan: Mapping[str, int]) -> dict[str, Any]:
    """Both sides of every arm, each seed, where the gain sits, what is greedy, what was forgotten, and reflections to read."""
    found: dict[str, Any] = {"sides": {}, "each_seed": {}, "transplant": {}, "greedy": {}, "others": {}, "perplexity": {}}
    for arm, seeds in plan.items():
        runs = finished(out, {arm: seeds})
        if not runs:
            continue
        before, after = Pooled.of(runs, "before_second_try"), Pooled.of(runs, "after_second_try")
        found["sides"][arm] = {"before": side(before), "after": side(after)}
        found["each_seed"][arm] = [
            {m: b.arm(m).estimate.value - a.arm(m).estimate.value for m in ("first", "second")}
            for a, b in zip(before.reports, after.reports, strict=True)
        ]
        found["transplant"][arm] = moved(runs)
        for measure, look in (("greedy", greedy_of), ("others", others_of), ("perplexity", text_of)):
            if (one := look(out, runs)) is not None:
                found[measure][arm] = one
    first = finished(out, {BASE: 1})
    found["reflections"] = side_by_side(first[0]) if first else []
    return found


def moved(runs: Sequence[Path]) -> dict[str, Any]:
    """The four pairs of reflector and retrier, and what each part gains, over all seeds."""
    pooled = Pooled.of(runs, "transplant")
    pairs = [f"{a}/{b}" for a in ("base", "trained") for b in ("base", "trained")]
    return {
        **{pair: estimate_json(pooled.mean(pair)) for pair in pairs},
        "reflection": estimate_json(pooled.between("trained/base", "base/base")),
        "retry": estimate_json(pooled.between("base/trained", "base/base")),
    }


def aside_of(folder: Path, name: str) -> Any:
    """What was measured beside a run; None where it was not."""
    path = folder / "aside" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def greedy_of(out: Path, runs: Sequence[Path]) -> dict[str, Any] | None:
    """First and second try at temperature 0, before and after."""
    return change_of(out, runs, "greedy", ("first", "second"))


def others_of(out: Path, runs: Sequence[Path]) -> dict[str, Any] | None:
    """Tasks that were not trained on, before and after."""
    return change_of(out, runs, "others", ("right",))


def change_of(out: Path, runs: Sequence[Path], name: str, measures: Sequence[str]) -> dict[str, Any] | None:
    """Arms of a report before and after, paired by problem; None where either was not measured."""
    old, new = aside_of(out / UNTRAINED, name), [one for run in runs if (one := aside_of(run, name)) is not None]
    if old is None or not new:
        return None
    before, after = Pooled([report_from(old)] * len(new)), Pooled([report_from(one) for one in new])
    return {
        measure: {
            "before": estimate_json(before.mean(measure)), "after": estimate_json(after.mean(measure)),
            "change": estimate_json(after.minus(before, measure)),
        }
        for measure in measures
    }  # fmt: skip


def text_of(out: Path, runs: Sequence[Path]) -> dict[str, Any] | None:
    """Perplexity on text, before and after, and the change of the loss in nats a token."""
    old, new = aside_of(out / UNTRAINED, "text"), [one for run in runs if (one := aside_of(run, "text")) is not None]
    if old is None or not new:
        return None
    rows = [(one[line], old[line], line) for one in new for line in old]
    return {
        "before": math.exp(mean(list(old.values())).value),
        "after": math.exp(mean([a for a, _, _ in rows]).value),
        "change": estimate_json(replace(paired(rows), unit="nats")),
    }


def side_by_side(run: Path) -> list[dict[str, str]]:
    """For the same problems the attempt, reflection and retry before and after: problems that both failed at first."""

    def own(label: str) -> dict[str, Episode]:
        groups = read_groups(run / "episodes" / f"{label}_second_try.parquet")
        return {group[0].task.key: group[0] for group in groups if "retry" in group[0].verdicts}

    before, after = own("before"), own("after")
    return [
        {"question": before[key].task.prompt[-1].content, **words_of("before", before[key]), **words_of("after", after[key])}
        for key in list(before)
        if key in after
    ][:SIDE_BY_SIDE]


def words_of(when: str, episode: Episode) -> dict[str, str]:
    """The words of an episode, and how it ended."""
    words = {f"{when}_{name}": episode[name].text for name in ("attempt", "reflection", "retry")}
    return {**words, f"{when}_fault": episode.verdicts["attempt"].why, f"{when}_end": episode.verdicts["retry"].why}


def claims_of(found: Mapping[str, Any]) -> tuple[Claim, ...]:
    """What the paper claims, and what it did not test."""
    arms, sides, differences = found["arms"], found["sides"], found["differences"]

    def of(estimate: Mapping[str, Any] | None) -> Any:
        return None if estimate is None else estimate_from(estimate)

    mine, after = arms.get(BASE, {}), sides.get(BASE, {}).get("after", {})
    lifted = of(found["transplant"].get(BASE, {}).get("reflection"))
    over = [
        claim(
            f"over_{arm}", f"{RIVALS[arm]} does worse on the second try", OURS, None, of(differences.get(arm, {}).get("second"))
        )
        for arm in RIVALS
    ]
    return (
        claim("second", "the second try rises", "Table 1", "+9.0 on average", of(mine.get("second_gain")), minimum=0.1),
        claim("first", "the first try rises though it is never paid", "Table 1", "+16.0", of(mine.get("first_gain"))),
        claim("donor", "the own reflection beats another problem's", OURS, None, of(after.get("own_minus_donor"))),
        claim(
            "resample", "reflecting beats fresh attempts for the same tokens", OURS, None, of(after.get("own_minus_resample"))
        ),
        claim("reflection", "trained reflections lift the untrained retrier", OURS, None, lifted),
        *over,
    )


RIVALS = {
    "start_only": "the start alone", "answer": "paying answers", "random_reward": "a random reward",
    "retry_only": "paying retries", "no_start": "paying reflections without a start",
}  # fmt: skip
