"""Items are what they claim: the flawed chain really leads to the wrong answer, the clean one to the right one."""

from __future__ import annotations

import json
from collections import Counter
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from tests.published import published
from typer.testing import CliRunner

from secondthought.cli import app
from secondthought.errors import UserError
from secondthought.items import arithmetic, bbh, cruxeval, gsm8k, triviaqa
from secondthought.items import countdown as misses
from secondthought.items.base import Item, Items, read_items, write_items
from secondthought.items.load import items_of
from secondthought.items.templates import cut, families, reading_of
from secondthought.tasks import countdown, numbers
from secondthought.tasks.arithmetic import Operation, Problem, execute

EGGS = (
    "Janet sells 16 - 3 - 4 = <<16-3-4=9>>9 duck eggs a day.\n"
    "She makes 9 * 2 = $<<9*2=18>>18 every day at the farmer's market.\n#### 18"
)  # fmt: skip


def write_rows(path: Path, *rows: object) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


# --- GSM8K -----------------------------------------------------------------------------------------------------------


def test_an_edit_is_carried_through_to_the_end() -> None:
    steps = gsm8k.program(EGGS)
    assert steps is not None
    assert [step.value for step in steps] == [9, 18]
    again = gsm8k.run(steps, {0: "16-3+4"})
    assert again is not None
    assert gsm8k.render(again[0]) == (
        "Janet sells 16-3+4 = <<16-3+4=17>>17 duck eggs a day.\nShe makes 17 * 2 = $<<17*2=34>>34 every day at the farmer's market."
    )
    assert again[1] == 0


def test_the_half_of_a_fraction_is_nobodys_result() -> None:
    steps = gsm8k.program("He has 2 * 2 = <<2*2=4>>4 boxes.\nHe gives away 8 * 1/4 = <<8*1/4=2>>2 of them.\n#### 2")
    assert steps is not None
    again = gsm8k.run(steps, {0: "2*3"})
    assert again is not None
    assert "1/4" in gsm8k.render(again[0])
    assert "1/6" not in gsm8k.render(again[0])


@pytest.mark.parametrize("kind", gsm8k.EDITS)
def test_every_edit_ends_in_another_answer(kind: str) -> None:
    steps = gsm8k.program(EGGS)
    assert steps is not None
    text, wrong, first = next(f for s in range(20) if (f := gsm8k.edited(steps, kind, Random(s))))
    assert wrong != "18"
    assert text.endswith(f"{wrong} every day at the farmer's market.")
    assert first == (0 if kind[0] in "BM" else 1)
    again = gsm8k.program(text + f"\n#### {wrong}")
    assert again is not None  # the arithmetic of the flawed solution holds; only the problem is another
    assert numbers.spelled(again[-1].value) == wrong


@pytest.mark.parametrize(
    ("expression", "value"),
    [("16-3-4", 9), ("50%*20", 10), (".5*8", 4), ("2.5*4", 10), ("(3+2)*4", 20), ("1,000/4", 250), ("$5x3", 15), ("-3+5", 2)],
)
def test_annotations_are_computed(expression: str, value: int) -> None:
    assert gsm8k.computed(expression) == value


@pytest.mark.parametrize("expression", ["", "a+b", "1/0", "2**3", "__import__('os')", "(" * 500])
def test_what_is_no_arithmetic_is_nothing(expression: str) -> None:
    assert gsm8k.computed(expression) is None


def test_gsm8k_as_published() -> None:
    made = gsm8k.from_solutions(published("gsm8k") / "test.jsonl")
    assert len(made.found) > 7000
    assert len({item.question for item in made.found}) > 1150
    assert min(Counter(item.edit for item in made.found).values()) > 900
    reading = reading_of("gsm8k", "clean")
    for item in made.found:
        assert numbers.number(item.wrong) != numbers.number(str(item.gold))
        assert reading.read(item.flawed) is not None
        last = list(gsm8k._CALCULATION.finditer(item.flawed))[-1]
        assert numbers.number(last[2]) == numbers.number(item.wrong)
        assert abs((gsm8k.computed(last[1]) or Fraction(0)) - (numbers.number(last[2]) or 0)) < Fraction(1, 100)
    models = gsm8k.from_models(published("gsm8k") / "model_solutions.jsonl")
    assert len(models.found) > 3000
    assert all(reading.grade(i, f"{i.clean}\nThe answer is {i.gold}").score == 1 for i in models.found)
    assert all(reading.grade(i, f"{i.flawed}\nThe answer is {i.wrong}").why == "same wrong answer" for i in models.found)


# --- BBH, CruxEval, TriviaQA -----------------------------------------------------------------------------------------


def test_bbh_as_published() -> None:
    made = bbh.from_chains(published("bbh") / "chains.jsonl")
    assert sum(bool(item.flawed) for item in made.found) > 1250
    assert sum(bool(item.clean) for item in made.found) > 3500
    assert all("answer is" not in item.flawed.lower()[-40:] for item in made.found)
    reading = reading_of("bbh", "clean")
    assert all(reading.grade(i, f" So the answer is {i.wrong}.").score == 0 for i in made.found if i.flawed)


def test_a_label_that_its_answer_contradicts_is_left_out(tmp_path: Path) -> None:
    row = {
        "task": "t",
        "question": "q",
        "target": "(B)",
        "chain": "Because.\nSo the answer is (B).",
        "answer": "(B)",
        "correct": False,
    }
    made = bbh.from_chains(write_rows(tmp_path / "a.jsonl", row, {**row, "chain": "Because."}))
    assert list(made.left_out) == ["marked right or wrong, but its answer says otherwise", "no final answer"]
    with pytest.raises(UserError, match=r"a\.jsonl, line 1: marked right or wrong.*--strict"):
        made.strictly()


PROGRAM = "def f(text):\n    out = ''\n    for c in text:\n        if c.isdigit():\n            out += c\n    return out"


@pytest.mark.parametrize("direction", ["cruxeval_o", "cruxeval_i"])
def test_a_program_is_told_and_mistold(tmp_path: Path, direction: cruxeval.Direction) -> None:
    path = write_rows(tmp_path / "c.jsonl", {"id": "x", "code": PROGRAM, "input": "'a1b2'", "output": "'12'"})
    (item,) = cruxeval.items_of(path, direction).found
    reading = reading_of(direction, "clean")
    if direction == "cruxeval_o":
        assert item.clean.endswith("the function returns '12'.")
        assert not item.flawed.endswith("the function returns '12'.")
        assert reading.grade(item, f"so [ANSWER]\nassert f('a1b2') == {item.wrong}\n[/ANSWER]").why == "same wrong answer"
        assert reading.grade(item, 'hence it returns "12".').score == 1
    else:
        assert item.flawed.endswith("the function returns '12'.")
        assert reading.grade(item, f"[ANSWER]\nassert f({item.wrong}) == '12'\n[/ANSWER]").score == 0
        assert reading.grade(item, "[ANSWER]\nassert f('x12') == '12'\n[/ANSWER]").score == 1


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("def f(x):\n    while True: pass", "the program takes too long"), ("def f(x):\n    return open('/etc/passwd').read()", "the program does not run"),
        ("def f(x:\n", "the program does not run"), ("def f(x):\n    return 3", "the program does not return what is claimed"),
    ],
)  # fmt: skip
def test_bad_programs_are_left_out_with_their_line(tmp_path: Path, code: str, why: str) -> None:
    path = write_rows(tmp_path / "c.jsonl", {"code": code, "input": "1", "output": "2"})
    assert cruxeval.items_of(path, "cruxeval_o").left_out == {why: [f"{path}, line 1"]}


def test_passages_of_other_questions_hold_no_answer(tmp_path: Path) -> None:
    rows = [
        {"question": "Which river flows through Paris?", "answer": "Seine", "aliases": ["the Seine"], "passage": "The Seine is a river that flows through Paris."},
        {"question": "Which river flows through London?", "answer": "Thames", "passage": "The Thames is a river that flows through London."},
        {"question": "Who painted it?", "answer": "Monet", "passage": "A painter."},
    ]  # fmt: skip
    made = triviaqa.from_passages(write_rows(tmp_path / "t.jsonl", *rows))
    first = made.found[0]
    assert first.wrong == "Thames"
    assert "Thames" in first.flawed
    assert "Seine" not in first.flawed
    assert first.clean.endswith("Answer: Seine")
    reading = reading_of("triviaqa", "clean")
    assert reading.grade(first, "no, it is the Seine").score == 1
    assert reading.grade(first, "the Seine or the Thames").score == 0  # the paper's exact_match wants the other one absent


# --- nano ------------------------------------------------------------------------------------------------------------


def test_arithmetic_and_countdown_are_drawn_with_an_error() -> None:
    for item in arithmetic.items(300).found:
        assert str(item.gold) != item.wrong
        assert item.clean.endswith(f"= {item.gold}")
        assert item.flawed.endswith(f"= {item.wrong}")
    counts = Counter(item.edit for item in arithmetic.items(300).found)
    assert set(counts) == set(arithmetic.EDITS)
    reading = reading_of("countdown", "clean")
    for item in misses.items(200).found:
        assert reading.grade(item, item.clean).score == 1
        assert reading.grade(item, item.flawed).score == 0
        if item.edit == "strategy":
            fields = item.gold
            assert isinstance(fields, dict)
            numbers = fields["nums"]
            assert isinstance(numbers, list)
            value, _ = countdown.run_chain(item.flawed, Counter([int(str(n)) for n in numbers]))
            assert str(value) == item.wrong  # sound arithmetic, wrong way


def test_a_slip_is_carried_on() -> None:
    chain = execute(Problem(7, (Operation("+", 5), Operation("*", 2))))
    assert chain
    for seed in range(20):
        wrong = arithmetic.slip(chain, Random(seed))
        if wrong:
            assert wrong[-1].result != chain[-1].result
            assert all(b.left == a.result for a, b in pairwise(wrong))


# --- files -----------------------------------------------------------------------------------------------------------

GOOD = {
    "id": "1",
    "question": "2 + 2 =",
    "gold": "4",
    "clean": "It is 4.",
    "flawed": "It is 5.",
    "wrong": "5",
    "family": "gsm8k",
}


def test_items_can_be_kept(tmp_path: Path) -> None:
    made = arithmetic.items(20).found
    write_items(tmp_path / "deep" / "items.jsonl", made)
    assert read_items(tmp_path / "deep" / "items.jsonl").found == made


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"wrong": ""}, "no final answer"), ({"flawed": "", "clean": ""}, "no chain of thought"), ({"question": " "}, "no question"),
        ({"clean": "It is 5."}, "the chains do not differ"), ({"id": "0"}, "duplicated id"),
    ],
)  # fmt: skip
def test_rows_with_faults_are_counted_and_named(tmp_path: Path, change: dict[str, str], why: str) -> None:
    path = write_rows(tmp_path / "i.jsonl", {**GOOD, "id": "0"}, {**GOOD, **change})
    made = read_items(path)
    assert len(made.found) == 1
    assert made.left_out == {why: [f"{path}, line 2"]}


def test_a_chain_that_is_not_wrong_is_left_out(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "r.jsonl", {"question": "q", "answer": "3\n#### 3", "messy_cot": "1 + 2 = 3\n#### 3"},
                      {"question": "q", "answer": "3\n#### 3", "messy_cot": "1 + 2 = 4\n#### 4"})  # fmt: skip
    made = items_of(f"gsm8k:{path}")
    assert [item.wrong for item in made.found] == ["4"]
    assert made.left_out == {"the flawed chain leads to the right answer": [f"{path}, line 1"]}
    own = write_rows(tmp_path / "own.jsonl", {**GOOD, "wrong": "4.0"}, GOOD)
    assert items_of(own).left_out == {"the flawed chain leads to the right answer": [f"{own}, line 1"]}


@pytest.mark.parametrize(
    ("spec", "content", "words"),
    [
        ("gsm8k:{}", b'{"question": "q"}\n', "line 1: there is no column 'answer'"), ("bbh:{}", b'{"question": "q"}\n', "no column 'task'"),
        ("gsm8k:{}", b'{"question": 3, "answer": "x"}\n', "'question' must be text, not int"), ("{}", b"\xff\xfe\n", "line 1 is not UTF-8"),
        ("{}", b"{}\n{]\n", "line 2 is not JSON"), ("{}", b"[1]\n", "a JSON object is wanted, not list"), ("{}", b"\n", "has no rows"),
        ("{}", b'{"question": "q", "family": "sums", "gold": 1, "flawed": "a", "wrong": "b"}\n', "no family of items 'sums'"),
        ("poetry:{}", b"{}", "there are no items"), ("arithmetic:{}", b"{}", "are drawn, not read"), ("{}x", None, "there are no items|there is no file"),
        ("gsm8k:{}", b'{"question": "q", "answer": "no number"}\n', "gives no items: no final answer"),
    ],
)  # fmt: skip
def test_broken_files_are_named(tmp_path: Path, spec: str, content: bytes | None, words: str) -> None:
    path = tmp_path / "rows.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        items_of(spec.format(path))


def test_the_command_builds_a_file(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "g.jsonl", {"question": "How much?", "answer": EGGS}, {"question": "?", "answer": "nothing"})
    out = tmp_path / "items.jsonl"
    result = CliRunner().invoke(app, ["data", "build", f"gsm8k:{path}", "--out", str(out)])
    assert "left out: 1 x no final answer" in result.stdout
    assert len(read_items(out).found) >= 5


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "profile", "text", "answer"),
    [
        ("gsm8k", "clean", "Wait. The answer is $1,200.\nQuestion: how about 7?", "1200"), ("gsm8k", "paper", "The answer is 12.\nQuestion: how about 7?", "7"),
        ("gsm8k", "clean", "6 * 2 = 12. #### 12", "12"), ("gsm8k", "clean", "I do not know", None),
        ("bbh", "clean", "the answer is (A). No, the answer is (B).", "(b)"), ("bbh", "paper", "the answer is (A). No, the answer is (B).", "(a)"),
        ("cruxeval_o", "paper", "[ANSWER]\nassert f(1) == 2\n[/ANSWER] [ANSWER]\nassert f(1) == 3\n[/ANSWER]", "2"),
        ("cruxeval_o", "clean", "[ANSWER]\nassert f(1) == 2\n[/ANSWER] [ANSWER]\nassert f(1) == 3\n[/ANSWER]", "3"),
        ("cruxeval_i", "paper", "[ANSWER]\nassert f([1, (2)], 'x') == 2\n[/ANSWER]", "[1, (2)], 'x'"), ("arithmetic", "clean", "done 7 , done 012", "12"),
        ("countdown", "clean", "start with 3 * 5 , 3 * 5 = 15", "3 * 5 = 15"), ("triviaqa", "clean", "  ", None),
    ],
)  # fmt: skip
def test_answers_are_found(family: str, profile: str, text: str, answer: str | None) -> None:
    assert reading_of(family, profile).read(text) == answer  # type: ignore[arg-type]


def test_model_text_is_never_executed_or_too_deep() -> None:
    item = Item("1", "q", {"output": "3"}, "a", "b", "4", "cruxeval_o")
    for text in (
        "[ANSWER]__import__('os').system('x')[/ANSWER]",
        "[ANSWER]" + "(" * 3000 + "[/ANSWER]",
        "[ANSWER]" + "9" * 100_000,
    ):
        assert reading_of("cruxeval_o", "clean").grade(item, text).score == 0
    assert cut("a\nQuestion: b") == "a"


def test_every_family_has_a_reading_and_its_triggers_are_whole() -> None:
    for family in families():
        for profile in ("clean", "paper"):
            reading = reading_of(family, profile)
            assert set(reading.triggers) == {"wait", "mistake", "filler"}
            assert "{question}" in reading.frame
    assert reading_of("gsm8k", "paper").triggers["wait"] == " Wait, "
    assert reading_of("cruxeval_i", "paper").triggers["wait"] == "\nNo, wait"
    assert all(not reading_of(family, "clean").triggers["wait"].endswith(" ") for family in families())


def test_a_wrong_item_of_ones_own_is_kept_in_memory_only_once() -> None:
    made = Items()
    item = Item("1", "q", "4", "a", "b", "5", "gsm8k")
    made.add(item)
    made.add(item, "here")
    assert made.left_out == {"duplicated id": ["here"]}
