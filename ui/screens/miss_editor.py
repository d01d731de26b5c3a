"""The form for a new entry that answers a missed question.

The wordings that were asked stand in it from the start, and the model writes a draft of the
answer into the empty field. The person has the last word: typing into the answer stops the model,
nothing is stored while it writes, and leaving gives the draft up.
"""

import contextlib
from contextlib import aclosing
from dataclasses import replace
from typing import ClassVar

from textual.binding import BindingType
from textual.widgets import TextArea

from appliance.errors import SluiceError
from appliance.schema.curation import Miss, MissPromote
from appliance.schema.events import Cancelled, Delta, Done, Failed, Refused, Waiting
from appliance.schema.faq import Entry, EntryPut
from ui.background import start
from ui.client import Client
from ui.curating import Curating
from ui.drafts import Drafts
from ui.entries import EntryDraft
from ui.keys import key
from ui.safe_text import safe_line, safe_text
from ui.screens.entry_editor import EntryEditor
from ui.screens.frame import explained
from ui.texts import Texts
from ui.wording import failed_words, refusal


class MissEditor(EntryEditor):
    """The result is the entry that the miss became, None if it became none."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("ctrl+t", "write_draft", "write_draft"),
    ]

    def __init__(
        self, texts: Texts, miss: Miss, *, client: Client, curating: Curating, drafts: Drafts
    ) -> None:
        others = (one for one in miss.phrasings if one != miss.question)
        before = EntryDraft(question=miss.question, phrasings="\n".join(others))
        super().__init__(
            texts,
            client=client,
            drafts=drafts,
            before=before,
            title=texts.curate.miss_promote_title,
            about=f"miss:{miss.id}",
        )
        self._miss = miss
        self._curating = curating
        self._request_id = ""
        self._drafted = ""

    def on_mount(self) -> None:
        if self.begun is None:
            self.action_write_draft()

    async def store(self, put: EntryPut) -> Entry:
        body = MissPromote(
            question=put.question,
            answer=put.answer,
            phrasings=put.phrasings,
            category=put.category,
            language=put.language,
            state=put.state,
        )
        return await self._curating.promote(self._miss.id, body)

    # --- the draft --------------------------------------------------------------------------

    def action_write_draft(self) -> None:
        if self._request_id:
            return
        if self.answer.text.strip() and not self._is_untouched:
            self.remark(self.texts.curate.draft_not_empty)
            return
        start(self, self._write_draft, group="draft", exclusive=True)

    async def _write_draft(self) -> None:
        words = self.texts.curate
        self.remark(words.draft_writing)
        try:
            self._request_id = (await self._curating.draft(self._miss.id)).request_id
            self._write("")
            said = await self._follow(self._request_id)
        except SluiceError as error:
            reason = explained(self, error).replace("\n", " ")
            said = words.draft_failed.format(reason=reason)
        else:
            self._request_id = ""
        finally:
            await self._give_up()
        self.remark(said)

    async def _follow(self, request_id: str) -> str:
        """Writes the draft as it comes; returns how it ended."""
        words = self.texts.curate
        async with aclosing(self._client.follow(request_id)) as events:
            async for event in events:
                match event:
                    case Waiting(place=place):
                        self.remark(words.draft_waiting.format(place=place))
                    case Delta(text=text):
                        self.remark(words.draft_writing)
                        self._write(self._drafted + text)
                    case Done():
                        return words.draft_done
                    case Failed(reason=reason, message=message):
                        said = failed_words(self.texts, reason, message)
                        return words.draft_failed.format(reason=said)
                    case Refused(reason=reason, message=message):
                        said = refusal(self.texts, reason) or safe_line(message)
                        return words.draft_failed.format(reason=said)
                    case Cancelled():
                        break
        return words.draft_stopped

    def _write(self, text: str) -> None:
        self._drafted = text
        self.answer.set_text(text)
        self._before = replace(self._before, answer=self.answer.text)

    @property
    def _is_untouched(self) -> bool:
        return self.answer.text == safe_text(self._drafted)

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        if self._request_id and event.text_area is self.answer and not self._is_untouched:
            self.workers.cancel_group(self, "draft")
            self.remark(self.texts.curate.draft_stopped)

    async def _give_up(self) -> None:
        """Tells the server when nobody waits for the draft any more."""
        if self._request_id:
            request_id, self._request_id = self._request_id, ""
            with contextlib.suppress(SluiceError):
                await self._client.cancel(request_id)

    def action_save(self) -> None:
        if self._request_id:
            self.remark(self.texts.curate.draft_running)
            return
        super().action_save()
