"""A whole reflect-retry-reward step: 8 problems, 8 attempts, 64 reflections, 64 retries, 64 tokens each, and one update.

Every contender writes and trains the same numbers of tokens, keeps log-probabilities, and ends with AdamW. TRL runs through its
own trainer, whose callbacks hand the turn to the others, so that all alternate in one process.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import rivals
from benchmarks.clock import Taken, Watch, alternate, ratio
from benchmarks.floor import Products
from benchmarks.setting import ASKED, GROUP, IDS, NEW, PROBLEMS, PROMPT, SIZES, Size, coin, model, parameters, problem, saved
from secondthought.credit.reflect_retry import reflection_only
from secondthought.engines.base import EngineOptions, Sampling
from secondthought.learners.optim import Optim
from secondthought.learners.rows import compile_rows
from secondthought.learners.torch import TorchLearner
from secondthought.protocols.reflect_retry import reflect_retry
from secondthought.rollouts import rollout
from secondthought.types import Task, Verdict

PLAIN = Optim(lr=1e-5, kl=0.0)


class Ours:
    """The package's own step."""

    def __init__(
        self, folder: Path, *, group: int = GROUP, prompt: int = PROMPT, new: int = NEW, problems: int = PROBLEMS,
        optim: Optim = PLAIN, engine: EngineOptions | None = None,
    ) -> None:  # fmt: skip
        self.learner = TorchLearner(str(folder), optim, steps=1000, engine=engine)
        self.learner.renderer = self.learner.engine.renderer = IDS
        self.group, self.new = group, new
        self.tasks = [problem(i, prompt) for i in range(problems)]
        self.count = 0

    def __call__(self) -> dict[str, float]:
        """One step; its figures."""
        self.count += 1
        seen: set[str] = set()

        def grade(task: Task, text: str) -> Verdict:
            """Every first attempt fails, and comes first; a retry is right or wrong by lot."""
            first = task.key not in seen
            seen.add(task.key)
            return Verdict(0.0, text) if first else coin(task, text)

        protocol = partial(reflect_retry, grade=grade, prompts=ASKED)
        engine = self.learner.publish()
        sampling = Sampling(max_tokens=self.new)
        groups = rollout(protocol, self.tasks, self.group, engine, sampling, seed=self.count)
        rows = compile_rows(groups, [reflection_only(group) for group in groups])
        return self.learner.step(rows)


class ThreeCalls:
    """Three ``generate`` calls and a padded update with the retry left out of it."""

    def __init__(self, size: Size, *, prompt: int = PROMPT, dtype: torch.dtype = torch.float32, at_once: int = 64) -> None:
        self.model = model(size, dtype=dtype)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 1e-5, fused=True)
        self.prompts = [IDS.encode(problem(i, prompt).prompt[0].content) for i in range(PROBLEMS)]
        self.at_once = at_once
        self.asked = (IDS.encode(ASKED.reflection), IDS.encode(ASKED.retry))

    def __call__(self) -> None:
        """One step."""
        contexts, reflections, retries, _ = rivals.three_calls(self.model, self.prompts, GROUP, self.asked, NEW)
        scores = [coin(problem(0), IDS.decode(retry)).score for retry in retries]
        advantages = rivals.advantages_of(scores, GROUP)
        for at in range(0, len(contexts), self.at_once):
            part = slice(at, at + self.at_once)
            loss = rivals.padded_loss(self.model, contexts[part], reflections[part], advantages[part])
            (loss * self.at_once / len(contexts)).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()


def floor_of(size: Size, *, prompt: int = PROMPT, dtype: torch.dtype = torch.float32, frozen: bool = False) -> Products:
    """What the step cannot do without; ``frozen``: the gradient of the weights is not among it (adapters)."""
    floor = Products(model(size, dtype=dtype))
    reflected, retried = len(IDS.encode(ASKED.reflection)), len(IDS.encode(ASKED.retry))
    branches = PROBLEMS * GROUP
    for rows, fed in (
        (PROBLEMS, PROBLEMS * prompt),
        (branches, PROBLEMS * (reflected + 1)),
        (branches, branches * (retried + 1)),
    ):
        floor.forward(fed, rows)
        floor.forward(rows, rows, times=NEW - 1)
    trunk = prompt + NEW + reflected
    floor.training(PROBLEMS * trunk + branches * NEW, branches * NEW, frozen=frozen)
    return floor


def measure(repeats: int, *, quick: bool = False) -> list[dict[str, Any]]:
    """One entry for each size."""
    found = []
    for name in ("1.5M",) if quick else ("1.5M", "7M"):
        size = SIZES[name]
        with tempfile.TemporaryDirectory() as place:
            folder = saved(size, Path(place) / "model")
            ours = Ours(folder)
            others: dict[str, Callable[[], Any]] = {
                "ours": ours,
                "three generate calls": ThreeCalls(size),
                "matrix products only": floor_of(size).runner(),
            }
            figures = beside_trl(folder, others, repeats)
        entry: dict[str, Any] = {"model": name, "parameters": parameters(ours.learner.model), "figures": figures}
        for rival, key in (("TRL", "against_trl"), ("three generate calls", "against_three_calls")):
            if rival in figures:
                entry[key] = ratio(figures, rival, "ours")
                entry[f"{key}_cpu"] = ratio(figures, rival, "ours", "cpu_s")
        entry["of_floor"] = ratio(figures, "ours", "matrix products only")
        found.append(entry)
        print(
            name, {k: f["wall_s"] for k, f in figures.items()}, {k: v for k, v in entry.items() if k != "figures"}, flush=True
        )
    return found


def beside_trl(
    folder: Path, others: dict[str, Callable[[], Any]], repeats: int, *, warm: bool = True, **settings: Any
) -> dict[str, dict[str, Any]]:
    """All contenders in turn, TRL's trainer among them if it is installed; without ``warm`` its first step counts too."""
    try:
        from benchmarks.with_trl import trainer
    except ImportError as missing:
        print(f"TRL is left out: {missing}", flush=True)
        return alternate(others, repeats)
    taken = {name: Taken() for name in ("TRL", *others)}

    def between(turn: int) -> None:
        """The others' turn, after a step of TRL."""
        for name, run in others.items():
            if turn == 0:
                run()
                if warm:
                    continue
            with Watch(taken[name]):
                run()

    trainer(folder, taken["TRL"], between, steps=repeats + warm, warm=warm, **settings).train()
    return {name: one.figures() for name, one in taken.items()}
