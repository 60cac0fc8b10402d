"""What is computed for :mod:`secondthought.probes.temperature` from its stored conversations."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import median

from secondthought.probes import calibration_scores as fit
from secondthought.probes.base import arm_of, effect_of, in_arm, reported
from secondthought.probes.fitted import cross_fitted
from secondthought.stats import average, bootstrapped, decide, difference, mean
from secondthought.types import Arm, Cell, Curve, Effect, Episode, Estimate, Group, Report, Table

READERS = {
    "own": "its own report", "third": "itself as a third party", "across": "another model", "words": "a bag of words",
    "surprisal": "how surprising the text is", "ceiling": "the ideal observer", "one": "in one response",
    "swapped": "in one response, behind the other text",
}  # fmt: skip
ASKED = ("own", "third", "across", "one", "swapped")
SELF = ("own", "one")
OTHERS = ("third", "across", "words", "surprisal")
COMMON = 100  # words that the bag knows
Scores = dict[str, list[tuple[float, float]]]
"""For each reader and each pair what it says of the cold and of the hot text; larger means hotter."""


def report(groups: Sequence[Group], minimum: float = 0.0) -> Report:
    """The figures of one model; pairs of one subject count together."""
    keys = [group[0].task.key for group in groups]
    clusters = [subject_of(group[0]) for group in groups]
    styles = [str(group[0].verdicts["high"].answer) for group in groups]
    scores = said_by(groups, clusters)
    ranks = {reader: [ranked(pair) for pair in pairs] for reader, pairs in scores.items()}
    arms = {
        reader: arm_of(reader, label, ranks[reader], clusters, query={"arm": query_of(reader)}, control=reader not in SELF)
        for reader, label in READERS.items() if reader in ranks and not all(map(math.isnan, ranks[reader]))
    }  # fmt: skip
    others = [reader for reader in OTHERS if reader in arms]
    effects = advantages(arms, ranks, others, clusters)
    style, heat = style_effect(scores, styles, clusters), heat_effect(scores, clusters)
    effects += [Effect("style_effect", "P(HIGH) of crazy minus factual texts, same temperature", style)] if style.n else []
    effects += [Effect("temperature_effect", "P(HIGH) of hot minus cold texts", heat)] if heat.n else []
    figures = {f"{reader}/auroc": auroc(pairs, clusters) for reader, pairs in scores.items() if reader in arms}
    figures |= {f"{reader}/accuracy": accuracy(reader, scores[reader], clusters) for reader in arms}
    figures |= {f"{reader}/unread": unread(groups, reader) for reader in ASKED if reader in scores}
    kind = verdict_of(arms, effects, style, heat, minimum)
    return reported(
        "temperature", "its own report of its temperature is better than that of every other reader of the text",
        list(arms.values()), keys, effects=effects, decides="self_advantage", minimum=minimum, clusters=clusters,
        figures=figures, tables=[readers_table(arms, figures), by_style(scores, styles)], curves=[picture(arms)],
        notes=[kind, *([] if "own" in arms else ["no report of its own could be read"])],
    )  # fmt: skip


def subject_of(text: Episode) -> str:
    """What a text is about: styles and repeats of one subject count together."""
    answer = text.task.answer
    return str(answer[0]) if isinstance(answer, list | tuple) and answer else text.task.key


def said_by(groups: Sequence[Group], clusters: Sequence[str]) -> Scores:
    """What every reader says of every text."""
    found: Scores = {}
    for reader in ASKED:
        pairs = [pair_of(in_arm(group, reader), "says") for group in groups]
        if any(not math.isnan(x) for pair in pairs for x in pair):
            found[reader] = pairs
    for reader in ("surprisal", "ceiling"):
        pairs = [pair_of(in_arm(group, "text"), reader) for group in groups]
        if any(not math.isnan(x) for pair in pairs for x in pair):
            found[reader] = pairs
    texts = [one["text"].text for group in groups for one in in_arm(group, "text")]
    hot = [one.verdicts["high"].score for group in groups for one in in_arm(group, "text")]
    if len(set(clusters)) >= 10:
        said = cross_fitted(bag(texts), hot, [name for name in clusters for _ in range(2)])
        found["words"] = [(said[2 * k], said[2 * k + 1]) for k in range(len(groups))]
    return found


def pair_of(episodes: Sequence[Episode], finding: str) -> tuple[float, float]:
    """A finding on the cold and on the hot conversation of an arm; nan where there is none."""
    by_level = {one.verdicts["high"].score: one.verdicts[finding].score for one in episodes if finding in one.verdicts}
    return by_level.get(0.0, math.nan), by_level.get(1.0, math.nan)


def bag(texts: Sequence[str]) -> list[list[float]]:
    """Texts as counts of the most common words, with their length, their capitals and what is no letter."""
    split = [text.lower().split() for text in texts]
    common = [word for word, _ in Counter(word for words in split for word in set(words)).most_common(COMMON)]
    found = []
    for text, words in zip(texts, split, strict=True):
        counts, size = Counter(words), max(1, len(text))
        odd = sum(not (c.isalnum() or c.isspace()) for c in text) / size
        capital = sum(c.isupper() for c in text) / size
        shape = [float(len(words)), len(text) / max(1, len(words)), odd, capital, float(sum(not c.isascii() for c in text))]
        found.append([*(float(counts[word]) for word in common), *shape])
    return found


def ranked(pair: tuple[float, float]) -> float:
    """Whether the hot text of a pair is called hotter (a half for a tie): needs no threshold, and no base rate helps."""
    cold, hot = pair
    return math.nan if math.isnan(cold) or math.isnan(hot) else 0.5 + 0.5 * ((hot > cold) - (hot < cold))


def advantages(
    arms: dict[str, Arm], ranks: dict[str, list[float]], others: Sequence[str], clusters: Sequence[str]
) -> list[Effect]:
    """Its own report against each other reader, against the best of them, and against chance."""
    if "own" not in arms:
        return []
    found = [
        effect_of(f"own_minus_{reader}", f"its own report minus {READERS[reader]}", arms["own"], arms[reader], clusters)
        for reader in others
    ]
    rows = [i for i, value in enumerate(ranks["own"]) if not math.isnan(value)]

    def gap(places: Sequence[int]) -> float:
        own = average([ranks["own"][rows[i]] for i in places])
        best = max((average([ranks[reader][rows[i]] for i in places]) for reader in others), default=math.nan)
        return own - best

    if others:
        label = "its own report minus the best other reader (the gap G)"
        found.append(Effect("self_advantage", label, bootstrapped(gap, [clusters[i] for i in rows], unit="difference")))
    chance = [0.5] * len(clusters)
    found.append(Effect("own_above_chance", "its own report minus chance", difference(ranks["own"], chance, clusters)))
    if "swapped" in arms:
        label = "behind the other text: right minus chance (below 0: it follows the text)"
        found.append(Effect("follows_state", label, difference(ranks["swapped"], chance, clusters)))
    if "ceiling" in arms:
        label = "the ideal observer minus its own report"
        found.append(effect_of("below_ceiling", label, arms["ceiling"], arms["own"], clusters))
    return found


def probability(score: float) -> float:
    """P(HIGH) from log-odds.

    >>> probability(0.0)
    0.5
    """
    return math.nan if math.isnan(score) else 1 / (1 + math.exp(-max(-50.0, min(50.0, score))))


def style_effect(scores: Scores, styles: Sequence[str], clusters: Sequence[str]) -> Estimate:
    """How much likelier HIGH is of crazy texts than of factual ones at the same temperature, by subject."""
    by: dict[tuple[str, str], list[float]] = {}
    for pair, style, subject in zip(scores.get("own", []), styles, clusters, strict=False):
        by.setdefault((subject, style), []).extend(map(probability, pair))
    names = [s for s in dict.fromkeys(clusters) if (s, "crazy") in by and (s, "factual") in by]
    return difference([average(by[s, "crazy"]) for s in names], [average(by[s, "factual"]) for s in names], names)


def heat_effect(scores: Scores, clusters: Sequence[str]) -> Estimate:
    """How much likelier HIGH is of hot texts than of cold ones."""
    pairs = scores.get("own", [])
    return difference([probability(hot) for _, hot in pairs], [probability(cold) for cold, _ in pairs], clusters[: len(pairs)])


def accuracy(reader: str, pairs: Sequence[tuple[float, float]], clusters: Sequence[str]) -> Estimate:
    """How often a text is called by its temperature: at even odds, or, where a score has no odds (surprise), at its median."""
    middle = 0.5 if reader == "words" else 0.0
    if reader == "surprisal":
        middle = median([x for pair in pairs for x in pair if not math.isnan(x)])
    hits = [
        math.nan if math.isnan(x) else 0.5 if x == middle else float((x > middle) == bool(level))
        for pair in pairs for level, x in enumerate(pair)
    ]  # fmt: skip
    return mean(hits, [name for name in clusters for _ in range(2)])


def auroc(pairs: Sequence[tuple[float, float]], clusters: Sequence[str]) -> Estimate:
    """How often a hot text is called hotter than a cold one, over all texts."""
    rows = [(x, float(level), name) for pair, name in zip(pairs, clusters, strict=True) for level, x in enumerate(pair)
            if not math.isnan(x)]  # fmt: skip
    return bootstrapped(
        lambda places: fit.ranked([rows[i][0] for i in places], [rows[i][1] for i in places]), [name for *_, name in rows]
    )


def unread(groups: Sequence[Group], reader: str) -> Estimate:
    """The share of reports that say neither."""
    found = [one.verdicts["says"].score for group in groups for one in in_arm(group, reader) if "says" in one.verdicts]
    return mean([float(math.isnan(score)) for score in found])


def verdict_of(arms: dict[str, Arm], effects: Sequence[Effect], style: Estimate, heat: Estimate, minimum: float) -> str:
    """What kind of self-report it is: privileged, confounded, lightweight or none."""
    named = {effect.name: effect.estimate for effect in effects}
    if "own" not in arms:
        return "kind of report: none, for want of reports"
    if "self_advantage" in named and decide(named["self_advantage"], minimum=minimum)[0] == "supported":
        return "kind of report: privileged (better than every other reader of the text)"
    if style.n and style.low > 0 and style.value > heat.value:
        return "kind of report: confounded (the style that was asked for moves it more than the temperature)"
    if named["own_above_chance"].low > 0:
        return "kind of report: lightweight (right more often than chance, and no better than other readers)"
    return "kind of report: none (no better than chance)"


def query_of(reader: str) -> str:
    """The arm whose episodes stand behind a reader."""
    return reader if reader in ASKED else "text"


def readers_table(arms: dict[str, Arm], figures: dict[str, Estimate]) -> Table:
    """Every reader of the same texts."""
    rows: list[tuple[Cell, ...]] = [
        (arm.label, arm.estimate, figures[f"{name}/auroc"], figures[f"{name}/accuracy"], figures.get(f"{name}/unread"))
        for name, arm in arms.items()
    ]
    note = "The first column needs no threshold; accuracy is at even odds, so a reader who always says HIGH has a half."
    columns = ("reader", "hot text called hotter, %", "AUROC", "called right, %", "says neither, %")
    return Table("Who can say at which temperature a text was sampled", columns, tuple(rows), note)


def by_style(scores: Scores, styles: Sequence[str]) -> Table:
    """P(HIGH) of its own report, by style and temperature."""
    rows: list[tuple[Cell, ...]] = []
    for style in dict.fromkeys(styles):
        pairs = [pair for pair, one in zip(scores.get("own", []), styles, strict=False) if one == style]
        cold, hot = ([probability(pair[level]) for pair in pairs] for level in (0, 1))
        rows.append((style, mean(cold), mean(hot)))
    return Table("P(HIGH) of its own report", ("style", "low temperature, %", "high temperature, %"), tuple(rows))


def picture(arms: dict[str, Arm]) -> Curve:
    """How often each reader calls the hot text hotter."""
    series = {"called hotter": tuple((float(k), arm.estimate) for k, arm in enumerate(arms.values()))}
    ticks = tuple(arm.label for arm in arms.values())
    return Curve("Who can say it", "reader", "hot text called hotter, %", series, "bars", ticks=ticks)
