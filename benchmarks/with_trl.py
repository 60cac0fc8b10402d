"""The same step in TRL: a GRPOTrainer whose ``rollout_func`` samples all three turns and masks all but the reflection."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from benchmarks import rivals
from benchmarks.clock import Taken, Watch
from benchmarks.setting import ASKED, GROUP, IDS, NEW, PROBLEMS, PROMPT, coin, problem


def rollouts(prompts: list[str], trainer: Any) -> dict[str, Any]:
    """TRL asks for every prompt GROUP times; the attempt is made once for each problem."""
    problems = [IDS.encode(prompt) for prompt in prompts[::GROUP]]
    asked = (IDS.encode(ASKED.reflection), IDS.encode(ASKED.retry))
    network = trainer.accelerator.unwrap_model(trainer.model)
    was_training = network.training
    network.eval()
    contexts, reflections, retries, logprobs = rivals.three_calls(network, problems, GROUP, asked, NEW)
    network.train(was_training)
    tail = [0.0] * (len(asked[1]) + NEW)
    return {
        "prompt_ids": contexts,
        "completion_ids": [[*said, *asked[1], *retry] for said, retry in zip(reflections, retries, strict=True)],
        "logprobs": [[*row, *tail] for row in logprobs.tolist()],
        "env_mask": [[1] * NEW + [0] * len(tail) for _ in contexts],
        "score": [coin(problem(0), IDS.decode(retry)).score for retry in retries],
    }


def reward(completions: Any, score: list[float], **_: Any) -> list[float]:
    """What the rollout found."""
    return score


class Turns(TrainerCallback):  # type: ignore[misc]
    """Measures each step of the trainer, and lets the others have their turn after it."""

    def __init__(self, taken: Taken, between: Callable[[int], None], *, warm: bool = True) -> None:
        self.taken = taken
        self.between = between
        self.warm = warm
        self.watch: Watch | None = None
        self.turn = 0

    def start(self) -> None:
        """The first step only warms up, where that is wanted."""
        self.watch = Watch(self.taken if self.turn or not self.warm else Taken())
        self.watch.__enter__()

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Before the first batch is drawn; TRL generates before it announces a step."""
        self.start()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """A step is over."""
        assert self.watch is not None
        self.watch.__exit__()
        self.between(self.turn)
        self.turn += 1
        self.start()


def trainer(
    folder: Path, taken: Taken, between: Callable[[int], None], *, steps: int, prompt: int = PROMPT, dtype: str = "float32",
    lora: int = 0, at_once: int = PROBLEMS * GROUP, warm: bool = True,
) -> Any:  # fmt: skip
    """A trainer that takes ``steps`` steps, set as fast as it goes on a CPU: its weights are of type ``dtype`` throughout, and
    ``at_once`` completions are learned from at a time (memory). ``warm``: the first step is not measured.
    """
    config = GRPOConfig(
        output_dir=str(folder.parent / "trl"),
        per_device_train_batch_size=at_once,
        gradient_accumulation_steps=PROBLEMS * GROUP // at_once,
        num_generations=GROUP,
        max_completion_length=2 * NEW + 8,
        max_steps=steps,
        learning_rate=1e-5,
        beta=0.0,
        loss_type="grpo",
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        logging_steps=10_000,
        disable_tqdm=True,
        shuffle_dataset=False,
    )
    data = Dataset.from_list([{"prompt": problem(i, prompt).prompt[0].content} for i in range(PROBLEMS)] * 8)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    adapters = LoraConfig(r=lora, lora_alpha=2 * lora, target_modules="all-linear", task_type="CAUSAL_LM") if lora else None
    return GRPOTrainer(
        peft_config=adapters,
        model=AutoModelForCausalLM.from_pretrained(folder, dtype=dtype),
        reward_funcs=reward,
        args=config,
        train_dataset=data,
        processing_class=tokenizer,
        rollout_func=rollouts,
        callbacks=[Turns(taken, between, warm=warm)],
    )
