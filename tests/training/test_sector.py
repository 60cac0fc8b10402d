"""SECToR: labels by hand, checks, bounds, and whole rounds on nano."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from secondthought.engines.base import Request
from secondthought.engines.scripted import Scripted
from secondthought.errors import UserError
from secondthought.protocols.simplify_then_guess import simplify_then_guess
from secondthought.recipes import load
from secondthought.recipes.sector import ARMS
from secondthought.rollouts import rollout
from secondthought.runs.progress import Silence
from secondthought.runs.reading import read_groups, read_metrics
from secondthought.tasks.addition import Addition, Sum, kind_of, posed, said, simplified, spelled, sum_of
from secondthought.training.loop import train
from secondthought.training.recipe import Recipe
from secondthought.training.self_labels import Label, SelfLabels, corrupted, labels_of, majority
from secondthought.training.settings import override
from secondthought.types import Episode, Group, Segment, Task, Verdict

WHOLE = Sum(123456, 234567)
GRADE = Addition().grade


def right(request: Request) -> str:
    """Somebody who can add."""
    whole = sum_of(request.task)
    return said(request.task, whole.total if kind_of(request.task) == "fast" else simplified(whole))


def answers(reply: object, *, votes: int = 5, way: str = "chain", both: bool = True) -> Group:
    protocol = partial(simplify_then_guess, grade=GRADE, way=way, both=both)  # type: ignore[arg-type]
    (group,) = rollout(protocol, [posed(WHOLE, "fast", "terse", 3)], votes, Scripted(reply))  # type: ignore[arg-type]
    return group


def test_simplify_then_guess_of_somebody_who_can_add() -> None:
    group = answers(right)
    assert [e.arm for e in group[:4]] == ["a + b, step 1", "a + b, guess 1", "a + b, step 2", "a + b, guess 2"]
    assert len(group) == 20  # five steps of six digits, five guesses, both orders
    assert all(v.score == 1 for e in group for v in e.verdicts.values())
    assert {e.verdicts["guess"].answer for e in group if "guess" in e.verdicts} == {str(WHOLE.total)}
    assert labels_of(group, SelfLabels()) == (WHOLE.total, spelled(simplified(WHOLE)), True)


def test_majority_absorbs_one_slip_and_a_wrong_step_ends_the_chain() -> None:
    def slips(request: Request) -> str:
        if "guess" in request.name and sum_of(request.task).digits == 4:
            return said(request.task, sum_of(request.task).total + 1)
        return right(request)

    group = answers(slips)
    wrong = [e for e in group if "guess" in e.verdicts and e.verdicts["guess"].score == 0]
    assert len(wrong) == 2
    assert labels_of(group, SelfLabels()).answer == WHOLE.total
    silent = answers(lambda request: "no idea")
    assert [e.verdicts["step"].answer for e in silent] == [None, None]
    assert labels_of(silent, SelfLabels()) == (None, None, False)


def test_commutativity_refuses_what_depends_on_the_order() -> None:
    def habit(request: Request) -> str:
        whole = sum_of(request.task)
        wrong = whole.a < whole.b and kind_of(request.task) == "fast"
        return said(request.task, whole.total + 1) if wrong else right(request)

    group = answers(habit, votes=1, way="fast")
    assert labels_of(group, SelfLabels(label="fast")).answer is None
    assert labels_of(group, SelfLabels(label="fast", commute=False)).answer == WHOLE.total + 1
    assert labels_of(group, SelfLabels(label="fast", lax=1.0)).answer == WHOLE.total + 1
    both = answers(
        lambda r: said(r.task, sum_of(r.task).total + 1) if kind_of(r.task) == "fast" else right(r), votes=1, way="fast"
    )
    assert labels_of(both, SelfLabels(label="fast")).answer == WHOLE.total + 1  # a shared error passes ...
    assert labels_of(both, SelfLabels(label="fast", oracle=True)).answer is None  # ... all but the oracle


def test_labels_do_not_look_at_the_truth() -> None:
    """Turning every score over changes no label, except that of the bounds."""
    group = answers(right)
    turned = tuple(replace(e, verdicts={name: replace(v, score=1 - v.score) for name, v in e.verdicts.items()}) for e in group)
    labels: tuple[Label, ...] = ("vote", "chain")
    for label in labels:
        for commute in (True, False):
            rule = SelfLabels(label=label, commute=commute)
            assert labels_of(turned, rule) == labels_of(group, rule)


def test_majority_of_few() -> None:
    assert majority(["7", "8", "8"]) == "8"
    assert majority([None, "7"]) == "7"
    assert majority([]) is None


def test_spoiled_labels() -> None:
    from random import Random

    rng = Random(0)
    for _ in range(50):
        label = corrupted(WHOLE, WHOLE.total, "random", rng)
        assert sum(a != b for a, b in zip(str(label), str(WHOLE.total), strict=True)) == 1
    assert corrupted(Sum(58, 27), 85, "carry", rng) == 75
    assert corrupted(Sum(12, 34), 46, "carry", rng) == 46  # nothing to drop


def test_examples_of_a_label_hold_no_chain_of_thought() -> None:
    rule = SelfLabels(digits=6)
    examples = list(rule.examples(answers(right)))
    assert [kind_of(task) for task, _ in examples] == ["fast", "fast", "slow", "slow"]
    assert all(GRADE(task, text).score == 1 for task, text in examples)
    assert "," not in examples[0][1]


def test_figures_count_what_is_wrong_and_how_easy_it_was() -> None:
    rule = SelfLabels(digits=6, commute=False)
    group = answers(lambda r: said(r.task, sum_of(r.task).total + 1) if kind_of(r.task) == "fast" else right(r), both=False)
    found = rule.figures([group, answers(right, both=False)])
    assert found["label_error"] == found["longest_label_error"] == 0.5
    assert found["accepted"] == 1
    assert found["carries"] == 1


SMALL = ["groups=4", "eval_problems=12", "dev_problems=6", "eval_every=2", "checkpoint_every=2"]


def small(arm: str = "", rounds: int = 2, *more: str) -> Recipe:
    base = load(f"sector:{arm}" if arm else "sector")
    base = replace(base, stages=base.stages[:rounds])
    names = [stage.name for stage in base.stages]
    return override(base, [*SMALL, *(f"{n}.steps=2" for n in names), *(f"{n}.answers=80" for n in names), *more])


@pytest.mark.parametrize("arm", ["", "fast", "at_once", "supervised", "lax_50", "dropped_20"])
def test_rounds_on_nano(arm: str, tmp_path: Path) -> None:
    rounds = 1 if arm == "at_once" else 2
    summary = train(small(arm, rounds), tmp_path / "run", Silence())
    assert summary["steps"] == 2 * rounds
    lines = read_metrics(tmp_path / "run")
    assert "collected/accepted" in lines[0]
    assert [line["step"] for line in lines if "collected/accepted" in line] == [1, 3][:rounds]
    groups = read_groups(tmp_path / "run/episodes/step_000001.parquet")
    assert all(len(group) == 1 and group[0]["attempt"].author == "intervention" for group in groups)
    assert lines[0]["loss/imitate"] > 0
    assert lines[1]["digits/fast/low"] <= lines[1]["digits/fast"]


def test_right_labels_cost_no_samples(tmp_path: Path) -> None:
    train(small("supervised", 1), tmp_path / "run", Silence())
    cost = json.loads((tmp_path / "run/episodes/collected_digits_5.json").read_text())
    assert cost == {"sampled_tokens": 0}
    train(small("fast", 1), tmp_path / "other", Silence())
    assert json.loads((tmp_path / "other/episodes/collected_digits_5.json").read_text())["sampled_tokens"] > 0


def test_every_arm_can_be_made() -> None:
    for arm in ARMS:
        assert load(f"sector:{arm}").stages
    chat = load("sector", model="HuggingFaceTB/SmolLM2-135M-Instruct")
    assert [stage.name for stage in chat.stages][:2] == ["supervised", "digits_4"]
    assert load("sector:fast", model="HuggingFaceTB/SmolLM2-135M-Instruct").stages[0].name == "supervised"


def test_other_tasks_are_refused_before_anything_is_written() -> None:
    with pytest.raises(UserError, match="use --tasks addition"):
        load("sector", tasks="countdown")


def test_supervised_start_shows_right_answers() -> None:
    chat = load("sector", model="HuggingFaceTB/SmolLM2-135M-Instruct")
    collect = chat.stages[0].collect
    assert isinstance(collect, SelfLabels)
    task = posed(Sum(12, 30), "fast", "chat")
    episode = Episode(task, (0,), (Segment("prompt", "task", "user", ""),), {"guess": Verdict(0.0, "1")}, "a + b, guess 1")
    examples: list[tuple[Task, str]] = list(collect.examples((episode,)))
    assert [text for _, text in examples] == ["42", "2; 1 + 3", "42", "2; 3 + 1"]
