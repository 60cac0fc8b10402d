"""The five roles of Ctx2Skill (Si et al. 2026, arXiv 2604.27660): what each is shown and how its words are read.

Every role is one call from a fresh prompt, and the task of the call carries what it is about (``answer``), so that a scripted
engine can play it. The prompts are ours; the authors' are not public.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from secondthought.engines.base import Sampling
from secondthought.protocols.base import Draft
from secondthought.skills.contexts import Case
from secondthought.tasks import numbers
from secondthought.types import Episode, Json, Task, Verdict

FAMILY = "skill"
RUBRICS = 5
_FENCE = re.compile(r"```(?:json|markdown|md)?\s*\n(.*?)```", re.DOTALL)
_RUBRIC = re.compile(r"^[^\w\n]*(\d{1,3})[^\w\n]+(pass|fail)\b", re.IGNORECASE | re.MULTILINE)


class Answered(NamedTuple):
    """A case, what the reasoner answered, and which of its rubrics pass."""

    case: Case
    answer: str
    passed: tuple[bool, ...]

    @property
    def solved(self) -> bool:
        """Whether every rubric passes."""
        return bool(self.passed) and all(self.passed)

    @property
    def share(self) -> float:
        """How many of the rubrics pass."""
        return sum(self.passed) / len(self.passed) if self.passed else 0.0


CHALLENGER = (
    "Here is a text.\n\n{context}\n\n{skill}Write {n} different questions that can only be answered by working out and "
    "applying the rules of this text, not by copying a sentence. For each give one to three strict criteria that a right "
    'answer must meet. Answer with nothing but JSON: [{{"question": "...", "criteria": ["..."]}}, ...]'
)
REASONER = "{skill}{context}Question: {question}\nWork it out briefly and end with a line that begins with Answer:"
JUDGE = (
    "Question: {question}\n\nAnswer that was given:\n{answer}\n\nCriteria:\n{rubrics}\n\n{context}For each criterion write one "
    "line with its number and pass or fail. Be strict: pass only what the answer clearly meets."
)
PROPOSER = (
    "{context}Notes that somebody uses to answer questions about this text:\n\n{skill}\n\n{verdict}\n\n{cases}\n\nWhat one "
    "rule, general enough to help with other questions too, should be added to the notes or corrected in them? Do not mention "
    "these questions or their answers. Answer in two or three sentences."
)
GENERATOR = (
    "Here are notes:\n\n{skill}\n\nChange asked for: {proposal}\n\nWrite the complete new notes in Markdown. Keep every entry "
    "that the change does not concern, word for word. Write at most {budget} words and nothing else."
)


def call(role: str, prompt: str, about: Mapping[str, Json], number: int) -> Draft:
    """A call of a role about something."""
    return Draft(Task.of(prompt, answer={"role": role, **about}, family=FAMILY), (number,), arm=role)


def skill_block(skill: str) -> str:
    """The notes as a prompt shows them; nothing where there are none."""
    return f"Notes:\n{skill.strip()}\n\n" if skill.strip() else ""


def context_block(context: str) -> str:
    """The text as a prompt shows it; nothing where there is none."""
    return f"Text:\n{context.strip()}\n\n" if context.strip() else ""


async def challenge(context: str, skill: str, n: int, number: int, sampling: Sampling) -> Episode:
    """Write ``n`` cases; the verdict ``cases`` says how many could be read."""
    about: dict[str, Json] = {"skill": skill, "n": n}
    draft = call("challenger", CHALLENGER.format(context=context, skill=skill_block(skill), n=n), about, number)
    found = cases_in(await draft.sample("cases", sampling=sampling))[:n]
    return draft.close(cases=Verdict(len(found) / n, str(len(found))))


async def reason(context: str, skill: str, case: Case, number: int, sampling: Sampling) -> Episode:
    """Answer a case with the notes at hand."""
    prompt = REASONER.format(skill=skill_block(skill), context=context_block(context), question=case.question)
    draft = call("reasoner", prompt, {"skill": skill, "question": case.question, "wanted": case.answer}, number)
    await draft.sample("response", sampling=sampling)
    return draft.close()


async def judge(context: str, case: Case, answer: str, number: int, sampling: Sampling) -> Episode:
    """Pass or fail each rubric; the verdict ``judgement`` is whether all pass, its answer a letter for each."""
    listed = "\n".join(f"{i}. {rubric}" for i, rubric in enumerate(case.rubrics, 1))
    prompt = JUDGE.format(question=case.question, answer=answer, rubrics=listed, context=context_block(context))
    draft = call("judge", prompt, {"question": case.question, "given": answer, "rubrics": list(case.rubrics)}, number)
    passed = read_rubrics(await draft.sample("judgement", author="judge", sampling=sampling), len(case.rubrics))
    return draft.close(judgement=Verdict(float(all(passed)), "".join("FP"[one] for one in passed)))


async def propose(context: str, skill: str, cases: Sequence[Answered], side: str, number: int, sampling: Sampling) -> Episode:
    """A diagnosis of what failed (side reasoner), or of what was too easy (side challenger)."""
    verdict = (
        "These questions were answered wrongly with them:" if side == "reasoner"
        else "These questions turned out to be too easy; questions should become harder:"
    )  # fmt: skip
    shown = "\n\n".join(f"Question: {one.case.question}\nAnswer given: {one.answer}" for one in cases)
    prompt = PROPOSER.format(context=context_block(context), skill=skill or "(none yet)", verdict=verdict, cases=shown)
    about: dict[str, Json] = {"side": side, "skill": skill, "questions": [one.case.question for one in cases]}
    draft = call("proposer", prompt, about, number)
    await draft.sample("proposal", sampling=sampling)
    return draft.close()


async def generate(skill: str, proposal: str, budget: int, side: str, number: int, sampling: Sampling) -> Episode:
    """The complete new notes, cut at the budget."""
    prompt = GENERATOR.format(skill=skill or "(none yet)", proposal=proposal, budget=budget)
    about: dict[str, Json] = {"side": side, "skill": skill, "proposal": proposal, "budget": budget}
    draft = call("generator", prompt, about, number)
    await draft.sample("skill", sampling=sampling)
    return draft.close()


# --- reading ---------------------------------------------------------------------------------------------------------


def cases_in(text: str) -> list[Case]:
    """The cases of a challenger's JSON; what cannot be read is left out.

    >>> cases_in('Sure: [{"question": "Who?", "criteria": ["names Ann"]}, {"question": 3}]')
    [Case(question='Who?', rubrics=('names Ann',), answer=None, kind='')]
    """
    begin, end = text.find("["), text.rfind("]")
    try:
        rows = json.loads(text[begin : end + 1]) if 0 <= begin < end else []
    except (ValueError, RecursionError):
        return []
    found = []
    for row in rows if isinstance(rows, list) else []:
        fields = cast(Mapping[str, Any], row) if isinstance(row, dict) else {}
        question, criteria = fields.get("question"), fields.get("criteria")
        listed = [criteria] if isinstance(criteria, str) else criteria if isinstance(criteria, list) else []
        rubrics = tuple(str(one) for one in listed if isinstance(one, str) and one.strip())[:RUBRICS]
        if isinstance(question, str) and question.strip() and rubrics:
            found.append(Case(question.strip(), rubrics))
    return found


def read_rubrics(text: str, n: int) -> tuple[bool, ...]:
    """Which of ``n`` rubrics a judge passes; one that it does not mention fails.

    >>> read_rubrics("1. pass\\n2: Fail\\n**3** PASS", 4)
    (True, False, True, False)
    """
    said = {int(number): word.lower() == "pass" for number, word in _RUBRIC.findall(text)}
    return tuple(said.get(i, False) for i in range(1, n + 1))


def by_program(case: Case, answer: str) -> tuple[bool, ...]:
    """The only rubric of a case whose answer is known: the number that the text gives is the right one."""
    found, wanted = numbers.answer_number(answer), numbers.gold_number(case.answer)
    return (found is not None and wanted is not None and numbers.equal(found, wanted),)


def notes_in(text: str, budget: int) -> str:
    """The notes of a generator: without fences, cut after ``budget`` words at the end of a line.

    >>> notes_in("```markdown\\n- one two\\n- three four\\n```", 2)
    '- one two'
    """
    fenced = _FENCE.search(text)
    kept, count = [], 0
    for line in (fenced[1] if fenced else text).strip().splitlines():
        count += len([word for word in line.split() if word not in "-*#"])
        if count > budget:
            break
        kept.append(line)
    return "\n".join(kept).strip()
