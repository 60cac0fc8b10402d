"""SVAMP's equations as worked solutions, and their program edits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.published import published

from secondthought.errors import UserError
from secondthought.items import gsm8k, svamp
from secondthought.items.load import items_of
from secondthought.items.templates import reading_of


def rows(tmp_path: Path, **changed: object) -> str:
    row = {"question": "8 apples, 3 eaten, two such bags?", "Equation": "( ( 8.0 - 3.0 ) * 2.0 )", "answer": "\\boxed{10.0}"}
    path = tmp_path / "svamp.jsonl"
    path.write_text(json.dumps(row | changed) + "\n")
    return f"svamp:{path}"


def test_an_equation_is_worked_out_and_its_flaws_are_carried_on(tmp_path: Path) -> None:
    found = {item.edit: item for item in items_of(rows(tmp_path)).found}
    assert set(found) <= set(gsm8k.EDITS)
    assert found["M3"].clean == "8 - 3 = <<8-3=5>>5\n5 * 2 = <<5*2=10>>10"
    assert (found["M3"].flawed, found["M3"].wrong) == ("8 = <<8=8>>8\n8 * 2 = <<8*2=16>>16", "16")
    assert all(item.gold == "10" and item.family == "svamp" for item in found.values())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"answer": "11"}, "gives no items: the equation does not lead to the answer"),
        ({"answer": "many"}, "the equation does not lead to the answer"),
        ({"Equation": "( 1.0 / 0.0 )"}, "the equation does not lead to the answer"),
        ({"Equation": "x + 1"}, r"line 1: x \+ 1 is no equation of"),
        ({"Equation": "2 **"}, "is no equation of"),
        ({"Equation": "2 ** 900000000"}, "is no equation of"),
        ({"Equation": None}, "'Equation' must be text"),
    ],
)
def test_bad_rows_are_one_sentence(tmp_path: Path, change: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        items_of(rows(tmp_path, **change))


def test_svamp_as_published() -> None:
    made = svamp.item_set(str(published("svamp") / "test.jsonl"), None, 0)
    assert (len(made.found), {why: len(places) for why, places in made.left_out.items()}) == (
        6784,
        {"the equation does not lead to the answer": 1},
    )
    reading = reading_of("svamp", "clean")
    assert not any(reading.right(item, item.wrong) for item in made.found)
