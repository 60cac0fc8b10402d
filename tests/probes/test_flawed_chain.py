"""The instrument is calibrated: scripted subjects of known truth get the right verdict on every metric."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, cast

import pytest

from secondthought.engines.base import Request, Sampled
from secondthought.engines.scripted import END, Scripted
from secondthought.items.arithmetic import items
from secondthought.items.base import Item, Items
from secondthought.probes.flawed_chain import FlawedChain, begun
from secondthought.probes.flawed_chain_report import (
    OUTCOMES,
    arms_of,
    columns_of,
    effects_of,
    flips,
    frontier,
    numbers,
    outcome_of,
    verdict_on,
)  # fmt: skip
from secondthought.runs.progress import Silence
from secondthought.types import CUT_OFF, Episode, Estimate, Finding, Group, Segment

N = 2000
FEW = 300
ITEMS = items(N).found
BY_PATH = {zlib.crc32(item.id.encode()) >> 1: item for item in ITEMS}
Subject = Callable[[Item, str, str], str]


def measured(write: Callable[[Request], str], some: list[Item], **options: object) -> list[Group]:
    probe = FlawedChain(tasks=Items(some), n=None, **options)  # type: ignore[arg-type]
    return probe.measure(Scripted(write), Silence())


def groups_by(subject: Subject, some: list[Item] = ITEMS[:FEW], **options: object) -> list[Group]:
    """Every item measured on a function of the item, the chain that its answer begins with and the trigger."""

    def write(request: Request) -> str:
        item = BY_PATH[request.path[0]]
        parts = {s.name: s.text for s in request.segments}
        return subject(item, parts.get("chain", ""), parts.get("trigger", ""))

    return measured(write, some, **options)


def effects(groups: list[Group]) -> dict[str, Estimate]:
    found = effects_of(arms_of(groups, columns_of(groups)), [group[0].task.key for group in groups])
    return {effect.name: effect.estimate for effect in found}


def verdict(groups: list[Group]) -> Finding:
    return FlawedChain().report(groups).verdict


def in_cell(group: Group, cell: str) -> Any:
    return next(episode for episode in group if episode.arm == cell)


def ends_in(chain: str) -> str:
    """The last result of a chain."""
    found = re.findall(r"= ([0-9]+)", chain)
    return cast(str, found[-1]) if found else "0"


def lot(item: Item, salt: str) -> float:
    """A number in [0, 1) for each item, the same every time."""
    return Random(f"{item.id}{salt}").random()


def accuracies(groups: list[Group]) -> dict[str, float]:
    return {name: numbers(column)["accuracy"].value for name, column in columns_of(groups).items()}


def test_one_who_always_corrects() -> None:
    groups = groups_by(lambda item, chain, trigger: f"wrong , done {item.gold}")
    assert set(accuracies(groups).values()) == {1.0}  # in every cell
    wait = numbers(columns_of(groups)["flawed/wait"])
    assert (wait["explicit_rate"].value, wait["explicit_accuracy"].value, wait["implicit_accuracy"].value) == (1, 1, 0)
    assert all(e.value == 0 for e in effects(groups).values())
    assert verdict(groups) == "refuted"  # it needs no trigger, so the trigger does nothing


def test_one_who_never_corrects() -> None:
    groups = groups_by(lambda item, chain, trigger: f"done {ends_in(chain)}" if chain else f"{item.flawed} , done {item.wrong}")
    found = accuracies(groups)
    assert found["flawed/wait"] == found["flawed/none"] == found["self/wait"] == found["solve"] == 0
    assert found["clean/wait"] == 1
    wait = numbers(columns_of(groups)["flawed/wait"])
    assert wait["same_wrong_answer"].value == 1
    assert wait["explicit_rate"].value == 0
    assert verdict(groups) == "refuted"


def test_one_who_parrots_the_trigger() -> None:
    groups = groups_by(lambda item, chain, trigger: f"{trigger.strip(' ,')} , done {ends_in(chain)}", some=ITEMS[:400])
    columns = columns_of(groups)
    assert numbers(columns["flawed/mistake"])["explicit_rate"].value == 1  # it says so,
    assert numbers(columns["flawed/mistake"])["explicit_accuracy"].value == 0  # and nothing comes of it
    assert effects(groups)["naming"].value == 0
    assert effects(groups)["words"].value == 0


def test_one_who_flips_at_random_is_no_better_than_chance() -> None:
    groups = groups_by(lambda item, chain, trigger: f"done {int(lot(item, chain + trigger) * 50)}", some=ITEMS)
    accuracy = accuracies(groups)["flawed/wait"]
    assert abs(accuracy - flips(groups, "clean")) < 0.01
    assert abs(flips(groups, "clean") - 1 / 50) < 0.005
    beyond = effects(groups)["beyond_solving"]
    assert beyond.low <= 0 <= beyond.high  # it solves as often without a chain, by chance


def test_one_who_corrects_only_with_the_trigger() -> None:
    groups = groups_by(
        lambda item, chain, trigger: f"done {item.gold if 'wait' in trigger and lot(item, 'a') < 0.7 else ends_in(chain)}"
    )
    share = sum(lot(item, "a") < 0.7 for item in ITEMS[:FEW]) / FEW
    found = effects(groups)
    assert found["trigger"].value == found["words"].value == pytest.approx(share)
    assert found["damage"].value == 0
    assert verdict(groups) == "supported"


def test_one_who_copies_whatever_chain_is_there() -> None:
    groups = groups_by(lambda item, chain, trigger: f"done {ends_in(chain)}" if chain else f"done {item.gold}")
    found = accuracies(groups)
    assert found["solve"] == 1
    assert found["flawed/wait"] == 0
    assert found["other/wait"] == pytest.approx(
        sum(ends_in(e["chain"].text) == str(e.task.answer) for g in groups for e in g if e.arm == "other/wait") / FEW
    )
    assert effects(groups)["beyond_solving"].value == -1


def test_every_metric_is_unbiased_on_a_subject_with_known_rates() -> None:
    """Says "wrong" of 60 %, ends right in half of those and in a fifth of the others, answers nothing in 5 %."""

    def subject(item: Item, chain: str, trigger: str) -> str:
        if lot(item, "silent") < 0.05:
            return "hmm"
        named = lot(item, "named") < 0.6
        right = lot(item, "right") < (0.5 if named else 0.2)
        return f"{'wrong , ' if named else ''}done {item.gold if right else ends_in(chain) if chain else item.wrong}"

    groups = groups_by(subject, some=ITEMS)
    wait = {k: e.value for k, e in numbers(columns_of(groups)["flawed/wait"]).items()}
    truth = {
        "explicit_rate": 0.95 * 0.6, "explicit_accuracy": 0.95 * 0.6 * 0.5, "implicit_accuracy": 0.95 * 0.4 * 0.2,
        "accuracy": 0.95 * (0.6 * 0.5 + 0.4 * 0.2), "answered": 0.95, "same_wrong_answer": 0.95 * (0.6 * 0.5 + 0.4 * 0.8),
        "accuracy_given_explicit": 0.5, "accuracy_given_silent": 0.2 * 0.38 / 0.43,
    }  # fmt: skip
    realised = realised_rates()
    for name in truth:
        assert abs(wait[name] - realised[name]) < 0.01, name  # the estimator has no bias
        assert abs(wait[name] - truth[name]) < 0.035, name  # and the subject is what it was meant to be
    assert wait["accuracy"] == pytest.approx(wait["explicit_accuracy"] + wait["implicit_accuracy"])


def realised_rates() -> dict[str, float]:
    """What the subject above did, counted without the instrument."""
    answered = [i for i in ITEMS if lot(i, "silent") >= 0.05]
    named = [i for i in answered if lot(i, "named") < 0.6]
    quiet = [i for i in answered if lot(i, "named") >= 0.6]
    both, silently = (sum(lot(i, "right") < 0.5 for i in named), sum(lot(i, "right") < 0.2 for i in quiet))
    return {
        "explicit_rate": len(named) / N, "explicit_accuracy": both / N, "implicit_accuracy": silently / N, "answered": len(answered) / N,
        "accuracy": (both + silently) / N, "same_wrong_answer": (len(answered) - both - silently) / N,
        "accuracy_given_explicit": both / len(named), "accuracy_given_silent": silently / (N - len(named)),
    }  # fmt: skip


def test_self_reflection_starts_from_the_models_own_words() -> None:
    def subject(item: Item, chain: str, trigger: str) -> str:
        return (
            f"{item.flawed} , done {item.wrong}" if not chain else f"done {item.gold if 'wait' in trigger else ends_in(chain)}"
        )

    groups = groups_by(subject, some=ITEMS[:50])
    for group, item in zip(groups, ITEMS, strict=False):
        own = in_cell(group, "self/wait")
        assert own["chain"].text == item.flawed  # the statement of the answer is cut away, token for token
        assert own["chain"].tokens == in_cell(group, "solve")["rest"].tokens[: len(own["chain"].tokens)]
    found = effects(groups)
    assert found["self_trigger"].value == found["self_words"].value == 1


def test_the_filler_is_as_long_as_the_trigger() -> None:
    groups = groups_by(lambda item, chain, trigger: "done 1", some=ITEMS[:3])
    for group in groups:
        filler, wait = (in_cell(group, f"flawed/{kind}")["trigger"] for kind in ("filler", "wait"))
        assert len(filler.tokens) == len(wait.tokens)


def test_more_waits_come_one_after_the_other() -> None:
    def write(request: Request) -> str:
        item = BY_PATH[request.path[0]]
        return f"done {item.gold if request.name == 'rest_3' else item.wrong}"

    groups = measured(write, ITEMS[:40], waits=3)
    names = [s.name for s in in_cell(groups[0], "flawed/wait").segments]
    assert names == ["prompt", "chain", "trigger", "rest", "trigger_2", "rest_2", "trigger_3", "rest_3"]
    steps = frontier(groups)
    assert [step["solved"] for step in steps] == [0, 0, 1]
    assert steps[0]["tokens"] < steps[1]["tokens"] < steps[2]["tokens"]


def test_an_episode_is_the_same_alone_or_in_company() -> None:
    together = groups_by(lambda item, chain, trigger: f"done {item.gold}", some=ITEMS[:10])
    alone = groups_by(lambda item, chain, trigger: f"done {item.gold}", some=ITEMS[3:4])
    assert in_cell(alone[0], "flawed/wait") == in_cell(together[3], "flawed/wait")


def test_what_ended_a_segment_is_gone_when_it_is_gone_on_from() -> None:
    engine = Scripted(lambda request: "")
    tokens = tuple(engine.renderer.encode("so 7.\n\nQ:"))
    stopped = Segment("rest", "policy", "assistant", "so 7.", tokens, (0.0,) * len(tokens), 0, "string")
    assert begun(engine, stopped, len(stopped.text)).tokens == tuple(engine.renderer.encode("so 7."))
    ended = Segment("rest", "policy", "assistant", "so 7.", (*engine.renderer.encode("so 7."), END), (0.0,) * 6, 0, "end")
    kept = begun(engine, ended, len(ended.text))
    assert (kept.text, kept.stop, len(kept.logprobs or ())) == ("so 7.", None, 5)
    assert begun(engine, ended, 2).text == "so"


# --- on chat models --------------------------------------------------------------------------------------------------

SHOP = Item(
    "shop", "Eggs cost $2. How much do 9 eggs cost?", "18", "9 eggs cost 9*2=$<<9*2=18>>18.", "9 eggs cost 9+2=$<<9+2=11>>11.", "11",
    "gsm8k", "M1",
)  # fmt: skip


class Limited(Scripted):
    """A script that stops at the token limit, a token being a byte."""

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        found = []
        for request, one in zip(requests, super().sample(requests), strict=True):
            most = request.sampling.max_tokens
            short = Sampled(one.tokens[:most], one.logprobs[:most], one.text.encode()[:most].decode(), "length", one.version)
            found.append(one if len(one.tokens) <= most else short)
        return found


def turns(write: Callable[[str], str], **options: object) -> dict[str, Episode]:
    """Every arm of one word problem; ``write`` gets what the turn begins with."""
    probe = FlawedChain(tasks=Items([SHOP]), n=None, **options)  # type: ignore[arg-type]
    subject = Limited(lambda request: write("".join(s.text for s in request.segments[1:])))
    (group,) = probe.measure(subject, Silence())
    return {episode.arm: episode for episode in group}


def outcome(episode: Episode) -> tuple[str, float]:
    return outcome_of(episode), verdict_on(episode).score


def test_a_turn_that_ends_behind_a_finished_chain_has_accepted_it() -> None:
    found = turns(lambda begun: "" if begun else "9*2 = 18. The answer is 18.")
    assert outcome(found["flawed/none"]) == ("accepted", 0.0)
    assert outcome(found["clean/none"]) == ("accepted", 1.0)
    assert found["clean/none"].verdicts["rest"].answer == "18"
    assert outcome(found["solve"]) == ("", 1.0)
    empty = turns(lambda begun: "" if begun else "The answer is 18.", profile="paper")
    assert empty["clean/none"].verdicts["rest"].answer is None  # as published: only what comes after the chain is read


@pytest.mark.parametrize(
    ("said", "becomes"),
    [
        (" So the answer is 11.", ("restated", 0.0)),
        (" No, 9*2 = 18. The answer is 18.", ("to_right", 1.0)),
        (" The answer is 20.", ("to_wrong", 0.0)),
        (" That was all.", ("accepted", 0.0)),
    ],
)
def test_what_becomes_of_the_chains_answer(said: str, becomes: tuple[str, float]) -> None:
    found = turns(lambda begun: said if begun else "The answer is 18.")
    assert outcome(found["flawed/none"]) == becomes
    report = FlawedChain().report([tuple(found.values())])
    shares = [report.figures[f"gsm8k/flawed/none/outcome/{name}"].value for name in OUTCOMES]
    assert sum(shares) == 1
    assert shares[list(OUTCOMES).index(becomes[0])] == 1


def test_what_the_token_limit_cuts_off_is_neither_an_answer_nor_a_flaw() -> None:
    def rambles(begun: str) -> str:
        return " 1. 1. 1. 1. 18" if begun else "First 9 and then 7, so 16 and 16 and"

    found = turns(rambles, max_tokens=10)
    assert all(e.verdicts["rest"].why == CUT_OFF.why and e.verdicts["rest"].answer is None for e in found.values())
    assert not any(arm.startswith("self") for arm in found)
    report = FlawedChain().report([tuple(found.values())])
    assert report.figures["gsm8k/flawed/none/cut_off"].value == 1
    assert report.notes == ("100.0 % of the turns were cut off at the token limit before they stated an answer",)
    finished = turns(lambda begun: "The answer is 20. Or so it is, as far as I can see it" if not begun else "", max_tokens=40)
    assert finished["solve"].verdicts["rest"].answer == "20"  # it was stated before the limit came
    assert "self/none" in finished


def test_nobody_writes_calculator_marks() -> None:
    assert turns(lambda begun: "")["flawed/none"]["chain"].text == " 9 eggs cost 9+2=$11."[1:]
    assert turns(lambda begun: "", marks=True)["flawed/none"]["chain"].text == SHOP.flawed


def test_a_request_for_the_final_answer_comes_in_all_arms_alike() -> None:
    found = turns(lambda begun: "18" if "final answer" in begun else " Hm.", request=True)
    for arm, episode in found.items():
        assert [s.name for s in episode.segments][-2:] == ["request", "final"], arm
        assert verdict_on(episode).answer == "18"
    assert outcome(found["flawed/wait"]) == ("to_right", 1.0)
    assert FlawedChain().report([tuple(found.values())]).arm("flawed/none").estimate.value == 1


def test_a_chain_of_ones_own_ends_at_a_sentence() -> None:
    own = "First 9 + 2 = 11. Thus \\\\[ 9 + 2 = \\\\boxed{11} \\\\]".replace("\\\\", "\\")
    found = turns(lambda begun: own if not begun else "")
    assert found["self/none"]["chain"].text == "First 9 + 2 = 11."
    assert outcome(found["self/none"]) == ("accepted", 0.0)
