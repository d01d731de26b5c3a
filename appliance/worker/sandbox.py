"""Runs a chat template that came inside a model file, which anybody may have written.

Jinja's immutable sandbox keeps a template from reaching Python; this adds bounds on what it may
use up (jinja2 has none of its own but for `range`):

* source, every string it builds, and its output have a length limit, checked before the string
  is built: `+`, `~`, `{% set %}` blocks, `join` and `replace`; `*` and `%` take numbers only;
* filters, methods and globals are the short lists that templates in the wild use;
* CPU time of one rendering is limited. The sandbox traces the executing Python lines and stops
  at the first one after the limit, so an endless loop ends; a single operation cannot take long
  because of the length limits.

What is left, such as comparing deeply nested lists built on purpose, ends with the worker: a
step that hangs is noticed from outside and the process is replaced.
"""

import datetime
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any

from jinja2 import Undefined, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

SOURCE_LIMIT_CHARS = 64 * 1024
STRING_LIMIT_CHARS = 256 * 1024
RANGE_LIMIT = 1_000
NUMBER_LIMIT = 2**40
CPU_LIMIT_S = 0.2

# fmt: off
_FILTERS = {
    "abs", "capitalize", "count", "default", "d", "dictsort", "first", "float", "int", "items",
    "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse",
    "round", "safe", "select", "selectattr", "sort", "string", "title", "trim", "unique",
    "upper",
}
_METHODS = {
    "count", "endswith", "find", "get", "index", "items", "keys", "lower", "lstrip",
    "removeprefix", "removesuffix", "rfind", "rstrip", "split", "splitlines", "startswith",
    "strip", "title", "upper", "values", "isdigit", "isspace", "capitalize",
}
# fmt: on


class TemplateFailed(Exception):
    """The template cannot be compiled, exceeded a bound, or refused the messages."""


class Template:
    """A compiled chat template. Raises TemplateFailed when it cannot be compiled."""

    def __init__(self, source: str) -> None:
        if len(source) > SOURCE_LIMIT_CHARS:
            raise TemplateFailed(f"longer than {SOURCE_LIMIT_CHARS} characters")
        try:
            self._template = _Environment().from_string(source)
        except (TemplateError, ArithmeticError, MemoryError, RecursionError, SyntaxError) as error:
            raise TemplateFailed(str(error)) from error

    def render(self, **variables: object) -> str:
        """The prompt. Raises TemplateFailed."""
        before = sys.gettrace()
        sys.settrace(_Stopwatch(CPU_LIMIT_S).trace)
        try:
            return self._template.render(**variables)
        except Exception as error:  # a template may raise anything Python can
            raise TemplateFailed(str(error) or type(error).__name__) from error
        finally:
            sys.settrace(before)


class _Stopwatch:
    """A trace function that ends the traced thread's work when its CPU time is used up."""

    def __init__(self, limit_s: float) -> None:
        self._ends_at_s = time.thread_time() + limit_s

    def trace(self, frame: FrameType, event: str, argument: object) -> "_Trace":
        if time.thread_time() > self._ends_at_s:
            raise SecurityError(f"took more than {CPU_LIMIT_S * 1000:.0f} ms")
        return self.trace


_Trace = Callable[[FrameType, str, object], "_Trace"]


class _Bounded(CodeGenerator):
    """Compiles `a ~ b` into a call of the environment's own bounded concatenation."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 (jinja's name)
        self.write("environment.concatenated((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox with bounds. Values are `Any` because templates are untyped."""

    code_generator_class = _Bounded
    intercepted_binops = frozenset({"+", "*", "%", "**", "//", "/", "-"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,
            loader=None,
            extensions=["jinja2.ext.loopcontrols"],
            finalize=_printable,
        )
        self.filters = {name: self.filters[name] for name in _FILTERS}
        self.filters |= {
            "join": _join,
            "replace": _replace,
            "tojson": _tojson,
            "string": _printable,
        }
        self.globals = {
            "range": _range,
            "namespace": Namespace,
            "dict": dict,
            "raise_exception": _raise_exception,
            "strftime_now": _strftime_now,
        }

    # jinja calls this as a plain function wherever it joins pieces of output
    concat = staticmethod(lambda parts: "".join(_measured(parts)))

    def concatenated(self, parts: Iterable[Any]) -> str:
        return "".join(_measured(_printable(part) for part in parts))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "+" and isinstance(left, str | list | tuple):
            _check_length(len(left) + len(right))
        elif not (_is_number(left) and _is_number(right)) or operator == "**":
            raise SecurityError(f"{operator} is for small numbers here")
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> None:
        """Leaves `str.format` the bare method that `call` refuses: it pads to any width."""

    def call(self, context: Context, callee: Any, /, *args: Any, **kwargs: Any) -> Any:
        owner = getattr(callee, "__self__", None)
        if isinstance(owner, str | bytes | list | dict | tuple | int | float) and (
            callee.__name__ not in _METHODS
        ):
            raise SecurityError(f"method {callee.__name__} is not for templates")
        return super().call(context, callee, *args, **kwargs)


def _measured(parts: Iterable[str]) -> Iterator[str]:
    length = 0
    for part in parts:
        length += len(part)
        _check_length(length)
        yield part


def _check_length(length: int) -> None:
    if length > STRING_LIMIT_CHARS:
        raise SecurityError(f"built more than {STRING_LIMIT_CHARS} characters")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < NUMBER_LIMIT


def _printable(value: Any) -> str:
    """Scalars as text. Nested values would print at a length nobody has checked."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool | int | float | Undefined):
        return str(value)
    raise SecurityError(f"a {type(value).__name__} cannot be printed, only tojson")


def _join(values: Iterable[Any], separator: str = "", attribute: str | None = None) -> str:
    texts = []
    for value in values:
        texts.append(_printable(value[attribute] if attribute is not None else value))
        texts.append(separator)
    return "".join(_measured(texts[:-1]))


def _replace(text: str, old: str, new: str) -> str:
    _check_length(len(text) + text.count(old) * len(new))
    return text.replace(old, new)


def _tojson(value: Any, indent: int | None = None, ensure_ascii: bool = False) -> str:
    """JSON without HTML escapes, as templates expect it."""
    encoder = json.JSONEncoder(ensure_ascii=ensure_ascii, indent=min(indent, 8) if indent else None)
    return "".join(_measured(encoder.iterencode(value)))


def _range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > RANGE_LIMIT:
        raise SecurityError(f"range of more than {RANGE_LIMIT}")
    return numbers


def _raise_exception(message: object) -> None:
    raise TemplateFailed(str(message)[:500])


def _strftime_now(form: str) -> str:
    if len(form) > 100:
        raise SecurityError("date format too long")
    return datetime.datetime.now().astimezone().strftime(form)
