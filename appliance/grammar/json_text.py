"""What JSON looks like in GBNF: the rules of its values, literals, and lists of items."""

import json
from typing import Any

PRIMITIVES = {
    "ws": r'| " " | "\n" [ \t]{0,20}',
    "hex": "[0-9a-fA-F]",
    "plain": r'[^"\\\x00-\x1F]',
    "escape": r'"\\" (["\\/bfnrt] | "u" ([0-9abcefABCEF] hex{3} | [dD] [0-7] hex{2} '
    r'| [dD] [89abAB] hex{2} "\\u" [dD] [c-fC-F] hex{2}))',
    "char": "plain | escape",
    "string": r'"\"" char* "\""',
    "integer": '"-"? ("0" | [1-9] [0-9]{0,14})',
    "number": 'integer ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})?',
    "boolean": '"true" | "false"',
    "null": '"null"',
    "value": "object | array | string | number | boolean | null",
    "member": 'string ws ":" ws value',
    "object": '"{" ws (member ws ("," ws member ws)*)? "}"',
    "array": '"[" ws (value ws ("," ws value ws)*)? "]"',
    "day28": '"0" [1-9] | "1" [0-9] | "2" [0-8]',
    "date": '[0-9]{4} "-" (("0" [13578] | "1" [02]) "-" (day28 | "29" | "30" | "31") '
    '| ("0" [469] | "11") "-" (day28 | "29" | "30") | "02-" day28)',
    "time": '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{1,6})? '
    '("Z" | [-+] ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9])',
    "uuid": 'hex{8} "-" hex{4} "-" hex{4} "-" hex{4} "-" hex{12}',
}
FORMATS = {
    "date": r'"\"" date "\""',
    "time": r'"\"" time "\""',
    "date-time": r'"\"" date "T" time "\""',
    "uuid": r'"\"" uuid "\""',
}


def items(fixed: list[str], item: str, least: int, most: int | None) -> str:
    """Items with commas between them; `fixed` ones first, then up to `most` in all."""
    if most == 0:
        return ""
    if fixed:
        more = "" if most is None else most - len(fixed)
        rest = f' ("," ws {item}){{{least - len(fixed)},{more}}}' if item else ""
        return ' "," ws '.join(fixed) + rest
    further = f'("," ws {item}){{{max(least - 1, 0)},{"" if most is None else most - 1}}}'
    return f"{item} {further}" if least else f"({item} {further})?"


def either(options: list[str]) -> str:
    return options[0] if len(options) == 1 else f"({' | '.join(options)})"


def literal(value: Any) -> str:
    """A JSON value as it must be written, as a GBNF literal."""
    return quoted(json.dumps(value, ensure_ascii=False))


def types_of(value: Any) -> set[str]:
    """The names a schema may give to the type of a JSON value."""
    if isinstance(value, bool):
        return {"boolean"}
    if isinstance(value, int | float):
        return {"number", "integer"} if value == int(value) else {"number"}
    if value is None:
        return {"null"}
    return {
        "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"
    }


def quoted(text: str) -> str:
    escaped = "".join(
        f"\\{one}" if one in '"\\' else one if one >= " " else f"\\x{ord(one):02X}" for one in text
    )
    return f'"{escaped}"'


def in_class(character: str) -> str:
    return f"\\U{ord(character):08X}"
