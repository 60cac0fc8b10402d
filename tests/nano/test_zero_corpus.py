"""The corpus before R1-Zero: shares as they are said to be, and four corpora that differ in nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from secondthought.errors import UserError
from secondthought.nano.family import RECIPES
from secondthought.nano.pretrain import batches, pretrain
from secondthought.nano.tokenizer import build
from secondthought.nano.zero_corpus import CHAINS, ZeroCorpus
from secondthought.tasks.announced import Announced
from secondthought.tasks.countdown import problem

SOME = 4000


def said(traces: float) -> list[tuple[str, str]]:
    corpus = ZeroCorpus(traces=traces)
    return [(asked.content, answered.content) for asked, answered in map(corpus.document, range(SOME))]


@pytest.mark.parametrize("traces", [0.0, 0.05, 0.2])
def test_so_many_documents_look_back(traces: float) -> None:
    student = [text for asked, text in said(traces) if not asked.startswith("example")]
    assert len(student) / SOME == pytest.approx(0.65, abs=0.02)
    looking = [text for text in student if "wait" in text]
    assert len(looking) / len(student) == pytest.approx(traces, abs=0.03)
    if not traces:
        assert looking == []


def test_documents_that_do_not_look_back_are_the_same_in_all_corpora() -> None:
    for (asked, plain), (also, other) in zip(said(0.0), said(0.2), strict=True):
        assert asked == also
        if "wait" not in other:
            assert plain == other
        else:  # the first chain is that of the document which does not look back, operands in any order
            first, whole = (text.split(" , wait")[0].split(" , then")[0] for text in (other, plain))
            results = [part.partition(" = ")[2] for part in first.split(" , ")]
            assert results == [part.partition(" = ")[2] for part in whole.removesuffix(" , done").split(" , ")]


def test_looking_back_helps_and_answers_have_every_length() -> None:
    game, right, lengths = Announced(), [], set()
    for asked, text in said(1.0):
        if asked.startswith("example"):
            continue
        numbers = [int(n) for n in asked.split() if n.isdecimal()]
        task = problem(tuple(numbers[:-1]), numbers[-1], "terse")
        first, *later = text.removesuffix(" , done").split(" , wait , ")
        lengths.add(1 + len(later))
        right.append((game.so_far(task, first).score, game.so_far(task, later[-1]).score))
    before, after = (sum(one) / len(right) for one in zip(*right, strict=True))
    assert before == pytest.approx(0.2, abs=0.05)
    assert after > 0.6
    assert lengths == set(range(2, CHAINS + 1))


def test_with_even_a_batch_counts_by_its_tokens() -> None:
    recipe = replace(RECIPES["zero-5"], documents=8)
    for even in (True, False):
        read = batches(replace(recipe, even=even), build(), 0)
        found = [next(read) for _ in range(24)]
        sizes = [float(weights.sum()) for _, weights, _ in found]
        usual = sum(sizes) / len(sizes)
        assert [share for _, _, share in found] == pytest.approx([size / usual if even else 1.0 for size in sizes])


def test_a_run_from_before_an_option_goes_on(tmp_path: Path) -> None:
    recipe = replace(RECIPES["zero-5"], size="0.03m", steps=2, documents=2, even=False)
    pretrain(recipe, tmp_path / "run", save_every=1)
    (state,) = (tmp_path / "run" / "latest").glob("step_*/state.pt")
    saved = torch.load(state, weights_only=False)
    del saved["recipe"]["even"]
    torch.save(saved, state)
    pretrain(recipe, tmp_path / "run", resume=True)
    with pytest.raises(UserError, match="made by another recipe"):
        pretrain(replace(recipe, even=True), tmp_path / "run", resume=True)
