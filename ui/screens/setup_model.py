"""The first start's question for a model: what fits this machine, its download, its use."""

import asyncio
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType

from appliance.errors import Conflict, SluiceError
from appliance.schema.setup import DownloadStatus, SetupModel, SetupStatus
from ui.background import start
from ui.keys import key
from ui.link import LinkState
from ui.paths import typed_path
from ui.safe_text import safe_line
from ui.screens.dialogs import AskPath
from ui.screens.frame import CallFailed, LinkDoubted
from ui.screens.polled import Polled
from ui.screens.setup import Bring, Premises, SetupStep
from ui.setup_wording import (
    GOING,
    STOPPED,
    download_line,
    fixed_line,
    lacking_line,
    machine_line,
    prospects,
    rate,
    trouble_line,
    weights_state,
)
from ui.widgets.plain import Plain
from ui.widgets.tables import RecordTable, cell, number
from ui.wording import memory, speaks_of_models

PAUSE_LOOKS: Final = 60
PAUSE_LOOK_S: Final = 0.5


class ModelStep(Polled, SetupStep):
    """Which model answers. Enter does what is next for the one marked."""

    STEP = "model"
    AUTO_FOCUS = "#setup-models"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("enter", "take", "take", priority=True),
        key("p", "pause", "pause"),
        key("i", "bring", "bring"),
    ]

    def __init__(self, premises: Premises) -> None:
        super().__init__(premises)
        words = self.words
        self._calls = premises.calls
        self._status: SetupStatus | None = None
        self._taking = ""
        self._bringing = self._named = ""
        self._outcome = ""
        self._since: tuple[float, DownloadStatus] | None = None
        self._machine = Plain(words.model_waiting, classes="setup-body")
        self._detail = Plain(id="setup-detail")
        self._table = RecordTable(
            "setup-models",
            (
                words.model_name,
                words.model_size,
                words.model_memory,
                words.model_speed,
                words.model_state,
            ),
            pointing=True,
        )

    def compose_question(self) -> ComposeResult:
        yield Plain(self.words.model_title, classes="dialog-title")
        yield self._machine
        yield self._table
        yield self._detail

    def draw_link(self, state: LinkState) -> None:
        """What the banner would say of models stands below the table, and needs its line."""
        super().draw_link(LinkState("up") if speaks_of_models(state) else state)

    # --- what is so -------------------------------------------------------------------------

    async def read(self) -> None:
        self._show(await self._calls.status())

    def say_stale(self, words: str) -> None:
        self.say(self.words.taking.format(name=self._taking) if self._taking else words)

    def _show(self, status: SetupStatus) -> None:
        first, before, self._status = self._status is None, self._status, status
        self._machine.update(machine_line(self.texts, status.machine))
        self._table.show([(model.name, self._cells(model)) for model in status.models])
        if first:
            chosen = [model.name for model in status.models if model.chosen]
            wanted = [model.name for model in status.models if model.recommended]
            is_coming = bool(status.lacking) and status.settled
            self._table.point_at(next(iter(chosen if is_coming else wanted + chosen), ""))
        if before is not None and before.lacking and not status.lacking:
            self._outcome = self.words.taken.format(name=safe_line(status.chat, 60))
            self.post_message(LinkDoubted())
        self._settle(status)
        self._show_pointed()
        parts = (self._standing(status), self._progress(), lacking_line(self.texts, status))
        self.say("\n".join(part for part in parts if part))
        self.refresh_bindings()

    def _settle(self, status: SetupStatus) -> None:
        """Whether the model that was chosen is in use, or why not."""
        if not self._taking or status.restarting:
            return
        if status.chat == self._taking:
            self._outcome = self.words.taken.format(name=safe_line(self._taking, 60))
        elif status.trouble:
            self._outcome = trouble_line(self.texts, status)
        self._taking = ""
        self.post_message(LinkDoubted())

    def _standing(self, status: SetupStatus) -> str:
        if self._taking:
            return self.words.taking.format(name=safe_line(self._taking, 60))
        if self._bringing:
            return self.words.bringing.format(name=self._bringing)
        if status.fixed:
            return fixed_line(self.texts, status)
        if status.lacking and status.trouble:
            return trouble_line(self.texts, status)
        if status.lacking and status.download.state in (*GOING, *STOPPED):
            return ""
        return self._outcome

    def _progress(self) -> str:
        download = self._download
        left_s = None
        if download.state != "running":
            self._since = None
        elif self._since is None or self._since[1].name != download.name:
            self._since = (time.monotonic(), download)
        else:
            began_s, began = self._since
            arrived = download.done_bytes - began.done_bytes
            if arrived > 0:
                passed_s = time.monotonic() - began_s
                left_s = (download.total_bytes - download.done_bytes) * passed_s / arrived
        if download.state == "done" and not self._is_to_take(download.name):
            return ""
        return download_line(self.texts, download, left_s)

    def _is_to_take(self, name: str) -> bool:
        """Whether these weights are a chat model that the person may take into use."""
        models = self._status.models if self._status is not None else ()
        return any(one.name == name and not one.chosen for one in models)

    @property
    def _download(self) -> DownloadStatus:
        return self._status.download if self._status is not None else DownloadStatus()

    @property
    def _pointed(self) -> SetupModel | None:
        models = self._status.models if self._status is not None else ()
        return next((model for model in models if model.name == self._table.pointed), None)

    def _cells(self, model: SetupModel) -> tuple[Text, ...]:
        style = "bold" if model.chosen or model.recommended else ""
        state = weights_state(self.texts, model, self._download)
        return (
            cell(model.name, 40),
            number(memory(model.size_bytes)),
            number(memory(model.memory_bytes)),
            number(rate(self.texts, model)),
            Text(state, style=style, no_wrap=True),
        )

    def on_data_table_row_highlighted(self) -> None:
        self._show_pointed()

    def _show_pointed(self) -> None:
        model = self._pointed
        known = self._status
        if model is None or known is None:
            self._detail.update("")
        else:
            self._detail.update(prospects(self.texts, model, known))
            has_failed = bool(known.lacking) and known.download.state == "failed"
            self._detail.display = not has_failed  # the reason needs its lines

    # --- what the person does ---------------------------------------------------------------

    def on_data_table_row_selected(self) -> None:
        self.action_take()

    def action_take(self) -> None:
        model = self._pointed
        if self._status is None or model is None or self._taking:
            return
        if self._status.lacking:
            self._take_first(model, is_settled=self._status.settled)
        elif model.chosen:
            self.go_on()
        elif model.state == "here":
            self.attempt(partial(self._choose, model.name), group="setup-model", exclusive=True)
        elif not model.obstacle:
            self._fetch(model.name)

    def _take_first(self, model: SetupModel, *, is_settled: bool) -> None:
        """Nothing answers yet: the server fetches what is chosen and takes it into use."""
        if model.chosen and is_settled:
            self.go_on()
        elif not model.obstacle:
            self._settle_on(model.name)

    def _settle_on(self, name: str) -> None:
        self.attempt(partial(self._settled_on, name), group="setup-model", exclusive=True)

    async def _settled_on(self, name: str) -> None:
        self._show(await self._calls.choose_model(name))

    def action_skip(self) -> None:
        """Without any model the starter is taken, which goes on when the person does."""
        known = self._status or self.premises.before
        if known.lacking and not known.settled:
            start(self.app, partial(self._take_starter, known.chat), group="setup-starter")
        super().action_skip()

    async def _take_starter(self, name: str) -> None:
        try:
            await self._calls.choose_model(name)
        except SluiceError as error:
            self.app.post_message(CallFailed(error))

    def action_bring(self) -> None:
        """Asks for a file with models, for a machine without a network."""
        words, bring = self.words, self.premises.bring
        dialog = AskPath(
            self.texts,
            title=words.bring_title,
            label=words.bring_label,
            text=self._named,
        )

        def named(name: str | None) -> None:
            if name and bring is not None:
                self._named = name
                work = partial(self._bring, bring, typed_path(name).absolute())
                self.attempt(work, group="setup-model", exclusive=True)

        self.app.push_screen(dialog, named)

    async def _bring(self, bring: Bring, path: Path) -> None:
        self._bringing = safe_line(path.name, 60)
        self.say(self.words.bringing.format(name=self._bringing))
        try:
            await self._stop_fetching()
            name = await asyncio.to_thread(bring, path)
        finally:
            self._bringing = ""
        self._outcome = self.words.brought.format(name=safe_line(name, 60))
        if self._status is not None and self._status.lacking:
            await self._settled_on(name)
        else:
            await self._choose(name)

    async def _stop_fetching(self) -> None:
        """What is being downloaded cannot be brought; one that does not stop, `bring` tells of."""
        with suppress(Conflict):  # nothing is
            await self._calls.pause_download()
        for _ in range(PAUSE_LOOKS):
            if (await self._calls.status()).download.state not in GOING:
                return
            await asyncio.sleep(PAUSE_LOOK_S)

    async def _choose(self, name: str) -> None:
        self._outcome = ""
        status = await self._calls.choose_model(name)
        self._taking = name
        self._show(status)

    def action_pause(self) -> None:
        """Pauses what is being downloaded, or goes on with what was."""
        download = self._download
        if download.state in GOING:
            self.attempt(self._pause, group="setup-model", exclusive=True)
        elif download.state in STOPPED:
            self._fetch(download.name)

    async def _pause(self) -> None:
        await self._calls.pause_download()
        await self.read()

    def _fetch(self, name: str) -> None:
        self.attempt(partial(self._start, name), group="setup-model", exclusive=True)

    async def _start(self, name: str) -> None:
        await self._calls.download(name)
        await self.read()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "pause":
            return self._download.state in (*GOING, *STOPPED)
        if action == "bring":
            may_choose = self._status is not None and not self._status.fixed
            return may_choose and self.premises.bring is not None and not self._bringing
        return super().check_action(action, parameters)
