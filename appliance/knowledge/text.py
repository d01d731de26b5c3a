"""How FAQ text is written down, and when two texts count as the same.

`tidied` is what every entry passes through before it is stored: Unicode NFC, no control
characters, no space around it. A question or phrasing is one line, so a line break can separate
phrasings in a CSV cell. Two texts with the same `canonical` form are the same question to a person
(case, width, spacing and closing punctuation aside); the form of a form is itself, so what was
stored under an older one is found by its form now.
"""

import functools
import re
import unicodedata
from collections.abc import Iterable

import msgspec

from appliance.errors import Invalid
from appliance.knowledge.validity import check_period
from appliance.schema.faq import EntryPut
from appliance.writing import UNSPACED

_LINE_ENDS = re.compile(r"\r\n?")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")
_EMPTY = "Expected `str` of length >= 1"  # in the words of msgspec
_TOO_LONG = re.compile(r"Expected `\w+` of length <= (\d+)")
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_CORRECT = "correct that field"
_EXPECTED = {
    "language": "expected a code such as zh, en or pt-BR, or nothing",
    "state": "expected published or draft",
    "valid_from": "expected a date or time such as 2026-12-31 or 2026-12-31T18:00+08:00",
    "valid_until": "expected a date or time such as 2026-12-31 or 2026-12-31T18:00+08:00",
}
_CLOSING = " ?？!！.。…~〜"
_NEEDLESS_BLANK = re.compile(f"(?<=[{UNSPACED}]) | (?=[{UNSPACED}])")
TEXTS_REMEMBERED = 20_000


def tidied(put: EntryPut) -> EntryPut:
    """The entry as it will be stored. Raises Invalid when nothing is left of a needed text.

    Empty phrasings, and those which repeat the question or an earlier phrasing, are dropped. An
    empty language becomes that of the question, or of all texts when that is a bare term.
    """
    question = tidied_line(put.question)
    answer = tidied_text(put.answer)
    phrasings = _distinct(question, map(tidied_line, put.phrasings))
    fields: dict[str, object] = {
        "question": question,
        "answer": answer,
        "phrasings": phrasings,
        "category": tidied_line(put.category),
        "language": put.language or _language(question, (*phrasings, answer)),
        "state": put.state,
        "valid_from": put.valid_from,
        "valid_until": put.valid_until,
    }
    check_period(put.valid_from, put.valid_until)
    for name in ("question", "answer"):
        if not fields[name]:
            raise Invalid(
                f"{name}: nothing but white space",
                hint=f"write the {name}",
                reason="blank_field",
                facts={"field": name},
            )
    return checked(fields)


def checked(fields: dict[str, object], *, strict: bool = True) -> EntryPut:
    """The fields as an EntryPut within its bounds; raises Invalid that names the field.

    Not `strict`, a number may be given as text, as the cells of a table are.
    """
    try:
        return msgspec.convert(fields, EntryPut, strict=strict)
    except msgspec.ValidationError as error:
        raise field_fault(error) from None


def field_fault(error: Exception) -> Invalid:
    """A validation error with its field first: `question: Expected ...`."""
    message, _, path = str(error).partition(" - at `$")
    field = path.strip(".`").partition("[")[0]
    missing = _MISSING.fullmatch(message)
    if missing is not None:
        facts = {"field": missing[1]}
        return Invalid(message, hint=_CORRECT, reason="missing_field", facts=facts)
    if not field:
        return Invalid(message, hint=_CORRECT, reason="bad_line")
    facts, bound = {"field": field}, _TOO_LONG.fullmatch(message)
    if message == _EMPTY:
        said = f"{field}: must not be empty"
        return Invalid(said, hint=_CORRECT, reason="blank_field", facts=facts)
    said = f"{field}: {_EXPECTED.get(field, message)}"
    if bound is not None:
        facts |= {"bound": bound[1]}
        return Invalid(said, hint=_CORRECT, reason="too_long", facts=facts)
    if field == "language":
        return Invalid(said, hint=_CORRECT, reason="bad_language")
    if field == "state":
        return Invalid(said, hint=_CORRECT, reason="bad_state")
    if field in ("valid_from", "valid_until"):
        return Invalid(said, hint=_CORRECT, reason="bad_moment", facts=facts)
    return Invalid(said, hint=_CORRECT, reason="bad_field", facts=facts)


def tidied_text(text: str) -> str:
    """NFC, line ends as `\\n`, no other control character than tab, no space around."""
    plain = _CONTROL.sub("", _LINE_ENDS.sub("\n", text))
    return unicodedata.normalize("NFC", plain).strip()


def tidied_line(text: str) -> str:
    """Like `tidied_text`, with every run of white space made one space."""
    return " ".join(tidied_text(text).split())


@functools.lru_cache(maxsize=TEXTS_REMEMBERED)
def canonical(text: str) -> str:
    """What an exact match compares. A blank beside a character of a script that is written without
    any is a habit of typing: WiFi 密码 is WiFi密码."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    line = tidied_line(unicodedata.normalize("NFKC", folded))
    close = unicodedata.normalize("NFKC", _NEEDLESS_BLANK.sub("", line))
    return close.rstrip(_CLOSING) or close


def detect_language(text: str) -> str:
    """`zh` where there are Han characters, else `en`."""
    return "zh" if _HAN.search(text) else "en"


def _language(question: str, others: Iterable[str]) -> str:
    """A name in Han characters makes no English answer Chinese, but "WiFi?" has no language."""
    is_term = len(question.split()) < 2
    return detect_language("\n".join((question, *others)) if is_term else question)


def _distinct(question: str, phrasings: Iterable[str]) -> tuple[str, ...]:
    seen = {canonical(question), ""}
    kept = []
    for phrasing in phrasings:
        form = canonical(phrasing)
        if form not in seen:
            seen.add(form)
            kept.append(phrasing)
    return tuple(kept)
