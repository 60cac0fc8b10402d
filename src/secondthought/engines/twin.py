"""A second copy of a model in this process, which speaks while the first one learns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from secondthought.chat import Dialect
from secondthought.engines.hub import load
from secondthought.engines.torch import EngineOptions, TorchEngine
from secondthought.files import UserError
from secondthought.scene import Request, Sampled


class Twin:
    """Samples with weights that are copied into it. Raises UserError if they are of another model."""

    def __init__(self, name: str, options: EngineOptions, dialect: Dialect) -> None:
        self.dialect = dialect
        self.engine = TorchEngine(load(name)[0].requires_grad_(False), dialect, options)

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
