"""Everything that reads what a model wrote, called with a text and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

from secondthought.items import bbh, cruxeval, gsm8k, scli, templates, triviaqa
from secondthought.items import countdown as countdown_items
from secondthought.items.arithmetic import _candidate
from secondthought.models import thoughts
from secondthought.probes import (
    detectors,
    entity_knowledge,
    first_try,
    hint_faithfulness,
    judges,
    self_trust_words,
    superficial,
    temperature,
    traits,
)
from secondthought.probes.hints import HINTS
from secondthought.protocols import post_completion
from secondthought.skills import roles
from secondthought.tasks import (
    answer_leaks,
    arithmetic,
    call_diagnosis,
    call_exercise,
    call_matching,
    candidates,
    confidence,
    countdown,
    critic,
    entities,
    exploitable,
    function_calling,
    grade,
    multiple_choice,
    numbers,
    rivals,
    tool_world,
)
from secondthought.types import Task

CHAT, TERSE = (countdown.problem((3, 5, 2), 17, style) for style in ("chat", "terse"))
NUMBER, WORD = Task.of("How many?", answer="42", family="own"), Task.of("Where?", answer="Lima", family="own")
_ROW = {
    "id": "add", "question": [{"role": "user", "content": "Add 1 and 2."}], "ground_truth": [{"add": {"a": [1], "b": ["x"]}}],
    "function": [{"name": "add", "parameters": {
        "type": "dict", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["a"],
    }}],
}  # fmt: skip
CALLS = function_calling.rows_from([(1, _ROW)], "rows")[0].task
TOOLS = tool_world.ToolWorld("test")[0]

READERS: dict[str, Callable[[str], object]] = {
    "grade number": partial(grade.number, "42"),
    "grade exact": partial(grade.exact, "42"),
    "grade exact, of JSON": partial(grade.exact, [1]),
    "grade regex": partial(grade.regex(r"is (\d+)"), "42"),
    "number": numbers.number,
    "states a number": numbers.states_number,
    "last number": numbers.last_number,
    "leak of a number": partial(answer_leaks.answer_in_text, NUMBER),
    "leak of a word": partial(answer_leaks.answer_in_text, WORD),
    "calls": partial(function_calling.grade, CALLS),
    "calls mentioned": call_matching.mentioned,
    "leak of calls": partial(function_calling.leak, CALLS),
    "diagnosis of calls": partial(call_diagnosis.diagnosis, CALLS),
    "exercise on calls": partial(call_exercise.exercise, CALLS),
    "countdown": partial(countdown.grade, CHAT),
    "countdown, terse": partial(countdown.grade, TERSE),
    "leak of countdown": partial(countdown.leak, CHAT),
    "leak of countdown, terse": partial(countdown.leak, TERSE),
    "canonical": countdown.canonical,
    "critic": partial(critic.of_countdown, TERSE, show=True),
    "critic's verdict": critic.verdict_in,
    "tool world": partial(tool_world.grade, TOOLS),
    "leak of tool world": partial(tool_world.leak, TOOLS),
    "candidates, number": partial(candidates.candidates, NUMBER),
    "candidates, word": partial(candidates.candidates, WORD),
    "candidates, countdown": partial(candidates.candidates, CHAT),
    "confidence in tags": confidence.in_tags,
    "confidence in tenths": confidence.in_tenths,
    "confidence well formed": confidence.well_formed,
    "letter": partial(multiple_choice.letter_in, options=["a red one", "a blue one"]),
    "letter, terse": partial(multiple_choice.terse_letter_in, options=["1", "2"]),
    "entity's answer": partial(entities.answered, answers=["Lima"]),
    "refusal": entities.refused,
    "garbled": entity_knowledge.garbled,
    "hacked": exploitable.hacked,
    "flagged": exploitable.flagged,
    "arithmetic": arithmetic.answer_in,
    "rivals": rivals.read_choice,
    "cues": detectors.cues,
    "first cue": detectors.first_cue,
    **{f"detector {name}": lambda text, one=one: one([text]) for name, one in detectors.DETECTORS.items()},  # type: ignore[misc]
    "first sign": partial(superficial.first_sign, words=("wait", "check again"), cues=True),
    "candidates of a judge": partial(first_try.listed, text="x"),
    "sentences": hint_faithfulness.sentences,
    "before the answer": hint_faithfulness.before_answer,
    **{f"hint {name}": partial(hint_faithfulness.mentions, hint=hint) for name, hint in HINTS.items()},
    "yes or no": judges.yes_or_no,
    "per cent": self_trust_words.percent_in,
    "shares": partial(self_trust_words.shares_in, names=["A", "B"]),
    "HIGH or LOW": temperature.said_in,
    "trait in words": partial(traits.word_score, next(iter(traits.TRAITS.values()))),
    "trait in numbers": traits.number_score,
    "trait picked": partial(traits.picked, pair=("bold", "careful")),
    "BBH": bbh.answers_in,
    "BBH, first": bbh.first_answer_is,
    "BBH, last": bbh.last_answer_is,
    "BBH, same": partial(bbh.same, "yes"),
    "CRUXEval": cruxeval.final_output,
    "CRUXEval, output": cruxeval.output_of,
    "CRUXEval, input": cruxeval.input_of,
    "CRUXEval, tag": partial(cruxeval.tagged, which=-1),
    "GSM8K": gsm8k.stated_number,
    "GSM8K, states": gsm8k.states_answer,
    "GSM8K, digits": gsm8k.last_digits,
    "SCLI": scli.answer_in,
    "TriviaQA": partial(triviaqa.contains, answer="Lima"),
    "plain": templates.plain,
    "normal": templates.normal,
    "next problem": templates.cut,
    "where an answer begins": templates.Reading("", "", str, lambda item, text: False, {}).answer_begins,
    "countdown chains": countdown_items._read,
    "nano's candidate": _candidate,
    "thoughts": thoughts.without_thoughts,
    "end of thoughts": thoughts.thoughts_end,
    "marks of thoughts": thoughts.unmarked,
    "post-completion reward": post_completion.read_reward,
    "rubrics": partial(roles.read_rubrics, n=3),
    "cases": roles.cases_in,
    "notes": partial(roles.notes_in, budget=100),
}

PIECES = (
    "<function=a>", "<function=a><parameter=b>", "<parameter=b>1</parameter>", "answer is", "so the answer is ", "= ", "1", "1,",
    "1 ", "1.", "1/", "1-", "1e9", "$1", "(1", "[1,", "[", "{", "(", "{}", "[]", "()", '{"a":', "{'name': ",
    '{"name": "add", "arguments": {', '[["a", ', "<tool_call>", "<tool_call>{", "<|python_tag|>", "[TOOL_CALLS]a[ARGS]",
    "✿FUNCTION✿: a ✿ARGS✿: ", "<｜tool▁call▁begin｜>", "f(", "f(a=", "<answer>", "<answer>1</answer>", "\\boxed{", "\\boxed{1}",
    "\\boxed{{a}", "\\frac{", "\\frac{1}{2}", "\\text{", "*", "**", "`", "```", "```json\n", "<think>", "</think>", "</", "<", ">",
    "\n", "\n#", "\t", "\u00a0", "-", "+", "?", "!", "..", "'", '"', "\\", "_", "$", "¹", "½", "√", "é", "a", "A", "a.", "A: ",
    "(A) ", "option A ", "wait , ", "wait ", "how is it ", "not ", "no ", "is ", "is: ", "and ", "answer ", "final answer: ",
    "so answer is 3 . ", "returns ", "3 * 5 = 15 , ", "3 + ", "3*5=15, ", "[ANSWER]", "[ANSWER]1[/ANSWER] ", "<confidence>",
    "<confidence>0.5</confidence>", "</think><answer></answer><analysis></analysis><confidence>", "acc: ", "1) ", "100% ", "HIGH ",
    "- a ", "1 pass\n", "let me check ", "wrong ", "conclusion ", "but the ", "should ", "Question 1", "said ", "i don't know ",
)  # fmt: skip
"""What the readers look for, and what stands around it."""

LENGTH = 100_000


@cache
def texts(piece: str) -> dict[str, str]:
    """A hundred thousand characters that are made of a piece."""
    return {
        "again and again": piece * (LENGTH // len(piece)),
        "with spaces": f"{piece} " * (LENGTH // (len(piece) + 1)),
        "and spaces": piece + " " * LENGTH,
        "after spaces": " " * LENGTH + piece,
        "and digits": piece + "1" * LENGTH,
        "and words": piece + "a " * (LENGTH // 2),
    }
