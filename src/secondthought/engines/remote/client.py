"""A model on other machines, spoken to over HTTP: tokens in, tokens and log-probabilities out, weights sent before each step.

The servers are vLLM's (``/inference/v1/generate``, ``/collective_rpc``, ``/weight_info``; docs/vllm.md shows how to start
one), or those of ``secondthought serve``. Each answer bears the version of the weights that wrote it. A server that is dead,
slow, restarted or shared with another run ends in an error that names it; nothing waits for ever.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from torch import Tensor

from secondthought.engines.base import Request, Sampled, deal
from secondthought.engines.remote import access_token
from secondthought.engines.remote.http import Place
from secondthought.engines.torch.sampler import RowSampler
from secondthought.errors import UserError
from secondthought.models.chat import TemplateRenderer

MOST = 64  # calls at a time to one server
SHOW = "start it as docs/vllm.md shows"


class RemoteEngine:
    """One model on one or more servers, each of which answers a share of the requests.

    Weights travel through ``exchange``, a folder that trainer and servers can both read (one of this machine where none is
    given). Every method raises UserError, naming the server, within ``timeout`` seconds of the last thing heard from it.
    """

    def __init__(
        self,
        urls: Sequence[str],
        renderer: TemplateRenderer,
        vocabulary: int,
        *,
        timeout: float = 300.0,
        exchange: Path | None = None,
    ) -> None:
        self.renderer = renderer
        self.vocabulary = vocabulary
        self.places = [Place(url.rstrip("/"), timeout, retries=2, token=access_token.known(url)) for url in urls]
        self.exchange = exchange or Path(tempfile.gettempdir())
        self.run = uuid.uuid4().hex[:8]  # so that the versions of two runs are never the same
        self.version = 0
        self.models = [self._meet(place) for place in self.places]
        self.stamps = [self._stamp(place) for place in self.places]

    def publish(self, weights: Iterable[tuple[str, Tensor]], config: Any, version: int) -> None:
        """Write the weights where the servers find them, and have every server take them."""
        from safetensors.torch import save_file

        stamp = f"{self.run}-{version}"
        folder = self.exchange / f"weights-{stamp}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            save_file({name: tensor.detach().contiguous() for name, tensor in weights}, folder / "model.safetensors")
            config.save_pretrained(folder)
        except OSError as error:
            raise UserError(f"cannot write weights to {folder}: {error.strerror}; set engine.exchange") from error
        try:
            with ThreadPoolExecutor(len(self.places)) as pool:
                list(pool.map(lambda place: self._load(place, folder, stamp), self.places))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self.version, self.stamps = version, [stamp] * len(self.places)

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        """One call for each request; those with the same beginning go to the same server."""
        where = [0] * len(requests)
        for server, share in enumerate(deal(requests, len(self.places))):
            for i in share:
                where[i] = server
        pool = ThreadPoolExecutor(MOST * len(self.places))
        try:
            replies = [pool.submit(self._ask, server, request) for server, request in zip(where, requests, strict=True)]
            return [one.result() for one in replies]
        finally:
            pool.shutdown(cancel_futures=True)

    def close(self) -> None:
        """Servers are whoever started them to stop."""

    # --- one server ------------------------------------------------------------------------------------------------------

    def _meet(self, place: Place) -> str:
        """The name under which a server has its model."""
        try:
            return str(place.get("/v1/models")["data"][0]["id"])
        except (KeyError, IndexError, TypeError) as error:
            raise UserError(f"{place.url} does not say which model it serves; {SHOW}") from error

    def _stamp(self, place: Place) -> str:
        """The version of the weights that a server has."""
        try:
            return str(place.get("/weight_info")["weight_version"])
        except UserError as error:
            raise UserError(f"{error}; {SHOW}") from error
        except (KeyError, TypeError) as error:
            raise UserError(f"{place.url} does not say which weights it has; {SHOW}") from error

    def _load(self, place: Place, folder: Path, stamp: str) -> None:
        place.post("/collective_rpc", {"method": "take_weights", "kwargs": {"folder": str(folder)}})
        place.post("/reset_prefix_cache")
        place.post("/update_weight_version", {"new_version": stamp})

    def _ask(self, server: int, request: Request) -> Sampled:
        place, stamp = self.places[server], self.stamps[server]
        context = request.tokens
        asked = {"model": self.models[server], "token_ids": list(context), "sampling_params": settings(request, self.renderer)}
        answer = place.post("/inference/v1/generate", asked)
        try:
            choice = answer["choices"][0]
            tokens = [int(token) for token in choice["token_ids"]]
            logprobs = [float(entry["logprob"]) for entry in choice["logprobs"]["content"]]
            versions = {str(span["version"]) for span in choice["weight_versions"]}
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise UserError(f"{place.url} does not answer with tokens, log-probabilities and their version; {SHOW}") from error
        if versions - {stamp}:
            raise UserError(
                f"{place.url} answered with weights {', '.join(sorted(versions))} where {stamp} were expected: was it started "
                "again, or does another run use it?"
            )
        if len(tokens) != len(logprobs) or any(not 0 <= token < self.vocabulary for token in tokens):
            raise UserError(f"{place.url} answered with tokens that this model does not have; does it serve another model?")
        if any(math.isnan(x) or x > 1e-3 for x in logprobs):
            raise UserError(f"{place.url} answered with log-probabilities that are none")
        try:
            return written(request, self.renderer, tokens, logprobs, self.version, str(choice.get("finish_reason")))
        except UserError as error:
            raise UserError(f"{place.url}: {error}") from error


def settings(request: Request, renderer: TemplateRenderer) -> Mapping[str, Any]:
    """How vLLM is asked to sample a request: everything is set, so that no default of a model slips in."""
    asked = request.sampling
    stops = [*asked.stop, *renderer.stop]
    return {
        "temperature": asked.temperature, "max_tokens": asked.max_tokens, "seed": request.seed % 2**63, "logprobs": 0,
        "top_p": asked.top_p, "top_k": asked.top_k, "min_p": asked.min_p, "repetition_penalty": asked.repetition_penalty,
        "presence_penalty": 0.0, "frequency_penalty": 0.0,
        "stop_token_ids": sorted(renderer.ends), "stop": stops, "detokenize": bool(stops), "skip_special_tokens": False,
    }  # fmt: skip


def written(
    request: Request, renderer: TemplateRenderer, tokens: Sequence[int], logprobs: Sequence[float], version: int, reason: str
) -> Sampled:
    """What was sampled by a server, ended where a :class:`RowSampler` of ours would end it. ``reason`` is why it ended there.

    Raises UserError if it was cut short.
    """
    writer = RowSampler(request, renderer)
    for token, logprob in zip(tokens, logprobs, strict=True):
        if writer.stop is None:
            writer.take(token, min(logprob, 0.0))
    if writer.stop is None and len(tokens) < request.sampling.max_tokens:
        if reason != "stop":
            raise UserError(f"a turn was cut short ({reason}); if it is the length, let it read more (--max-model-len)")
        writer.stop = "end"  # by a token that only the server takes for an end
    return writer.sampled(version)
