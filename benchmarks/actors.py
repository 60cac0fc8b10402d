"""Rollouts on one and on two Ray actors, what a token costs, and whether the simulation foretells what was measured.

Two cores, one thread each: with two actors and a driver that waits, twice the speed is the ceiling.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import ray
import torch

from benchmarks.clock import alternate, ratio
from benchmarks.simulation import Costs, decoded_phase
from secondthought.credit.reflect_retry import reflection_only
from secondthought.engines.base import Engine, EngineOptions, Request, Sampled, Sampling, deal
from secondthought.engines.factory import replica_for, torch_engine
from secondthought.engines.ray_actors import RayActors
from secondthought.learners.optim import Optim
from secondthought.learners.rows import Rows, compile_rows
from secondthought.learners.torch import TorchLearner
from secondthought.models.weights import plain_weights
from secondthought.protocols.reflect_retry import TERSE, reflect_retry
from secondthought.rollouts import rollout
from secondthought.tasks.countdown import Countdown
from secondthought.types import Group, Segment

MODEL = "nano/countdown"
PROBLEMS, GROUP, LONGEST = 64, 8, 32
PHASES = ("attempt", "reflection", "retry")


def measure(repeats: int, *, quick: bool = False) -> list[dict[str, Any]]:
    """Costs, throughput of 1 and 2 actors, and what the simulation says of the same."""
    problems = 16 if quick else PROBLEMS
    costs, calibration = calibrated(repeats)
    tasks = Countdown("train")
    protocol = partial(reflect_retry, grade=tasks.grade, prompts=TERSE)
    ours = torch_engine(MODEL)

    def play(engine: Engine) -> list[Group]:
        return rollout(protocol, [tasks[i] for i in range(problems)], GROUP, engine, Sampling(max_tokens=LONGEST), seed=5)

    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)  # both fleets exist at once, and take turns
    fleets = {f"{n} actor{'s' * (n > 1)}": RayActors(MODEL, EngineOptions(), ours.renderer, n, replica_for) for n in (1, 2)}
    contenders: dict[str, Engine] = {"in process": ours, **fleets}
    taken = alternate({name: partial(play, engine) for name, engine in contenders.items()}, repeats)
    published = [timed(lambda: fleets["2 actors"].publish(plain_weights(ours.model), ours.model.config, 1)) for _ in range(5)]
    for world in fleets.values():
        world.close()
    groups = play(ours)
    tokens = sum(len(s.tokens) for s in written(groups))
    entries = [
        {"case": name, **figures, "tokens": tokens, "tokens_per_s": round(tokens / figures["wall_s"])}
        for name, figures in taken.items()
    ]
    rounds = Rounds(ours)
    play(rounds)
    costs = costs._replace(drive=taken["1 actor"]["cpu_s"] / tokens, publish=median(published))
    predicted = {
        n: costs.drive * tokens + sum(decoded_phase(costs, rounds.shares(n, phase)) for phase in PHASES) for n in (1, 2)
    }
    grows = ratio(taken, "1 actor", "2 actors")
    entries += [
        {"case": "2 actors over 1", "measured": grows, "predicted": round(predicted[1] / predicted[2], 2), "ceiling": 2.0},
        {"case": "costs", **{name: float(f"{value:.3g}") for name, value in costs._asdict().items()}, "fit": calibration},
    ]
    for entry in entries:
        print(entry, flush=True)
    return entries


def timed(run: Callable[[], object]) -> float:
    """Seconds that it took."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def written(groups: list[Group]) -> list[Segment]:
    """Every sampled segment once."""
    return list({id(s): s for group in groups for e in group for s in e.segments if s.logprobs is not None}.values())


class Rounds:
    """An engine that remembers which requests came in each round, and how long the answers were."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.seen: dict[str, tuple[list[Request], list[int]]] = {}

    @property
    def renderer(self) -> Any:
        """That of the engine."""
        return self.engine.renderer

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        """Answered and remembered."""
        answers = self.engine.sample(requests)
        self.seen[requests[0].name] = (list(requests), [len(one.tokens) for one in answers])
        return answers

    def shares(self, n: int, phase: str) -> list[list[int]]:
        """The lengths that each of ``n`` actors had to write in a round."""
        requests, lengths = self.seen[phase]
        return [[lengths[i] for i in share] for share in deal(requests, n)]


def calibrated(repeats: int) -> tuple[Costs, dict[str, Any]]:
    """What a decoding step, a token in it, a trained token, an update and the sending of weights cost on this machine."""
    engine, rng = torch_engine(MODEL), random.Random(0)
    points = []
    for batch in (16, 64, 256):
        prompt = [Segment("prompt", "task", "user", "", tuple(rng.randrange(4, 100) for _ in range(12))) for _ in range(batch)]
        tasks = Countdown("train")
        asked = [
            Request("attempt", tasks[i], (), (prompt[i],), i, Sampling(temperature=3.0, max_tokens=LONGEST))
            for i in range(batch)
        ]
        lengths = [len(one.tokens) for one in engine.sample(asked)]
        walls = []
        for _ in range(repeats):
            engine.forget()
            walls.append(timed(partial(engine.sample, asked)))
        points.append((max(lengths), sum(lengths), median(walls)))
    step, token = fitted(points)
    learner = TorchLearner(MODEL, Optim(kl=0.0, lr=1e-6), steps=1000)
    tasks = Countdown("train")
    protocol = partial(reflect_retry, grade=tasks.grade, prompts=TERSE)
    trained = []
    for count in (16, 64):
        groups = rollout(protocol, [tasks[i] for i in range(count)], GROUP, engine, Sampling(max_tokens=LONGEST), seed=1)
        rows: Rows = compile_rows(groups, [reflection_only(group) for group in groups])
        walls = [timed(partial(learner.step, rows)) for _ in range(repeats + 1)]
        trained.append((1.0, float(sum(len(row.tokens) for row in rows.rows)), median(walls[1:])))
    update, per_token = fitted(trained)
    size = sum(tensor.numel() * tensor.element_size() for _, tensor in plain_weights(learner.model))
    costs = Costs(step, token, 0.0, per_token, update, publish=0.0, gradient=float(size), link=1e9)
    return costs, {
        "decode": [tuple(round(x, 4) for x in p) for p in points],
        "train": [tuple(round(x, 4) for x in p) for p in trained],
    }


def fitted(points: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """``a`` and ``b`` of ``a x + b y = t``, by least squares of the relative error, none below zero."""
    rows = torch.tensor([[x / t, y / t] for x, y, t in points], dtype=torch.float64)
    found = torch.linalg.lstsq(rows, torch.ones(len(points), 1, dtype=torch.float64)).solution[:, 0]
    return max(float(found[0]), 1e-6), max(float(found[1]), 1e-9)
