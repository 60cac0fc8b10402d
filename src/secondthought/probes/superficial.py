"""Is the reflection that a model shows unasked of any use? ("There May Not be Aha Moment in R1-Zero-like Training"; oat-zero.)

Every question is solved several times at each temperature, without any chain or trigger. A response *reflects* where a keyword
and the detector agree (each alone has false alarms). What came of it is read from the last answer before the first sign of
reflection and the final one:

* ``confirms``: right before, right after        * ``fixes``: wrong before, right after
* ``breaks``: right before, wrong after          * ``repeats``: no answer in the end
* ``stays wrong``: wrong before and after        * ``begins``: nothing had been answered yet

Superficial are the reflections that end wrong or nowhere.
"""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from secondthought.probes import detectors
from secondthought.probes.reflection import NANO, Setting, explicit, posed
from secondthought.protocols.second_thoughts import second_thoughts
from secondthought.scene import Engine, drive
from secondthought.stats import correlation, mean
from secondthought.tasks.items import Item
from secondthought.tasks.reading import Reading, reading_of
from secondthought.types import Episode, Estimate, Report, seed_of

TEMPERATURES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
BEHAVIOURS = ("confirms", "fixes", "breaks", "repeats", "stays wrong", "begins")
KEYWORDS = tuple(dict.fromkeys((*detectors.OAT_ZERO, *detectors.UNDERSTAND_R1_ZERO)))


@dataclass(frozen=True)
class Response:
    """One attempt at one question."""

    item: Item
    episode: Episode
    keyword: bool
    detector: bool
    behaviour: str | None

    @property
    def reflects(self) -> bool:
        """Keyword and detector agree that there is reflection."""
        return self.keyword and self.detector

    @property
    def score(self) -> float:
        """Right or wrong in the end."""
        return self.episode.verdicts["rest"].score


def measure(
    engine: Engine,
    items: Sequence[Item],
    setting: Setting,
    *,
    temperatures: Sequence[float] = TEMPERATURES,
    samples: int = 8,
    detector: str | detectors.Detector = "auto",
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> dict[float, list[Response]]:
    """``samples`` responses to every question at every temperature, so many questions at a time as fill the setting's batch."""
    questions = list({item.task.key: item for item in items}.values())
    size = max(1, setting.batch // samples)
    found: dict[float, list[Response]] = {}
    done = 0
    for temperature in temperatures:
        here = replace(setting, temperature=temperature)
        told: list[tuple[Item, Episode]] = []
        for start in range(0, len(questions), size):
            owners = [item for item in questions[start : start + size] for _ in range(samples)]
            scripts = [_solve(item, k % samples, here) for k, item in enumerate(owners)]
            episodes = drive(scripts, engine, seed=seed_of("superficial", setting.seed, str(temperature)))
            told += zip(owners, episodes, strict=True)
            done += len(owners) // samples
            tell(done, len(questions) * len(temperatures))
        found[temperature] = responses(told, setting, detector)
    return found


def _solve(item: Item, k: int, setting: Setting) -> Any:
    reading = reading_of(item.family, setting.profile)
    return second_thoughts(
        posed(item, reading, setting), (zlib.crc32(item.id.encode()) >> 1, k), chain=None, trigger=None,
        grade=lambda text: reading.grade(item, text), sampling=setting.sampling(reading),
    )  # fmt: skip


def responses(told: Sequence[tuple[Item, Episode]], setting: Setting, detector: str | detectors.Detector) -> list[Response]:
    """What each response did."""
    flags = explicit(told, detector, closed=detectors.said_wait)
    return [response(item, episode, setting, flag is True) for (item, episode), flag in zip(told, flags, strict=True)]


def response(item: Item, episode: Episode, setting: Setting, flagged: bool) -> Response:
    """What a response did that the detector flagged or did not."""
    reading, text, nano = reading_of(item.family, setting.profile), episode["rest"].text, item.family in NANO
    words = ("wait",) if nano else KEYWORDS
    keyword = any(word in text.lower() for word in words)
    begins = first_sign(text, words, cues=not nano)
    return Response(item, episode, keyword, flagged, behaviour(item, reading, text, begins) if begins is not None else None)


def first_sign(text: str, words: Sequence[str], *, cues: bool) -> int | None:
    """Where the first keyword (or cue of our rules) stands."""
    places = [match.start() for word in words if (match := re.search(re.escape(word), text, re.IGNORECASE))]
    places += [detectors.first_cue(text)] if cues and detectors.first_cue(text) >= 0 else []
    return min(places) if places else None


def behaviour(item: Item, reading: Reading, text: str, begins: int) -> str:
    """Which of :data:`BEHAVIOURS` a response shows that begins to reflect at ``begins``."""
    before, after = (reading.candidate or reading.read)(text[:begins]), reading.read(text)
    if after is None:
        return "repeats"
    right = reading.right(item, after)
    if before is None:
        return "begins"
    if reading.right(item, before):
        return "confirms" if right else "breaks"
    return "fixes" if right else "stays wrong"


# --- numbers ---------------------------------------------------------------------------------------------------------


def numbers(responses: Sequence[Response]) -> dict[str, Estimate]:
    """The figures at one temperature, 95 % intervals clustered by question."""
    keys = [r.item.task.key for r in responses]
    reflecting = [r for r in responses if r.reflects]
    their_keys = [r.item.task.key for r in reflecting]
    found = {
        "accuracy": mean([r.score for r in responses], keys),
        "keyword_rate": mean([float(r.keyword) for r in responses], keys),
        "detector_rate": mean([float(r.detector) for r in responses], keys),
        "reflection_rate": mean([float(r.reflects) for r in responses], keys),
        "superficial": mean([1 - r.score for r in reflecting], their_keys),
        "accuracy_difference": within_question(responses),
        "consistency": mean(*consistencies(responses)[::2]),
        "consistency_and_correctness": correlation(*consistencies(responses)[:2]),
    }
    for name in BEHAVIOURS:
        found[f"behaviour/{name}"] = mean([float(r.behaviour == name) for r in reflecting], their_keys)
    return found


def by_question(responses: Sequence[Response]) -> dict[str, list[Response]]:
    """The responses to each question."""
    found: dict[str, list[Response]] = {}
    for one in responses:
        found.setdefault(one.item.task.key, []).append(one)
    return found


def within_question(responses: Sequence[Response]) -> Estimate:
    """Accuracy of reflecting minus other responses to the same question, over questions that have both kinds.

    Hard questions get more reflection; comparing across questions would blame it for their difficulty.
    """
    gaps = []
    for mine in by_question(responses).values():
        yes, no = ([r.score for r in mine if r.reflects is kind] for kind in (True, False))
        if yes and no:
            gaps.append(sum(yes) / len(yes) - sum(no) / len(no))
    return mean(gaps, unit="difference")


def consistencies(responses: Sequence[Response]) -> tuple[list[float], list[float], list[str]]:
    """For each question: the share of its responses that give the commonest answer, how many are right, and its key."""
    shares, right, keys = [], [], []
    for key, mine in by_question(responses).items():
        answers = Counter(r.episode.verdicts["rest"].answer for r in mine)
        answers.pop(None, None)
        shares.append(answers.most_common(1)[0][1] / len(mine) if answers else math.nan)
        right.append(sum(r.score for r in mine) / len(mine))
        keys.append(key)
    return shares, right, keys


def summary(found: Mapping[float, Sequence[Response]]) -> dict[str, dict[str, Estimate]]:
    """The figures at every temperature."""
    return {f"{temperature:g}": numbers(responses) for temperature, responses in found.items()}


def report(found: Mapping[float, Sequence[Response]]) -> Report:
    """The question that decides: on the same question, are reflecting responses right more often than the others?"""
    everything = [one for responses in found.values() for one in responses]
    yes, no = ([r for r in everything if r.reflects is kind] for kind in (True, False))
    return Report(
        probe="superficial",
        claim="on the same question, responses that reflect are right more often than those that do not",
        arms={
            "reflecting": mean([r.score for r in yes], [r.item.task.key for r in yes]),
            "not reflecting": mean([r.score for r in no], [r.item.task.key for r in no]),
        },
        effect=within_question(everything),
        episodes=tuple(r.episode for r in everything),
    )
