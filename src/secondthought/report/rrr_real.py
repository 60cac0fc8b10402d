"""What ``reproduce rrr_real`` found, as a page of Markdown, and a page of reflections to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from secondthought.report.rrr import CONTROLS, show, table
from secondthought.report.words import on_one_line
from secondthought.runs.files import write_text

Json = Mapping[str, Any]
BASE = "rrr"
ARMS = {
    "rrr": "reflections paid, behind the start", "start_only": "the start alone", "no_start": "reflections paid, no start",
    "answer": "first attempts paid (plain GRPO)", "retry_only": "retries paid, behind the start",
    "random_reward": "rewards drawn by lot, behind the start",
}  # fmt: skip


def write(out: Path, found: Json) -> Path:
    """Write ``results.md`` and ``reflections.md``; the picture of the arms is there already."""
    write_text(out / "reflections.md", reflections(found["reflections"]))
    path = out / "results.md"
    write_text(path, "\n".join(_lines(found)).rstrip() + "\n")
    return path


def _lines(found: Json) -> Iterator[str]:
    arms = {arm: found["arms"][arm] for arm in found["sides"]}
    yield from (
        "# Reflect, Retry, Reward on a real language model",
        "",
        f"`{found['model']}`, written by `secondthought reproduce rrr_real`.",
    )
    yield "Percent of held-out problems, sampled at temperature 1, with 95 % intervals (pooled seeds are clustered by problem)."
    yield from _arms(arms, found)
    yield from ("", "![Who is paid](arms.png)")
    yield from _controls(found["sides"])
    yield from _transplant(found["transplant"])
    yield from _greedy(found["greedy"])
    yield from _forgotten(found["others"], found["perplexity"])
    yield from _errors(found["sides"])


def _controls(sides: Json) -> Iterator[str]:
    yield from ("", "Retries of failures, own reflection less each control, points (before -> after):")
    rows = []
    for name, label in CONTROLS.items():
        cells = [[show(one[when][f"own_minus_{name}"]) for when in ("before", "after")] for one in sides.values()]
        rows.append([label, *(" -> ".join(cell) for cell in cells)])
    yield from table(("own minus", *(f"`{arm}`" for arm in sides)), rows)


def _arms(arms: Json, found: Json) -> Iterator[str]:
    rows = []
    for arm, one in arms.items():
        before = found["sides"][arm]["before"]
        first, second = (f"{show(before[m])} -> {show(one[m])}" for m in ("first", "second"))
        each = ", ".join(f"{100 * seed['second']:+.1f}" for seed in found["each_seed"][arm])
        tokens = ", ".join(f"{count:,}" for count in one["sampled_tokens"])
        rows.append([
            f"`{arm}`: {ARMS.get(arm, arm)}", str(one["seeds"]), tokens, first, second,
            f"**{show(one['second_gain'])}** ({each})", show(one["resampled"]),
        ])  # fmt: skip
    head = (
        "arm",
        "seeds",
        "tokens sampled",
        "first try",
        "with one reflection",
        "change (each seed)",
        "fresh attempts instead",
    )
    yield from table(head, rows)


def _transplant(found: Json) -> Iterator[str]:
    yield from ("", "Where the gain sits: failures of the untrained model, retried with each pair of reflector and retrier:")
    pairs = ("base/base", "trained/base", "base/trained", "trained/trained")
    rows = [
        [f"`{arm}`", *(show(one[pair]) for pair in pairs), show(one["reflection"]), show(one["retry"])]
        for arm, one in found.items()
    ]
    yield from table(("arm", *pairs, "gain by reflections", "gain by retries"), rows)


def _greedy(found: Json) -> Iterator[str]:
    if found:
        yield from ("", "At temperature 0, where a gain cannot come from a sharper distribution alone:")
        rows = [[f"`{arm}`", *(_change(one[m]) for m in ("first", "second"))] for arm, one in found.items()]
        yield from table(("arm", "first try", "with one reflection"), rows)


def _forgotten(others: Json, text: Json) -> Iterator[str]:
    arms = list(dict.fromkeys((*others, *text)))
    if arms:
        yield from ("", "What became of what was not trained (greedy; perplexity of given text):")
        rows = [
            [
                f"`{arm}`", _change(others[arm]["right"]) if arm in others else "-",
                f"{text[arm]['before']:.3f} -> {text[arm]['after']:.3f}" if arm in text else "-",
            ]
            for arm in arms
        ]  # fmt: skip
        yield from table(("arm", "other tasks", "perplexity"), rows)


def _change(one: Json) -> str:
    return f"{show(one['before'])} -> {show(one['after'])}: {show(one['change'])}"


def _errors(sides: Json) -> Iterator[str]:
    yield from ("", "How first tries / retries fail, % of all (before -> after):")
    kinds = dict.fromkeys(
        why
        for one in sides.values()
        for when in one.values()
        for verdict in ("attempt", "retry")
        for why in when["errors"][verdict]
    )

    def cell(one: Json, why: str) -> str:
        parts = [
            [100 * one[when]["errors"][verdict].get(why, 0) for when in ("before", "after")] for verdict in ("attempt", "retry")
        ]
        return " / ".join(f"{before:.1f} -> {after:.1f}" for before, after in parts)

    yield from table(("class of error", *sides), [[why, *(cell(one, why) for one in sides.values())] for why in kinds])
    rows = [[f"`{arm}`", *(show(one[when]["length"]) for when in ("before", "after"))] for arm, one in sides.items()]
    yield from ("", "Length of a reflection, tokens:")
    yield from table(("arm", "before", "after"), rows)


def reflections(pairs: Sequence[Mapping[str, str]]) -> str:
    """The same problems before and after training, to be read."""
    lines = ["# Reflections before and after training", "", "The first held-out problems that both models failed at first."]
    for pair in pairs:
        one = {name: on_one_line(text) for name, text in pair.items()}
        lines += ["", f"## {one['question']}"]
        for when in ("before", "after"):
            lines += [
                "", f"**{when.capitalize()}.** Attempt ({one[f'{when}_fault']}): `{one[f'{when}_attempt']}`",
                "", f"> {one[f'{when}_reflection']}",
                "", f"Retry ({one[f'{when}_end']}): `{one[f'{when}_retry']}`",
            ]  # fmt: skip
    return "\n".join(lines) + "\n"
