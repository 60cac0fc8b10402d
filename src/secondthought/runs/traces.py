"""Episodes with what each token was paid, as other trainers take them.

``verifiers``    a line for each episode: a trace of Prime Intellect's verifiers (what prime-rl trains on), a node for each
                 segment with its token ids, log-probabilities and advantages
``art``          a line for each group: a TrajectoryGroup of OpenPipe's ART. What is paid stands in it as a choice, which ART
                 trains; all else as messages, which it does not
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from secondthought.types import Episode, Segment, Signal

Row = tuple[Episode, Mapping[str, Signal], int, str, int]
Json = dict[str, Any]


def of_segment(segment: Segment, signal: Signal | None) -> list[float]:
    """The advantage of each token of a sampled segment; zeros where it was not paid."""
    policy = signal.policy if signal is not None else 0.0
    return list(policy) if isinstance(policy, tuple) else [float(policy)] * len(segment.tokens)


def of_messages(episode: Episode, signals: Mapping[str, Signal]) -> list[float | None]:
    """The mean advantage of each message of an episode, None for what nobody sampled, in the order of its messages."""
    found: list[float | None] = [None] * len(episode.task.prompt)
    role = episode.task.prompt[-1].role
    for segment in episode.segments[1:]:
        paid = of_segment(segment, signals.get(segment.name)) if segment.logprobs is not None else []
        mean = sum(paid) / len(paid) if paid else None
        if role == segment.role == "assistant":  # one turn in two segments
            found[-1] = mean if found[-1] is None else found[-1] if mean is None else (found[-1] + mean) / 2
        else:
            found.append(mean)
        role = segment.role
    return found


def verifiers_trace(row: Row, model: str) -> Json:
    """One episode as a verifiers trace; its system turns, where there are any, are part of the first node's tokens."""
    episode, signals, step, split, group = row
    nodes: list[Json] = []
    for segment in episode.segments:
        node: Json = {
            "parent": len(nodes) - 1 if nodes else None, "message": {"role": segment.role, "content": segment.text},
            "sampled": segment.logprobs is not None, "token_ids": list(segment.tokens),
            "mask": [segment.logprobs is not None] * len(segment.tokens),
        }  # fmt: skip
        if segment.logprobs is not None:
            node |= {"logprobs": list(segment.logprobs), "advantages": of_segment(segment, signals.get(segment.name))}
        nodes.append(node)
    graded = {name: verdict for name, verdict in episode.verdicts.items() if verdict.graded}
    last = episode.final
    return {
        "task": {
            "type": episode.task.family, "key": episode.task.key,
            "data": {"name": episode.task.family, "prompt": episode.task.prompt[-1].content, "answer": episode.task.answer},
        },
        "agent": {"config": {"model": model}}, "nodes": nodes,
        "rewards": {"reward": {"score": last.score, "weight": 1.0} if last is not None and last.graded else None},
        "metrics": {name: verdict.score for name, verdict in graded.items()}, "is_completed": True, "ok": True,
        "info": {"arm": episode.arm, "split": split, "step": step, "group": group, "path": list(episode.path)},
    }  # fmt: skip


def art_trajectory(row: Row) -> Json:
    """One episode as an ART trajectory, its reward the last verdict."""
    episode, signals, step, split, _ = row
    said: list[Json] = [{"role": turn.role, "content": turn.content} for turn in episode.task.prompt]
    for segment in episode.segments[1:]:
        message: Json = {"role": segment.role, "content": segment.text}
        signal = signals.get(segment.name)
        if segment.logprobs is None or signal is None or not signal.policy:
            said.append(message)
            continue
        tokens: list[Json] = [
            {"token": f"token_id:{token}", "logprob": logprob, "bytes": None, "top_logprobs": []}
            for token, logprob in zip(segment.tokens, segment.logprobs, strict=True)
        ]
        reason = "length" if segment.stop == "length" else "stop"
        said.append({"index": 0, "finish_reason": reason, "message": message, "logprobs": {"content": tokens, "refusal": None}})
    last = episode.final
    return {
        "messages_and_choices": said, "reward": last.score if last is not None and last.graded else 0.0,
        "metrics": {name: verdict.score for name, verdict in episode.verdicts.items() if verdict.graded},
        "metadata": {"arm": episode.arm, "split": split, "step": step, "task": episode.task.key},
    }  # fmt: skip


def write_verifiers(rows: Iterable[Row], out: Path, model: str) -> None:
    """``traces.jsonl``, a line for each episode."""
    with out.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(verifiers_trace(row, model), ensure_ascii=False) + "\n")


def write_art(groups: Iterable[Sequence[Row]], out: Path) -> None:
    """``groups.jsonl``, a line for each group."""
    with out.open("w", encoding="utf-8") as file:
        for group in groups:
            file.write(json.dumps({"trajectories": [art_trajectory(row) for row in group]}, ensure_ascii=False) + "\n")
