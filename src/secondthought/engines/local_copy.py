"""A second copy of a model in this process, which is sampled from while the first one learns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from secondthought.engines.base import EngineOptions, Request, Sampled
from secondthought.engines.torch.engine import TorchEngine
from secondthought.errors import UserError
from secondthought.models.chat import TemplateRenderer
from secondthought.models.hub import load


class LocalCopy:
    """Samples with weights that are copied into it. Raises UserError if they are of another model."""

    def __init__(self, name: str, options: EngineOptions, renderer: TemplateRenderer) -> None:
        self.renderer = renderer
        self.engine = TorchEngine(load(name)[0].requires_grad_(False), renderer, options)

    def publish(self, weights: Iterable[tuple[str, Tensor]], config: Any, version: int) -> None:
        """Copied in place."""
        own = dict(self.engine.model.named_parameters())
        with torch.no_grad():
            for name, tensor in weights:
                if name not in own or own[name].shape != tensor.shape:
                    raise UserError(f"the weights that were published are of another model: it has no {name} of that shape")
                own[name].copy_(tensor)
        self.engine.version = version
        self.engine.forget()

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        """As any engine in this process."""
        return self.engine.sample(requests)

    def close(self) -> None:
        """Nothing to give back."""
