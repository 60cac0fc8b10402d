"""Ctx2Skill on rule books whose rules are known, played by program: do notes help, does the choice by replay guard them?

OUT/PLAYER/book_B/     a whole play for each kind of player and each rule book, each resumable
OUT/summary.json, results.md, notes.png
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

from secondthought.report import ctx2skill as page
from secondthought.reproduce.base import OURS, Reproduced, Reproduction, below, check_budget, claim
from secondthought.runs.files import write_json
from secondthought.runs.progress import Progress, Silence
from secondthought.runs.reports import estimate_json
from secondthought.skills.contexts import RuleBook
from secondthought.skills.play import Play, played, read_summary
from secondthought.skills.scripted import Player
from secondthought.stats import bootstrapped, mean
from secondthought.types import Claim, Estimate

BOOKS = {"quick": 12, "full": 60}
PLAY = Play(rounds=8, cases=8, budget=80, tests=60, keep=3, drift=1.0)
PLAYERS: Mapping[str, tuple[str, Play, Callable[[RuleBook], Player]]] = {
    "true": ("true notes, room for all rules", PLAY, Player),
    "careless": ("true notes, a generator that drops the others", PLAY, lambda book: Player(book, slip=0.3)),
    "wrong": ("wrong notes", PLAY, lambda book: Player(book, luck=0.5, notes="wrong")),
    "idle": ("idle notes", PLAY, lambda book: Player(book, luck=0.5, notes="idle")),
}


@dataclass(frozen=True)
class Ctx2Skill(Reproduction):
    """Play by program on so many rule books.

    books        rule books for each kind of player; 0: 12 (quick) or 60 (full)
    """

    name: ClassVar[str] = "ctx2skill"
    budgets: ClassVar[dict[str, str]] = {"quick": "half a minute", "full": "two minutes"}
    books: int = 0

    def run(self, budget: str, out: Path, progress: Progress) -> Reproduced:
        """Play what was not played yet in ``out``, then look at all of it."""
        check_budget(self, budget)
        books = self.books or BOOKS[budget]
        found: dict[str, list[dict[str, Any]]] = {}
        for number, (name, (_, play, player)) in enumerate(PLAYERS.items()):
            progress.phase(f"{name}: {books} rule books")
            found[name] = [one_play(out / name / f"book_{i}", play, player, i) for i in range(books)]
            progress.step(number + 1, len(PLAYERS), {})
        tables = {name: table_of(plays) for name, plays in found.items()}
        write_json(out / "summary.json", tables)
        labels = {name: label for name, (label, *_) in PLAYERS.items()}
        return Reproduced(tuple(claims_of(found)), tables, page.write(out, tables, labels))


reproduction = Ctx2Skill


def one_play(folder: Path, play: Play, player: Callable[[RuleBook], Player], seed: int) -> dict[str, Any]:
    """One play, made once."""
    if not (folder / "summary.json").exists():
        book = RuleBook(seed)
        played(
            replace(play, seed=seed), book, player(book).engine(), folder, Silence(), model="a program",
            resume=(folder / "resolved.json").exists(),
        )  # fmt: skip
    return read_summary(folder)


def solved(one: Mapping[str, Any], which: str) -> float:
    """The share of held-out cases that a play solves without notes, with the chosen or with the last ones."""
    number = {"none": 0, "chosen": one["chosen"], "last": len(one["replay"]) - 1}[which]
    return float(one["held_out"][str(number)]["solved"]["value"])


def over_books(plays: Sequence[Mapping[str, Any]], which: str, other: str) -> Estimate:
    """The difference of two choices of notes, by rule book."""
    return averaged([solved(one, which) - solved(one, other) for one in plays], "difference")


def averaged(values: Sequence[float], unit: str = "fraction") -> Estimate:
    """The mean over rule books, by bootstrap."""
    return bootstrapped(lambda at: fmean(values[i] for i in at), [str(i) for i in range(len(values))], unit=unit)


def table_of(plays: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the plays of one kind of player come to."""
    found: dict[str, Any] = {
        which: estimate_json(averaged([solved(one, which) for one in plays])) for which in ("none", "chosen", "last")
    }
    found |= {
        "gain": estimate_json(over_books(plays, "chosen", "none")), "guard": estimate_json(over_books(plays, "chosen", "last")),
        "zero": estimate_json(zero_of(plays)), "books": len(plays),
    }  # fmt: skip
    rounds = max(one["chosen"] for one in plays) + 1
    found["chosen_rounds"] = [sum(one["chosen"] == i for one in plays) for i in range(rounds)]
    return found


def zero_of(plays: Sequence[Mapping[str, Any]]) -> Estimate:
    """How often no notes at all are chosen."""
    return mean([float(one["chosen"] == 0) for one in plays], [str(i) for i in range(len(plays))])


def claims_of(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[Claim]:
    """What the paper says where the truth is known, and what candidate 0 is for."""
    yield claim(
        "skill_helps_on_held_out", "with the chosen notes more held-out cases are solved than without", "Table 2",
        "11.1 -> 16.5", over_books(found["true"], "chosen", "none"), minimum=0.1,
    )  # fmt: skip
    yield claim(
        "guard_prevents_collapse", "where rewriting loses other entries the chosen notes beat the last ones",
        "section 4.4", "15.9 against 14.7", over_books(found["careless"], "chosen", "last"), minimum=0.01,
    )  # fmt: skip
    yield claim(
        "candidate_zero_wins_when_useless", "where notes are wrong, none are used in most plays", OURS, None,
        zero_of(found["wrong"]), null=0.5,
    )  # fmt: skip
    harm = over_books(found["wrong"], "none", "chosen")
    yield below("no_harm", "where notes are wrong, the choice costs at most 5 points", OURS, None, harm, 0.05)
