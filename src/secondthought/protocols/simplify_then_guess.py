"""Answer a sum many ways that ought to agree: at once, or after taking digits off one at a time."""

from __future__ import annotations

from typing import Literal

from secondthought.engines.base import Sampling
from secondthought.protocols.base import Draft, Grade, gather
from secondthought.tasks.addition import Sum, asked_again, read_step, read_total, spelled, sum_of
from secondthought.types import Episode, Group, Task, Verdict

Way = Literal["chain", "fast"]
ORDERS = ("a + b", "b + a")
MOST_TOKENS = 128


async def simplify_then_guess(
    task: Task, n: int, *, grade: Grade, way: Way = "chain", both: bool = True, temperature: float = 0.0
) -> Group:
    """Many answers to one sum, each from a fresh prompt (SECToR; arXiv 2309.08589, simplify-then-guess and commutativity).

    ``chain``: take off a digit ``n`` times, each time from what was left (arms ``ORDER, step K``), and guess the sum of what is
    left after each (``ORDER, guess K``), which with the digits taken off is an answer to the whole. ``fast``: answer at once
    ``n`` times (``ORDER, guess K``). ``both``: the same for the numbers in the other order.

    Paths are (order, K, 0 for a step or 1 for a guess). Verdicts: ``step`` and ``guess`` have the *hidden truth* as their
    score, which labels must never look at, and as their answer what was read: the simplification, and the sum of the whole.
    """
    whole = sum_of(task)
    orders = [(ORDERS[0], whole), *([(ORDERS[1], whole.swapped)] if both else [])]
    sampling = Sampling(temperature, max_tokens=MOST_TOKENS)

    async def guess(order: int, name: str, given: Sum, number: int, known: str) -> Episode:
        """One answer at once; ``known`` are the digits that were taken off before."""
        question = asked_again(task, given, "fast")
        draft = Draft(question, (order, number, 1), arm=f"{name}, guess {number}")
        found = read_total(question, await draft.sample("guess", sampling=sampling))
        if found is None:
            return draft.close(guess=Verdict(0.0, None, "unparsable: no sum"))
        answer = int(f"{found}{known}") if known else found
        return draft.close(guess=Verdict(float(answer == whole.total), str(answer)))

    async def chain(order: int, name: str, given: Sum) -> list[Episode]:
        found, known = list[Episode](), ""
        for number in range(1, n + 1):
            if given.digits == 1:
                break
            question = asked_again(task, given, "slow")
            draft = Draft(question, (order, number, 0), arm=f"{name}, step {number}")
            text = await draft.sample("step", sampling=sampling)
            step = read_step(question, text)
            if step is None or step.rest.digits >= given.digits:
                return [*found, draft.close(step=Verdict(0.0, None, "unparsable: no simplification"))]
            found.append(draft.close(step=Verdict(grade(question, text).score, spelled(step))))
            given, known = step.rest, f"{step.digit}{known}"
            found.append(await guess(order, name, given, number, known))
        return found

    async def direct(order: int, name: str, given: Sum) -> list[Episode]:
        return list(await gather(*(guess(order, name, given, number, "") for number in range(1, n + 1))))

    answered = direct if way == "fast" else chain
    return tuple(e for part in await gather(*(answered(i, *one) for i, one in enumerate(orders))) for e in part)
