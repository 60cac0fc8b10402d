"""Numbers in words: estimates with their intervals, in the unit that they have."""

from __future__ import annotations

import math

from secondthought.types import Cell, Estimate, Report


def show(estimate: Estimate | None, *, interval: bool = True) -> str:
    """An estimate with its interval: fractions in percent, differences in points with a sign, all else in its unit.

    >>> show(Estimate(0.412, 0.38, 0.44, 1000))
    '41.2 [38.0, 44.0]'
    >>> show(Estimate(0.05, 0.01, 0.09, 100, "difference")), show(Estimate(0.83, 0.6, 0.92, 40, "r"))
    ('+5.0 [+1.0, +9.0]', '+0.83 [+0.60, +0.92]')
    """
    if estimate is None or math.isnan(estimate.value):
        return "-"
    factor, form = FORMS.get(estimate.unit, (1, ".1f"))
    if math.isnan(estimate.low) or math.isnan(estimate.high) or not interval:
        return f"{estimate.value * factor:{form}}"
    return f"{estimate.value * factor:{form}} [{estimate.low * factor:{form}}, {estimate.high * factor:{form}}]"


FORMS = {
    "fraction": (100, ".1f"),
    "difference": (100, "+.1f"),
    "r": (1, "+.2f"),
    "FLOP": (1, ".3g"),
    "ratio": (1, ".3f"),
    "nats": (1, ".3f"),
}
"""By unit, what a value is multiplied by and how it is written; all others are written plainly."""


def cell(value: Cell) -> str:
    """A cell of a table as text."""
    if value is None:
        return "-"
    if isinstance(value, Estimate):
        return show(value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def on_one_line(text: str) -> str:
    """What a model wrote, on one line and harmless in Markdown.

    >>> on_one_line("<b>\\nx | `y`")
    "&lt;b> x \\\\| 'y'"
    """
    return " ".join(text.split()).replace("`", "'").replace("|", "\\|").replace("<", "&lt;")


def verdict(report: Report) -> str:
    """The verdict in a sentence: what was claimed, the effect that decides it, and why.

    >>> from secondthought.types import Effect
    >>> gain = Effect("gain", "a minus b", Estimate(0.1, 0.05, 0.15, 50, "difference"))
    >>> verdict(Report("demo", "a beats b", "supported", ("it does",), (), (gain,), "gain"))
    'supported: a beats b (a minus b: +10.0 [+5.0, +15.0] points, n = 50): it does'
    """
    effect = next((e for e in report.effects if e.name == report.decides), None)
    number = ""
    if effect is not None and not math.isnan(effect.estimate.value):
        unit = " points" if effect.estimate.unit == "difference" else ""
        number = f" ({effect.label}: {show(effect.estimate)}{unit}, n = {effect.estimate.n})"
    return f"{report.verdict}: {report.claim}{number}: {'; '.join(report.reasons)}"
