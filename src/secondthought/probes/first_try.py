"""Does a chain of thought correct its first answer, or confirm it? And what does stopping there cost? ("First Try Matters",
arXiv 2510.08308, with the controls that it lacks.)

Every problem is solved; candidate answers are found in the thoughts (of models that mark none, in the whole text), and what was
sampled is cut at them: ``forward`` up to the first, ``reflection_1`` to the second, ``reflection_2`` ..., ``closing`` behind
the last. A reflection confirms (right to right, or the same wrong answer again) or does not (wrong to right, right to wrong,
wrong to another wrong one).

* ``first``, ``final``          right at the first candidate, in the end; their difference is what reflecting gained
* ``confirmatory_shuffled``     the same candidates in random order: what their values alone make of "confirms"
* ``vote``                      the commonest of the first answer and fresh first answers, for the tokens of the reflections
* ``stop_K``                    the answer, had the chain been stopped behind its K-th candidate
* ``random_K``                  each chain stopped where another one was, at the same share of its length: as many tokens

Stopping is simulated on the chains that were sampled. It can be had for real:
:mod:`secondthought.engines.early_stop`, ``--stop-after-first-answer K``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from secondthought.engines.base import Engine, Sampling
from secondthought.engines.early_stop import StopAfterAnswer
from secondthought.models.chat import spelling
from secondthought.probes import judges
from secondthought.probes.base import with_verdicts
from secondthought.probes.first_try_report import report
from secondthought.probes.on_tasks import OnTasks
from secondthought.protocols.answer import answer
from secondthought.protocols.base import Draft
from secondthought.rollouts import rollout
from secondthought.runs.progress import Progress
from secondthought.tasks.base import answers_of
from secondthought.tasks.candidates import Candidate, Finder, candidates_of
from secondthought.types import THOUGHTS, Episode, Group, Report, Segment, Task, TaskSet, Verdict, seed_of

PART = 64  # problems at a time
_LIST = re.compile(r"\[\s*\]|\[\s*\[[^\[\]]*\](?:\s*,\s*\[[^\[\]]*\])*\s*\]")  # no pairs, or pairs and nothing deeper
FRESH = 32  # fresh first answers to one problem at most
ASK = (
    "Below is a problem, and a chain of thought about it with numbered lines. First work out which quantity the problem asks "
    "for, and in what form. Then list every line in which the chain of thought gives a value for that quantity as the answer, "
    "whether it is right or wrong; list restatements again, each time. Do not solve the problem and do not judge the values; "
    "only trivial conversions of form are allowed. Reply with a JSON list of [line, \"value\"] pairs and nothing behind it; "
    "with [] if there are none.\n\nProblem:\n{problem}\n\nChain of thought:\n{chain}\n\nList:"
)  # fmt: skip


@dataclass(frozen=True)
class FirstTry(OnTasks):
    """Measure candidate answers on ``n`` problems of ``tasks`` (a SPEC, its test split unless it names another, or a task set).

    tasks, grade     the problems; for your own, how answers are graded: exact, number, math, regex:PATTERN, module:function
    samples          chains of thought for each problem
    extractor        rules, judge:MODEL or judge:URL#MODEL: who finds candidate answers
    stops            stopping is looked at behind each of so many candidates
    max_tokens       for each turn; 0: 64 for nano models, else 512
    minimum          how far above one half the share of confirmations must be, fixed beforehand (0.3: four in five)
    """

    name: ClassVar[str] = "first_try"
    asks: ClassVar[str] = "Do its reflections correct the first answer or confirm it, and what does stopping there cost?"
    nano_tokens: ClassVar[int] = 64
    n: int = 200
    samples: int = 1
    extractor: str = "rules"
    stops: int = 5
    minimum: float = 0.3

    def measure(self, model: Engine, progress: Progress) -> list[Group]:
        """A group for each problem: ``samples`` chains cut at their candidates, and fresh first answers."""
        tasks, problems, sampling, _ = self.posed(model)
        judge = judges.judge_of(self.extractor) if self.extractor != "rules" else None
        find, found = candidates_of(tasks), list[Group]()
        for begin in range(0, len(problems), PART):
            part = problems[begin : begin + PART]
            groups = rollout(partial(answer, grade=tasks.grade), part, self.samples, model, sampling, seed=self.seed)
            episodes = [episode for group in groups for episode in group]
            where = by_judge(episodes, judge) if judge is not None else [find(e.task, thinking(e).text) for e in episodes]
            cut = iter([parted(e, some, tasks, model) for e, some in zip(episodes, where, strict=True)])
            own = [tuple(next(cut) for _ in group) for group in groups]
            fresh = self.fresh(model, own, find, tasks, sampling) if self.controls else [()] * len(own)
            found += [group + more for group, more in zip(own, fresh, strict=True)]
            progress.step(len(found), len(problems), {})
        return found

    def fresh(
        self, model: Engine, groups: Sequence[Group], find: Finder, tasks: TaskSet, sampling: Sampling
    ) -> list[Group]:  # fmt: skip
        """For each chain, fresh ones that are stopped at their first candidate, for as many tokens as its reflections took."""
        stopped = StopAfterAnswer(model, 1, find)
        shape = replace(sampling, temperature=sampling.temperature or 1.0)
        budgets = {group[0].task.key: [reflecting(episode) for episode in group] for group in groups}

        async def script(task: Task, _: int) -> Group:
            made = list[Episode]()
            for own, budget in enumerate(budgets[task.key]):
                left, count = budget, 0
                while left > 0 and count < FRESH:
                    draft = Draft(task, (own, count), arm="resample")
                    verdict = tasks.grade(task, await draft.sample("attempt"))
                    left -= max(1, sum(len(s.tokens) for s in draft.segments if s.logprobs is not None))
                    if draft.refused or (left < 0 and count):
                        break  # the last one took more than there was
                    made.append(draft.close(attempt=named(task, verdict, draft.segments[-1].text, tasks)))
                    count += 1
            return tuple(made)

        problems = [group[0].task for group in groups]
        return rollout(script, problems, 1, stopped, shape, seed=seed_of("fresh first answers", self.seed))

    def report(self, groups: Sequence[Group]) -> Report:
        """Do reflections mostly confirm the first answer?"""
        return report(groups, self.stops, self.minimum)


probe = FirstTry


def thinking(episode: Episode) -> Segment:
    """The part of a turn that candidates are looked for in: its thoughts, or all of it where it marks none."""
    return episode[f"attempt{THOUGHTS}"] if f"attempt{THOUGHTS}" in episode else episode["attempt"]


def named(task: Task, verdict: Verdict, text: str, tasks: TaskSet) -> Verdict:
    """A verdict whose answer is written in the one way in which answers are compared; None where there is none."""
    return replace(verdict, answer=None if verdict.answer is None else answers_of(tasks)(task, text))


def parted(episode: Episode, found: Sequence[Candidate] | None, tasks: TaskSet, model: Engine) -> Episode:
    """The same episode, its chain cut at the candidates, each with its verdict; ``extracted`` says whether a judge could find
    them.
    """
    whole, decode = thinking(episode), model.renderer.decode
    parts, verdicts, begin, character = list[Segment](), dict[str, Verdict](), 0, 0
    for number, (_, end, value) in enumerate(found or ()):
        name = f"reflection_{number}" if number else "forward"
        stop = spelling(decode, whole.tokens, end)
        logprobs = whole.logprobs[begin:stop] if whole.logprobs is not None else None
        text, tokens = whole.text[character:end], whole.tokens[begin:stop]
        parts.append(replace(whole, name=name, text=text, tokens=tokens, logprobs=logprobs, stop=None))
        verdicts[name] = named(episode.task, tasks.grade(episode.task, value), value, tasks)
        begin, character = stop, end
    rest = replace(
        whole, name="closing", text=whole.text[character:], tokens=whole.tokens[begin:],
        logprobs=whole.logprobs[begin:] if whole.logprobs is not None else None,
    )  # fmt: skip
    segments = [part for segment in episode.segments for part in ((*parts, rest) if segment is whole else (segment,))]
    final = named(episode.task, episode.verdicts["attempt"], episode["attempt"].text, tasks)
    verdicts |= {"attempt": final, "extracted": Verdict(float(found is not None))}
    return with_verdicts(replace(episode, segments=tuple(segments), verdicts={}), "own", verdicts)


def reflecting(episode: Episode) -> int:
    """How many tokens were sampled behind the first candidate, the final answer of a thinking model left out."""
    return sum(
        len(s.tokens) for s in episode.segments
        if s.name.startswith("reflection_") or (s.name == "closing" and "forward" in episode)
    )  # fmt: skip


def by_judge(episodes: Sequence[Episode], judge: Engine) -> list[list[Candidate] | None]:
    """The candidates that a model finds in numbered lines; None where its reply cannot be read, which is counted."""
    texts = [thinking(episode).text for episode in episodes]
    asked = [
        ASK.format(problem=e.task.prompt[-1].content, chain="\n".join(f"{k}: {line}" for k, line in enumerate(lines(text), 1)))
        for e, text in zip(episodes, texts, strict=True)
    ]
    return [listed(reply, text) for reply, text in zip(judges.judgements(judge, asked, max_tokens=1024), texts, strict=True)]


def lines(text: str) -> list[str]:
    """The lines of a text as they are numbered."""
    return text.split("\n")


def listed(reply: str, text: str) -> list[Candidate] | None:
    """The candidates in a judge's reply: its last whole list of pairs of a line (from 1) and a value.

    >>> listed('Lines: [[2, "7"]]', "3 + 4\\nis 7")
    [Candidate(start=6, end=10, value='7')]
    """
    ends, place = list[tuple[int, int]](), 0
    for line in lines(text):
        ends.append((place, place + len(line)))
        place += len(line) + 1
    found = None
    for match in _LIST.finditer(reply):
        try:
            found = json.loads(match[0])
        except (ValueError, RecursionError):
            continue
    if found is None:
        return None
    pairs = [pair for pair in found if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], int)]
    known = sorted((k, str(value)) for k, value in pairs if 0 < k <= len(ends))
    return [Candidate(ends[k - 1][0], ends[k - 1][1], value) for k, value in known]
