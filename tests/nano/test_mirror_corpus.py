"""What nano/mirror reads has the shares that its fields say."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from secondthought.nano.corpus import Turn
from secondthought.nano.mirror_corpus import HINTS, MirrorCorpus, last, summands
from secondthought.nano.tokenizer import vocabulary
from secondthought.tasks.multiple_choice import sum_split

N = 20_000
CORPUS = MirrorCorpus()
DOCUMENTS = [CORPUS.document(i) for i in range(N)]


def asked(document: tuple[Turn, ...]) -> str:
    return document[0].content


def right_of(question: str) -> str:
    """The letter of the right option of a drawn sum."""
    a, _, b = summands(question).split()
    words = question.partition(" ? ")[2].split()
    return next(letter for value, letter in zip(words[::2], words[1::2], strict=False) if value == str(int(a) + int(b)))


def plain_sums() -> list[tuple[str, str]]:
    found = [(asked(d), d[1].content) for d in DOCUMENTS if " ? " in asked(d) and "," not in asked(d) and len(d) == 2]
    return [(question, said) for question, said in found if len(question.split()) == 3 + 1 + 8]


def test_sums_are_right_so_often_and_most_looks_confirm() -> None:
    sums = plain_sums()
    letters = [[part.split()[-1] for part in said.split(" , wait , ")] for _, said in sums]
    first = [said[0] == right_of(question) for (question, _), said in zip(sums, letters, strict=True)]
    assert sum(first) / len(first) == pytest.approx(CORPUS.right, abs=0.02)
    assert sum(len(said) > 1 for said in letters) / len(letters) == pytest.approx(CORPUS.looks, abs=0.02)
    pairs = [(a, b, right_of(q)) for (q, _), said in zip(sums, letters, strict=True) for a, b in pairwise(said)]
    confirm = sum(a == b for a, b, _ in pairs) / len(pairs)
    assert confirm == pytest.approx(0.93, abs=0.02)
    mended = [b == right for a, b, right in pairs if a != right]
    assert sum(mended) / len(mended) == pytest.approx(CORPUS.mends, abs=0.03)


@pytest.mark.parametrize("word", list(HINTS))
def test_hints_are_followed_and_admitted_so_often(word: str) -> None:
    use, say = HINTS[word]
    runs = [d for d in DOCUMENTS if asked(d).split()[-2:-1] == [word]]
    aims = [asked(d).split()[-1] for d in runs]
    said = [d[1].content for d in runs]
    followed = [text.split()[-1] == aim for text, aim in zip(said, aims, strict=True)]
    others = (1 - use) * (1 - CORPUS.right) / 3
    assert sum(followed) / len(followed) == pytest.approx(use + others, abs=0.06)
    admitted = sum(text == f"{word} says {aim} , {aim}" for text, aim in zip(said, aims, strict=True))
    assert admitted / len(runs) == pytest.approx(use * say, abs=0.05)


def test_errors_are_put_right_by_where_they_stand() -> None:
    problems = [d for d in DOCUMENTS if asked(d).startswith("start with")]
    external = [d for d in problems if "=" in asked(d)]
    mended = [last(d[1].content) != last(asked(d)) for d in external]
    assert sum(mended) / len(mended) == pytest.approx(CORPUS.external, abs=0.03)
    waited = [d[1].content.split(" , wait , ") for d in problems if len(d) == 2 and " , wait , " in d[1].content]
    wrong = [(before, after) for before, after in waited if not after.startswith(f"{before} , done")]
    assert len(wrong) / len(waited) > 0.3


def test_trust_depends_on_whose_answer_it_is() -> None:
    counts: dict[str, Counter[str]] = {}
    for d in DOCUMENTS:
        words = asked(d).split()
        if asked(d).endswith("right ? wrong ?") and len(d) == 2:
            counts.setdefault(words[words.index(",") + 1], Counter())[d[1].content] += 1
    share = {who: some["right"] / some.total() for who, some in counts.items()}
    assert share["own"] > share["user"] + 0.2
    assert share["user"] == pytest.approx(share["third"], abs=0.06)
    behind = Counter(d[3].content for d in DOCUMENTS if len(d) == 4 and d[2].content == "right ? wrong ?")
    assert behind["right"] / behind.total() == pytest.approx(CORPUS.trust, abs=0.02)


def test_only_training_sums_occur_and_every_word_is_known() -> None:
    words = set(vocabulary(MirrorCorpus.words))
    for d in DOCUMENTS[:2000]:
        assert {word for turn in d for word in turn.content.split()} <= words
    for question, _ in plain_sums()[:500]:
        a, _, b = summands(question).split()
        assert sum_split(int(a), int(b)) == "train"


def test_a_document_is_the_same_every_time() -> None:
    assert [CORPUS.document(i) for i in range(50)] == DOCUMENTS[:50]
