"""Key bindings whose words are chosen by language when they are shown.

Textual fixes a binding's description when the class is made; the language is known later. So a
binding carries the names of its texts, and `SluiceScreen` puts the words in for footer and help.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from textual.binding import Binding, BindingType

from ui.texts import Texts

_DESCRIPTION: Final = "key_"
_TOOLTIP: Final = "tip_"
_BORROWED: Final = {"dismiss": "close"}  # Textual's own bindings that reach our footer


def key(keys: str, action: str, name: str, *, show: bool = True, priority: bool = False) -> Binding:
    """A binding described by the texts `key_<name>` and `tip_<name>`."""
    return Binding(
        keys,
        action,
        _DESCRIPTION + name,
        show=show,
        tooltip=_TOOLTIP + name,
        priority=priority,
    )


def in_words(texts: Texts, binding: Binding) -> Binding:
    """The binding as a person reads it; bindings of Textual's own stay as they are."""
    name = binding.description.removeprefix(_DESCRIPTION)
    if name == binding.description:
        name = _BORROWED.get(binding.action, "")
    if not name:
        return binding
    return replace(
        binding,
        description=texts.word(_DESCRIPTION + name),
        tooltip=texts.word(_TOOLTIP + name),
    )


def ours(bindings: Iterable[BindingType]) -> tuple[Binding, ...]:
    """Those bindings of a class that `key` made, one for each action."""
    found: dict[str, Binding] = {}
    for binding in bindings:
        if isinstance(binding, Binding) and binding.description.startswith(_DESCRIPTION):
            found.setdefault(binding.action, binding)
    return tuple(found.values())
