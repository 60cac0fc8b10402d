"""Where does a gain sit: in the reflections, or in what is made of them?

The failures of the untrained model, retried once with each pair of reflector and retrier of {base, trained}. If it was
reflecting that was learned, trained reflections lift the untrained retrier. All four arms start from the same failures and use
the same seeds, so that an untouched model shows a difference of exactly 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from secondthought.engines.base import Engine, Sampling
from secondthought.probes.base import arm_of, effect_of, reported, units_of
from secondthought.probes.second_try import place_of, retries
from secondthought.protocols.base import Draft, given
from secondthought.protocols.reflect_retry import Prompts
from secondthought.rollouts import rollout
from secondthought.runs.progress import Progress
from secondthought.types import Cell, Episode, Group, Report, Segment, Table, Task, TaskSet, seed_of

SIDES = ("base", "trained")


@dataclass(frozen=True)
class Transplant:
    """The comparison that a reflect-retry recipe makes after training (:class:`secondthought.training.recipe.Comparison`)."""

    prompts: Prompts
    name: str = "transplant"
    minimum: float = 0.02

    def measure(
        self, base: Engine, trained: Engine, before: Sequence[Group], tasks: TaskSet, sampling: Sampling, seed: int,
        progress: Progress,
    ) -> list[Group]:  # fmt: skip
        """A group of four arms, ``reflector/retrier``, for each failure of ``before`` (episodes of the arm ``own``)."""
        failures = [group[0] for group in before if "retry" in group[0].verdicts]
        engines = dict(zip(SIDES, (base, trained), strict=True))
        found: dict[str, list[Episode]] = {failure.task.key: [] for failure in failures}
        written = {
            reflector: reflections(engine, failures, sampling, seed_of("transplant", seed))
            for reflector, engine in engines.items()
        }
        for retrier, engine in engines.items():
            given = {f"{reflector}/{retrier}": texts for reflector, texts in written.items()}
            again = seed_of("transplant", "retry", seed)
            for episode in retries(engine, failures, given, tasks, self.prompts, sampling, again):
                found[episode.task.key].append(episode)
            progress.step(sum(map(len, found.values())), 4 * len(failures), {})
        return [tuple(episodes) for episodes in found.values()]

    def report(self, groups: Sequence[Group]) -> Report:
        """The four arms, and what each part gains."""
        keys = units_of(groups)
        by_arm = {
            f"{a}/{b}": arm_of(
                f"{a}/{b}", f"reflections by the {a} model, retries by the {b} model",
                [next(e for e in group if e.arm == f"{a}/{b}").verdicts["retry"].score for group in groups], keys,
            )
            for a in SIDES for b in SIDES
        }  # fmt: skip
        base = by_arm["base/base"]
        effects = [
            effect_of("reflection", "trained reflections, base retrier: gain", by_arm["trained/base"], base, keys),
            effect_of("retry", "base reflections, trained retrier: gain", by_arm["base/trained"], base, keys),
            effect_of("both", "both trained: gain", by_arm["trained/trained"], base, keys),
        ]
        rows: tuple[tuple[Cell, ...], ...] = tuple(
            (f"reflections by the {a} model", *(by_arm[f"{a}/{b}"].estimate for b in SIDES)) for a in SIDES
        )
        table = Table("Where the gain sits", ("", "retries by the base model", "retries by the trained model"), rows)
        return reported(
            self.name, "trained reflections lift the untrained retrier", list(by_arm.values()), keys, effects=effects,
            decides="reflection", minimum=self.minimum, tables=[table],
        )  # fmt: skip


def reflections(engine: Engine, failures: Sequence[Episode], sampling: Sampling, seed: int) -> dict[str, Segment]:
    """What an engine writes about each failure, as an intervention."""

    async def reflect(task: Task, _: int) -> Group:
        failed = by_key[task.key]
        draft = Draft(task)
        draft.replay(*failed.segments[1 : place_of(failed, "ask_reflection") + 1])
        await draft.sample("reflection")
        return (draft.close(),)

    by_key = {failed.task.key: failed for failed in failures}
    groups = rollout(reflect, [failed.task for failed in failures], 1, engine, sampling, seed=seed)
    return {group[0].task.key: given(group[0]["reflection"]) for group in groups}
