"""How a run draws tokens beyond what a recipe or a probe says: truncated, penalised, or as the model itself is configured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from secondthought.engines.base import Around, Engine, EngineOptions, Request, Sampled, Sampling
from secondthought.errors import UserError


@dataclass(frozen=True, slots=True)
class Decoding:
    """What is changed of every request's :class:`secondthought.engines.base.Sampling`; ``temperature`` None: nothing.

    Raises UserError for a value that is no sensible one.

    >>> Decoding(top_k=20).of(Sampling(temperature=0.7)).top_k
    20
    """

    temperature: float | None = None
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        for name, fine, wanted in (
            ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("top_k", self.top_k >= 0, "at least 0"),
            ("min_p", 0 <= self.min_p < 1, "at least 0 and below 1"),
            ("repetition_penalty", self.repetition_penalty > 0, "above 0"),
        ):
            if not fine:
                raise UserError(f"{name}={getattr(self, name)}: it must be {wanted}")

    @classmethod
    def chosen(cls, options: EngineOptions, generation_config: Any) -> Decoding:
        """What the options ask for; with ``sampling=model`` what the model's generation_config says, as ``generate`` would
        do.

        Raises UserError where the model has none.
        """
        if options.sampling == "recipe":
            return cls(None, options.top_p, options.top_k, options.min_p, options.repetition_penalty)
        if generation_config is None:
            raise UserError("sampling=model: this model has no generation_config.json; say --temperature and --top-p instead")

        def said(name: str, default: float) -> float:
            value = getattr(generation_config, name, None)
            return default if value is None else value

        penalty = float(said("repetition_penalty", 1.0))
        if not said("do_sample", False):
            return cls(temperature=0.0, repetition_penalty=penalty)
        shape = float(said("top_p", 1.0)), int(said("top_k", 50)), float(said("min_p", 0.0))
        return cls(float(said("temperature", 1.0)), *shape, penalty)

    def of(self, sampling: Sampling) -> Sampling:
        """The sampling of one request; what it says itself is kept where this says nothing."""
        own, chosen = sampling, self
        return replace(
            own,
            temperature=own.temperature if chosen.temperature is None else chosen.temperature,
            top_p=chosen.top_p if chosen.top_p < 1 else own.top_p,
            top_k=chosen.top_k or own.top_k,
            min_p=chosen.min_p or own.min_p,
            repetition_penalty=chosen.repetition_penalty if chosen.repetition_penalty != 1 else own.repetition_penalty,
        )

    def on(self, engine: Engine) -> Engine:
        """The engine, sampling like this."""
        return engine if self == Decoding() else Decoded(engine, self)


class Decoded(Around):
    """``engine`` with another sampling in every request."""

    def __init__(self, engine: Engine, decoding: Decoding) -> None:
        super().__init__(engine)
        self.decoding = decoding

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        """As the engine samples, with this decoding."""
        return self.engine.sample([replace(request, sampling=self.decoding.of(request.sampling)) for request in requests])
