"""Turns end behind their first answers, whatever the engine; what was closed for the model is closed as it opens thoughts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from secondthought.cli import app
from secondthought.engines.base import Request, Sampled, Sampling
from secondthought.engines.early_stop import StopAfterAnswer
from secondthought.engines.factory import torch_engine
from secondthought.engines.scripted import END, Scripted, bytes_renderer
from secondthought.errors import UserError
from secondthought.protocols.answer import answer
from secondthought.protocols.base import Draft
from secondthought.rollouts import rollout
from secondthought.tasks.candidates import candidates
from secondthought.tasks.countdown import Countdown
from secondthought.tasks.grade import number
from secondthought.types import Task

TASK = Task.of("3 + 4?", answer=7, family="sums")
LONG = "3 + 4 = 8. So it is 8.\nWait. So it is 7.\nThe answer is 7."


class Limited:
    """Writes ``text``, so many tokens a call, and goes on from what is there."""

    def __init__(self, text: str, continues: bool = True) -> None:
        self.renderer, self.text, self.continues = bytes_renderer(), text, continues
        self.written = 0

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        found = []
        for request in requests:
            last = request.segments[-1]
            there = last.text if last.role == "assistant" else ""
            rest = " It is 8." if there.endswith("</think>\n\n") else self.text[len(there) :]
            size = request.sampling.max_tokens
            tokens = tuple(rest.encode()[:size])
            over = len(tokens) == len(rest.encode())
            self.written += len(tokens)
            tokens = (*tokens, END) if over else tokens
            stop = "end" if over else "length"
            found.append(Sampled(tokens, (-0.5,) * len(tokens), self.renderer.decode(tokens), stop, 0))  # type: ignore[arg-type]
        return found


def sampled(engine: object, answers: int = 1, piece: int = 8, max_tokens: int = 200) -> Sampled:
    stopped = StopAfterAnswer(engine, answers, candidates, piece=piece)  # type: ignore[arg-type]
    segments = stopped.renderer.render(TASK, Draft(TASK).segments)
    request = Request("attempt", TASK, (0,), segments, 3, Sampling(max_tokens=max_tokens))
    return stopped.sample([request])[0]


def test_the_turn_ends_behind_the_chosen_answer() -> None:
    engine = Limited(LONG)
    one = sampled(engine)
    assert (one.text, one.stop, len(one.tokens)) == ("3 + 4 = 8. So it is 8.", "string", 22)
    assert engine.written <= 22 + 2 * 8
    assert sampled(Limited(LONG), 2).text.endswith("So it is 7.")
    assert sampled(Limited(LONG), 3) == sampled(Limited(LONG), 9)
    assert sampled(Limited(LONG), 3).stop == "end"


def test_pieces_make_no_difference_to_what_is_written() -> None:
    for piece in (1, 5, 64, 500):
        assert sampled(Limited(LONG), 2, piece).text == sampled(Limited(LONG), 2).text
    assert sampled(Limited("nothing to be found here"), piece=4).text == "nothing to be found here"
    assert sampled(Limited("nothing to be found here"), piece=4, max_tokens=10).stop == "length"


def test_a_number_is_not_cut_in_the_middle() -> None:
    assert sampled(Limited("The answer is 1250. Yes."), piece=16).text == "The answer is 1250."


def test_open_thoughts_are_closed_and_the_answer_is_stated() -> None:
    one = sampled(Limited(f"<think>{LONG}</think>It is 7."))
    assert one.text == "<think>3 + 4 = 8. So it is 8.\n</think>\n\n It is 8."
    chat = sampled(Limited(f"<think>{LONG}</think>It is 7.", continues=False))
    assert chat.text == "<think>3 + 4 = 8. So it is 8.\n</think>\n\nThe answer is 8."
    assert number(7, one.text).score == number(7, chat.text).score == 0


def test_a_function_as_a_model_is_cut() -> None:
    engine = StopAfterAnswer(Scripted(lambda request: LONG), 1, candidates)
    tasks = replace(Countdown("test"))
    groups = rollout(lambda task, n: answer(TASK, n, grade=lambda t, text: number(7, text)), [tasks[0]], 2, engine)
    assert [e["attempt"].text for e in groups[0]] == ["3 + 4 = 8. So it is 8."] * 2


def test_a_model_in_this_process_goes_on_from_its_pieces() -> None:
    tasks, whole = Countdown("test"), torch_engine("nano/countdown")
    problems = [tasks[i] for i in range(6)]

    def texts(engine: object) -> list[str]:
        groups = rollout(lambda t, n: answer(t, n, grade=tasks.grade), problems, 1, engine, Sampling(0.0, max_tokens=32))  # type: ignore[arg-type]
        return [group[0]["attempt"].text for group in groups]

    assert texts(StopAfterAnswer(whole, 3, candidates, piece=4)) == texts(whole)


def test_bad_input_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least one answer"):
        StopAfterAnswer(Limited(LONG), 0, candidates)
    words = ["probe", "answer", "--model", "nano/countdown", "--n", "4", "--out", str(tmp_path / "run")]
    assert CliRunner().invoke(app, [*words, "--stop-after-first-answer", "1"]).exit_code == 0
    again = CliRunner().invoke(app, words)
    assert isinstance(again.exception, UserError)
    assert "stop_after_first_answer" in str(again.exception)
