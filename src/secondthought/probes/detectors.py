"""Does this text say that something before it was wrong? Detectors of explicit reflection.

Explicit reflection (arXiv 2504.04022): words whose meaning is that the reasoning so far may be wrong. Admitting a mistake,
doing a calculation again, comparing with what should have come out, remarks on one's own thinking. Surprise ("that's a lot!"),
restating and going on to another problem are none. What follows is right or wrong; that is another question.

A detector takes texts and gives True, False, or None where it cannot decide. ``rules`` is ours; ``oat_zero``,
``understand_r1_zero`` and ``markers`` are the lists of published work; ``judge:...`` asks a model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from secondthought.errors import UserError

Detector = Callable[[Sequence[str]], list[bool | None]]

OAT_ZERO = (
    "recheck", "rethink", "reevaluate", "re-evaluate", "reevaluation", "re-examine", "reexamine", "try again", "check again",
    "think again", "go over the steps",
)  # fmt: skip
"""Keywords of "There May Not be Aha Moment in R1-Zero-like Training" (sail-sg/oat-zero); "wait" is left out there on
purpose."""

UNDERSTAND_R1_ZERO = (
    "recheck", "rethink", "reassess", "reevaluate", "re-evaluate", "reevaluation", "re-examine", "reexamine", "reconsider",
    "reanalyze", "double-check", "check again", "think again", "verify again", "go over the steps",
)  # fmt: skip
"""Keywords of "Understanding R1-Zero-Like Training" (arXiv 2503.20783)."""

MARKERS = ("wait", "no", "but", "hold on", "hang on", "alternatively", "however", "hmm")
"""Words at the beginning of a sentence that the Self-Correction Bench counts (arXiv 2507.02778)."""

NOT = r"(?:not|n't|never|cannot|no longer)"
BE = r"(?:is|are|was|were|be|isn't|aren't|wasn't|weren't|'s)"
LET = r"\blet(?:'s| us| me) (?:\w+ )?"
CUES: dict[str, tuple[str, ...]] = {
    "verdict": (  # something is judged: "that's not right", "the function is incorrect"
        r"\b(?:incorrect|wrong(?:ly)?|mistaken(?:ly)?|erroneous|mistakes?|errors?|flaw(?:ed|s)?|invalid|incomplete|impossible)\b",
        rf"{NOT} (?:\w+ ){{0,2}}?(?:right|correct|accurate|valid|complete|possible|reasonable|the answer)",
        rf"{NOT} (?:\w+ ){{0,2}}?(?:make sense|add up)",
        r"\b(?:can't|cannot|could(?:n't| not)) be (?:right|correct|true|the)",
        r"\bdo(?:es)?n't (?:make sense|seem|look|add up|match|work|sound)",
    ),
    "mismatch": (  # what is does not fit what should be: "should return", "is not the same as", "31, not 41"
        rf"{BE}?\s?{NOT} (?:\w+ )?(?:the same|equal|a whole number|an integer|enough (?:for|to) each|in the)",
        r"\bshould(?:n't| not)? (?:\w+ )?(?:be|have|return|not)\b",
        rf"\b(?:is|are|was|were) (?:{NOT} )?supposed to\b",
        r"\bas expected\b|\bwas expect(?:ed|ing)\b",
        r"(?<!\S)\S{1,200}, not (?:the|a|an|by|\$?[\d'\"(\[{])",
        r"\b(?:instead of|rather than)\b",
        rf"\bbut (?:the|it|there|that|this|we|he|she|they)\b[^.!?\n]{{0,60}}?(?:{NOT}\b|\bassertion\b|\bshould\b)",
        rf"{BE} {NOT} [^.!?\n]{{1,60}}? but ['\"\d(\[{{a-z]",
    ),
    "metacognition": (  # the author looks at the own thinking: "I thought", "what did we do wrong", "I see"
        r"\b(?:I|we) (?:thought|assumed|forgot|overlooked|missed|meant|ignored|confused|mis(?:read|underst|calcul|t)\w+)\b",
        r"\b(?:I|we)(?:'m| am|'re| are) (?:confused|sorry|wrong|stuck)\b",
        r"\b(?:I|we) (?:must|should|could|might) have\b",
        r"\bwhat(?:'s| is)? (?:did (?:I|we)|went|going on|happened)\b|\bwhat (?:does|do) (?:that|this|it) mean\b",
        r"\boh,? I see\b|\bI see[.,!]|\bon second thought\b|\b(?:realize|realise|notice)d?\b",
        r"\b(?:why|how) (?:is|are|was|did|does|do) (?:that|this|the|it|we|I)\b[^.!?\n]{0,400}\?",
        r"\bwhat\?\s+(?:that|this|it)'?s?\b",
    ),
    "again": (  # doing it again, or checking: "let's try again", "let me check the question"
        LET + r"(?:try (?:it |this |that )?again|check (?:our|my|the|this|that|if|it|again))",
        LET + r"(?:look (?:at|again)|go back|start over|verify|fix|correct)",
        r"\b(?:try|check|think|look|start|calculate|count|verify) again\b|\bdouble[- ]check",
        r"\bre-?(?:check|think|consider|evaluat|examin|assess|calculat|comput|do\b|read\b|count)\w*",
        r"\bstart over\b|\bgo back (?:and|to)\b|\b(?:is|there) a better way\b",
    ),
    "repair": (  # mending on the spot: "the correct answer is", "we need to round up", "actually"
        r"\b(?:correct|right|real|actual|true) (?:answer|output|result|value|number|way|calculation|solution)\b",
        r"\bactually\b|\bto (?:fix|correct)\b",
        r"\bround(?:ed)? (?:it |the \w+ |up|down|to|off|[\d.]+)",
        r"\b(?:so|then) the (?:\w+ )?(?:output|count|result|function|list) (?:must|should)\b",
    ),
}
"""What explicit reflection sounds like, by kind."""

_COMPILED = {
    name: re.compile(re.sub(r"(?<!\\)[A-Z]", lambda letter: letter[0].lower(), "|".join(patterns)))
    for name, patterns in CUES.items()
}
"""For texts in lower case, which takes half as long as to look for both cases."""
_NEXT_PROBLEM = re.compile(
    r"\n[^\S\n]*#{1,4}\s|\bQuestion\s*\d+\s*:|\bQuestion followed by answer\b|\[ANSWER\]|\[/THOUGHT\]"
    r"|\blet's (?:try|solve|do|now try|look at) (?:another|a (?:new|harder|different|similar))"
    r"|\bnow,? let's try (?:a|another)\b"
    r"|\bAnswer (?:the|this) question\b",
    re.IGNORECASE,
)
_CONFIRMED = re.compile(r"\b(?:answer|result|solution|output|work) is (?:indeed )?(?:correct|right)\b", re.IGNORECASE)
_CHECKED = re.compile(r"\blet(?:'s|\s+me|\s+us) check (?:the|our|my)\b", re.IGNORECASE)


def own_words(text: str) -> str:
    """The text up to where it turns to another problem or to the final answer, typographic quotes made plain."""
    plain = unwrapped(text).replace("\u2019", "'").replace("\u2018", "'").replace("\u201c", '"').replace("\u201d", '"')
    end = _NEXT_PROBLEM.search(plain)
    return plain[: end.start()] if end else plain


def unwrapped(text: str) -> str:
    """Harnesses save outputs as JSON in lists in lists; the string inside."""
    if text.startswith("["):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return text
        while isinstance(found, list) and found:
            found = found[0]
        return found if isinstance(found, str) else text
    return text


def cues(text: str) -> list[str]:
    """Which kinds of cue are in the text; :func:`rules` is whether there is any.

    >>> cues("That's not right. Let me try again.")
    ['verdict', 'again']
    >>> cues("178 buttons? That's a lot of buttons!")
    []
    """
    words = _lower(own_words(text))
    found = [name for name, pattern in _COMPILED.items() if pattern.search(words)]
    if found == ["again"] and _CHECKED.search(words) and _CONFIRMED.search(words):
        return []  # a check that finds everything in order doubts nothing
    return found


def first_cue(text: str) -> int:
    """Where the first cue begins; -1 if there is none."""
    words = _lower(own_words(text))
    return min((match.start() for pattern in _COMPILED.values() if (match := pattern.search(words))), default=-1)


def _lower(text: str) -> str:
    """In lower case, every character where it was."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def rules(texts: Sequence[str]) -> list[bool | None]:
    """Our detector: any cue before the text turns to something else."""
    return [bool(cues(text)) for text in texts]


def keywords(words: Sequence[str]) -> Detector:
    """Any of the words anywhere, as the papers count them: lower case, substrings."""
    return lambda texts: [any(word in text.lower() for word in words) for text in texts]


def markers(texts: Sequence[str]) -> list[bool | None]:
    """A marker word at the beginning of a sentence, followed by a comma, an exclamation mark or a space."""
    pattern = re.compile(rf"(?:^|[.!?\n][^\S\n]*)(?:{'|'.join(MARKERS)})[,! ]", re.IGNORECASE)
    return [bool(pattern.search(text)) for text in texts]


def said_wrong(texts: Sequence[str]) -> list[bool | None]:
    """The word "wrong": exact for nano models, whose corpus has no other word for it."""
    return [bool(re.search(r"\bwrong\b", text)) for text in texts]


def said_wait(texts: Sequence[str]) -> list[bool | None]:
    """The word "wait" with something worked out after it: a nano model's second look."""
    wait, worked_out = re.compile(r"\bwait\b"), re.compile(r"=|\bright\b|\bwrong\b")
    return [
        any(worked_out.search(line, begin.end()) for line in text.split("\n") if (begin := wait.search(line))) for text in texts
    ]


DETECTORS: dict[str, Detector] = {
    "rules": rules,
    "said_wait": said_wait,
    "said_wrong": said_wrong,
    "oat_zero": keywords(OAT_ZERO),
    "understand_r1_zero": keywords(UNDERSTAND_R1_ZERO),
    "markers": markers,
}


def named(name: str) -> Detector:
    """The detector of that name. Raises UserError if there is none."""
    if name not in DETECTORS:
        raise UserError(f"there is no detector {name!r}; there is {', '.join(DETECTORS)}, and judge:MODEL")
    return DETECTORS[name]


def check(name: str) -> None:
    """Raise UserError if there is no detector ``name``; ``auto`` and judges are left for later."""
    if name != "auto" and not name.startswith("judge:"):
        named(name)


def detector_of(name: str) -> Detector:
    """A detector by its name, or a judge: ``judge:MODEL`` (a folder or hub name) or ``judge:URL#MODEL``.

    Raises UserError if there is none, or the judge cannot be loaded.
    """
    if not name.startswith("judge:"):
        return named(name)
    from secondthought.probes.judges import judge_of
    from secondthought.probes.reflection_judge import Judge

    return Judge(judge_of(name))
