"""Asks which entry a saved question should find."""

from collections.abc import Callable, Sequence

from textual.app import App

from appliance.schema.answers import Match
from ui.safe_text import safe_line
from ui.screens.dialogs import PickOne
from ui.texts import Texts


def ask_expected(
    app: App[int],
    texts: Texts,
    *,
    question: str,
    matches: Sequence[Match],
    take: Callable[[str], None],
) -> None:
    """`take` gets the id of the entry that was picked, "" for none that should be found."""
    words = texts.curate

    def picked(place: int | None) -> None:
        if place is not None:
            take(matches[place].id if place < len(matches) else "")

    lines = [f"{match.score:.2f}  {safe_line(match.question, 120)}" for match in matches]
    title = words.check_pick_title.format(question=safe_line(question, 80))
    app.push_screen(PickOne(texts, title=title, lines=[*lines, words.check_pick_no_entry]), picked)
