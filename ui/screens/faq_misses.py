"""The inbox of questions that got no good answer: what was asked, by whom, and the way to an entry.

A group becomes a new entry in the editor, or more wordings of an entry that has the answer, or is
answered without an entry; the server then tells those who asked. A group that was dismissed or
answered can be brought back, so nothing else asks twice.
"""

from functools import partial
from typing import ClassVar, Final

from rich.text import Text
from textual.binding import BindingType
from textual.content import Content

from appliance.schema.answers import Match
from appliance.schema.curation import Miss, MissPromote, MissState
from appliance.schema.faq import Entry
from ui.client import Client
from ui.clock import Clock
from ui.curating import Curating
from ui.drafts import Drafts
from ui.keys import key
from ui.safe_text import safe_line
from ui.screens.desk import Desk
from ui.screens.dialogs import PickOne
from ui.screens.miss_answer import MissAnswerForm
from ui.screens.miss_editor import MissEditor
from ui.texts import Texts
from ui.widgets.tables import cell, number
from ui.wording import block, moment

ASKERS_SHOWN: Final = 50
PICKED_FROM: Final = 9
_NEXT: Final[dict[MissState, MissState]] = {
    "open": "dismissed",
    "dismissed": "promoted",
    "promoted": "answered",
    "answered": "open",
}


class MissesScreen(Desk[bool]):
    """The result is whether an entry was written."""

    AUTO_FOCUS = "#misses"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("enter,p", "promote", "promote"),
        key("a", "add_to_entry", "add_to_entry"),
        key("r", "answer", "answer_miss"),
        key("d,delete", "dismiss_miss", "dismiss"),
        key("o", "reopen", "reopen"),
        key("v", "next_state", "next_state"),
        key("ctrl+r", "refresh_list", "refresh", show=False),
        key("escape,q", "close", "close"),
    ]

    def __init__(
        self, texts: Texts, *, client: Client, curating: Curating, clock: Clock, drafts: Drafts
    ) -> None:
        words = texts.curate
        super().__init__(
            texts,
            name="misses",
            title=words.miss_title_open,
            columns=(words.miss_asked, words.miss_people, words.miss_last, texts.faq_question),
        )
        self._client = client
        self._curating = curating
        self._clock = clock
        self._drafts = drafts
        self._state: MissState = "open"
        self._misses: dict[str, Miss] = {}
        self._has_written = False

    def on_mount(self) -> None:
        self.action_refresh_list()

    @property
    def _pointed(self) -> Miss | None:
        return self._misses.get(self.table.pointed)

    # --- reading ----------------------------------------------------------------------------

    def action_refresh_list(self) -> None:
        self.begin(self._read)

    async def _read(self) -> None:
        await self._load()
        words = self.texts.curate
        none = words.miss_none_open if self._state == "open" else words.miss_none_settled
        self.say(words.miss_count.format(count=len(self._misses)) if self._misses else none)

    async def _load(self) -> None:
        misses = await self._curating.misses(self._state)
        self._misses = {miss.id: miss for miss in misses}
        self.table.show([(miss.id, self._cells(miss)) for miss in misses])
        self._show_pointed()

    def _cells(self, miss: Miss) -> tuple[Text, ...]:
        return (
            number(miss.count),
            number(len(miss.askers)),
            Text(self._moment(miss.last_at_ms)),
            cell(miss.question, 200),
        )

    def _moment(self, at_ms: int) -> str:
        return moment(at_ms, self._clock.now_ms(), self._clock.zone)

    def on_data_table_row_highlighted(self) -> None:
        self._show_pointed()

    def _show_pointed(self) -> None:
        miss = self._pointed
        self.show_text(miss_words(self.texts, miss, self._clock) if miss else Content())
        self.offer_keys()

    def action_next_state(self) -> None:
        self._state = _NEXT[self._state]
        words = self.texts.curate
        titles = {
            "open": words.miss_title_open,
            "dismissed": words.miss_title_dismissed,
            "promoted": words.miss_title_promoted,
            "answered": words.miss_title_answered,
        }
        self.title_line.update(titles[self._state])
        self.begin(self._read)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("promote", "add_to_entry", "dismiss_miss"):
            return self._state == "open" and self._pointed is not None
        if action == "answer":
            return (
                self._state == "open" and self._pointed is not None and self._pointed.askers != ()
            )
        if action == "reopen":
            return self._state in ("dismissed", "answered") and self._pointed is not None
        return True

    # --- dismissing -------------------------------------------------------------------------

    def action_dismiss_miss(self) -> None:
        if self._pointed is not None:
            self.begin(partial(self._dismiss, self._pointed))

    async def _dismiss(self, miss: Miss) -> None:
        await self._curating.dismiss(miss.id)
        await self._load()
        question = safe_line(miss.question, 60)
        self.say(self.texts.curate.miss_dismissed.format(question=question))

    def action_reopen(self) -> None:
        if self._pointed is not None:
            self.begin(partial(self._reopen, self._pointed))

    async def _reopen(self, miss: Miss) -> None:
        await self._curating.reopen(miss.id)
        await self._load()
        question = safe_line(miss.question, 60)
        self.say(self.texts.curate.miss_reopened.format(question=question))

    # --- making an entry --------------------------------------------------------------------

    def on_data_table_row_selected(self) -> None:
        if self.check_action("promote", ()):
            self.action_promote()

    def action_promote(self) -> None:
        miss = self._pointed
        if miss is None:
            return

        def written(entry: Entry | None) -> None:
            if entry is not None:
                self._has_written = True
                self.begin(partial(self._say_written, entry, len(miss.askers)))
            else:
                self.action_refresh_list()

        editor = MissEditor(
            self.texts, miss, client=self._client, curating=self._curating, drafts=self._drafts
        )
        self.app.push_screen(editor, written)

    async def _say_written(self, entry: Entry, people: int) -> None:
        await self._load()
        words = self.texts.curate
        template = words.miss_saved_draft if entry.state == "draft" else words.miss_saved
        self.say(template.format(count=people))

    def action_add_to_entry(self) -> None:
        if self._pointed is not None:
            self.begin(partial(self._offer_entries, self._pointed))

    async def _offer_entries(self, miss: Miss) -> None:
        matches = (await self._client.search(miss.question, limit=PICKED_FROM)).items
        words = self.texts.curate
        if not matches:
            self.say(words.miss_pick_none, is_trouble=True)
            return

        def picked(place: int | None) -> None:
            if place is not None:
                self.begin(partial(self._add, miss, matches[place]))

        title = words.miss_pick_title.format(question=safe_line(miss.question, 80))
        lines = [f"{match.score:.2f}  {safe_line(match.question, 120)}" for match in matches]
        self.app.push_screen(PickOne(self.texts, title=title, lines=lines), picked)

    async def _add(self, miss: Miss, match: Match) -> None:
        await self._curating.promote(miss.id, MissPromote(entry_id=match.id))
        self._has_written = True
        await self._load()
        question = safe_line(match.question, 60)
        said = self.texts.curate.miss_added.format(question=question, count=len(miss.askers))
        self.say(said)

    # --- answering without an entry ---------------------------------------------------------

    def action_answer(self) -> None:
        miss = self._pointed
        if miss is None:
            return

        def sent(answered: Miss | None) -> None:
            if answered is not None:
                self.begin(partial(self._say_sent, answered))
            else:
                self.action_refresh_list()

        form = MissAnswerForm(self.texts, miss, curating=self._curating, drafts=self._drafts)
        self.app.push_screen(form, sent)

    async def _say_sent(self, answered: Miss) -> None:
        await self._load()
        self.say(self.texts.curate.miss_sent.format(count=len(answered.askers)))

    def action_close(self) -> None:
        self.dismiss(self._has_written)


def miss_words(texts: Texts, miss: Miss, clock: Clock) -> Content:
    """All that is known of a group of questions, safe to show."""
    words = texts.curate
    said = words.miss_said.format(
        count=miss.count,
        people=len(miss.askers),
        first=clock.minute(miss.first_at_ms),
        last=clock.minute(miss.last_at_ms),
    )
    why = {"no_match": words.miss_no_match, "thumbs_down": words.miss_thumbs_down}
    reasons = [
        template.format(count=miss.reasons[name])
        for name, template in why.items()
        if miss.reasons.get(name)
    ]
    parts = [
        Content.styled(block(miss.question), "bold"),
        Content.styled(" · ".join([said, *reasons]), "$text-muted"),
    ]
    if miss.state == "promoted":
        told = words.miss_told if miss.told else words.miss_untold
        parts.append(Content.styled(told, "$text-success"))
    if miss.state == "answered":
        told = words.miss_answered if miss.told else words.miss_answering
        parts += [Content.styled(told, "$text-success"), Content(block(miss.answer))]
    parts += [Content(), Content.styled(words.miss_wordings, "bold")]
    parts += [Content(f"  {safe_line(one)}") for one in miss.phrasings]
    if miss.askers:
        parts += [Content(), Content.styled(words.miss_askers, "bold")]
        for asker in miss.askers[:ASKERS_SHOWN]:
            waits = f" ({words.miss_waits})" if asker.waits and not miss.told else ""
            who = safe_line(asker.uid, 63) + waits
            parts.append(Content(f"  {who}: {safe_line(asker.question)}"))
        if len(miss.askers) > ASKERS_SHOWN:
            parts.append(Content(f"  … {len(miss.askers) - ASKERS_SHOWN}"))
    return Content("\n").join(parts)
