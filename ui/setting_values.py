"""Settings as a person reads and writes them: pure, between TOML and the words of a form.

A text is written without quotes, everything else as TOML. What cannot be read as TOML is sent as it
is: the server says what is wrong with it.
"""

import json

from appliance.schema.settings import Setting
from ui.safe_text import safe_line
from ui.texts import Texts
from ui.texts_zh_settings import MEANINGS


def written(setting: Setting) -> str:
    """What stands in the form to begin with."""
    if setting.kind != "text" or not setting.value:
        return setting.value
    try:
        return str(json.loads(setting.value))
    except ValueError:
        return setting.value


def literal(setting: Setting, text: str) -> str:
    """The TOML of what was written in the form."""
    text = text.strip()
    if setting.kind != "text":
        return text
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def shown(texts: Texts, setting: Setting, value: str) -> str:
    """A value for a table or a sentence."""
    if setting.secret and setting.is_set:
        return texts.settings.not_shown
    return safe_line(value, 400) or texts.settings.no_value


def explained(texts: Texts, setting: Setting) -> str:
    """The explanation in the reader's language; the server's own for a setting it has newly."""
    if texts.language != "zh":
        return setting.description
    return MEANINGS.get(setting.key, setting.description)


def found_by(texts: Texts, setting: Setting, wanted: str) -> bool:
    """Whether each of the words is a part of the name, the explanation or the value."""
    told = f"{setting.description} {explained(texts, setting)}"
    text = f"{setting.key} {told} {setting.value}".casefold()
    return all(word in text for word in wanted.casefold().split())


def about(texts: Texts, setting: Setting) -> str:
    """The explanation and the values of a setting, in lines."""
    words = texts.settings
    explanation = safe_line(explained(texts, setting), 1_000)
    lines = [explanation] if explanation else []
    if setting.choices:
        lines.append(words.one_of.format(values=", ".join(map(_choice, setting.choices))))
    lines.append(words.is_default.format(value=safe_line(setting.default, 400) or words.no_value))
    if setting.is_set:
        lines.append(words.in_file.format(value=shown(texts, setting, setting.value)))
    if setting.restart and setting.in_use != setting.value:
        lines.append(words.in_use.format(value=shown(texts, setting, setting.in_use)))
    return "\n".join(lines)


def _choice(value: str) -> str:
    return safe_line(value, 40) or '""'
