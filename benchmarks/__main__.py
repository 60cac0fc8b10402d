"""One core, one process: ``python -m benchmarks [PART ...] [--repeats 5] [--quick]``."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from benchmarks import growth, page

RESULTS = Path(__file__).parent / "results"
PARTS = (
    "whole_step", "training", "growth", "profile", "memory", "sampling", "real_sizes", "first_answer", "viewing", "actors",
)  # fmt: skip


def main() -> None:
    """Measure, write one JSON file for each part, and the table in docs/performance.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all, if none is named")
    parser.add_argument("--repeats", type=int, default=5, help="measured rounds after one to warm up")
    parser.add_argument(
        "--quick", action="store_true", help="the smallest case of each part, to see that it works; writes to --out"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.repeats < 1:
        parser.error("--repeats must be at least 1")
    torch.set_num_threads(1)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    options.out.mkdir(parents=True, exist_ok=True)
    for part in options.parts or PARTS:
        began = time.perf_counter()
        print(f"--- {part}", flush=True)
        entries = importlib.import_module(f"benchmarks.{part}").measure(options.repeats, quick=options.quick)
        result = {"machine": machine(), "versions": versions(), "entries": entries}
        (options.out / f"{part}.json").write_text(json.dumps(result, indent=1) + "\n")
        print(f"--- {part} took {time.perf_counter() - began:.0f} s", flush=True)
    if not options.quick and options.out == RESULTS:
        docs = Path(__file__).parent.parent / "docs"
        page.write(options.out, docs / "performance.md")
        if (options.out / "growth.json").exists():
            growth.picture(json.loads((options.out / "growth.json").read_text())["entries"], docs / "images" / "growth.png")


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    cpu = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in cpu.read_text().splitlines() if line.startswith("model name")]
        if cpu.exists()
        else []
    )
    return {
        "cpu": names[0] if names else platform.processor(),
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "date": time.strftime("%Y-%m-%d"),
    }


def versions() -> dict[str, str]:
    """Of whom it was measured."""
    found = {}
    for name in ("torch", "transformers", "trl"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main()
