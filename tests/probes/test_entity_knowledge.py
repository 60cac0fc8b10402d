"""Entities: a direction that is planted is found and steers, a name that decides is not taken for one, and length is seen."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from secondthought.engines.factory import torch_engine
from secondthought.engines.scripted import Scripted
from secondthought.errors import UserError
from secondthought.probes.entity_detection import Known, detect
from secondthought.probes.entity_knowledge import EntityKnowledge, Located, garbled, graded, locate, quarters, task_of
from secondthought.probes.inner_subjects import knower
from secondthought.probes.sparse import loaded
from secondthought.runs.progress import Silence
from secondthought.tasks.entities import Attribute, Entity, entities_of
from secondthought.types import Report

SMALL = {"n": 60, "k": 2, "hits": 1, "steered": 12, "amounts": "1", "shams": 2}


def measured(*, inside: bool, **options: object) -> Report:
    probe = EntityKnowledge(**{**SMALL, **options})  # type: ignore[arg-type]
    groups = probe.measure(knower(entities_of("", terse=False, n=60), 0.5, inside=inside), Silence())
    return probe.report(groups)


def test_what_is_known_inside_is_found_and_steers() -> None:
    report = measured(inside=True)
    assert report.verdict == "supported"
    assert report.figures["auroc/held_out_mean"].value > 0.99
    assert report.figures["latent/p"].value < 0.01
    assert report.effect("steering_causes_refusal").estimate.value == 1.0
    assert report.effect("steering_causes_invention").estimate.value == 1.0
    assert report.effect("sham_causes_refusal").estimate.value < 0.1


def test_what_only_the_name_decides_is_not() -> None:
    report = measured(inside=False)
    assert report.verdict != "supported"
    assert abs(report.figures["auroc/held_out_mean"].value - 0.5) < 0.2
    assert report.figures["latent/p"].value > 0.05
    assert report.effect("steering_causes_refusal").estimate.value == 0.0


def facts_and_states(
    *, longer: bool, planted: float, n: int = 300
) -> tuple[list[Known], list[Located], dict[int, list[np.ndarray]]]:
    """Entities of three kinds; the unknown ones may have names of one more token, and a direction that says so."""
    rng = np.random.default_rng(1)
    facts, located, stream = [], [], []
    for i in range(n):
        unknown, kind = i % 2 == 0, "abc"[i % 3]
        size = 2 + (unknown and longer)
        tokens = tuple(int(t) for t in rng.integers(10, 500, 6))
        split = "train" if i % 10 < 5 else "validation" if i % 10 < 6 else "test"
        facts.append(Known(kind, f"{kind}: name{i:04d}", known=not unknown, split=split))
        located.append(Located(tokens, 3, size))
        state = rng.standard_normal((6, 12))
        state[:, 0] += planted * (1 if unknown else -1)
        stream.append(state)
    return facts, located, {1: stream}


def test_separation_stays_inside_its_null_where_nothing_is_planted() -> None:
    found = detect(*facts_and_states(longer=False, planted=0.0))
    assert found is not None
    null = [row["null"] for row in found.scores if "null" in row]
    assert found.scores[0]["largest"] <= np.quantile(null, 0.99)
    planted = detect(*facts_and_states(longer=False, planted=2.0))
    assert planted is not None
    assert planted.scores[0]["largest"] > max(row["null"] for row in planted.scores if "null" in row)
    assert abs(planted.directions[1][0][0]) > 0.9


def test_names_of_another_length_are_given_away() -> None:
    facts, located, streams = facts_and_states(longer=True, planted=2.0)
    found = detect(facts, located, streams)
    assert found is not None
    said = [(row["confounds"], fact.known is False) for row, fact in zip(found.scores, facts, strict=True)]
    assert min(score for score, unknown in said if unknown) > max(score for score, unknown in said if not unknown)


@pytest.mark.parametrize(("model", "kind", "name", "question", "length"), [
    ("nano/knower", "film", "bax jetz", "film bax jetz who ?", 2),
    ("nano/countdown", "river", "Oka", "river Oka where ?", 3),
    ("nano/countdown", "river", "7 12", "river 7 12 where ?", 2),
])  # fmt: skip
def test_a_name_is_found_with_all_of_its_tokens(model: str, kind: str, name: str, question: str, length: int) -> None:
    engine = torch_engine(model)
    found = locate(engine, Entity(kind, name, (Attribute(question, ("x",)),)))
    assert found.length == length
    decode = engine.renderer.decode
    assert decode(found.tokens[found.last + 1 - length : found.last + 1]).strip() == name
    assert not decode(found.tokens[: found.last]).endswith(name)


def test_a_name_that_cannot_be_read_back_is_named() -> None:
    with pytest.raises(UserError, match="could not be found in what the model reads"):
        locate(torch_engine("nano/countdown"), Entity("river", "O  ka", (Attribute("river O  ka where ?", ("x",)),)))


def test_too_few_of_a_class_is_said() -> None:
    facts, located, streams = facts_and_states(longer=False, planted=1.0)
    assert detect([fact._replace(known=True) for fact in facts], located, streams) is None
    probe = EntityKnowledge(n=12, k=1, hits=1, amounts="")
    report = probe.report(probe.measure(knower(entities_of("", terse=False, n=12), 1.0, inside=True), Silence()))
    assert report.verdict == "not applicable"
    assert any("too few" in note for note in report.notes)


def test_answers_are_right_wrong_or_refused() -> None:
    capital = Attribute("What is the capital of Peru?", ("Lima",))
    assert [graded(text, capital).why for text in ("Lima.", "Quito", "unknown", "I’m not sure.")] == [
        "right",
        "wrong",
        "refused",
        "refused",
    ]
    assert garbled("...").score == 1
    assert quarters(30) == [8, 15, 22]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match="amounts must be numbers"):
        EntityKnowledge(amounts="a lot").prepare(Silence())
    with pytest.raises(UserError, match="hits must be from 1 to k"):
        EntityKnowledge(k=2, hits=3).prepare(Silence())
    with pytest.raises(UserError, match="belongs to one layer"):
        EntityKnowledge(sae="release/id").prepare(Silence())
    with pytest.raises(UserError, match="no layer 40"):
        measured(inside=True, layers="40")
    with pytest.raises(UserError, match="steer_at must be one of"):
        measured(inside=True, steer_at=0)
    if importlib.util.find_spec("sae_lens") is None:
        with pytest.raises(UserError, match="pip install sae-lens"):
            loaded("release/id")
    from secondthought.engines.base import require

    with pytest.raises(UserError, match="needs changing hidden states"):
        require(Scripted(lambda request: ""), EntityKnowledge.access, "the probe entity_knowledge", "a script")


def test_a_pretrained_autoencoder_is_loaded_by_sae_lens(tmp_path: Path) -> None:
    """Not among the pinned packages: ``pip install sae-lens``."""
    sae_lens = pytest.importorskip("sae_lens")
    sae = sae_lens.StandardSAE(sae_lens.StandardSAEConfig(d_in=12, d_sae=20))
    sae.save_model(str(tmp_path / "sae"))
    found = loaded(str(tmp_path / "sae"))
    x = np.random.default_rng(0).standard_normal((5, 12))
    codes = found.encode(x)
    assert codes.shape == (5, 20)
    assert found.decoder.shape == (20, 12)
    assert codes == pytest.approx(sae.encode(torch.tensor(x, dtype=torch.float32)).detach().numpy(), abs=1e-5)
    with pytest.raises(UserError, match="streams of width 12"):
        found.encode(np.zeros((1, 3)))
    with pytest.raises(UserError, match="has no autoencoder"):
        loaded(str(tmp_path / "nothing"))
    facts, located, streams = facts_and_states(longer=False, planted=2.0)
    detected = detect(facts, located, streams, sae=str(tmp_path / "sae"))
    assert detected is not None
    assert "latent" in detected.scores[0]
    assert "explained" not in detected.scores[0]


def test_a_name_is_found_in_the_question_though_an_example_names_it_too() -> None:
    found = locate(knower([], 0.5, inside=True), Entity("place", "Hamlet", (Attribute("Where is Hamlet ?", ("there",)),)))
    assert len(found.tokens) - found.last == 3  # "?" and "Assistant:" follow
    assert found.length == 1


def test_examples_stand_before_a_question_but_not_for_nano() -> None:
    capital = Attribute("What is the capital of Peru?", ("Lima",))
    entity = Entity("country", "Peru", (capital,))
    chat, terse = (task_of(entity, capital, terse=flag) for flag in (False, True))
    assert [turn.role for turn in chat.prompt] == ["user", "assistant"] * 5 + ["user"]
    assert sum(turn.content == "unknown" for turn in chat.prompt) == 2
    assert [turn.content for turn in terse.prompt] == [chat.prompt[-1].content] == [capital.question]
