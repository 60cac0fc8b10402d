"""How each family of items is asked, interrupted, and read: two profiles.

``paper`` is what "Rethinking Reflection in Pre-Training" did, by its code (arXiv 2504.04022, Essential-AI/reflection): another
trigger and another way to find the answer in every task. ``clean`` is one rule for all: the trigger is "Wait,", and the answer
is the last one stated before the text turns to another problem.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from secondthought.files import UserError
from secondthought.tasks import bbh, chains, countdown, cruxeval, gsm8k, triviaqa
from secondthought.tasks.items import Item
from secondthought.types import Task, Verdict

Profile = Literal["clean", "paper"]
TRIGGERS = ("wait", "mistake", "filler")


@dataclass(frozen=True)
class Reading:
    """``frame`` is the prompt of a base model, ``ask`` the user's turn of a chat model, both with ``{question}``.

    ``read`` finds the answer in what the model says (None: there is none), ``right`` judges it. ``before`` is what stands
    between the prompt and a chain. ``candidate`` finds an answer in unfinished reasoning, where that is another rule;
    ``statement`` is what the statement of an answer begins with. ``triggers``: ``wait``, ``mistake`` ("Wait, I made a
    mistake") and ``filler``, which says nothing.
    """

    frame: str
    ask: str
    read: Callable[[str], str | None]
    right: Callable[[Item, str], bool]
    triggers: Mapping[str, str]
    before: str = " "
    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    candidate: Callable[[str], str | None] | None = None
    statement: str = (
        r"\s*(?:so |thus,? |therefore,? )?the (?:final )?answer is|\s*####|\s*\[ANSWER\]|\s*\[/THOUGHT\]|\s*\bAnswer:"
    )

    def answer_begins(self, text: str) -> int | None:
        """Where the last statement of an answer begins; None if there is none."""
        found = list(re.finditer(self.statement, text, re.IGNORECASE))
        return found[-1].start() if found else None

    def grade(self, item: Item, text: str) -> Verdict:
        """1 if the answer in ``text`` is right; ``why`` begins with ``no answer``, ``same wrong answer`` or ``other wrong
        answer``.
        """
        answer = self.read(text)
        if answer is None:
            return Verdict(0.0, None, "no answer")
        if self.right(item, answer):
            return Verdict(1.0, answer, "right")
        same = bool(item.wrong) and (normal(answer) == normal(item.wrong) or answer.endswith(f"= {item.wrong}"))
        return Verdict(0.0, answer, "same wrong answer" if same else "other wrong answer")


def normal(answer: str) -> str:
    """Numbers plainly written, literals canonical, everything else in lower case with single spaces.

    >>> normal("$1,200.0"), normal(" (B)")
    ('1200', '(b)')
    """
    value = gsm8k.number(answer.strip()) if re.fullmatch(r"-?\$?[\d,]*\.?\d+", answer.strip()) else None
    if value is not None:
        return gsm8k.spelled(value)
    return bbh.plain(answer)


# --- where the text turns to another problem -------------------------------------------------------------------------

_NEXT = re.compile(
    r"\n\s*(?:Question|Q|Problem|Passage)\s*\d*\s*:|\[PYTHON\]|\n\s*#{2,4}\s|\n{3,}|\b(?:Question|Problem)\s+\d+\s*:|\n\s*Human:|\n\s*User:"
)


def cut(text: str) -> str:
    """The text up to where it turns to another problem."""
    found = _NEXT.search(text)
    return text[: found.start()] if found else text


# --- reading ---------------------------------------------------------------------------------------------------------


def last_number(text: str) -> str | None:
    """The last number, wherever it stands."""
    values = list(gsm8k.numbers_in(text[-20_000:]))
    return gsm8k.spelled(values[-1]) if values else None


_STATED = re.compile(r"(?:answer(?:\s+is)?|####|\bA)\s*[:=]?\s*\$?\s*(-?\$?\d[\d,]*(?:\.\d+)?)", re.IGNORECASE)


def stated_number(text: str) -> str | None:
    """The last number stated as the answer before the text turns to another problem; else the last number there."""
    own = cut(text)
    found = _STATED.findall(own)
    return last_number(found[-1] if found else own)


def first_answer_is(text: str) -> str | None:
    """What follows the first "answer is"."""
    found = bbh.answers_in(text)
    return bbh.plain(found[0]) if found else None


def last_answer_is(text: str) -> str | None:
    """What follows the last "answer is" before the text turns to another problem."""
    found = bbh.answers_in(cut(text))
    return bbh.plain(found[-1]) if found else None


_TAGGED = re.compile(r"\[ANSWER\](.*?)(?:\[/ANSWER\]|$)", re.DOTALL)
_RETURNS = re.compile(r"returns? (.+?)\.?\s*(?:\n|$)")


def tagged(text: str, which: int) -> str | None:
    """What stands in the first (0) or last (-1) [ANSWER]."""
    found = [t.strip() for t in _TAGGED.findall(text)]
    return found[which] if found else None


def output_of(answer: str | None) -> str | None:
    """The right side of ``assert f(x) == y``, or the whole."""
    if answer is None:
        return None
    return answer.rpartition("==")[2].strip() if "==" in answer else answer


def input_of(answer: str | None) -> str | None:
    """What stands in ``f(...)`` of ``assert f(x) == y``, or the whole."""
    if answer is None:
        return None
    left = answer.rpartition("==")[0].strip() or answer
    found = re.search(r"\bf\((.*)\)\s*$", left, re.DOTALL)
    return (found[1] if found else left).strip()


def final_output(text: str) -> str | None:
    """The last [ANSWER] before another problem, or the last "returns X"."""
    own = cut(text)
    if (answer := output_of(tagged(own, -1))) is not None:
        return answer
    found = _RETURNS.findall(own)
    return found[-1].strip() if found else None


# --- judging ---------------------------------------------------------------------------------------------------------


def _number_is(item: Item, answer: str) -> bool:
    return gsm8k.number(answer) == gsm8k.number(str(item.gold))


def _field(item: Item, name: str) -> Any:
    return cast(dict[str, Any], item.gold)[name] if isinstance(item.gold, dict) else item.gold


def _output_is(item: Item, answer: str) -> bool:
    found = cruxeval.canonical(answer)
    return found is not None and found == cruxeval.canonical(str(_field(item, "output")))


def _input_is(item: Item, answer: str) -> bool:
    return cruxeval.returns(cast(dict[str, Any], item.gold), answer)


def _alias_is(item: Item, answer: str) -> bool:
    """A right alias is said, and the passage's answer is not (the paper's exact_match)."""
    aliases = _field(item, "aliases")
    names = [aliases] if isinstance(aliases, str) else aliases
    return any(triviaqa.contains(answer, alias) for alias in names) and not triviaqa.contains(answer, item.wrong)


def _countdown_is(item: Item, answer: str) -> bool:
    return countdown.grade(Task("", (), item.gold, countdown.FAMILY), answer).score == 1


def _last_chain(text: str) -> str | None:
    try:
        return countdown.last_chain(text)
    except countdown.Wrong:
        return None


# --- the families ----------------------------------------------------------------------------------------------------


def words(wait: str, mistake: str, filler: str) -> Mapping[str, str]:
    """The triggers of one reading."""
    return {"wait": wait, "mistake": mistake, "filler": filler}


CLEAN = words(" Wait,", " Wait, I made a mistake.", " Okay,")
MATHS = "Question: {question}\nAnswer: Let's solve this step by step."
CODE = (
    "Complete the assertion so that it holds. Execute the program step by step in [THOUGHT], then give the full assertion in "
    "[ANSWER] and [/ANSWER] tags.\n\n[PYTHON]\n{question}\n[/PYTHON]\n[THOUGHT]"
)
ASK_MATHS = "{question}\nThink step by step, and end with: The answer is N."
ASK_OPTION = "{question}\nThink step by step, and end with: The answer is X."
TERSE_WORDS = words(", wait ,", ", wait , wrong ,", ", then ,")

READINGS: dict[tuple[str, Profile], Reading] = {
    ("gsm8k", "clean"): Reading(MATHS, ASK_MATHS, stated_number, _number_is, CLEAN),
    ("gsm8k", "paper"): Reading(
        MATHS, ASK_MATHS, last_number, _number_is, words(" Wait, ", " Wait, I made a mistake. ", " Okay, ")
    ),
    ("bbh", "clean"): Reading(
        "Q: {question}\nA: Let's think step by step.", ASK_OPTION, last_answer_is,
        lambda item, answer: bbh.same(str(item.gold), answer), CLEAN, max_tokens=512,
    ),
    ("bbh", "paper"): Reading(
        "Q: {question}\nA:", ASK_OPTION, first_answer_is, lambda item, answer: bbh.same(str(item.gold), answer),
        words(" Wait,", " Wait, I made a mistake", " Okay,"), max_tokens=1024, stop=("Q", "\n\n"),
    ),
    ("cruxeval_o", "clean"): Reading(CODE, CODE, final_output, _output_is, CLEAN, "\n", 512, stop=("[PYTHON]",)),
    ("cruxeval_o", "paper"): Reading(
        CODE, CODE, lambda text: output_of(tagged(text, 0)), _output_is,
        words("\nwait!", "\nwait! I made a mistake", "\nokay!"), "\n", 800, 0.2, 0.9, ("[PYTHON]",),
    ),
    ("cruxeval_i", "clean"): Reading(
        CODE, CODE, lambda text: input_of(tagged(cut(text), -1)), _input_is, CLEAN, "\n", 512, stop=("[PYTHON]",)
    ),
    ("cruxeval_i", "paper"): Reading(
        CODE, CODE, lambda text: input_of(tagged(text, -1)), _input_is,
        words("\nNo, wait", "\nNo, wait, I made a mistake", "\nYes, okay"), "\n", 800, 0.2, 0.9, ("[PYTHON]",),
    ),
    ("triviaqa", "clean"): Reading(
        "Question: {question}\n", "{question}", lambda text: cut(text).strip() or None, _alias_is, CLEAN, "", 128
    ),
    ("triviaqa", "paper"): Reading(
        "Question: {question}\n", "{question}", lambda text: text.strip() or None, _alias_is,
        words(" \n\n wait,", " \n\n wait, I made a mistake", " \n\n okay,"), "", 1536,
    ),
    ("chains", "clean"): Reading(
        "{question}", "{question}", chains.answer_in, lambda item, answer: answer == str(item.gold), TERSE_WORDS, "", 40,
        candidate=lambda text: ((found := re.findall(r"= ([0-9]+)", text)) and found[-1]) or None, statement=r"\s*, done\b",
    ),
    ("countdown", "clean"): Reading("{question}", "{question}", _last_chain, _countdown_is, TERSE_WORDS, "", 32),
}  # fmt: skip
FAMILIES = tuple(dict.fromkeys(family for family, _ in READINGS))


def reading_of(family: str, profile: Profile) -> Reading:
    """How a family is read. Nano's own families have one profile. Raises UserError for an unknown family."""
    if family not in FAMILIES:
        raise UserError(f"there is no family of items {family!r}; there is {', '.join(FAMILIES)}")
    return READINGS.get((family, profile)) or READINGS[family, "clean"]
