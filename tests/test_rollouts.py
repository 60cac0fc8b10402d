from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from random import Random

import pytest

from secondthought.credit.base import Step, paid
from secondthought.engines.base import Request, Sampled, Sampling
from secondthought.engines.scripted import Scripted
from secondthought.learners.rows import compile_rows
from secondthought.protocols.answer import answer as ask
from secondthought.protocols.base import Draft, gather
from secondthought.protocols.reflect_retry import TERSE, reflect_retry
from secondthought.rollouts import drive, rollout
from secondthought.tasks.grade import exact
from secondthought.types import Episode, Group, Signal, Stop, Task, Verdict

TASKS = [Task.of(f"question {i}", answer=str(i), family="test") for i in range(7)]


def grade(task: Task, text: str) -> Verdict:
    return Verdict(float(text == task.answer))


def babble(request: Request) -> str:
    """Says something that depends on the seed alone; task 3 is always solved at once."""
    if request.name == "attempt" and request.task.answer == "3":
        return "3"
    return str(Random(request.seed).randrange(10**6))


def run(tasks: list[Task], n: int = 3) -> dict[str, Group]:
    protocol = partial(reflect_retry, grade=grade, prompts=TERSE)
    return {group[0].task.key: group for group in rollout(protocol, tasks, n, Scripted(babble))}


def test_episodes_are_the_same_alone_together_and_reversed() -> None:
    together = run(TASKS)
    assert together == run(TASKS[::-1])
    for task in TASKS:
        assert run([task])[task.key] == together[task.key]


def test_different_seeds_paths_and_names_say_different_things() -> None:
    texts = [s.text for group in run(TASKS).values() for e in group for s in e.segments if s.name in ("reflection", "retry")]
    assert len(set(texts)) == len(texts)


def test_one_engine_call_a_round_and_solved_attempts_cost_nothing_further() -> None:
    engine = Scripted(babble)
    groups = rollout(partial(reflect_retry, grade=grade, prompts=TERSE), TASKS, 5, engine)
    assert engine.calls == [7, 30, 30]  # one of seven is solved at once
    assert [len(group) for group in groups] == [5, 5, 5, 1, 5, 5, 5]
    assert set(groups[3][0].verdicts) == {"attempt"}


def test_forks_share_their_prefix_and_own_their_paths() -> None:
    group = run(TASKS[:1])[TASKS[0].key]
    assert [e.path for e in group] == [(0,), (1,), (2,)]
    assert all(e["attempt"] is group[0]["attempt"] for e in group)
    assert [s.name for s in group[0].segments] == ["prompt", "attempt", "ask_reflection", "reflection", "ask_retry", "retry"]


def test_every_segment_has_an_author_and_its_tokens() -> None:
    for episode in run(TASKS[:1])[TASKS[0].key]:
        for segment in episode.segments:
            assert segment.tokens
            sampled = segment.author == "policy"
            assert (segment.logprobs is not None) == sampled
            assert (segment.version is not None) == sampled
            if segment.logprobs is not None:
                assert len(segment.logprobs) == len(segment.tokens)


async def sleeps() -> None:
    await asyncio.sleep(0)


async def sleeps_longer() -> None:
    await asyncio.sleep(1)


@pytest.mark.parametrize("script", [sleeps, sleeps_longer])
def test_awaiting_anything_else_is_a_type_error(script: object) -> None:
    with pytest.raises(TypeError, match=r"only draft\.sample\(\.\.\.\) and gather"):
        drive([script()], Scripted(babble))  # type: ignore[operator]


def test_an_error_in_one_branch_reaches_the_caller() -> None:
    async def bad() -> Group:
        raise RuntimeError("a grader's own bug")

    async def script() -> Group:
        draft = Draft(TASKS[0])
        await draft.sample("attempt")
        return await gather(bad(), bad())

    with pytest.raises(RuntimeError, match="own bug"):
        drive([script()], Scripted(babble))


def test_gather_nests_and_may_be_empty() -> None:
    async def say(i: int) -> str:
        return await Draft(TASKS[i]).sample("attempt")

    async def script() -> tuple[object, ...]:
        assert await gather() == ()
        return await gather(say(3), gather_two(), say(3))

    async def gather_two() -> tuple[object, ...]:
        return await gather(say(3), say(3))

    engine = Scripted(babble)
    assert drive([script()], engine) == [("3", ("3", "3"), "3")]
    assert engine.calls == [4]


def test_two_user_turns_in_a_row_are_refused() -> None:
    draft = Draft(TASKS[0])
    with pytest.raises(ValueError, match="two user turns"):
        draft.write("more", "and another thing")


def test_a_turn_that_is_over_cannot_be_continued() -> None:
    async def script() -> None:
        draft = Draft(TASKS[0])
        await draft.sample("attempt")
        draft.write("wait", "Wait,", role="assistant", author="intervention")

    with pytest.raises(ValueError, match="that turn is over"):
        drive([script()], Scripted(babble))


def test_a_prefill_is_continued_and_belongs_to_whoever_wrote_it() -> None:
    async def script() -> Episode:
        draft = Draft(TASKS[0])
        draft.write("thought", "It must be 7. Wait,", role="assistant", author="intervention")
        await draft.sample("answer", sampling=Sampling(max_tokens=5))
        return draft.close()

    seen: list[str] = []

    def speak(request: Request) -> str:
        seen.append(bytes(t for t in request.tokens if t < 256).decode())
        return " no"

    episode = drive([script()], Scripted(speak))[0]
    assert seen == ["User: question 0\n\nAssistant:It must be 7. Wait,"]
    assert episode["thought"].author == "intervention"
    assert episode["thought"].logprobs is None


def test_written_segments_at_the_end_get_their_tokens_too() -> None:
    async def script() -> Episode:
        draft = Draft(TASKS[0])
        draft.write("lesson", "7", role="assistant", author="task", end=True)
        return draft.close()

    episode = drive([script()], Scripted(babble))[0]
    assert episode["lesson"].tokens == (ord("7"), 256)


def thinking(text: str, stop: Stop = "end") -> Scripted:
    class Thinker(Scripted):
        def sample(self, requests: Sequence[Request]) -> list[Sampled]:
            return [replace(one, stop=stop) for one in super().sample(requests)]

    return Thinker(lambda request: text)


@pytest.mark.parametrize(
    ("said", "thoughts", "answer", "score"),
    [
        ("<think>4? no, 5</think>4", "<think>4? no, 5</think>", "4", 1.0),
        ("5, hm.</think>\n\n4", "5, hm.</think>", "\n\n4", 1.0),  # the template had opened them
        ("<think>it must be 4", "<think>it must be 4", "", 0.0),
        ("4", None, "4", 1.0),
        ("é<think>", None, "é<think>", 0.0),
    ],
)
def test_thoughts_are_a_segment_of_their_own_and_never_graded(
    said: str, thoughts: str | None, answer: str, score: float
) -> None:
    task = Task.of("2 + 2?", answer="4", family="sums")
    ((episode,),) = rollout(partial(ask, grade=lambda task, text: exact(task.answer, text)), [task], 1, thinking(said))
    assert ("attempt_thoughts" in episode) == (thoughts is not None)
    assert episode["attempt"].text == answer
    assert episode.verdicts["attempt"].score == score
    if thoughts is not None:
        assert episode["attempt_thoughts"].text == thoughts
    spelled = [s for s in episode.segments if s.logprobs is not None]
    assert sum(len(s.tokens) for s in spelled) == len(said.encode()) + 1  # nothing is lost, the end token included
    assert all(len(s.tokens) == len(s.logprobs or ()) for s in spelled)


def test_a_thought_that_the_template_opened_and_the_limit_cut_off_is_no_answer() -> None:
    task = Task.of("2 + 2? <think>\n", answer="4", family="sums")
    engine = thinking("4", "length")
    engine.renderer = replace(engine.renderer, apply=lambda turns, tools, generate: turns[-1].content)
    ((episode,),) = rollout(partial(ask, grade=lambda task, text: exact(task.answer, text)), [task], 1, engine)
    assert (episode["attempt_thoughts"].text, episode["attempt"].text) == ("4", "")
    assert episode.verdicts["attempt"].score == 0


def test_what_pays_a_segment_pays_the_thoughts_before_it() -> None:
    task = Task.of("2 + 2?", answer="4", family="sums")
    protocol = partial(ask, grade=lambda task, text: exact(task.answer, text))
    (group,) = rollout(protocol, [task], 1, thinking("<think>2 and 2</think>4"))
    ((signals,),) = paid(lambda group: [{"attempt": Signal(policy=1.0)}], [group], Step(0, 1))
    assert signals == {"attempt": Signal(policy=1.0), "attempt_thoughts": Signal(policy=1.0)}
    rows = compile_rows([group], [[signals]])
    assert len(rows.rows[0].targets) == len("<think>2 and 2</think>4") + 1
