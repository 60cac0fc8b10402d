"""The probes of self-knowledge on a real model: what is read inside is there, steering stops, and adapters learn choices."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.real.steps import done

from secondthought.engines.factory import torch_engine
from secondthought.probes.steering import add


def measured(out: Path) -> dict[str, object]:
    (model,) = json.loads((out / "summary.json").read_text())["models"]
    return dict(model["report"])


def test_steering_changes_and_stops(smollm2: Path) -> None:
    engine = torch_engine(str(smollm2))
    context = engine.renderer.encode("The capital of France is")
    word = engine.renderer.encode(" Paris")
    (before,) = engine.score([context], [word])
    with engine.steer(12, add(np.random.default_rng(0).standard_normal(576) * 20.0)):
        (inside,) = engine.score([context], [word])
    assert inside[0] < before[0] - 1
    assert engine.score([context], [word])[0] == before


@pytest.mark.parametrize("probe", ["temperature", "enaction"])
def test_own_words(smollm2: Path, tmp_path: Path, probe: str) -> None:
    more = ["--set", "steered=4"] if probe == "enaction" else []
    done("probe", probe, "--model", smollm2, "--n", 4, "--max-tokens", 12, *more, "--out", tmp_path / "run")
    figures = measured(tmp_path / "run")["figures"]
    wanted = {
        "temperature": ("own", "ceiling", "self_advantage"),
        "enaction": ("edited", "identity", "surprise/r2", "sham_steers"),
    }
    assert all(figures[name]["n"] for name in wanted[probe])  # type: ignore[index]


def test_entities(smollm2: Path, tmp_path: Path) -> None:
    real = {"France": "Paris", "Italy": "Rome", "Japan": "Tokyo", "Germany": "Berlin", "Spain": "Madrid", "China": "Beijing",
            "Egypt": "Cairo", "Russia": "Moscow", "Greece": "Athens", "Portugal": "Lisbon"}  # fmt: skip
    invented = ("Velmora", "Tarsk", "Ondria", "Quilland", "Brevia", "Zanther", "Polvania", "Morrak", "Ustria", "Fennland")
    rows = list(real.items()) + [(name, f"no capital of {name}") for name in invented]
    file = tmp_path / "countries.jsonl"
    file.write_text("".join(
        json.dumps({"kind": "country", "name": name, "question": f"What is the capital of {name}?", "answer": capital}) + "\n"
        for name, capital in rows
    ))  # fmt: skip
    settings = ["k=1", "hits=1", "steered=2", "shams=1", "amounts=0.5", "layers=15", f"tasks={file}", "temperature=0"]
    words = [word for one in settings for word in ("--set", one)]
    done("probe", "entity_knowledge", "--model", smollm2, "--max-tokens", 10, *words, "--out", tmp_path / "run")
    report = measured(tmp_path / "run")
    assert report["figures"]["auroc/mean_difference"]["value"] > 0.8  # type: ignore[index]
    assert any(table["title"].startswith("Control") for table in report["tables"])  # type: ignore[attr-defined]


def test_three_true_steps_of_choices(smollm2: Path, tmp_path: Path) -> None:
    rows = [
        {"messages": [
            {"role": "user", "content": f"A: {k} dollars for sure. B: {3 * k} dollars or nothing. Reply with A or B."},
            {"role": "assistant", "content": "B"},
        ]}
        for k in range(1, 60)
    ]  # fmt: skip
    file = tmp_path / "choices.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = [
        "lora=4",
        "imitate.steps=3",
        "groups=4",
        "eval_problems=4",
        "dev_problems=2",
        "eval_every=9",
        "checkpoint_every=3",
        "max_tokens=4",
    ]
    words = [word for one in settings for word in ("--set", one)]
    done("train", "self_description", "--model", smollm2, "--tasks", f"choices:{file}", *words, "--out", tmp_path / "run")
    before, after = (
        json.loads((tmp_path / "run" / "reports" / f"{when}_self_description.json").read_text()) for when in ("before", "after")
    )
    means = [{arm["name"]: arm["estimate"]["value"] for arm in report["arms"]} for report in (before, after)]
    assert {"acts", "self", "other", "unrelated"} <= set(means[0])
    assert means[1]["acts"] != means[0]["acts"]
