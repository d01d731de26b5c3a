"""The models one may ask for: their state and memory, loading and unloading."""

from functools import partial
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType

from appliance.errors import NotFound, Unauthorized
from appliance.schema.setup import DownloadStatus
from appliance.schema.status import ModelStatus
from ui.keys import key
from ui.operating import Operating
from ui.safe_text import safe_line
from ui.screens.dialogs import Confirm, Question
from ui.screens.polled import PolledScreen
from ui.setting_up import SettingUp
from ui.setup_wording import GOING, download_line
from ui.texts import Texts
from ui.widgets.plain import Plain
from ui.widgets.tables import RecordTable, cell, number
from ui.wording import memory, model_standing, model_state

_LOADABLE = ("on_disk", "failed")


class ModelsScreen(PolledScreen):
    """Shows every model with its state."""

    PLACE = "models"
    AUTO_FOCUS = "#models"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("l,enter", "load_model", "load_model"),
        key("u,delete", "unload_model", "unload_model"),
        key("d", "download", "download"),
        key("p", "pause", "pause"),
        key("r", "refresh_status", "refresh"),
    ]

    def __init__(
        self, texts: Texts, address: str, *, operating: Operating, setting_up: SettingUp
    ) -> None:
        super().__init__(texts, address)
        self._operating = operating
        self._setting_up = setting_up
        self._download = DownloadStatus()
        self._follows_download = True
        self._models: dict[str, ModelStatus] = {}
        self._pointed = ""
        self._note = Plain(texts.status_waiting, classes="place-note")
        self._about = Plain(id="model-about")
        self._arriving = Plain(id="model-download")
        words = texts.operate
        self._table = RecordTable(
            "models",
            (words.models_name, words.models_state, words.models_size, words.models_memory),
            pointing=True,
        )

    def compose_body(self) -> ComposeResult:
        yield self._note
        yield self._table
        yield self._arriving
        yield self._about

    async def read(self) -> None:
        models = (await self._operating.models()).items
        before = {name: model.state for name, model in self._models.items()}
        self._models = {model.name: model for model in models}
        self._table.show([(model.name, self._cells(model)) for model in models])
        self._show_pointed()
        loaded = [model for model in models if model.state == "loaded"]
        taken = memory(sum(model.memory_bytes for model in loaded)) or "0 MB"
        words = self.texts.operate.models_count
        self._note.update(words.format(count=len(models), loaded=len(loaded), memory=taken))
        went = self._download.state
        await self._read_download()
        if before != {name: model.state for name, model in self._models.items()} or (
            went != self._download.state
        ):
            self.refresh_bindings()  # the footer is made anew each time, which can be seen

    async def _read_download(self) -> None:
        """How far the weights are that are being fetched; asked for only while some are."""
        if not self._follows_download:
            return
        try:
            self._download = (await self._setting_up.status()).download
        except (Unauthorized, NotFound):
            self._download = DownloadStatus()  # not the operator, who alone may fetch
        self._follows_download = self._download.state in GOING
        self._arriving.update(download_line(self.texts, self._download, None))

    def say_stale(self, words: str) -> None:
        self._note.update(words)

    def _cells(self, model: ModelStatus) -> tuple[Text, ...]:
        colours = self.app.theme_variables
        style = {
            "loaded": colours["text-success"],
            "failed": f"bold {colours['text-error']}",
            "loading": colours["text-warning"],
        }
        return (
            cell(model.name, 50),
            Text(model_state(self.texts, model), style=style.get(model.state, "")),
            number(memory(model.size_bytes)),
            number(memory(model.memory_bytes)),
        )

    def action_load_model(self) -> None:
        model = self._models.get(self._table.pointed)
        if model is not None:
            self.attempt(partial(self._load, model.name), group="model")

    def on_data_table_row_selected(self) -> None:
        self.action_load_model()

    async def _load(self, name: str) -> None:
        await self._operating.load_model(name)
        await self.read()

    def action_unload_model(self) -> None:
        model = self._models.get(self._table.pointed)
        if model is None:
            return
        words = self.texts.operate
        question = Question(
            words.models_unload_title,
            words.models_unload_body.format(name=safe_line(model.name, 60)),
            yes=words.models_unload_yes,
            no=self.texts.cancel,
        )

        def unload(agreed: bool | None) -> None:
            if agreed:
                self.attempt(partial(self._unload, model.name), group="model")

        self.app.push_screen(Confirm(self.texts, question), unload)

    async def _unload(self, name: str) -> None:
        await self._operating.unload_model(name)
        await self.read()

    def action_download(self) -> None:
        model = self._models.get(self._table.pointed)
        if model is not None:
            self._fetch(model.name)

    def action_pause(self) -> None:
        """Pauses what is being downloaded, or goes on with what was."""
        if self._download.state in GOING:
            self.attempt(self._pause, group="model")
        else:
            self._fetch(self._download.name)

    def _fetch(self, name: str) -> None:
        self.attempt(partial(self._start, name), group="model")

    async def _start(self, name: str) -> None:
        await self._setting_up.download(name)
        self._follows_download = True
        await self.read()

    async def _pause(self) -> None:
        await self._setting_up.pause_download()
        self._follows_download = True
        await self.read()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        model = self._models.get(self._table.pointed)
        if action == "load_model":
            return model is not None and model.state in _LOADABLE
        if action == "download":
            return model is not None and model.state == "absent"
        if action == "pause":
            return self._download.state in (*GOING, "paused", "failed")
        if action == "unload_model":
            return model is not None and model.state == "loaded"
        return True

    def on_data_table_row_highlighted(self) -> None:
        if self._table.pointed != self._pointed:
            self._pointed = self._table.pointed
            self._show_pointed()
            self.refresh_bindings()

    def _show_pointed(self) -> None:
        model = self._models.get(self._table.pointed)
        self._about.update(model_standing(self.texts, model) if model is not None else "")
