"""Play over a context: a challenger asks, a reasoner answers with its notes, a judge decides, and notes are rewritten.

Ctx2Skill (Si et al. 2026, arXiv 2604.27660) with a frozen model over any engine; what is learned is a text. In each round:

1. cases are written (by the challenger, or drawn by program where a context can) and answered with the present notes;
2. failures are diagnosed and the reasoner's notes rewritten; successes that were too easy change the challenger's notes;
3. the hardest failure and the easiest success are kept for replay.

In the end every version of the notes, *and no notes at all*, answers the kept cases again, and the best of them is used
(:mod:`secondthought.skills.selection`). Everything that was said stands in OUT as episodes, one file for each phase; a play
that was interrupted goes on with the phase it was in, and nothing is sampled twice.

OUT/episodes/round_1_cases.parquet ...   every call      OUT/skills/reasoner_1.md, challenger_1.md ...   every version
OUT/SKILL.md                             what is used    OUT/summary.json                                rounds, replay, figures
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from secondthought.engines.base import Engine, Sampling
from secondthought.engines.watched import Watched
from secondthought.errors import UserError
from secondthought.protocols.base import Script
from secondthought.rollouts import drive
from secondthought.runs.files import write_json, write_text
from secondthought.runs.journal import Journal, resolved
from secondthought.runs.progress import Progress
from secondthought.runs.reading import read_groups
from secondthought.runs.reports import estimate_json
from secondthought.skills import roles
from secondthought.skills.contexts import Case, Context
from secondthought.skills.roles import Answered
from secondthought.skills.selection import Replayed, Rule, chosen
from secondthought.skills.written import skill_file
from secondthought.stats import difference, mean
from secondthought.types import Episode, Group, seed_of

TRIES = 3  # of a challenger that wrote nothing readable


@dataclass(frozen=True)
class Play:
    """Everything that decides a play.

    rounds, cases    rounds, and cases in each
    budget           the most words that notes may have; what goes beyond is cut
    context_words    how much of the context the reasoner sees beside its notes (from its beginning; 0: nothing). The others
                     see all of it
    tests            held-out cases on which the chosen notes are compared with none (contexts whose cases are drawn by program)
    rule             replay chooses by the product, the sum, or the hard cases alone
    keep             cases kept for replay in each round, of the hard and of the easy ones
    drift            how much likelier a kind of case that failed is drawn again (cases that are drawn by program)
    """

    name: ClassVar[str] = "skill"
    rounds: int = 5
    cases: int = 5
    budget: int = 400
    context_words: int = 0
    tests: int = 40
    rule: Rule = "product"
    keep: int = 1
    drift: float = 0.0
    temperature: float = 0.7
    max_tokens: int = 512
    seed: int = 0

    def calls(self, *, drawn: bool) -> dict[str, int]:
        """At most how many calls each role takes."""
        answers = self.rounds * self.cases + (self.rounds + 1) * 2 * self.keep * self.rounds + (3 * self.tests if drawn else 0)
        sides = self.rounds if drawn else 2 * self.rounds
        return {
            "challenger": 0 if drawn else TRIES * self.rounds, "reasoner": answers, "judge": 0 if drawn else answers,
            "proposer": sides, "generator": sides,
        }  # fmt: skip

    def cost(self, context: Context) -> tuple[int, int]:
        """At most how many tokens are read, about, and written: four for three words of context and notes in each prompt."""
        words = len(context.text.split())
        seen = {"reasoner": min(self.context_words, words) + self.budget, "generator": self.budget}
        calls = self.calls(drawn=context.drawn)
        read = sum(count * seen.get(role, words + self.budget) for role, count in calls.items())
        return read * 4 // 3, sum(calls.values()) * self.max_tokens

    @property
    def sampling(self) -> Sampling:
        """How every role is sampled."""
        return Sampling(self.temperature, max_tokens=self.max_tokens)


@dataclass
class State:
    """Where a play is: versions of both notes, and the cases kept for replay."""

    reasoner: list[str] = field(default_factory=lambda: [""])
    challenger: list[str] = field(default_factory=lambda: [""])
    hard: list[Case] = field(default_factory=list)
    easy: list[Case] = field(default_factory=list)
    rounds: list[dict[str, float]] = field(default_factory=list)
    weights: dict[str, float] = field(default_factory=dict)


def played(
    play: Play, context: Context, engine: Engine, out: Path, progress: Progress, *, model: str = "", resume: bool = False,
    command: Mapping[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Play all rounds, choose, measure, and write SKILL.md; the summary. Raises UserError for a folder in use, and where the
    challenger writes nothing that can be read.
    """
    settings = Settings(play, context.name, seed_of(context.text), model)
    journal = Journal(out, resolved(settings, kind="skill", command=command), resume=resume)
    (out / "skills").mkdir(exist_ok=True)
    table = Table(play, context, Watched(engine, progress.beat), journal)
    state = State()
    for number in range(1, play.rounds + 1):
        progress.phase(f"round {number} of {play.rounds}")
        one_round(table, state, number)
        progress.step(number, play.rounds, state.rounds[-1])
    progress.phase(f"replaying {len(state.hard)} hard and {len(state.easy)} easy cases with {len(state.reasoner)} candidates")
    replayed = [replay(table, state, i) for i in range(len(state.reasoner))]
    best = chosen(replayed, play.rule)
    summary: dict[str, Any] = {
        "run": journal.run, "kind": "skill", "context": context.name, "model": model, "rounds": state.rounds,
        "replay": [{**one._asdict(), "score": one.score(play.rule)} for one in replayed], "chosen": best,
        "words": [len(skill.split()) for skill in state.reasoner],
    }  # fmt: skip
    if table.context.drawn and play.tests:
        progress.phase(f"answering {play.tests} held-out cases with and without the chosen notes")
        summary["held_out"] = held_out(table, state, sorted({0, best, len(state.reasoner) - 1}))
    write_text(out / "SKILL.md", skill_file(context.name, state.reasoner[best], summary))
    write_json(out / "summary.json", summary)
    return summary


@dataclass(frozen=True)
class Settings:
    """What a run folder remembers of a play."""

    play: Play
    context: str
    digest: int
    model: str

    @property
    def seed(self) -> int:
        """The seed of the play."""
        return self.play.seed


@dataclass(frozen=True)
class Table:
    """What the roles play with: the context, the engine, and the journal of what was said."""

    play: Play
    context: Context
    engine: Engine
    journal: Journal

    @property
    def seen(self) -> str:
        """What the reasoner sees of the context."""
        return " ".join(self.context.text.split()[: self.play.context_words])

    def phase(self, label: str, step: int, scripts: Callable[[], Sequence[Script]]) -> list[Episode]:
        """The calls of one phase: those that were made before, or made now and kept."""
        path = self.journal.folder / "episodes" / f"{label}.parquet"
        if not path.exists():
            made = scripts()
            seed = seed_of("skill", self.play.seed, label)
            groups: list[Group] = [(said,) for said in drive(made, self.engine, self.play.sampling, seed=seed)]
            self.journal.episodes(label, step, label, groups)
        return [episode for group in read_groups(path) for episode in group]


def one_round(table: Table, state: State, number: int) -> None:
    """Ask, answer, judge, and rewrite both notes."""
    play = table.play
    cases = asked(table, state, number)
    answers = answered(table, state.reasoner[-1], cases, f"round_{number}", number)
    failed, passed = [a for a in answers if not a.solved], [a for a in answers if a.solved]
    state.hard += [a.case for a in sorted(failed, key=lambda a: a.share)[: play.keep]]
    state.easy += [a.case for a in sorted(passed, key=lambda a: len(a.case.rubrics))[: play.keep]]
    for one in failed:
        state.weights[one.case.kind] = state.weights.get(one.case.kind, 1.0) + play.drift
    state.reasoner.append(rewritten(table, state.reasoner[-1], failed, "reasoner", number))
    state.challenger.append(
        state.challenger[-1] if table.context.drawn else rewritten(table, state.challenger[-1], passed, "challenger", number)
    )
    for side, versions in (("reasoner", state.reasoner), ("challenger", state.challenger)):
        write_text(table.journal.folder / "skills" / f"{side}_{number}.md", versions[-1] + "\n")
    state.rounds.append({"cases": len(cases), "solved": len(passed) / len(cases), "words": len(state.reasoner[-1].split())})


def asked(table: Table, state: State, number: int) -> list[Case]:
    """The cases of a round. Raises UserError if a challenger writes nothing that can be read."""
    play = table.play
    if table.context.drawn:
        rng = Random(seed_of("cases", play.seed, number))
        return [table.context.case(rng, state.weights) for _ in range(play.cases)]
    for attempt in range(TRIES):
        write = partial(roles.challenge, table.context.text, state.challenger[-1], play.cases, attempt, play.sampling)
        (said,) = table.phase(f"round_{number}_cases_{attempt}", number, lambda write=write: [write()])  # type: ignore[misc]
        cases = roles.cases_in(said["cases"].text)[: play.cases]
        if cases:
            return cases
    raise UserError(
        f"in round {number} the model wrote no question that can be read, {TRIES} times over (a JSON list of question and "
        "criteria is asked for): try a larger model, or more max_tokens"
    )


def answered(table: Table, skill: str, cases: Sequence[Case], label: str, step: int) -> list[Answered]:
    """Answer cases with these notes, and judge the answers: by program where the truth is known."""
    play = table.play
    if not cases:
        return []
    said = table.phase(
        f"{label}_answers", step,
        lambda: [roles.reason(table.seen, skill, case, i, play.sampling) for i, case in enumerate(cases)],
    )  # fmt: skip
    texts = [e["response"].text for e in said]
    if all(case.answer is not None for case in cases):
        return [Answered(case, text, roles.by_program(case, text)) for case, text in zip(cases, texts, strict=True)]
    judged = table.phase(
        f"{label}_judgements", step,
        lambda: [
            roles.judge(table.context.text, case, text, i, play.sampling)
            for i, (case, text) in enumerate(zip(cases, texts, strict=True))
        ],
    )  # fmt: skip
    return [
        Answered(case, text, roles.read_rubrics(e["judgement"].text, len(case.rubrics)))
        for case, text, e in zip(cases, texts, judged, strict=True)
    ]


def rewritten(table: Table, skill: str, cases: Sequence[Answered], side: str, number: int) -> str:
    """The notes with what some cases show; the same notes where there is none."""
    if not cases:
        return skill
    play, label = table.play, f"round_{number}_{side}"
    context = table.context.text if side == "reasoner" else ""
    (proposed,) = table.phase(
        f"{label}_proposal", number, lambda: [roles.propose(context, skill, cases, side, number, play.sampling)]
    )
    proposal = proposed["proposal"].text
    (written,) = table.phase(
        f"{label}_skill", number, lambda: [roles.generate(skill, proposal, play.budget, side, number, play.sampling)]
    )
    return roles.notes_in(written["skill"].text, play.budget) or skill


def replay(table: Table, state: State, candidate: int) -> Replayed:
    """What a candidate solves of the kept cases."""
    solved = {}
    for name, cases in (("hard", state.hard), ("easy", state.easy)):
        found = answered(table, state.reasoner[candidate], cases, f"replay_{candidate}_{name}", table.play.rounds)
        solved[name] = sum(one.solved for one in found)
    return Replayed(solved["hard"], len(state.hard), solved["easy"], len(state.easy))


def held_out(table: Table, state: State, candidates: Sequence[int]) -> dict[str, Any]:
    """How many new cases each candidate solves, and by how much more than without notes."""
    rng = Random(seed_of("held-out cases", table.play.seed))
    cases = [table.context.case(rng, {}) for _ in range(table.play.tests)]
    keys = [f"{i}" for i in range(len(cases))]
    scores = {
        i: [float(a.solved) for a in answered(table, state.reasoner[i], cases, f"test_{i}", table.play.rounds)]
        for i in candidates
    }
    return {
        str(i): {"solved": estimate_json(mean(some, keys)), "gain": estimate_json(difference(some, scores[0], keys))}
        for i, some in scores.items()
    }


def read_summary(out: Path) -> dict[str, Any]:
    """The summary of a finished play."""
    found: dict[str, Any] = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    return found
