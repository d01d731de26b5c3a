"""What the server says, in the reader's language: pure, by the `reason` or code it says it with.

The server speaks English. In Chinese there is a sentence for each reason; a server newer than this
program may have others, which are told in its own words. What comes out can be shown: facts are
made safe.
"""

from collections.abc import Mapping
from typing import Final

from appliance.schema.curation import LineConflict
from appliance.schema.faq import LineError
from appliance.schema.status import Alarm
from ui.safe_text import safe_line
from ui.texts import Texts
from ui.texts_zh_alarms import ALARMS
from ui.texts_zh_errors import ERRORS, FAILED, Said
from ui.texts_zh_faq_errors import CONFLICTS, FAQ_ERRORS, SHORTAGES

_BY_REASON: Final = {**ERRORS, **FAQ_ERRORS}
_BY_FAILURE: Final = {**_BY_REASON, **FAILED}
_BY_SHORTAGE: Final = {**_BY_REASON, **SHORTAGES}
_NOTHING: Final = Said("")


def error_said(texts: Texts, reason: str, facts: Mapping[str, str]) -> Said:
    """What an error says, empty where its own words are to be shown."""
    return _said(texts, _BY_REASON, reason, facts)


def failure_said(texts: Texts, reason: str) -> Said:
    """Why an answer under way failed; empty where the server's own words are to be shown."""
    return _said(texts, _BY_FAILURE, reason, {})


def alarm_said(texts: Texts, alarm: Alarm) -> Said:
    ours = _said(texts, ALARMS, alarm.code, alarm.facts)
    return ours if ours.what else Said(safe_line(alarm.message, 400), safe_line(alarm.hint, 400))


def shortage(texts: Texts, detail: str, reason: str) -> str:
    """Why the FAQ's index gives less than it should; empty when all is well."""
    if not detail:
        return ""
    return _said(texts, _BY_SHORTAGE, reason, {}).what or safe_line(detail, 200)


def line_said(texts: Texts, error: LineError) -> str:
    """What is wrong with a line of a file."""
    return _said(texts, _BY_REASON, error.reason, error.facts).what or error.message


def conflict_said(texts: Texts, conflict: LineConflict) -> str:
    """What a line of a file would change."""
    facts = {"id": conflict.id}
    return _said(texts, CONFLICTS, conflict.kind, facts).what or conflict.message


def _said(texts: Texts, table: Mapping[str, Said], reason: str, facts: Mapping[str, str]) -> Said:
    """Empty in English, for what is not in the table, and where a fact is missing."""
    ours = table.get(reason, _NOTHING) if texts.language == "zh" else _NOTHING
    safe = {name: safe_line(fact, 400) for name, fact in facts.items()}
    try:
        return Said(ours.what.format_map(safe), ours.then)
    except KeyError:
        return _NOTHING
