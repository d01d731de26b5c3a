"""What the chat screen does through dialogs: each asks something and then carries it out.

An errand belongs to the screen it is run for: its calls run as that screen's work, and their
failures are told as the screen's are.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from appliance.errors import Forbidden, NotFound
from appliance.schema.answers import Match
from appliance.schema.conversations import Session
from appliance.schema.faq import Entry
from appliance.schema.fields import MAX_TEXT_CHARS, MAX_TITLE_CHARS
from ui import attachments
from ui.attachments import Attachment, AttachmentError
from ui.client import Client
from ui.clock import Clock
from ui.conversations import Conversations
from ui.drafts import Drafts
from ui.exporting import as_json, as_markdown, file_name, form_of, write_new
from ui.finding import Finder
from ui.paths import typed_path
from ui.safe_text import safe_line
from ui.screens.dialogs import AskLine, AskPath, Confirm, PickOne, Question
from ui.screens.entry_editor import EntryEditor
from ui.screens.entry_reader import EntryReader
from ui.screens.find import FindScreen
from ui.screens.frame import SluiceScreen
from ui.searching import Hit
from ui.turns import LiveTurn
from ui.wording import session_title


class ChatErrands:
    """Dialogs of one chat screen."""

    def __init__(
        self,
        screen: SluiceScreen,
        *,
        client: Client,
        conversations: Conversations,
        clock: Clock,
        drafts: Drafts,
    ) -> None:
        self._screen = screen
        self._texts = screen.texts
        self._client = client
        self._conversations = conversations
        self._clock = clock
        self._drafts = drafts
        self._unread = ""  # the path of what could not be attached

    # --- sessions ---------------------------------------------------------------------------

    def rename(self, session: Session) -> None:
        def rename(title: str | None) -> None:
            if title is not None and title != session.title:
                work = partial(self._conversations.rename, session.id, title)
                self._screen.attempt(work, group="edit")

        texts = self._texts
        dialog = AskLine(
            texts,
            title=texts.chat_rename_title,
            label=texts.chat_rename_label,
            text=session.title,
            max_chars=MAX_TITLE_CHARS,
        )
        self._screen.app.push_screen(dialog, rename)

    def delete(self, session: Session, delete: Callable[[], Awaitable[None]]) -> None:
        texts = self._texts
        question = Question(
            texts.chat_delete_title,
            texts.chat_delete_body.format(title=self._title(session)),
            yes=texts.chat_delete_yes,
            no=texts.cancel,
        )

        async def carry_out() -> None:
            await delete()

        def agreed(yes: bool | None) -> None:
            if yes:
                self._screen.attempt(carry_out, group="edit")

        self._screen.app.push_screen(Confirm(texts, question), agreed)

    def find(self, here: str, reveal: Callable[[Hit], Awaitable[None]]) -> None:
        async def carry_out(hit: Hit) -> None:
            await reveal(hit)

        def chosen(hit: Hit | None) -> None:
            if hit is not None:
                self._screen.attempt(partial(carry_out, hit), group="reveal", exclusive=True)

        dialog = FindScreen(self._texts, Finder(self._client, first=here))
        self._screen.app.push_screen(dialog, chosen)

    # --- files ------------------------------------------------------------------------------

    def attach(self, take: Callable[[Attachment], None]) -> None:
        def named(path: str | None) -> None:
            if path:
                self._screen.attempt(partial(self._read, path, take), group="attach")

        words = self._texts.chat
        dialog = AskPath(
            self._texts,
            title=words.attach_title,
            label=words.attach_label,
            text=self._unread,
        )
        self._screen.app.push_screen(dialog, named)

    async def _read(self, path: str, take: Callable[[Attachment], None]) -> None:
        words = self._texts.chat
        self._unread = path
        try:
            take(await asyncio.to_thread(attachments.read, typed_path(path)))
            self._unread = ""
        except AttachmentError as error:
            said = {
                "missing": words.attach_missing,
                "not_a_file": words.attach_not_a_file,
                "unreadable": words.attach_unreadable,
                "too_large": words.attach_too_large.format(limit=MAX_TEXT_CHARS),
                "not_text": words.attach_not_text,
                "empty": words.attach_empty,
            }
            self._screen.notify(said[error.problem], severity="warning", markup=False)

    def export(self, session: Session) -> None:
        def named(path: str | None) -> None:
            if path:
                work = partial(self._export, session, typed_path(path))
                self._screen.attempt(work, group="export", exclusive=True)

        words = self._texts.chat
        dialog = AskPath(
            self._texts,
            title=words.export_title,
            label=words.export_label,
            text=str(Path.home() / file_name(self._title(session), "md")),
        )
        self._screen.app.push_screen(dialog, named)

    async def _export(self, session: Session, path: Path) -> None:
        words = self._texts.chat
        self._screen.notify(words.export_partly, markup=False)
        await self._conversations.load(session.id)
        while self._conversations.conversation(session.id).older is not None:
            await self._conversations.load_older(session.id)
        turns = list(self._conversations.conversation(session.id).turns.values())
        title = self._title(session)
        if form_of(path) == "json":
            text = as_json(session.id, title, turns)
        else:
            text = as_markdown(self._texts, title, turns, zone=self._clock.zone)
        try:
            await asyncio.to_thread(write_new, path, text)
        except FileExistsError:
            self._screen.notify(words.export_exists, severity="warning", markup=False)
        except (OSError, ValueError) as error:
            reason = safe_line(getattr(error, "strerror", None) or str(error), 120)
            said = words.export_failed.format(reason=reason)
            self._screen.notify(said, severity="error", markup=False)
        else:
            said = words.export_done.format(path=safe_line(str(path)))
            self._screen.notify(said, markup=False)

    def _title(self, session: Session) -> str:
        first = self._conversations.first_question(session.id)
        return session_title(self._texts, session, first)

    # --- the FAQ entries behind an answer -----------------------------------------------------

    def pick_source(self, turn: LiveTurn, ask: Callable[[str], None]) -> None:
        """Reads an entry behind the answer, or asks one of those to pick from."""
        if not turn.matches:
            self._screen.notify(self._texts.chat.no_sources, markup=False)
            return
        if len(turn.matches) == 1 and not turn.choices:
            self.read_source(turn.matches[0])
            return

        def picked(place: int | None) -> None:
            if place is not None and turn.choices:
                ask(turn.choices[place].question)
            elif place is not None:
                self.read_source(turn.matches[place])

        title = self._texts.chat.did_you_mean if turn.choices else self._texts.turn_sources
        lines = [f"{n}  {safe_line(match.question)}" for n, match in enumerate(turn.matches, 1)]
        dialog = PickOne(self._texts, title=title, lines=lines)
        self._screen.app.push_screen(dialog, picked)

    def pick_next(self, turn: LiveTurn, ask: Callable[[str], None]) -> None:
        if not turn.suggestions:
            self._screen.notify(self._texts.chat.no_suggestions, markup=False)
            return

        def picked(place: int | None) -> None:
            if place is not None:
                ask(turn.suggestions[place])

        lines = [safe_line(question) for question in turn.suggestions]
        dialog = PickOne(self._texts, title=self._texts.chat.suggestions, lines=lines)
        self._screen.app.push_screen(dialog, picked)

    def read_source(self, match: Match) -> None:
        self._screen.attempt(partial(self._read_source, match), group="source", exclusive=True)

    async def _read_source(self, match: Match) -> None:
        try:
            entry = await self._client.entry(match.id)
        except (NotFound, Forbidden) as error:
            words = self._texts.chat
            note = words.source_gone if isinstance(error, NotFound) else words.source_as_cited
            entry = _as_it_was(match)
            reader = EntryReader(self._texts, entry, is_current=False, note=note)
            self._screen.app.push_screen(reader)
            return

        def edit(wanted: Entry | None) -> None:
            if wanted is not None:
                editor = EntryEditor(
                    self._texts, client=self._client, drafts=self._drafts, entry=wanted
                )
                self._screen.app.push_screen(editor)

        self._screen.app.push_screen(EntryReader(self._texts, entry, is_current=True), edit)


def _as_it_was(match: Match) -> Entry:
    return Entry(
        id=match.id,
        question=match.question,
        answer=match.answer,
        phrasings=(),
        category=match.category,
        language=match.language,
        state="published",
        version=0,
        created_at_ms=0,
        updated_at_ms=0,
    )
