"""The FAQ: a table with filters, a search by meaning, and the answer of the entry pointed at."""

from contextlib import suppress
from functools import partial
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.timer import Timer
from textual.widgets import Input, Select

from appliance.errors import NotFound, SluiceError
from appliance.schema.faq import Entry
from ui.answers import UNREACHABLE
from ui.client import Client
from ui.clock import Clock
from ui.curating import Curating
from ui.drafts import Drafts
from ui.entries import ORDERS, Order, Row, in_order, row_of_entry, search_rows
from ui.keys import key
from ui.safe_text import safe_line
from ui.screens.dialogs import Confirm, Question
from ui.screens.entry_editor import EntryEditor
from ui.screens.faq_desks import DESKS, FaqDesks
from ui.screens.faq_history import FaqHistoryScreen
from ui.screens.frame import SluiceScreen
from ui.texts import Texts
from ui.widgets.faq_table import FaqTable
from ui.widgets.links import Link, Links
from ui.widgets.plain import LineField, Plain
from ui.wording import block

SEARCH_DELAY_S: Final = 0.25
SORTED_ROWS: Final = 200  # of a sorted list, shown at once and added at its end
READ_AT_ONCE: Final = 500  # entries of one page while all are read
_ANY: Final = ""


class FaqScreen(SluiceScreen):
    """Find, read, add, change and delete entries."""

    PLACE = "faq"
    AUTO_FOCUS = "#faq-table"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("a,ctrl+n", "add_entry", "add_entry"),
        key("slash,ctrl+f", "search", "search"),
        key("escape", "leave_search", "leave_search"),
        key("l", "load_demo", "load_demo", show=False),
        key("ctrl+r", "refresh_list", "refresh"),
        *DESKS,
    ]

    def __init__(
        self, texts: Texts, address: str, *, client: Client, clock: Clock, drafts: Drafts
    ) -> None:
        super().__init__(texts, address)
        self._client = client
        self._curating = Curating(client)
        self._clock = clock
        self._drafts = drafts
        self._desks = FaqDesks(
            self,
            client=client,
            curating=self._curating,
            clock=clock,
            drafts=drafts,
            changed=self._read_again,
        )
        self._entries: dict[str, Entry] = {}
        self._categories: set[str] = set()
        self._languages: set[str] = set()
        self._cursor: str | None = None
        self._is_loading_more = False
        self._order: Order = "written"
        self._sorted_shown = SORTED_ROWS
        self._search_timer: Timer | None = None
        self._search = LineField(
            id="faq-search", placeholder=texts.faq_search, compact=True, select_on_focus=False
        )
        self._category = _filter("faq-category", texts.faq_all_categories)
        self._language = _filter("faq-language", texts.faq_all_languages)
        self._note = Plain(texts.faq_loading, id="faq-note")
        self._table = FaqTable(texts)
        self._answer = Plain(id="faq-answer-text")

    def compose_body(self) -> ComposeResult:
        yield Links(self.texts, DESKS)
        with Horizontal(id="faq-bar"):
            yield self._search
            yield self._category
            yield self._language
        yield self._note
        yield self._table
        with VerticalScroll(id="faq-answer") as pane:
            pane.border_title = self.texts.faq_answer
            yield self._answer

    def on_link_restored(self) -> None:
        self._read_again()

    def on_screen_resume(self) -> None:
        if self.link_state.is_reachable and not self._entries:
            self._read_again()

    # --- reading ----------------------------------------------------------------------------

    def _read_again(self) -> None:
        self.attempt(self._load, group="load", exclusive=True)

    def action_refresh_list(self) -> None:
        self._read_again()

    async def _load(self) -> None:
        page = await self._client.entries(
            category=self._chosen(self._category), language=self._chosen(self._language)
        )
        self._entries = {entry.id: entry for entry in page.items}
        self._cursor = page.cursor
        if self._cursor is not None:
            self.attempt(self._read_labels, group="labels", exclusive=True)
        if self._order != "written":
            await self._read_rest()
        await self._show()

    async def _read_labels(self) -> None:
        """What the filters offer, where not all entries are here to tell."""
        with suppress(NotFound):  # a server that cannot tell yet
            labels = await self._client.labels()
            self._categories.update(labels.categories)
            self._languages.update(labels.languages)
            self._offer_filters()

    def on_faq_table_more_wanted(self, message: FaqTable.MoreWanted) -> None:
        if self._order != "written":
            if self._sorted_shown < len(self._entries) and not self._wanted:
                self._sorted_shown += SORTED_ROWS
                self.attempt(self._show, group="load")
        elif self._cursor is not None and not self._is_loading_more and not self._wanted:
            self._is_loading_more = True
            self.attempt(partial(self._load_more, self._cursor), group="load")

    async def _load_more(self, cursor: str) -> None:
        try:
            await self._read_page(cursor)
        finally:
            self._is_loading_more = False
        await self._show()

    async def _read_page(self, cursor: str, limit: int = 100) -> None:
        page = await self._client.entries(
            category=self._chosen(self._category),
            language=self._chosen(self._language),
            cursor=cursor,
            limit=limit,
        )
        self._entries |= {entry.id: entry for entry in page.items}
        self._cursor = page.cursor

    async def _read_rest(self) -> None:
        """A list can be sorted once all of it is there."""
        while self._cursor is not None:
            self._note.update(self.texts.faq_sorting.format(count=len(self._entries)))
            await self._read_page(self._cursor, READ_AT_ONCE)

    def on_faq_table_sort_wanted(self, message: FaqTable.SortWanted) -> None:
        if self._wanted:
            return  # what a search found is sorted by how near it is
        following = ORDERS[(ORDERS.index(self._order) + 1) % len(ORDERS)]
        self._order = following if message.order is None else message.order
        self._sorted_shown = SORTED_ROWS
        self.attempt(self._sort, group="load", exclusive=True)

    async def _sort(self) -> None:
        if self._order != "written":
            await self._read_rest()
        await self._show()

    async def _show(self) -> None:
        """Shows the list, or what the text in the search field finds."""
        self._offer_filters()
        if self._wanted:
            await self._show_found(self._wanted)
            return
        rows = in_order(map(row_of_entry, self._entries.values()), self._order)
        if self._order != "written":
            rows = rows[: self._sorted_shown]
        self._table.show(rows, scored=False, order=self._order)
        template = self.texts.faq_count_more if self._cursor else self.texts.faq_count
        count = len(self._entries)
        self._note.update(template.format(count=count) if count else self.texts.faq_none)

    def on_faq_table_pointed(self, message: FaqTable.Pointed) -> None:
        self._answer.update(block(message.row.answer) if message.row is not None else "")

    # --- search and filters -----------------------------------------------------------------

    @property
    def _wanted(self) -> str:
        return self._search.value.strip()

    async def _show_found(self, wanted: str) -> None:
        """Asks the index; with the index away, what is loaded is searched by text."""
        template = self.texts.faq_found
        try:
            found_by_index = await self._client.search(
                wanted, category=self._chosen(self._category), language=self._chosen(self._language)
            )
            matches = found_by_index.items
        except SluiceError as error:
            if error.code != "unavailable" or error.reason == UNREACHABLE:
                raise
            matches = ()
            template = self.texts.faq_found_literal
        found = search_rows(wanted, matches, tuple(self._entries.values()))
        rows = [row for row in found if self._passes_filters(row)]
        self._table.show(rows, scored=True)
        self._note.update(template.format(count=len(rows)))

    def _passes_filters(self, row: Row) -> bool:
        category, language = self._chosen(self._category), self._chosen(self._language)
        return category in (_ANY, row.category) and language in (_ANY, row.language)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._search_timer is not None:
            self._search_timer.stop()
        self._search_timer = self.set_timer(SEARCH_DELAY_S, self._search_now)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._search_now()
        self._table.focus()

    def _search_now(self) -> None:
        if self._search_timer is not None:
            self._search_timer.stop()
            self._search_timer = None
        self.attempt(self._show, group="search", exclusive=True)

    def action_search(self) -> None:
        self._search.focus()

    def action_leave_search(self) -> None:
        self._search.value = ""
        self._table.focus()

    def on_select_changed(self, event: Select.Changed) -> None:
        event.stop()
        self._read_again()

    def _chosen(self, select: Select[str]) -> str:
        return select.value if isinstance(select.value, str) else _ANY

    def _offer_filters(self) -> None:
        """The filters offer what was seen so far, for a filter hides the others."""
        for entry in self._entries.values():
            self._categories.add(entry.category)
            self._languages.add(entry.language)
        _offer(self._category, self.texts.faq_all_categories, self._categories)
        _offer(self._language, self.texts.faq_all_languages, self._languages)

    # --- the desks ---------------------------------------------------------------------------

    async def on_link_wanted(self, message: Link.Wanted) -> None:
        await self.run_action(message.action)

    def action_test_question(self) -> None:
        """What stands in the search field is the question to begin with."""
        self._desks.test_question(self._wanted)

    def action_show_misses(self) -> None:
        self._desks.show_misses()

    def action_show_checks(self) -> None:
        self._desks.show_checks()

    def action_import_file(self) -> None:
        self._desks.import_file()

    def action_export_file(self) -> None:
        self._desks.export_file()

    def action_show_deleted(self) -> None:
        self._desks.show_deleted()

    # --- editing ----------------------------------------------------------------------------

    def action_add_entry(self) -> None:
        editor = EntryEditor(self.texts, client=self._client, drafts=self._drafts)
        self.app.push_screen(editor, self._saved)

    def on_faq_table_edit_wanted(self, message: FaqTable.EditWanted) -> None:
        self.attempt(partial(self._edit, message.row.id), group="edit", exclusive=True)

    async def _edit(self, entry_id: str) -> None:
        entry = await self._client.entry(entry_id)
        editor = EntryEditor(self.texts, client=self._client, drafts=self._drafts, entry=entry)
        self.app.push_screen(editor, self._saved)

    def _saved(self, entry: Entry | None) -> None:
        if entry is not None:
            self.notify(self.texts.faq_saved, markup=False)
            self._read_again()

    def on_faq_table_history_wanted(self, message: FaqTable.HistoryWanted) -> None:
        self.attempt(partial(self._show_history, message.row.id), group="edit", exclusive=True)

    async def _show_history(self, entry_id: str) -> None:
        revisions = await self._curating.history(entry_id)
        screen = FaqHistoryScreen(self.texts, revisions, curating=self._curating, clock=self._clock)
        self.app.push_screen(screen, self._restored)

    def _restored(self, entry: Entry | None) -> None:
        if entry is not None:
            self._read_again()

    def on_faq_table_delete_wanted(self, message: FaqTable.DeleteWanted) -> None:
        row, texts = message.row, self.texts
        question = Question(
            texts.faq_delete_title,
            texts.faq_delete_body.format(question=safe_line(row.question, 120)),
            yes=texts.faq_delete_yes,
            no=texts.cancel,
        )

        def delete(agreed: bool | None) -> None:
            if agreed:
                self.attempt(partial(self._delete, row.id), group="edit")

        self.app.push_screen(Confirm(texts, question), delete)

    async def _delete(self, entry_id: str) -> None:
        await self._client.delete_entry(entry_id)
        self.notify(self.texts.faq_deleted, markup=False)
        await self._load()

    def action_load_demo(self) -> None:
        self.attempt(self._offer_demo, group="demo", exclusive=True)

    async def _offer_demo(self) -> None:
        """Into an empty FAQ at once; among entries of one's own only when the person agrees."""
        if not (await self._client.entries(limit=1)).items:
            await self._load_demo()
            return
        texts, words = self.texts, self.texts.faq
        question = Question(
            words.demo_title, words.demo_body, yes=texts.key_load_demo, no=texts.cancel
        )

        def load(agreed: bool | None) -> None:
            if agreed:
                self.attempt(self._load_demo, group="demo", exclusive=True)

        self.app.push_screen(Confirm(texts, question), load)

    async def _load_demo(self) -> None:
        self._note.update(self.texts.faq_demo_loading)
        try:
            report = await self._client.load_demo()
        finally:
            await self._load()
        words = self.texts.faq_demo_loaded.format(
            created=report.created, updated=report.updated, unchanged=report.unchanged
        )
        self.notify(words, markup=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "leave_search":
            return bool(self._wanted) or self._search.has_focus
        return True


def _filter(name: str, all_words: str) -> Select[str]:
    return Select([(Text(all_words), _ANY)], allow_blank=False, id=name, compact=True)


def _offer(select: Select[str], all_words: str, found: set[str]) -> None:
    chosen = select.value if isinstance(select.value, str) else _ANY
    values = sorted((found | {chosen}) - {_ANY})
    options = [(Text(all_words), _ANY), *((Text(safe_line(v, 40)), v) for v in values)]
    with select.prevent(Select.Changed):
        select.set_options(options)
        select.value = chosen
