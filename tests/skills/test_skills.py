"""Ctx2Skill: reading roles' words, choosing by replay, and whole plays by program, interrupted and gone on with."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from secondthought.engines.base import Request
from secondthought.engines.scripted import Scripted
from secondthought.errors import UserError
from secondthought.report.formats import write
from secondthought.reproduce.ctx2skill import Ctx2Skill
from secondthought.runs.progress import Silence
from secondthought.runs.reading import read_groups, read_run
from secondthought.skills import roles
from secondthought.skills.contexts import RuleBook, TextFile, context_of
from secondthought.skills.play import Play, played
from secondthought.skills.scripted import Player
from secondthought.skills.selection import Replayed, chosen

SMALL = Play(rounds=3, cases=4, budget=60, tests=20, keep=2)
BOOK = RuleBook(3)


def test_rule_books_say_what_they_do() -> None:
    book = RuleBook(5, operators=8)
    for symbol, rule in book.rules.items():
        assert f"a {symbol} b is computed as {rule}." in book.text
    rng = Random(0)
    for _ in range(50):
        case = book.case(rng, {})
        assert book.solve(case.question) == case.answer
        assert roles.by_program(case, f"It is 7 at first.\nAnswer: {case.answer}") == (True,)
        assert roles.by_program(case, "Answer: 99999") == (False,)
    assert book.solve("What is the weather?") is None
    heavy = [book.case(rng, {"@": 1000.0}).question.split()[3] for _ in range(50)]
    assert heavy.count("@") > 40


def test_what_roles_write_is_read() -> None:
    text = 'Here:\n```json\n[{"question": "Why?", "criteria": ["names the rule", "gives 5"]}, {"q": 1}, 7]\n```'
    (case,) = roles.cases_in(text)
    assert case.rubrics == ("names the rule", "gives 5")
    for broken in ("", "[", "{}", "[1, 2", '[{"question": "", "criteria": ["x"]}]', "[" * 5000):
        assert roles.cases_in(broken) == []
    assert roles.read_rubrics("1. pass\n2. fail", 2) == (True, False)
    assert roles.read_rubrics("I would say pass", 2) == (False, False)
    assert roles.read_rubrics("\n" * 100_000 + "1" + " " * 100_000, 2) == (False, False)  # in no time
    assert roles.notes_in("```md\n- a b\n- c d\n```", 3) == "- a b"
    assert roles.notes_in("- keep all of it", 100) == "- keep all of it"


def test_choice_by_replay() -> None:
    assert chosen([Replayed(0, 0, 0, 0)] * 3) == 0  # nothing to choose by: no notes
    helps = [Replayed(0, 4, 4, 4), Replayed(3, 4, 4, 4), Replayed(4, 4, 0, 4)]
    assert chosen(helps) == 1
    assert chosen(helps, "hard") == 2
    assert Replayed(1, 3, 2, 3).score("sum") == pytest.approx(0.5 + 0.75)


def test_true_notes_help_and_wrong_ones_are_not_used(tmp_path: Path) -> None:
    summary = played(SMALL, BOOK, Player(BOOK).engine(), tmp_path / "true", Silence(), model="m")
    best = str(summary["chosen"])
    assert summary["chosen"] > 0
    assert summary["held_out"][best]["gain"]["low"] > 0
    skill = (tmp_path / "true/SKILL.md").read_text()
    assert skill.startswith("---\nname: rule-book-3\ndescription:")
    assert "- a " in skill
    wrong = played(SMALL, BOOK, Player(BOOK, luck=0.6, notes="wrong").engine(), tmp_path / "wrong", Silence())
    assert wrong["chosen"] == 0
    assert "none at all" in (tmp_path / "wrong/SKILL.md").read_text()
    run = read_run(tmp_path / "true")
    assert run.kind == "skill"
    assert {g[0].arm for g in read_groups(tmp_path / "true")} >= {"reasoner", "proposer", "generator"}
    page = write(tmp_path / "true", "md").read_text()
    assert "Which notes are used" in page
    assert "round 1" in page


def test_an_interrupted_play_goes_on_and_samples_nothing_twice(tmp_path: Path) -> None:
    calls: list[str] = []

    def counted(limit: int) -> Scripted:
        player = Player(BOOK)

        def write(request: Request) -> str:
            if len(calls) == limit:
                raise KeyboardInterrupt
            calls.append(request.name)
            return player.write(request)

        return Scripted(write)

    whole = played(SMALL, BOOK, Player(BOOK).engine(), tmp_path / "whole", Silence())
    with pytest.raises(KeyboardInterrupt):
        played(SMALL, BOOK, counted(9), tmp_path / "run", Silence())
    with pytest.raises(UserError, match="already holds a run"):
        played(SMALL, BOOK, counted(-1), tmp_path / "run", Silence())
    before = {p.name for p in (tmp_path / "run/episodes").iterdir()}
    again = played(SMALL, BOOK, counted(-1), tmp_path / "run", Silence(), resume=True)
    assert again["replay"] == whole["replay"]
    assert again["held_out"] == whole["held_out"]
    assert before <= {p.name for p in (tmp_path / "run/episodes").iterdir()}
    with pytest.raises(UserError, match="was started with"):
        played(SMALL, RuleBook(4), Player(RuleBook(4)).engine(), tmp_path / "run", Silence(), resume=True)


def test_a_text_of_ones_own_with_a_challenger_and_a_judge(tmp_path: Path) -> None:
    file = tmp_path / "Club Rules.txt"
    file.write_text("Members pay on Mondays. Guests pay double.")

    def write(request: Request) -> str:
        role = request.task.answer["role"]  # type: ignore[index,call-overload]
        return {
            "challenger": '[{"question": "What does a guest pay?", "criteria": ["double"]}, {"question": "When?", "criteria": ["Monday"]}]',
            "reasoner": "Answer: double", "judge": "1. pass" if "guest" in str(request.task.prompt) else "1. fail",
            "proposer": "Say when members pay.", "generator": "- Members pay on Mondays.",
        }[str(role)]  # fmt: skip

    summary = played(Play(rounds=2, cases=2), TextFile(file), Scripted(write), tmp_path / "out", Silence())
    assert summary["context"] == "club-rules"
    assert summary["rounds"][0]["solved"] == 0.5
    assert "held_out" not in summary
    assert (tmp_path / "out/skills/challenger_1.md").exists()


def test_bad_input(tmp_path: Path) -> None:
    for place, message in (("nowhere.txt", "there is no file"), ("rule-book:x", "rule-book:SEED")):
        with pytest.raises(UserError, match=message):
            context_of(place)
    empty = tmp_path / "empty.txt"
    empty.write_text(" \n")
    with pytest.raises(UserError, match="nothing to learn from"):
        context_of(str(empty))
    binary = tmp_path / "binary.txt"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="no text in UTF-8"):
        context_of(str(binary))
    file = tmp_path / "a.txt"
    file.write_text("Some rules.")
    with pytest.raises(UserError, match="no question that can be read"):
        played(Play(rounds=1, cases=2), TextFile(file), Scripted(lambda r: "no idea"), tmp_path / "out", Silence())


def test_reproduction(tmp_path: Path) -> None:
    found = Ctx2Skill(books=4).run("quick", tmp_path, Silence())
    verdicts = {claim.id: claim.verdict for claim in found.claims}
    assert verdicts["skill_helps_on_held_out"] == "supported"
    assert set(verdicts) == {
        "skill_helps_on_held_out",
        "guard_prevents_collapse",
        "candidate_zero_wins_when_useless",
        "no_harm",
    }
    assert found.page is not None
    assert "true notes" in found.page.read_text()
