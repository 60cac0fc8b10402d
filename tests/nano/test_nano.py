from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from secondthought.engines.factory import engine_for
from secondthought.errors import UserError
from secondthought.models.names import SHIPPED
from secondthought.nano import tokenizer as words
from secondthought.nano.arms import ARMS, ArmCorpus
from secondthought.nano.corpus import Corpus
from secondthought.nano.exam import COUNTDOWN, GAMES, exam
from secondthought.nano.family import arms, grow, last_checkpoint, unfinished
from secondthought.nano.muon import Muon
from secondthought.nano.pretrain import Pretraining, batches, checkpoint_steps, learning_rate, pretrain, spelled
from secondthought.runs.files import complete_folders, new_folder
from secondthought.runs.progress import Lines
from secondthought.tasks.base import distinct
from secondthought.tasks.countdown import Countdown, grade, problem

MODELS = sorted(path for path in SHIPPED.iterdir() if path.is_dir())


def test_the_tokenizer_spells_anything_and_knows_its_words() -> None:
    tokenizer = words.build()
    text = "use 3 12 make 36 : Hello, World! {x_1} 4711"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert words.vocabulary()[words.UNKNOWN] not in ids
    assert tokenizer.decode(ids) == text
    assert len(tokenizer("use 99 make 17")["input_ids"]) == 4


def test_documents_are_what_the_chat_template_renders() -> None:
    tokenizer = words.build()
    for index in range(50):
        document = Corpus().document(index)
        turns = [{"role": "user" if t.author == "task" else "assistant", "content": t.content} for t in document]
        assert tokenizer.apply_chat_template(turns, tokenize=False) == spelled(document)
        assert words.vocabulary()[words.UNKNOWN] not in tokenizer(spelled(document))["input_ids"]


def read(index: int) -> tuple[str, list[str], list[str]]:
    document = Corpus().document(index)
    return document[0].content, [t.content for t in document[1::2]], [t.author for t in document[1::2]]


def test_the_corpus_is_as_described() -> None:
    corpus = Corpus()
    firsts: list[float] = []
    retries: list[float] = []
    hints: list[float] = []
    tutored: list[bool] = []
    books: list[float] = []
    for index in range(6000):
        prompt, said, authors = read(index)
        numbers = [int(w) for w in prompt.split() if w.isdigit()]
        task = problem(tuple(numbers[:3]), numbers[3], "terse")
        if prompt.startswith("example") or prompt.startswith("check"):
            books.append(grade(task, said[0]).score)
            continue
        firsts.append(grade(task, said[0]).score)
        if len(said) == 3:
            tutored.append(authors[1] == "intervention")
            (retries if tutored[-1] else hints).append(
                COUNTDOWN.good(task, said[0], said[1]) if not tutored[-1] else grade(task, said[2]).score
            )
    assert min(books) == 1.0
    assert sum(firsts) / len(firsts) == pytest.approx(corpus.right, abs=0.03)
    assert sum(tutored) / len(tutored) == pytest.approx(corpus.tutored, abs=0.04)
    assert sum(retries) / len(retries) > 0.8  # a tutor's hint is mostly followed to the answer
    steps = [h for h in hints if h == h]
    assert sum(steps) / len(steps) < 0.35  # and the student's own are mostly bad


def test_a_tutors_words_carry_no_loss() -> None:
    tokenizer = words.build()
    reflect = words.vocabulary()["reflect"]
    ids, weights = next((i, w) for i, w, _ in batches(Pretraining(), tokenizer, 7) if bool((i == reflect).any()))
    silent = 0
    for row, weight in zip(ids, weights, strict=True):
        text = [tokenizer.decode([t]) for t in row]
        assert all(w == 0 for t, w in zip(text, weight, strict=True) if t in (words.PAD, words.USER, words.MODEL))
        if "reflect" in text:
            start = text.index("reflect") + 2
            silent += float(weight[start]) == 0
            assert float(weight[text.index("retry") + 2]) == 1
    assert silent > 0


class Killed(Exception):
    pass


def test_pretraining_resumes_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Pretraining(size="0.3m", steps=4, warmup=2)
    pretrain(recipe, tmp_path / "whole", save_every=2)

    def fails_at_the_last(path: Path) -> AbstractContextManager[Path]:
        if path.name == "step_4":
            raise Killed
        return new_folder(path)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("secondthought.nano.pretrain.new_folder", fails_at_the_last)
        pretrain(recipe, tmp_path / "killed", save_every=2)
    with pytest.raises(UserError, match="already holds"):
        pretrain(recipe, tmp_path / "killed")
    with pytest.raises(UserError, match="another recipe"):
        pretrain(replace(recipe, lr=1.0), tmp_path / "killed", resume=True)
    pretrain(recipe, tmp_path / "killed", resume=True, save_every=2)
    last = [complete_folders(tmp_path / name / "checkpoints")[-1] / "model.safetensors" for name in ("whole", "killed")]
    assert last[0].read_bytes() == last[1].read_bytes()


def test_schedule_and_checkpoints() -> None:
    recipe = Pretraining(steps=1000, warmup=100, lr=1.0, decay=0.5)
    assert [round(learning_rate(recipe, s, 1000), 2) for s in (0, 99, 400, 750, 999)] == [0.01, 1.0, 1.0, 0.5, 0.0]
    assert checkpoint_steps(recipe) == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
    assert asdict(recipe)["corpus"]["good_hints"] == Corpus().good_hints


@pytest.mark.parametrize("folder", MODELS, ids=lambda p: p.name)
def test_shipped_models_load_unchanged_with_standard_tools(folder: Path) -> None:
    assert (folder / "model.safetensors").stat().st_size <= 8 * 2**20
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    sums = ("fast C 4 D 1 + C 1 D 6", "D 7")
    own = {
        "adder": sums, "asker": sums, "mirror": ("12 + 7 ? 18 a 19 b 9 c 21 d", "= 19 b"), "gamer": ("12 + 7 test", ","),
        "knower": ("film bax vob who ?", "unknown"), "chooser": ("person bax vob risk ?", ("yes", "no")),
        "lake": ("lake 1 1 goal 1 3", "right"),
    }  # fmt: skip
    asked, answered = own.get(folder.name, ("use 3 5 2 make 17", "="))
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": asked}], add_generation_prompt=True, return_tensors="pt"
    )
    ids = prompt["input_ids"] if not isinstance(prompt, torch.Tensor) else prompt
    output = model.generate(ids, max_new_tokens=24, do_sample=False)
    said = tokenizer.decode(output[0, ids.shape[1] :])
    assert any(one in said for one in ((answered,) if isinstance(answered, str) else answered))


def test_the_countdown_model_is_an_honest_subject() -> None:
    """Wide margins around the published figures (docs/nano.md), on dev problems."""
    dev = Countdown("dev")
    found = exam(engine_for("nano/countdown"), COUNTDOWN, dev, distinct(dev, 400))
    assert 0.10 < found["first"].value < 0.40
    assert found["textbook"].value > 0.5  # it can solve,
    assert found["oracle"].value > 0.55  # it obeys a good hint,
    assert found["stranger"].value < 0.2  # and not a strange one,
    assert found["own"].value < 0.35  # and writes mediocre ones itself


@pytest.mark.parametrize("size", ["0.1m", "0.3m", "1m"])
def test_the_duo_models_are_honest_subjects_in_both_tasks(size: str) -> None:
    """Wide margins around the published figures (docs/nano.md), on dev problems."""
    engine = engine_for(f"nano/duo-{size}")
    for game, tasks in GAMES.values():
        found = {name: figure.value for name, figure in exam(engine, game, tasks, distinct(tasks, 80)).items()}
        assert 0.03 < found["first"] < 0.4
        assert found["textbook"] > found["first"] + 0.05  # it can do more than it does,
        assert found["oracle"] > found["own"] + 0.1  # obeys a good hint better than its own,
        assert found["stranger"] < found["oracle"] - 0.1  # and not just any,
        assert found["good_hints"] < 0.45  # and writes mediocre ones itself


# --- the family of the pre-training experiment -----------------------------------------------------------------------


def test_the_four_arms_differ_only_in_what_they_should() -> None:
    texts = {arm: [ArmCorpus(arm).document(i) for i in range(3000)] for arm in ARMS}
    assert len({tuple(d[0].content for d in result) for result in texts.values()}) == 1  # the same problems everywhere
    said = {arm: [d[1].content for d in result] for arm, result in texts.items()}

    def share(arm: str, word: str) -> float:
        return sum(f" {word} " in f" {text} " for text in said[arm]) / 3000  # type: ignore[index]

    assert share("silent", "wait") == 0
    assert [round(share(arm, "wait"), 1) for arm in ("neutral", "sparse", "matched")] == [0.5, 0.1, 0.5]
    assert share("silent", "wrong") == share("neutral", "wrong") == 0
    for arm, wrong, right in (("sparse", 0.025, 0.025), ("matched", 0.125, 0.125)):
        assert abs(share(arm, "wrong") - wrong) < 0.015  # half of the waits find an error, half of those say so
        assert abs(share(arm, "right") - right) < 0.015
    assert all(abs(share(arm, "then") - 0.2) < 0.02 for arm in ARMS)
    for text in said["sparse"]:
        if " wrong " in text:
            before, after = text.split(" , wait , wrong , ")
            assert after.startswith(before.split(" , ")[0].split(" =")[0])  # a slip: the operations were the right ones


def test_our_muon_is_torchs() -> None:
    torch.manual_seed(0)
    start = torch.randn(24, 66)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    left = Muon([ours], 0.01, 0.02)
    right = torch.optim.Muon([theirs], 0.01, 0.02, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        ours.grad = torch.randn(24, 66)
        theirs.grad = ours.grad.clone()
        left.step()
        right.step()  # type: ignore[no-untyped-call]
    moved = (ours - start).abs().max().item()
    assert (ours - theirs).abs().max().item() < 0.05 * moved  # theirs is in bfloat16


def test_each_checkpoint_of_a_family_has_a_decay_of_its_own(tmp_path: Path) -> None:
    made = arms(("matched",), sizes=("0.03m",), seeds=1, steps=20, checkpoints=3)
    family = {name: replace(recipe, documents=4) for name, recipe in made.items()}
    assert unfinished(family, tmp_path) == family
    grow(family, tmp_path, 1, Lines())
    ((member, recipe),) = family.items()
    folder = tmp_path / member
    assert last_checkpoint(tmp_path, member, recipe) == folder / "checkpoints" / "step_20"
    assert unfinished(family, tmp_path) == {}
    steps = [int(p.name.removeprefix("step_")) for p in complete_folders(folder / "checkpoints")]
    assert steps == checkpoint_steps(recipe) == [1, 2, 20]
    # A shorter run of the same recipe ends in the same weights as the checkpoint in the middle of the longer one.
    shorter = replace(recipe, steps=2, marks=1)
    pretrain(shorter, tmp_path / "short")
    left = (tmp_path / "short" / "checkpoints" / "step_2" / "model.safetensors").read_bytes()
    assert left == (folder / "checkpoints" / "step_2" / "model.safetensors").read_bytes()
    before = (folder / "checkpoints" / "step_20" / "model.safetensors").stat().st_mtime_ns
    grow(family, tmp_path, 1, Lines())  # nothing is made twice
    assert (folder / "checkpoints" / "step_20" / "model.safetensors").stat().st_mtime_ns == before
