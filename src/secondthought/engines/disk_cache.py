"""An engine that never samples the same thing twice: answers are kept on disk, so that a killed measurement goes on.

An answer is known by the model's digest, the token ids of its context, the sampling settings and its seed (which holds seed and
repeat); nothing else can change it. While the model is steered, nothing is read from the cache and nothing put into it.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any

from secondthought.engines.base import Around, Change, Engine, Request, Sampled, Sampling
from secondthought.errors import UserError


class DiskCache(Around):
    """``engine`` with a cache in ``path`` (SQLite). Raises UserError if ``path`` is something else."""

    def __init__(self, engine: Engine, path: Path, digest: str) -> None:
        super().__init__(engine)
        self.digest = digest.encode()
        self._steered = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.database = sqlite3.connect(path)
            self.database.execute("PRAGMA journal_mode=WAL")
            self.database.execute("PRAGMA synchronous=NORMAL")  # what is kept outlives this process; that is enough here
            self.database.execute(
                "CREATE TABLE IF NOT EXISTS answer "
                "(key BLOB PRIMARY KEY, tokens BLOB, logprobs BLOB, text TEXT, stop TEXT, version INT)"
            )
        except sqlite3.DatabaseError as error:
            raise UserError(f"{path} is not a result cache ({error}); move it away") from error

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        """Known answers from the cache, the others from the engine; those are on disk before this returns."""
        answers = dict(self.as_completed(requests))
        return [answers[i] for i in range(len(requests))]

    def as_completed(self, requests: Sequence[Request]) -> Iterator[tuple[int, Sampled]]:
        """Each answer with the number of its request: the known ones first, the others as the engine has them, kept at once."""
        if self._steered:
            yield from enumerate(self.engine.sample(requests))
            return
        keys = [self._key(request) for request in requests]
        fresh = []
        for i, key in enumerate(keys):
            if (known := self._cached(key)) is None:
                fresh.append(i)
            else:
                yield i, known
        if not fresh:
            return
        asked = [requests[i] for i in fresh]
        one_by_one = getattr(self.engine, "as_completed", None)
        for at, one in one_by_one(asked) if one_by_one is not None else enumerate(self.engine.sample(asked)):
            with self.database:
                self._keep(keys[fresh[at]], one)
            yield fresh[at], one

    def _keep(self, key: bytes, one: Sampled) -> None:
        if one.stop == "nothing":
            return  # no answer: the server may give one another time
        self.database.execute(
            "INSERT OR REPLACE INTO answer VALUES (?, ?, ?, ?, ?, ?)",
            (
                key, array("i", one.tokens).tobytes(), array("d", one.logprobs).tobytes(),
                one.text.encode("utf-8", "surrogatepass"), one.stop, one.version,
            ),
        )  # fmt: skip

    @contextmanager
    def steer(self, layer: int, change: Change) -> Iterator[None]:
        """As the engine steers; the cache steps aside."""
        with super().steer(layer, change):
            self._steered += 1
            try:
                yield
            finally:
                self._steered -= 1

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    def _key(self, request: Request) -> bytes:
        digest = hashlib.blake2b(self.digest, digest_size=16)
        digest.update(array("i", request.tokens).tobytes())
        digest.update(json.dumps([*_settings(request.sampling), request.seed]).encode())
        return digest.digest()

    def _cached(self, key: bytes) -> Sampled | None:
        row = self.database.execute("SELECT tokens, logprobs, text, stop, version FROM answer WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        tokens, logprobs = array("i"), array("d")
        tokens.frombytes(row[0])
        logprobs.frombytes(row[1])
        return Sampled(tuple(tokens), tuple(logprobs), row[2].decode("utf-8", "surrogatepass"), row[3], row[4])


def _settings(sampling: Sampling) -> list[Any]:
    """What is in the key of a sampling; younger settings only where they are used, so that older caches stay good."""
    first, younger = astuple(sampling)[:4], astuple(sampling)[4:]
    return [*first, *(younger if younger != astuple(Sampling())[4:] else ())]


def digest_of(model: Any) -> str:
    """A digest of a model's weights, their names, shapes and precision."""
    import torch

    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
