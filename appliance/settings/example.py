"""The settings file with every key explained, made from the declarations."""

import json
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta


def field_lines(section: type, default: msgspec.Struct, prefix: str) -> list[str]:
    lines: list[str] = []
    for field, kind in get_type_hints(section, include_extras=True).items():
        value = getattr(default, field)
        lines += [f"# {text}" for text in _wrapped(_description(kind))]
        if isinstance(value, msgspec.Struct):
            lines += field_lines(type(value), value, f"{prefix}{field}.")
        elif value is None:
            lines.append(f"# {prefix}{field} is not set")
        else:
            lines.append(f"#{prefix}{field} = {_toml(value)}")
    return lines


def _description(kind: Any) -> str:
    metas = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    return next((m.description for m in metas if isinstance(m, Meta) and m.description), "")


def _wrapped(text: str, width: int = 96) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + len(word) < width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def first_line(section: type) -> str:
    return (section.__doc__ or "").strip().splitlines()[0]


def _toml(value: Any) -> str:
    """TOML text of a default: JSON writes strings, numbers, booleans and lists the same way."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
