"""Entities: lists that are consistent, files that are read, answers that are compared as a reader would."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from secondthought.errors import UserError
from secondthought.nano.knower_corpus import KnowerCorpus
from secondthought.tasks import name_world
from secondthought.tasks.entities import answered, entities_of, from_file, nano_entities, places, refused


def test_every_question_holds_the_name_and_names_are_there_once() -> None:
    found = [*places(), *nano_entities()]
    assert len({one.id for one in found}) == len(found)
    for one in found:
        assert len(one.attributes) >= 2
        assert all(one.name in attribute.question and all(attribute.answers) for attribute in one.attributes)


def test_known_facts() -> None:
    by_id = {one.id: one for one in places()}
    assert by_id["country: Peru"].attributes[0].answers == ("Lima",)
    assert [a.answers for a in by_id["element: gold"].attributes] == [("Au",), ("79",)]
    assert by_id["element: oganesson"].attributes[1].answers == ("118",)
    assert by_id["city: Krakow"].attributes[0].answers == ("Poland",)


@pytest.mark.parametrize(("text", "answers", "right"), [
    ("Brasília", ["Brasilia"], True), ("It is in the Netherlands.", ["Netherlands"], True), ("Niger", ["Nigeria"], False),
    ("<think>Lima?</think>Quito", ["Lima"], False), ("**Au**", ["Au"], True), ("Saint George’s", ["Saint George's"], True),
])  # fmt: skip
def test_answers_are_whole_words(text: str, answers: list[str], right: bool) -> None:
    assert answered(text, answers) == right


def test_a_refusal_is_a_refusal() -> None:
    assert refused("I'm sorry, but I cannot provide that.")
    assert not refused("France")


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "rivers.jsonl"
    rows: list[dict[str, object]] = [
        {"kind": "river", "name": "Limpopo", "question": "Into which ocean does the Limpopo flow?", "answer": "Indian Ocean"},
        {"kind": "river", "name": "Limpopo", "question": "On which continent is the Limpopo?", "answer": ["Africa"]},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (one,) = from_file(str(path))
    assert [a.answers for a in one.attributes] == [("Indian Ocean",), ("Africa",)]
    for bad, why in (
        ({"answer": ""}, "answer must be"),
        ({"question": "Which?"}, "does not hold the name"),
        ({"name": 3}, "name"),
    ):
        path.write_text(json.dumps({**rows[0], **bad}) + "\n")
        with pytest.raises(UserError, match=why):
            from_file(str(path))
    with pytest.raises(UserError, match="nano models cannot read"):
        path.write_text(json.dumps(rows[0]) + "\n")
        entities_of(str(path), terse=True, n=3)


def test_nano_names_give_nothing_away() -> None:
    """Every word stands in as many known names as new ones, and no new name is ever read."""
    for kind in name_world.KINDS:
        known, new = name_world.known(kind), name_world.new(kind)
        for place in (0, 1):
            assert all(
                sum(n[place] == word for n in known) == sum(n[place] == word for n in new) == 8
                for word in (name_world.FIRST, name_world.LAST)[place]
            )
        assert not set(known) & set(new)
    corpus, never = KnowerCorpus(), {kind: set(name_world.new(kind)) for kind in name_world.KINDS}
    for i in range(3000):
        words = " ".join(turn.content for turn in corpus.document(i)).split()
        for kind in name_world.KINDS:
            if kind in words:
                at = words.index(kind)
                assert tuple(words[at + 1 : at + 3]) not in never[kind]


def test_characters_are_balanced_and_their_names_say_nothing() -> None:
    people = name_world.characters()
    for role in ("both", "acts", "described"):
        some = [one for one in people if one.role == role]
        assert sum(one.bold for one in some) * 2 == len(some)
    by_first = {first: [one.bold for one in people if one.name[0] == first] for first in name_world.FIRST}
    assert all(0.1 < sum(some) / len(some) < 0.9 for some in by_first.values())
