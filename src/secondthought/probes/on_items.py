"""What probes on items (a question, a flawed and a right chain of thought) share: the items, and who says "wrong"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

from secondthought.engines.base import Sampling
from secondthought.items.base import Items
from secondthought.items.load import items_of
from secondthought.items.templates import Reading
from secondthought.probes import detectors
from secondthought.probes.base import Probe
from secondthought.runs.progress import Progress


def sampling_of(reading: Reading, temperature: float, max_tokens: int) -> Sampling:
    """How a family is sampled; a temperature below 0 and 0 tokens are the family's own."""
    return Sampling(
        reading.temperature if temperature < 0 else temperature, reading.top_p, max_tokens or reading.max_tokens, reading.stop
    )  # fmt: skip


P = TypeVar("P", bound="OnItems")


@dataclass(frozen=True)
class OnItems(Probe):
    """A probe on ``n`` items of ``tasks`` (a SPEC; None: all of them); ``strict`` refuses items with faults instead of leaving
    them out.
    """

    bare_without_template: ClassVar[bool] = True
    tasks: str | Items = "countdown"
    n: int | None = None
    detector: str = "auto"
    strict: bool = False
    seed: int = 0

    def prepare(self: P, progress: Progress) -> P:
        """The items, built or read once; the detector must exist."""
        detectors.check(self.detector)
        if not isinstance(self.tasks, str):
            return self
        progress.phase(f"items of {self.tasks}")
        items = items_of(self.tasks, n=self.n, seed=self.seed, on_progress=lambda done, of: progress.step(done, of, {}))
        if self.strict:
            items.strictly()
        return replace(self, tasks=items)

    def notes(self) -> tuple[str, ...]:
        """Rows that were left out, and items that could not be made."""
        return () if isinstance(self.tasks, str) else self.tasks.notes()
