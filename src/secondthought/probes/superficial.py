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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from secondthought.engines.base import Engine
from secondthought.errors import UserError
from secondthought.items.base import Item, Items
from secondthought.items.templates import Profile, Reading, reading_of
from secondthought.probes import detectors
from secondthought.probes.base import arm_of, reported, with_verdicts
from secondthought.probes.flawed_chain import NANO, explicit, finding, posed
from secondthought.probes.on_items import OnItems, sampling_of
from secondthought.protocols.prefilled_chain import prefilled_chain
from secondthought.rollouts import drive
from secondthought.runs.progress import Progress
from secondthought.stats import average, correlation, mean
from secondthought.types import Arm, Cell, Curve, Effect, Episode, Estimate, Group, Report, Table, Verdict, seed_of

TEMPERATURES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
BEHAVIOURS = ("confirms", "fixes", "breaks", "repeats", "stays wrong", "begins")
KEYWORDS = tuple(dict.fromkeys((*detectors.OAT_ZERO, *detectors.UNDERSTAND_R1_ZERO)))
BATCH = 128  # responses at a time
METRICS = {
    "accuracy": "right", "keyword_rate": "a keyword of reflection", "detector_rate": "the detector says so",
    "reflection_rate": "both: reflects", "superficial": "of the reflecting: wrong in the end",
    "accuracy_difference": "reflecting minus others, same question", "consistency": "agrees with the commonest answer",
}  # fmt: skip


@dataclass(frozen=True)
class Superficial(OnItems):
    """Measure unasked reflection on ``n`` questions of ``tasks`` (a SPEC of items), ``samples`` responses at each temperature.

    temperatures     separated by commas
    profile          clean or paper: how answers are read
    max_tokens       0: that of the profile
    detector         auto, rules, oat_zero, understand_r1_zero, markers, judge:MODEL or judge:URL#MODEL
    strict           refuse items with faults instead of leaving them out
    minimum          reflecting minus other responses that is worth speaking of (a fraction), fixed beforehand
    """

    name: ClassVar[str] = "superficial"
    asks: ClassVar[str] = "Is the reflection that it shows unasked of any use?"
    brief: ClassVar[Mapping[str, object]] = {"temperatures": (1.0,), "samples": 4}
    n: int | None = 100
    samples: int = 8
    temperatures: tuple[float, ...] = TEMPERATURES
    profile: Profile = "clean"
    max_tokens: int = 0
    minimum: float = 0.05

    def prepare(self, progress: Progress) -> Superficial:
        """The questions, read once. Raises UserError for temperatures that are none, and a detector that does not exist."""
        if not self.temperatures or not all(0 <= t < math.inf for t in self.temperatures):
            raise UserError(f"temperatures={self.temperatures}: a temperature is a number of at least 0")
        if self.samples < 2:
            raise UserError(f"samples={self.samples}: at least 2 responses are needed to compare within a question")
        return super().prepare(progress)

    def measure(self, model: Engine, progress: Progress) -> list[Group]:
        """A group for each question: ``samples`` episodes in an arm for each temperature."""
        items = cast(Items, self.prepare(progress).tasks).found
        questions = list({item.task.key: item for item in items}.values())
        detector = detectors.detector_of(self.detector) if self.detector != "auto" else None
        found: dict[str, list[Episode]] = {item.task.key: [] for item in questions}
        size, done = max(1, BATCH // self.samples), 0
        for temperature in self.temperatures:
            for start in range(0, len(questions), size):
                owners = [item for item in questions[start : start + size] for _ in range(self.samples)]
                scripts = [self._solve(item, k % self.samples, temperature, model) for k, item in enumerate(owners)]
                episodes = drive(scripts, model, seed=seed_of("superficial", self.seed, str(temperature)))
                for item, one in zip(owners, self.judged(owners, episodes, f"{temperature:g}", detector), strict=True):
                    found[item.task.key].append(one)
                done += len(owners) // self.samples
                progress.step(done, len(questions) * len(self.temperatures), {})
        return [tuple(episodes) for episodes in found.values()]

    def _solve(self, item: Item, k: int, temperature: float, model: Engine) -> Any:
        reading = reading_of(item.family, self.profile)
        sampling = sampling_of(reading, temperature, self.max_tokens)
        return prefilled_chain(
            posed(item, reading, raw=model.renderer.raw), (zlib.crc32(item.id.encode()) >> 1, k), chain=None, trigger=None,
            grade=lambda text: reading.grade(item, text), sampling=sampling,
        )  # fmt: skip

    def judged(
        self, items: Sequence[Item], episodes: Sequence[Episode], arm: str, detector: detectors.Detector | None
    ) -> list[Episode]:
        """The episodes with what each response did: the findings ``keyword``, ``explicit`` and ``reflection``."""
        families, texts = [item.family for item in items], [e["rest"].text for e in episodes]
        flags = explicit(families, texts, detector, closed=detectors.said_wait)
        return [
            with_verdicts(episode, arm, findings(item, reading_of(item.family, self.profile), episode["rest"].text, flag))
            for item, episode, flag in zip(items, episodes, flags, strict=True)
        ]

    def report(self, groups: Sequence[Group]) -> Report:
        """On the same question, are reflecting responses right more often than the others?"""
        return report(groups, self.minimum)


probe = Superficial


def findings(item: Item, reading: Reading, text: str, flag: bool | None) -> dict[str, Verdict]:
    """What one response did; ``reflection`` scores 1 where keyword and detector agree, and its answer is the behaviour."""
    nano = item.family in NANO
    keywords = ("wait",) if nano else KEYWORDS
    keyword, begins = any(word in text.lower() for word in keywords), first_sign(text, keywords, cues=not nano)
    shown = behaviour(item, reading, text, begins) if begins is not None else None
    return {
        "keyword": Verdict(float(keyword)), "explicit": finding(flag),
        "reflection": Verdict(float(keyword and flag is True), shown),
    }  # fmt: skip


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


def score(episode: Episode) -> float:
    """Right or wrong in the end."""
    return episode.verdicts["rest"].score


def reflects(episode: Episode) -> bool:
    """Keyword and detector agree that there is reflection."""
    return episode.verdicts["reflection"].score == 1


def numbers(groups: Sequence[Group]) -> dict[str, Estimate]:
    """The figures of some responses, a group for each question; 95 % intervals clustered by question."""
    responses = [(e, group[0].task.key) for group in groups for e in group]
    keys = [key for _, key in responses]
    reflecting, their_keys = [e for e, _ in responses if reflects(e)], [key for e, key in responses if reflects(e)]
    shares, right, questions = consistencies(groups)
    found = {
        "accuracy": mean([score(e) for e, _ in responses], keys),
        "keyword_rate": mean([e.verdicts["keyword"].score for e, _ in responses], keys),
        "detector_rate": mean([float(e.verdicts["explicit"].score == 1) for e, _ in responses], keys),
        "reflection_rate": mean([float(reflects(e)) for e, _ in responses], keys),
        "superficial": mean([1 - score(e) for e in reflecting], their_keys),
        "accuracy_difference": mean(gaps(groups), unit="difference"),
        "consistency": mean(shares, questions),
        "consistency_and_correctness": correlation(shares, right),
    }
    for name in BEHAVIOURS:
        shown = [float(e.verdicts["reflection"].answer == name) for e in reflecting]
        found[f"behaviour/{name}"] = mean(shown, their_keys)
    return found


def gaps(groups: Sequence[Group]) -> list[float]:
    """For each question, accuracy of reflecting minus other responses; nan where there is only one kind.

    Hard questions get more reflection; comparing across questions would blame it for their difficulty.
    """
    found = []
    for group in groups:
        yes, no = ([score(e) for e in group if reflects(e) is kind] for kind in (True, False))
        found.append(sum(yes) / len(yes) - sum(no) / len(no) if yes and no else math.nan)
    return found


def consistencies(groups: Sequence[Group]) -> tuple[list[float], list[float], list[str]]:
    """For each question: the share of its responses that give the commonest answer, how many are right, and its key."""
    shares, right, keys = [], [], []
    for group in groups:
        answers = Counter(e.verdicts["rest"].answer for e in group)
        answers.pop(None, None)
        shares.append(answers.most_common(1)[0][1] / len(group) if answers else math.nan)
        right.append(sum(map(score, group)) / len(group))
        keys.append(group[0].task.key)
    return shares, right, keys


def report(groups: Sequence[Group], minimum: float = 0.0) -> Report:
    """Every figure of one model: an arm for each temperature, and the difference within question over all of them."""
    keys = [group[0].task.key for group in groups]
    temperatures = list(dict.fromkeys(e.arm for group in groups for e in group))
    by_temperature = {
        arm: numbers([part for group in groups if (part := tuple(e for e in group if e.arm == arm))]) for arm in temperatures
    }
    arms: list[Arm] = []
    for kind, label in ((True, "responses that reflect"), (False, "other responses")):
        rows = [(score(e), group[0].task.key) for group in groups for e in group if reflects(e) is kind]
        name = "reflecting" if kind else "other"
        arms.append(Arm(name, label, mean([s for s, _ in rows], [k for _, k in rows]), query={}, control=not kind))
    for arm in temperatures:
        scores = [average([score(e) for e in group if e.arm == arm]) for group in groups]
        arms.append(arm_of(arm, f"temperature {arm}", scores, keys))
    within = Effect("within_question", "reflecting minus others, same question", mean(gaps(groups), keys, unit="difference"))
    figures = {f"{arm}/{name}": e for arm, found in by_temperature.items() for name, e in found.items()}
    return reported(
        "superficial", "on the same question, responses that reflect are right more often than those that do not", arms, keys,
        effects=[within], decides="within_question", minimum=minimum, figures=figures,
        tables=[rates_table(by_temperature), behaviours_table(by_temperature)], curves=curves(by_temperature),
    )  # fmt: skip


def rates_table(found: dict[str, dict[str, Estimate]]) -> Table:
    """Rates and accuracy at each temperature."""
    rows: tuple[tuple[Cell, ...], ...] = tuple((arm, *(metrics[m] for m in METRICS)) for arm, metrics in found.items())
    return Table("% of responses", ("temperature", *METRICS.values()), rows)


def behaviours_table(found: dict[str, dict[str, Estimate]]) -> Table:
    """What reflection does at each temperature."""
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (arm, *(m[f"behaviour/{b}"] for b in BEHAVIOURS), m["superficial"].n) for arm, m in found.items()
    )
    note = "By the last answer before the first sign of reflection and the final one."
    return Table("What reflection does, % of the reflecting responses", ("temperature", *BEHAVIOURS, "n"), rows, note)


def curves(found: dict[str, dict[str, Estimate]]) -> list[Curve]:
    """Reflection and accuracy over temperature, what reflection does, and consistency."""

    def series(shown: dict[str, str]) -> dict[str, tuple[tuple[float, Estimate], ...]]:
        return {label: tuple((float(arm), m[name]) for arm, m in found.items()) for name, label in shown.items()}

    rates = {"accuracy": "right", "keyword_rate": "keyword", "reflection_rate": "keyword and detector"}
    same = {"consistency": "consistency", "accuracy": "correctness"}
    return [
        Curve("Unasked reflection", "temperature", "% of responses", series(rates)),
        Curve("What it does", "temperature", "% of the reflecting", series({f"behaviour/{b}": b for b in BEHAVIOURS}), "stack"),
        Curve("Consistency is no correctness", "temperature", "% of responses", series(same)),
    ]
