"""Pre-training of the nano family from scratch: minutes to hours on a laptop, resumable, checkpoints at log-spaced steps.

Matrices learn with Muon, everything else with AdamW; the learning rate warms up, stays, and falls linearly over the last
third (so any stable-phase checkpoint can be decayed again later, or trained on for longer). With ``marks`` each checkpoint
gets a decay of its own, on a branch off the stable trunk: checkpoints in mid-schedule are noisier than what they could be.
"""

from __future__ import annotations

import copy
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from secondthought.engines.torch.decoder import Decoder, Projected
from secondthought.errors import UserError
from secondthought.models.weights import read_state
from secondthought.nano import tokenizer as words
from secondthought.nano.corpus import Corpus, Turn
from secondthought.nano.muon import Muon
from secondthought.runs.files import COMPLETE, complete_folders, new_folder, write_json
from secondthought.types import seed_of

SIZES: dict[str, tuple[int, int]] = {
    "0.03m": (32, 2), "0.1m": (48, 3), "0.2m": (64, 3),
    "0.3m": (80, 4), "0.8m": (128, 4), "1m": (128, 5), "3m": (224, 5), "3.3m": (256, 4), "10m": (320, 8),
}  # fmt: skip
"""Width and layers by the name of the size; attention heads are 32 wide (16 below a width of 128)."""

CHUNK_BATCHES = 24


class Library(Protocol):
    """Endless text; a frozen dataclass, because it is part of the recipe. ``words`` are those that it needs beyond the common
    ones.
    """

    words: ClassVar[tuple[str, ...]]

    def document(self, index: int) -> tuple[Turn, ...]:
        """The conversation at ``index``; the same one every time."""
        ...


@dataclass(frozen=True)
class Pretraining:
    """Everything that decides the weights.

    A step reads so many ``documents``. ``prompt_weight`` is the loss weight of the task's turns; a tutor's have none. With
    ``marks`` > 0 there are so many checkpoints, log-spaced from 1 % of the steps to the last, each with a decay of its own.
    Documents of like length are read together, and every step counts the same, so that rare long documents are learned as if
    they were rarer; with ``even`` every token counts the same.
    """

    size: str = "1m"
    steps: int = 6000
    lr: float = 3e-3
    warmup: int = 200
    decay: float = 0.35
    weight_decay: float = 0.02
    prompt_weight: float = 0.1
    optimizer: str = "muon"
    seed: int = 0
    corpus: Library = Corpus()
    marks: int = 0
    documents: int = 128
    even: bool = False


def new_model(size: str, seed: int, more: Sequence[str] = ()) -> LlamaForCausalLM:
    """A randomly initialised model of the family, for ``more`` words than the common ones."""
    width, layers = SIZES[size]
    head = 16 if width < 128 else 32
    config = LlamaConfig(
        vocab_size=len(words.vocabulary(more)),
        hidden_size=width,
        intermediate_size=width * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=width // head,
        num_key_value_heads=width // head,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        bos_token_id=None,
        eos_token_id=words.vocabulary()[words.END],
        pad_token_id=words.vocabulary()[words.PAD],
        secondthought_style="terse",
    )
    torch.manual_seed(seed_of("nano init", seed))
    return LlamaForCausalLM(config)


def batches(recipe: Pretraining, tokenizer: PreTrainedTokenizerFast, start: int) -> Iterator[tuple[Tensor, Tensor, float]]:
    """Endless ``(ids_BT, weights_BT, share)`` from step ``start`` on: documents of like length together, in random order.

    ``share`` is what a batch counts: 1, or with ``even`` its tokens over those of a usual batch.
    """
    per_chunk = recipe.documents * CHUNK_BATCHES
    chunk, skip = divmod(start, CHUNK_BATCHES)
    while True:
        documents = [recipe.corpus.document(i) for i in range(chunk * per_chunk, (chunk + 1) * per_chunk)]
        found = list(laid(documents, tokenizer, recipe.prompt_weight, recipe.documents))
        Random(seed_of("batch order", recipe.seed, chunk)).shuffle(found)
        usual = sum(float(weights_BT.sum()) for _, weights_BT in found) / len(found)
        for ids_BT, weights_BT in found[skip:]:
            yield ids_BT, weights_BT, float(weights_BT.sum()) / usual if recipe.even else 1.0
        chunk, skip = chunk + 1, 0


def laid(
    documents: Sequence[Sequence[Turn]], tokenizer: PreTrainedTokenizerFast, prompt_weight: float, size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Documents as ``(ids_BT, weights_BT)``, a batch at a time, those of like length together."""
    pad, user, model = (words.vocabulary()[name] for name in (words.PAD, words.USER, words.MODEL))
    weight_of = {"policy": 1.0, "task": prompt_weight, "intervention": 0.0}
    ids: list[list[int]] = tokenizer([spelled(document) for document in documents])["input_ids"]
    weights = [[weight_of[turn.author] for turn in document] for document in documents]
    rows = sorted(zip(ids, weights, strict=True), key=lambda row: len(row[0]))
    for start in range(0, len(rows), size):
        members = rows[start : start + size]
        ids_BT = padded([row for row, _ in members], pad)
        by_turn_BK = padded([weight for _, weight in members], 0.0)
        opens_BT = (ids_BT == user) | (ids_BT == model)
        weights_BT = by_turn_BK.gather(1, opens_BT.cumsum(1) - 1)
        # <user> and <model> themselves are scaffold: the engine writes them, nobody has to predict them.
        yield ids_BT, weights_BT * ~opens_BT * (ids_BT != pad)


@torch.no_grad()
def held_out_loss(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, documents: Sequence[Sequence[Turn]]) -> float:
    """Cross-entropy in nats per token of the policy's turns, over documents that were not read; nan without any."""
    decoder, total, count = Decoder(model), 0.0, 0.0
    for ids_BT, weights_BT in laid(documents, tokenizer, 0.0, 128):
        weight = float(weights_BT[:, 1:].sum())
        total, count = total + weight * float(cross_entropy(decoder, ids_BT, weights_BT)), count + weight
    return total / count if count else math.nan


def spelled(document: Sequence[Turn]) -> str:
    """A document as the chat template renders it."""
    return "".join(f"<user> {t.content} " if t.author == "task" else f"<model> {t.content} <end> " for t in document)


def padded(rows: Sequence[Sequence[float]], filler: float) -> Tensor:
    """Rows of different length as one tensor."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[filler] * (longest - len(row))] for row in rows])


def learning_rate(recipe: Pretraining, step: int, end: int | None) -> float:
    """Warm up, stay, fall to zero over the last ``decay`` of the steps up to ``end`` (None: never fall)."""
    left = 1.0 if end is None else (end - step) / max(1.0, recipe.decay * end)
    return recipe.lr * min(1.0, (step + 1) / recipe.warmup, left)


def optimizers(recipe: Pretraining, model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for embeddings and norms."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    if recipe.optimizer == "adamw":
        return [torch.optim.AdamW(model.parameters(), recipe.lr, (0.9, 0.98), weight_decay=recipe.weight_decay)]
    muon = Muon(matrices, recipe.lr, recipe.weight_decay)
    return [muon, torch.optim.AdamW(others, recipe.lr, (0.9, 0.98), weight_decay=0.0)]


def checkpoint_steps(recipe: Pretraining) -> list[int]:
    """Log-spaced: 1, 2, 5, 10, 20, 50, ... and the last; or ``marks`` of them from 1 % to the last.

    >>> checkpoint_steps(Pretraining(steps=1000, marks=4))
    [10, 46, 215, 1000]
    """
    if recipe.marks:
        last = recipe.marks - 1
        return sorted({max(1, round(recipe.steps * 100 ** ((i - last) / max(1, last)))) for i in range(recipe.marks)})
    spaced = {m * 10**e for e in range(8) for m in (1, 2, 5)}
    return sorted({s for s in spaced if s < recipe.steps} | {recipe.steps})


@dataclass
class Trainee:
    """A model in training: its weights, its optimizers, how many steps and tokens it has behind it."""

    model: LlamaForCausalLM
    makers: Sequence[torch.optim.Optimizer]
    step: int = 0
    tokens: int = 0

    def state(self) -> dict[str, Any]:
        """All of it, for :meth:`load`."""
        return {
            "step": self.step, "tokens": self.tokens, "model": self.model.state_dict(),
            "optimizers": [maker.state_dict() for maker in self.makers],
        }  # fmt: skip

    def load(self, state: Mapping[str, Any]) -> None:
        """Be what was saved."""
        self.step, self.tokens = state["step"], state["tokens"]
        self.model.load_state_dict(state["model"])
        for maker, saved in zip(self.makers, state["optimizers"], strict=True):
            maker.load_state_dict(saved)


def pretrain(
    recipe: Pretraining,
    out: Path,
    *,
    resume: bool = False,
    save_every: int = 500,
    device: str | None = None,
    on_progress: Callable[[int, float, float], None] = lambda step, loss, rate: None,
) -> Path:
    """Train from scratch into ``out``/checkpoints/step_N, each a Hugging Face folder; returns the last.

    On ``device``, or on a GPU if there is one. ``on_progress(step, loss, tokens_per_second)`` is called every 50 steps.
    ``latest`` holds what a resume needs and is rewritten every ``save_every`` steps. Raises UserError if ``out`` is in use, or
    was made by another recipe.
    """
    if complete_folders(out / "latest") and not resume:
        raise UserError(f"{out} already holds a pre-training run; pass --resume to continue it or choose another folder")
    more = recipe.corpus.words
    tokenizer, model = words.build(more), new_model(recipe.size, recipe.seed, more)
    model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    trainee = Trainee(model, optimizers(recipe, model))
    restore(out, recipe, trainee)

    def save_checkpoint() -> None:
        with new_folder(out / "checkpoints" / f"step_{trainee.step}") as folder:
            save_model(model, tokenizer, folder)
            write_json(
                folder / "pretraining.json", {"step": trainee.step, "tokens": trainee.tokens, "recipe": described(recipe)}
            )

    def save_state() -> None:
        with new_folder(out / "latest" / f"step_{trainee.step}") as folder:
            torch.save({**trainee.state(), "recipe": described(recipe)}, folder / "state.pt")
        for old in complete_folders(out / "latest")[:-1]:
            shutil.rmtree(old)

    marks = checkpoint_steps(recipe)
    read = partial(batches, recipe, tokenizer)
    if recipe.marks:
        for mark in marks:
            begin = mark - max(1, round(recipe.decay * mark))
            if begin < trainee.step or (out / "checkpoints" / f"step_{mark}" / COMPLETE).exists():
                continue
            for _ in walked(recipe, trainee, read(trainee.step), None, begin, on_progress):
                if trainee.step % save_every == 0:
                    save_state()
            save_state()
            stable = copy.deepcopy(trainee.state())
            for _ in walked(recipe, trainee, read(begin), mark, mark, on_progress):
                pass
            save_checkpoint()
            trainee.load(stable)
        return complete_folders(out / "checkpoints")[-1]
    for _ in walked(recipe, trainee, read(trainee.step), recipe.steps, recipe.steps, on_progress):
        if trainee.step in marks:
            save_checkpoint()
        if trainee.step % save_every == 0 or trainee.step == recipe.steps:
            save_state()
    return complete_folders(out / "checkpoints")[-1]


def walked(
    recipe: Pretraining,
    trainee: Trainee,
    read: Iterator[tuple[Tensor, Tensor, float]],
    end: int | None,
    stop: int,
    on_progress: Callable[[int, float, float], None],
) -> Iterator[int]:
    """Train on until step ``stop``, yielding after every step; the learning rate falls towards ``end``."""
    losses: list[float] = []
    decoder, device = Decoder(trainee.model), trainee.model.device
    fresh, began = 0, time.perf_counter()
    while trainee.step < stop:
        ids_BT, weights_BT, share = next(read)
        rate = learning_rate(recipe, trainee.step, end)
        losses.append(update(decoder, trainee.makers, ids_BT.to(device), weights_BT.to(device), rate, share))
        count = int((weights_BT > 0).sum())
        trainee.step, trainee.tokens, fresh = trainee.step + 1, trainee.tokens + count, fresh + count
        if trainee.step % 50 == 0:
            on_progress(trainee.step, sum(losses) / len(losses), fresh / (time.perf_counter() - began))
            losses = []
        yield trainee.step


def update(
    decoder: Decoder, makers: Sequence[torch.optim.Optimizer], ids_BT: Tensor, weights_BT: Tensor, lr: float, share: float = 1.0
) -> float:  # fmt: skip
    """One step down ``share`` of the weighted cross-entropy; returns the whole of it."""
    loss = cross_entropy(decoder, ids_BT, weights_BT)
    (share * loss).backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(decoder.model.parameters(), 1.0)
    if not torch.isfinite(norm):
        raise UserError("the gradient is not finite, so nothing was learned; a lower lr may help, and --resume goes on")
    for maker in makers:
        for group in maker.param_groups:
            group["lr"] = lr
        maker.step()
        maker.zero_grad(set_to_none=True)
    return loss.item()


def cross_entropy(decoder: Decoder, ids_BT: Tensor, weights_BT: Tensor) -> Tensor:
    """The mean over all predicted tokens, in nats, by their weights."""
    rows, length = ids_BT.shape
    decoder.reserve(length)

    def attend(_: int, projected: Projected) -> Tensor:
        qk, v = projected.split()
        q, k = torch.split(qk, [decoder.heads, decoder.key_heads], dim=1)
        q, k, v = (part.view(rows, length, *part.shape[1:]).transpose(1, 2) for part in (q, k, v))
        read_BQTD = scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0)
        return read_BQTD.transpose(1, 2).flatten(2).flatten(0, 1)

    weights, positions_N = decoder.weights(), torch.arange(length, device=ids_BT.device).repeat(rows)
    hidden_NM = decoder.run(weights, ids_BT.flatten(), positions_N, attend)
    all_N = weights_BT[:, 1:].flatten()
    at_N = all_N.nonzero().squeeze(1)  # only what counts is predicted
    logits_NV = decoder.logits(weights, hidden_NM.view(rows, length, -1)[:, :-1].flatten(0, 1).index_select(0, at_N))
    loss_N = torch.nn.functional.cross_entropy(logits_NV, ids_BT[:, 1:].flatten()[at_N], reduction="none")
    weight_N = all_N[at_N]
    return (loss_N * weight_N).sum() / weight_N.sum()


def restore(out: Path, recipe: Pretraining, trainee: Trainee) -> None:
    """Continue from the newest state under ``out``, if there is one."""
    latest = complete_folders(out / "latest")
    if not latest:
        return
    state: dict[str, Any] = read_state(latest[-1] / "state.pt")
    if {**described(Pretraining()), **state["recipe"]} != described(recipe):  # options that are newer had their defaults
        raise UserError(f"{out} was made by another recipe; choose another folder")
    trainee.load(state)


def described(recipe: Pretraining) -> dict[str, Any]:
    """A recipe as JSON, the kind of its corpus included."""
    found = asdict(recipe)
    return {**found, "corpus": {"kind": type(recipe.corpus).__name__, **found["corpus"]}}


def save_model(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write config.json, model.safetensors, tokenizer.json and chat_template.jinja."""
    logging.disable_progress_bar()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
