"""The world of tools: splits that share nothing, requests that can be met, calls that are read and graded as they should."""

from __future__ import annotations

from random import Random

import pytest

from secondthought.nano import tokenizer as words
from secondthought.nano.mixture import Mixture
from secondthought.nano.tool_corpus import ToolCorpus, mistaken, parts, request
from secondthought.tasks.copy_sort import KINDS, CopySort
from secondthought.tasks.function_calling import row_of
from secondthought.tasks.tool_world import (
    ARGUMENTS,
    NAMES,
    NOUNS,
    TEMPLATES,
    VALUES,
    VERBS,
    Name,
    ToolWorld,
    calls_of,
    draw,
    grade,
    last_calls,
    leak,
    names_in,
    spelled,
    split_of,
    task_of,
    templates_in,
    version_of,
)
from secondthought.types import seed_of

WORLD = ToolWorld("test")


def test_there_are_so_many_tools_and_all_of_them_can_be_asked_for() -> None:
    assert 200 <= len(NAMES) <= 500
    for name in NAMES:
        versions = {version_of(Random(seed), name).arguments for seed in range(50)}
        assert len(versions) > 10  # its schema has to be read
        assert all(1 <= len(arguments) <= 3 for arguments in versions)
        assert {a for arguments in versions for a in arguments} == set(NOUNS[name.noun][1])


def test_splits_share_no_tool_and_no_template() -> None:
    for things in (NAMES, TEMPLATES):
        shares = [sum(split_of(thing) == split for thing in things) / len(things) for split in ("train", "dev", "test")]
        assert shares == [pytest.approx(0.7, abs=0.05), pytest.approx(0.1, abs=0.05), pytest.approx(0.2, abs=0.05)]
    seen = {tool["name"] for i in range(1500) for tool in ToolWorld("train")[i].tools}
    assert seen <= {name.dotted for name in names_in("train")}  # not even among those on offer
    for index in range(400):
        task = WORLD[index]
        held = {"tool": names_in("test"), "template": names_in("train")}[str(task.answer["held"])]  # type: ignore[index, call-overload]
        assert all(call.name in held for call in calls_of(task))


def test_everything_that_is_held_out_is_made_of_words_that_are_read_in_training() -> None:
    known = {word for template in templates_in("train") for word in template.split()}
    assert {word for template in TEMPLATES for word in template.split()} <= known
    assert {verb for verb, _ in names_in("train")} == set(VERBS)
    assert {noun for _, noun in names_in("train")} == set(NOUNS)
    assert {argument for name in names_in("train") for argument in NOUNS[name.noun][1]} == set(ARGUMENTS)


def test_requests_say_everything_that_is_wanted() -> None:
    for index in range(300):
        task = WORLD[index]
        said = task.prompt[0].content.split()
        for call in calls_of(task):
            assert any(word.split()[0] in said for word in VERBS[call.name.verb])
            assert any(word in said for word in NOUNS[call.name.noun][0])
            assert all(value in said for argument, value in call.values if ARGUMENTS[argument].kind != "flag")
        assert 1 <= len(task.tools) <= 8
        assert len({tool["name"] for tool in task.tools}) == len(task.tools)


def test_no_phrase_of_a_tool_can_mean_two_of_its_arguments() -> None:
    def forms(argument: str) -> set[tuple[str, str]]:
        kind, phrases = ARGUMENTS[argument]
        return {(phrase.replace("{}", "").strip(), kind) for phrase in phrases}

    for name, (_, arguments) in NOUNS.items():
        for i, left in enumerate(arguments):
            for right in arguments[i + 1 :]:
                assert not forms(left) & forms(right), (name, left, right)


def test_the_right_calls_pass_and_every_kind_of_mistake_fails() -> None:
    rng = Random(0)
    kinds = set()
    for _ in range(800):
        problem = draw(rng, "train")
        task = task_of(problem)
        assert grade(task, spelled(problem.calls)).score == 1
        assert grade(task, spelled(problem.calls[::-1])).score == 1  # in any order
        fault = mistaken(rng, problem)
        kinds.add(fault.kind)
        assert grade(task, spelled(fault.calls)).score == 0
        if len(problem.calls) == 1:  # a hint that helps says what was not said
            assert not set(fault.helps) & set(parts(fault.calls))
        assert leak(task, fault.helps[0]) in ("first step", "hint")
        assert leak(task, f"do {spelled(problem.calls)}") == "full"
    assert kinds == {"tool", "value", "argument", "calls"}


def test_every_class_of_error_is_named() -> None:
    task = next(WORLD[i] for i in range(200) if len(calls_of(WORLD[i])) == 1 and len(calls_of(WORLD[i])[0].values) == 2)
    (call,) = calls_of(task)
    (first, value), (second, other) = call.values
    assert grade(task, "i do not know").why.startswith("unparsable")
    assert grade(task, str(call._replace(name=Name("book", "nothing")))).why.startswith("wrong tool")
    assert grade(task, f"{call} and {call}").why.startswith("extra call")
    assert grade(task, str(call._replace(values=((first, value),)))).why.startswith("wrong argument name")
    assert grade(task, str(call._replace(values=(("owner", value), (second, other))))).why.startswith("wrong argument name")
    assert grade(task, str(call._replace(values=((first, "zebra"), (second, other))))).why.startswith("wrong ")
    pair = next(WORLD[i] for i in range(200) if len(calls_of(WORLD[i])) == 2)
    assert grade(pair, str(calls_of(pair)[0])).why.startswith("missing call")


def test_other_models_may_answer_in_any_dialect() -> None:
    task = WORLD[1]
    wanted = [{"name": w.name, "arguments": {k: v[0] for k, v in w.arguments.items()}} for w in row_of(task).wanted]
    assert grade(task, str(wanted).replace("'", '"').replace("True", "true")).score == 1


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("use a . b , a . b ( c = d )", "a . b ( c = d )"),
        ("a . b ( c = d ) , wait , use e . f , e . f ( ) and g . h ( i = 2 )", "e . f ( ) and g . h ( i = 2 )"),
        ("a . b ( c = d ) and", ""),
        ("a . b ( c = d", ""),
        ("", ""),
        ("( " * 1000, ""),
    ],
)
def test_the_last_calls_are_read(text: str, calls: str) -> None:
    assert last_calls(text) == calls


def test_the_chat_template_shows_tools_as_the_corpus_has_them() -> None:
    tokenizer = words.build(Mixture.words)
    rng = Random(1)
    for _ in range(50):
        problem = draw(rng, "train")
        task = task_of(problem)
        tools = [{"type": "function", "function": tool} for tool in task.tools]
        turns = [{"role": "user", "content": problem.query}]
        result = tokenizer.apply_chat_template(turns, tools=tools, tokenize=False, add_generation_prompt=True)
        assert result == f"<user> {request(problem)} <model> "


def test_the_corpus_is_as_described() -> None:
    corpus = ToolCorpus()
    assert all(len(ToolCorpus(study=50).document(i)) == 2 for i in range(50))  # no student yet
    first: list[float] = []
    retry: list[float] = []
    helped: list[float] = []
    books: list[float] = []
    for index in range(4000):
        document = corpus.document(index)
        asked, *said = [turn.content for turn in document]
        problem = draw(Random(seed_of("tool corpus", corpus.seed, index)), "train")
        task = task_of(problem)
        if " ask example " in asked or " ask check " in asked:
            books.append(grade(task, said[0]).score)
            continue
        first.append(grade(task, said[0]).score)
        if len(said) > 1:
            tutored = document[3].author == "intervention"
            (retry if tutored else helped).append(grade(task, said[4]).score)
    assert min(books) == 1.0
    assert sum(first) / len(first) == pytest.approx(corpus.right, abs=0.03)
    assert sum(retry) / len(retry) > 0.85  # a tutor's hint is mostly followed
    assert sum(helped) / len(helped) < 0.4  # the student's own are mostly no good


def test_documents_are_made_of_known_words() -> None:
    tokenizer = words.build(Mixture.words)
    unknown = words.vocabulary(Mixture.words)[words.UNKNOWN]
    mixture = Mixture()
    for index in range(300):
        for turn in mixture.document(index):
            ids = tokenizer(turn.content)["input_ids"]
            assert unknown not in ids
            assert len(ids) == len(turn.content.split())  # a token each
    assert {mixture.part(i) for i in range(100)} == {"countdown", "tools", "drills"}


@pytest.mark.parametrize("kind", KINDS)
def test_copying_and_sorting(kind: str) -> None:
    drill = CopySort(kind, "test")  # type: ignore[arg-type]
    task = drill[0]
    assert drill.grade(task, str(task.answer)).score == 1
    assert drill.grade(task, f"{task.answer} 1").score == 0
    train = {frozenset(CopySort(kind, "train")[i].prompt[0].content.split()[1:]) for i in range(500)}  # type: ignore[arg-type]
    assert not train & {frozenset(drill[i].prompt[0].content.split()[1:]) for i in range(200)}
    assert all(name in VALUES for name in ("city", "number"))
