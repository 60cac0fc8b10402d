"""What a reproduction is: a paper's claims, made again at a budget, each with its published and its measured value.

Write a frozen dataclass that inherits from :class:`Reproduction`; its fields are its options (``--data``, ``--workers``,
``--set``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from secondthought.errors import UserError
from secondthought.runs.progress import Progress
from secondthought.runs.reports import claim_json
from secondthought.stats import decide
from secondthought.types import Claim, Estimate, Finding


@dataclass(frozen=True)
class Reproduced:
    """What came of a reproduction: its claims, its tables as JSON, and the page that was written, if there is one.

    >>> Reproduced((claim("gain", "it helps", "Table 1", "+3", None),), {}).claims[0].verdict
    'not applicable'
    """

    claims: tuple[Claim, ...]
    tables: Any = None
    page: Path | None = field(default=None)

    def json(self, name: str, budget: str) -> dict[str, Any]:
        """``name``, ``budget``, ``claims`` and, where there are any, ``tables``."""
        found = {"name": name, "budget": budget, "claims": [claim_json(claim) for claim in self.claims]}
        return found if self.tables is None else {**found, "tables": self.tables}


class Reproduction(Protocol):
    """A paper's claims, made again. ``needs`` says in words what must be given, ``budgets`` maps names to what they take.

    >>> @dataclass(frozen=True)
    ... class Nothing(Reproduction):
    ...     name: ClassVar[str] = "nothing"
    ...     def run(self, budget, out, progress):
    ...         return Reproduced((), {})
    >>> Nothing().run("quick", Path(), None).claims
    ()
    """

    name: ClassVar[str]
    needs: ClassVar[str] = ""
    budgets: ClassVar[dict[str, str]] = {"quick": "minutes", "full": "hours"}

    def run(self, budget: str, out: Path, progress: Progress) -> Reproduced:
        """Do what is not done yet in ``out``, then look at all of it. Raises UserError for what is missing."""
        ...


def check_budget(reproduction: Reproduction, budget: str) -> None:
    """Raise UserError for a budget that a reproduction has not."""
    if budget not in reproduction.budgets:
        raise UserError(f"there is no budget {budget!r} of {reproduction.name}; choose {' or '.join(reproduction.budgets)}")


OURS = "not in the paper"  # the source of a claim that the paper did not test


def claim(
    id: str, text: str, source: str, published: str | float | None, measured: Estimate | None, *, null: float = 0.0,
    minimum: float = 0.0, reasons: tuple[str, ...] = (),
) -> Claim:  # fmt: skip
    """A claim that ``measured`` is above ``null`` by at least ``minimum``, with the verdict that follows.

    >>> claim("gain", "it helps", "Table 1", "+18.1", Estimate(0.2, 0.1, 0.3, 100, "difference")).verdict
    'supported'
    """
    if measured is None:
        return Claim(id, text, source, published, None, "not applicable", reasons or ("not measured at this budget",))
    verdict, why = decide(measured, null=null, minimum=minimum)
    return Claim(id, text, source, published, measured, verdict, (*why, *reasons))


def below(
    id: str, text: str, source: str, published: str | float | None, measured: Estimate | None, limit: float
) -> Claim:  # fmt: skip
    """A claim that ``measured`` is below ``limit``.

    >>> below("none", "none is left", OURS, None, Estimate(0.0, 0.0, 0.004, 900), 0.01).verdict
    'supported'
    """
    if measured is None or not measured.n:
        return Claim(id, text, source, published, None, "not applicable", ("not measured at this budget",))
    verdict: Finding = "supported" if measured.high < limit else "refuted" if measured.low >= limit else "inconclusive"
    reason = f"it is {measured.value:.3f}, up to {measured.high:.3f}; the limit is {limit:g}"
    return Claim(id, text, source, published, measured, verdict, (reason,))
