"""A model on the actors of a Ray cluster (https://docs.ray.io): rollouts on as many machines as there are.

Every actor is an engine with weights of its own. One that dies or freezes is replaced, gets the weights that were last
published, and its share of the requests is asked again; since what a request yields depends on its own seed only, nothing is
lost and nothing counted twice.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from secondthought.engines.base import EngineOptions, Replica, Request, Sampled, deal
from secondthought.errors import UserError
from secondthought.models.chat import TemplateRenderer

WORLD_NAME = "SECONDTHOUGHT_WORLD"  # which training of a cluster a process belongs to
LIVES = 3  # how often an actor's share is asked for before giving up
START = 180.0  # seconds that a new actor has to load its model
log = logging.getLogger("secondthought")
Make = Callable[..., Replica | None]
"""What makes the engine inside an actor: :func:`secondthought.engines.factory.replica_for`."""


class RolloutActor:
    """What an actor is: an engine of its own on one device."""

    def __init__(self, name: str, options: EngineOptions, make: Make) -> None:
        from secondthought.models.hub import described

        self.config, renderer = described(name)
        made = make(name, replace(options, at=""), renderer, self.config, separate=True)
        assert made is not None
        self.engine = made

    def publish(self, weights: list[tuple[str, Tensor]], version: int) -> None:
        """Take these weights."""
        self.engine.publish(weights, self.config, version)

    def sample(self, requests: list[Request]) -> list[Sampled]:
        """Answer."""
        return self.engine.sample(requests)

    def pid(self) -> int:
        """The process it is."""
        return os.getpid()


class RayActors:
    """``count`` actors that answer as one engine. Raises UserError if Ray is missing or the cluster has no room for them within
    ``options.timeout`` seconds, or if one dies again and again.
    """

    def __init__(self, name: str, options: EngineOptions, renderer: TemplateRenderer, count: int, make: Make) -> None:
        ray = connected()
        self.renderer = renderer
        self.timeout = options.timeout
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        bundle = {"CPU": 1.0, **({"GPU": 1.0} if gpus else {})}
        self._room = ray.util.placement_group([bundle] * count, strategy="PACK", name=room_of(os.environ.get(WORLD_NAME, "")))
        if not self._room.wait(self.timeout):
            ray.util.remove_placement_group(self._room)
            wanted = " and ".join(f"{n:g} {kind}" for kind, n in bundle.items())
            raise UserError(
                f"the Ray cluster has no room for {count} actors of {wanted} beside what runs there: "
                f"lower engine.at=ray:{count}"
            )
        self._kind = ray.remote(num_cpus=1, num_gpus=gpus)(RolloutActor)
        self._made = (name, options, make)
        self._weights: Any = None
        self._version = 0
        self.actors = [self._actor(bundle) for bundle in range(count)]
        self._started(self.actors)

    def publish(self, weights: Iterable[tuple[str, Tensor]], config: Any, version: int) -> None:
        """Put once into Ray's object store, from where every actor takes them."""
        import ray

        self._weights, self._version = ray.put([(name, tensor.cpu()) for name, tensor in weights]), version
        begun = [actor.publish.remote(self._weights, version) for actor in self.actors]
        for number, first in enumerate(begun):
            self._outlive(number, lambda actor: actor.publish.remote(self._weights, version), first, fresh=False)

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        """Each actor answers its share; see :func:`secondthought.engines.factory.deal`."""
        shares = deal(requests, len(self.actors))
        asked = [[requests[i] for i in share] for share in shares]
        begun = [actor.sample.remote(part) if part else None for actor, part in zip(self.actors, asked, strict=True)]
        found: dict[int, Sampled] = {}
        for number, (share, part, first) in enumerate(zip(shares, asked, begun, strict=True)):
            if first is not None:
                answers = self._outlive(number, lambda actor, part=part: actor.sample.remote(part), first)
                found.update(zip(share, answers, strict=True))
        return [found[i] for i in range(len(requests))]

    def close(self) -> None:
        """End the actors and give their room back."""
        import ray

        for actor in self.actors:
            ray.kill(actor)
        ray.util.remove_placement_group(self._room)

    # --- one actor -------------------------------------------------------------------------------------------------------

    def _actor(self, bundle: int) -> Any:
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        place = PlacementGroupSchedulingStrategy(self._room, placement_group_bundle_index=bundle)
        return self._kind.options(scheduling_strategy=place).remote(*self._made)

    def _outlive(self, number: int, ask: Any, begun: Any = None, *, fresh: bool = True) -> Any:
        """What an actor answers, or the one that takes its place. ``fresh``: a new one needs the weights first."""
        import ray

        for life in range(LIVES):
            try:
                return ray.get(begun if begun is not None else ask(self.actors[number]), timeout=self.timeout)
            except ray.exceptions.RayTaskError as error:
                raise UserError(f"rollout actor {number} failed: {last_line(error)}") from error
            except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError) as error:
                why = f"gave no answer in {self.timeout:g} s" if isinstance(error, ray.exceptions.GetTimeoutError) else "died"
                log.warning("rollout actor %d %s: starting another (%d of %d)", number, why, life + 1, LIVES)
                ray.kill(self.actors[number])
                self.actors[number], begun = self._actor(number), None
                self._started(self.actors[number : number + 1])
                if fresh and self._weights is not None:
                    self.actors[number].publish.remote(self._weights, self._version)  # calls of one actor keep their order
        raise UserError(f"rollout actor {number} {why} {LIVES} times in a row; see Ray's logs")

    def _started(self, actors: Sequence[Any]) -> None:
        import ray

        try:
            ray.get([actor.pid.remote() for actor in actors], timeout=max(START, self.timeout))
        except (ray.exceptions.RayError, TimeoutError) as error:
            self.close()
            raise UserError(f"a rollout actor did not start: {last_line(error)}") from error


def room_of(world: str) -> str:
    """A new name for the room of a world's actors."""
    return f"rollout-{world}-{uuid.uuid4().hex[:8]}"


def vacate(world: str) -> None:
    """Give back the room of actors whose learners are gone: Ray keeps it for as long as the job lasts."""
    from ray.util import get_placement_group, placement_group_table, remove_placement_group

    for group in placement_group_table().values():
        if group["name"].startswith(f"rollout-{world}-") and group["state"] != "REMOVED":
            remove_placement_group(get_placement_group(group["name"]))


def connected(address: str | None = None, *, show: bool = False) -> Any:
    """Ray, connected to the cluster at ``address`` (None: the one this process is part of, or a new one of this machine);
    ``show``: what its processes print is shown here. Raises UserError if Ray is missing or the cluster cannot be reached.
    """
    try:
        import ray
    except ImportError as error:
        raise UserError("Ray is needed for this: pip install 'secondthought[ray]'") from error
    if not ray.is_initialized():
        try:
            if address and (found := re.fullmatch(r"(?:ray://)?([^:/]+):(\d+)", address)):
                socket.create_connection((found[1], int(found[2])), timeout=10).close()  # Ray itself would try for a minute
            ray.init(address=address, log_to_driver=show, include_dashboard=None if address else False)
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(f"the Ray cluster at {address} cannot be reached: {last_line(error)}") from error
    return ray


def last_line(error: BaseException) -> str:
    """The line of an error that says what happened."""
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
