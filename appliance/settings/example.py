"""The settings file with every key explained, made from the declarations."""

import json
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta


def field_lines(section: type, default: msgspec.Struct, prefix: str) -> list[str]:
    lines: list[str] = []
    for field, kind in get_type_hints(section, include_extras=True).items():
        value = getattr(default, field)
        lines += [f"# {text}" for text in _wrapped(description(kind))]
        if isinstance(value, msgspec.Struct):
            lines += field_lines(type(value), value, f"{prefix}{field}.")
        elif value is None:
            lines.append(f"# {prefix}{field} is not set")
        else:
            lines.append(f"#{prefix}{field} = {toml(value)}")
    return lines


def description(kind: Any) -> str:
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


def toml(value: Any) -> str:
    """A value as TOML on one line; JSON writes texts, numbers and booleans nearly the same way."""
    if isinstance(value, msgspec.Struct):
        pairs = ((name, one) for name, one in msgspec.structs.asdict(value).items())
        said = (f"{name} = {toml(one)}" for name, one in pairs if one is not None)
        return f"{{{', '.join(said)}}}"
    if isinstance(value, tuple):
        return f"[{', '.join(toml(one) for one in value)}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
