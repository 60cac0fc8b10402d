"""The two ways in which a command ends early without a bug."""


class UserError(Exception):
    """A user's mistake, in one sentence that names the thing and the mend; the command exits with code 2.

    >>> raise UserError("there is no file mine.jsonl")
    Traceback (most recent call last):
        ...
    secondthought.errors.UserError: there is no file mine.jsonl

    It is one line, whatever it quotes from a file:

    >>> str(UserError("'a\\nb\\x1b[2J' is no answer"))
    "'a b [2J' is no answer"
    """

    def __str__(self) -> str:
        return "".join(sign if sign.isprintable() else " " for sign in super().__str__())


class Interrupted(Exception):
    """Ctrl-C: the run stopped cleanly between two steps and can be resumed.

    >>> issubclass(Interrupted, KeyboardInterrupt), str(Interrupted("stopped; continue with --resume"))
    (False, 'stopped; continue with --resume')
    """
