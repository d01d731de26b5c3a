"""The process that runs an operator's rule: one JSON line in, one JSON line out.

It is a process so that it can be killed: a rule that loops for ever, leaks or crashes costs one
verdict. The parent sets the time limit; here only memory is bounded. What the rule prints goes to
standard error, for descriptor 1 belongs to the answers. The first line on standard input names the
file; the process ends with its parent.
"""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from appliance.errors import EXIT_CANNOT_BOOT, EXIT_OK
from appliance.limiter.rule import SAMPLE, Question, Refuse, Reply, Run, Verdict, Wait
from appliance.supervisor.guard import read_boot_line

MEMORY_BYTES = 1 << 30
LINE_BYTES = 65_536
ERROR_CHARS = 300

Decide = Callable[[Any, Any], Any]  # Any: what an operator wrote may take and return anything


class Unfit(Exception):
    """The rule cannot be used, or not for this request; the text says why."""


def main() -> int:
    """Serves until standard input ends."""
    answers = os.dup(1)
    os.dup2(2, 1)
    path = msgspec.json.decode(read_boot_line() or b'""', type=str)
    _bound_memory()
    try:
        decide = load(Path(path))
        verdict(decide, SAMPLE)
    except Unfit as error:
        _say(answers, Reply(error=str(error)))
        return EXIT_CANNOT_BOOT
    _say(answers, Reply())
    with os.fdopen(0, "rb", closefd=False) as questions:
        while line := questions.readline(LINE_BYTES):
            question = msgspec.json.decode(line, type=Question)
            try:
                _say(answers, Reply(verdict=verdict(decide, question)))
            except Unfit as error:
                _say(answers, Reply(error=str(error)))
    return EXIT_OK


def load(path: Path) -> Decide:
    """The function `decide` of a file. Raises Unfit with the line of the mistake."""
    try:
        code = compile(path.read_bytes(), str(path), "exec")
    except OSError as error:
        raise Unfit(f"the file cannot be read: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:
        at = f"line {error.lineno}: " if isinstance(error, SyntaxError) and error.lineno else ""
        raise Unfit(f"{at}{error.msg if isinstance(error, SyntaxError) else error}") from None
    module = ModuleType("operator_rule")
    module.__file__ = str(path)
    sys.modules["operator_rule"] = module  # dataclasses and the like look themselves up
    try:
        exec(code, module.__dict__)  # noqa: S102 # running the operator's file is the point
    except BaseException as error:
        raise Unfit(_told(error, path)) from None
    decide = getattr(module, "decide", None)
    if not callable(decide):
        raise Unfit("it has no function decide(request, view)")
    return decide  # type: ignore[no-any-return] # whatever it is, it can be called


def verdict(decide: Decide, question: Question) -> Verdict | None:
    """What the rule says. Raises Unfit when it raises or says something else."""
    try:
        said = decide(question.request, question.view)
    except BaseException as error:
        code = getattr(decide, "__code__", None)
        raise Unfit(_told(error, Path(code.co_filename) if code else Path())) from None
    if said is None:
        return None
    if not isinstance(said, Run | Wait | Refuse):
        raise Unfit(
            f"decide() returned {type(said).__name__}; Run(), Wait(), Refuse(...) or None was due"
        )
    try:
        checked: Verdict = msgspec.convert(msgspec.to_builtins(said), type=Run | Wait | Refuse)
    except (msgspec.ValidationError, TypeError) as error:
        raise Unfit(f"decide() returned a wrong {type(said).__name__}: {error}") from None
    return checked


def _told(error: BaseException, path: Path) -> str:
    """The last line of the rule that took part in it, and the error."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    at = f"line {lines[-1]}: " if lines else ""
    return f"{at}{type(error).__name__}: {error}"[:ERROR_CHARS]


def _bound_memory() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def _say(answers: int, reply: Reply) -> None:
    os.write(answers, msgspec.json.encode(reply) + b"\n")


if __name__ == "__main__":
    sys.exit(main())
