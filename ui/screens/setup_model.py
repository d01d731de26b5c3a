"""The first start's question for a model: what fits this machine, its download, its use."""

import time
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType

from appliance.schema.setup import DownloadStatus, SetupModel, SetupStatus
from ui.keys import key
from ui.safe_text import safe_line
from ui.screens.frame import LinkDoubted
from ui.screens.polled import Polled
from ui.screens.setup import Premises, SetupStep
from ui.setup_wording import (
    GOING,
    download_line,
    machine_line,
    prospects,
    rate,
    weights_state,
)
from ui.widgets.plain import Plain
from ui.widgets.tables import RecordTable, cell, number
from ui.wording import memory


class ModelStep(Polled, SetupStep):
    """Which model answers. Enter does what is next for the one marked."""

    STEP = "model"
    AUTO_FOCUS = "#setup-models"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("enter", "take", "take", priority=True),
        key("p", "pause", "pause"),
    ]

    def __init__(self, premises: Premises) -> None:
        super().__init__(premises)
        words = self.words
        self._calls = premises.calls
        self._status: SetupStatus | None = None
        self._taking = ""
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

    # --- what is so -------------------------------------------------------------------------

    async def read(self) -> None:
        self._show(await self._calls.status())

    def say_stale(self, words: str) -> None:
        self.say(self.words.taking.format(name=self._taking) if self._taking else words)

    def _show(self, status: SetupStatus) -> None:
        first, self._status = self._status is None, status
        self._machine.update(machine_line(self.texts, status.machine))
        self._table.show([(model.name, self._cells(model)) for model in status.models])
        if first:
            wanted = [model.name for model in status.models if model.recommended]
            wanted += [model.name for model in status.models if model.chosen]
            self._table.point_at(next(iter(wanted), ""))
        self._settle(status)
        self._show_pointed()
        self.say("\n".join(part for part in (self._standing(status), self._progress()) if part))
        self.refresh_bindings()

    def _settle(self, status: SetupStatus) -> None:
        """Whether the model that was chosen is in use, or why not."""
        if not self._taking or status.restarting:
            return
        if status.chat == self._taking:
            self._outcome = self.words.taken.format(name=safe_line(self._taking, 60))
        elif status.trouble:
            self._outcome = self.words.trouble.format(reason=safe_line(status.trouble, 300))
        self._taking = ""
        self.post_message(LinkDoubted())

    def _standing(self, status: SetupStatus) -> str:
        if self._taking:
            return self.words.taking.format(name=safe_line(self._taking, 60))
        if status.fixed:
            return self.words.fixed.format(reason=safe_line(status.fixed, 200))
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
        return download_line(self.texts, download, left_s)

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
        words = prospects(self.texts, model, self._download) if model is not None else ""
        self._detail.update(words)

    # --- what the person does ---------------------------------------------------------------

    def on_data_table_row_selected(self) -> None:
        self.action_take()

    def action_take(self) -> None:
        model = self._pointed
        if model is None or self._taking:
            return
        if model.chosen:
            self.go_on()
        elif model.state == "here":
            self.attempt(partial(self._choose, model.name), group="setup-model", exclusive=True)
        elif not model.obstacle:
            self._fetch(model.name)

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
        elif download.state in ("paused", "failed"):
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
            return self._download.state in (*GOING, "paused", "failed")
        return super().check_action(action, parameters)
