"""How the appliance is: processes, workers, queue and FAQ index, read once a second while seen."""

from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.timer import Timer
from textual.widgets import DataTable

from appliance.errors import SluiceError
from appliance.schema import ChildStatus, Status, WorkerStatus
from ui.answers import UNREACHABLE
from ui.background import start
from ui.client import Client
from ui.keys import key
from ui.safe_text import safe_line
from ui.screens.frame import CallFailed, SluiceScreen
from ui.texts import Texts
from ui.widgets.plain import Plain
from ui.wording import alarm_words, child_state, duration, error_words, memory, queue_lines

REFRESH_S: Final = 1.0


class StatusScreen(SluiceScreen):
    """Shows `Status`; asks for it only while it is the screen one looks at."""

    PLACE = "status"
    BINDINGS: ClassVar[list[BindingType]] = [key("r,f5", "refresh_status", "refresh")]

    def __init__(self, texts: Texts, address: str, *, client: Client) -> None:
        super().__init__(texts, address)
        self._client = client
        self._timer: Timer | None = None
        self._summary = Plain(texts.status_waiting, classes="status-line")
        self._alarms = Plain(classes="status-alarms")
        self._queue = Plain(classes="status-line")
        self._faq = Plain(classes="status-line")
        self._dead = Plain(classes="status-line")
        self._dead.display = False
        self._children: DataTable[Text] = _table("children")
        self._workers: DataTable[Text] = _table("workers")

    def compose_body(self) -> ComposeResult:
        texts = self.texts
        with VerticalScroll(id="status"):
            yield self._summary
            yield self._alarms
            yield self._queue
            yield self._faq
            yield self._dead
            yield Plain(texts.status_children, classes="status-title")
            yield self._children
            yield Plain(texts.status_workers, classes="status-title")
            yield self._workers

    def on_mount(self) -> None:
        super().on_mount()
        texts = self.texts
        for name in (
            texts.status_name,
            texts.status_state,
            texts.status_pid,
            texts.status_restarts,
            texts.status_memory,
            texts.status_uptime,
            texts.status_detail,
        ):
            self._children.add_column(Text(name))
        for name in (
            texts.status_worker,
            texts.status_slots,
            texts.status_speed,
            texts.status_model,
            texts.status_embedding,
            texts.status_device,
            texts.status_context,
            texts.status_engine,
        ):
            self._workers.add_column(Text(name))
        self._alarms.display = False
        self._timer = self.set_interval(REFRESH_S, self.action_refresh_status)

    def on_screen_resume(self) -> None:
        if self._timer is not None:
            self._timer.resume()
        self.action_refresh_status()

    def on_screen_suspend(self) -> None:
        if self._timer is not None:
            self._timer.pause()

    def on_link_restored(self) -> None:
        self.action_refresh_status()

    def action_refresh_status(self) -> None:
        if self.link_state.is_reachable:
            start(self, self._read, group="status", exclusive=True)

    async def _read(self) -> None:
        try:
            status = await self._client.status()
        except SluiceError as error:
            reason = error_words(self.texts, error).replace("\n", " ")
            self._summary.update(self.texts.status_stale.format(reason=reason))
            if error.reason == UNREACHABLE:
                self.post_message(CallFailed(error))
            return
        self._show(status)

    def _show(self, status: Status) -> None:
        texts = self.texts
        self._summary.update(
            texts.status_summary.format(
                version=safe_line(status.version, 40),
                uptime=duration(texts, status.uptime_s),
                ready=texts.status_ready if status.ready else texts.status_not_ready,
                following=status.sessions_following,
            )
        )
        self._alarms.display = bool(status.alarms)
        self._alarms.update("\n".join(alarm_words(texts, alarm) for alarm in status.alarms))
        queue = texts.status_queue_line.format(
            waiting=status.queue.waiting,
            bound=status.queue.bound,
            running=status.queue.running,
            capacity=status.queue.capacity,
        )
        self._queue.update("\n".join([queue, *queue_lines(texts, status)]))
        faq = texts.status_faq_line.format(
            entries=status.faq.entries,
            phrasings=status.faq.phrasings,
            indexed=texts.status_indexed if status.faq.indexed else texts.status_not_indexed,
        )
        detail = safe_line(status.faq.detail, 120)
        self._faq.update(f"{faq} ({detail})" if detail else faq)
        self._dead.display = bool(status.dead_letters)
        self._dead.update(texts.status_dead_line.format(count=status.dead_letters))
        self._children.clear()
        for child in status.children:
            self._children.add_row(*self._child_cells(child))
        self._workers.clear()
        for worker in status.workers:
            self._workers.add_row(*self._worker_cells(worker))

    def _child_cells(self, child: ChildStatus) -> tuple[Text, ...]:
        texts = self.texts
        colours = self.app.theme_variables
        style = {
            "ready": colours["text-success"],
            "failed": f"bold {colours['text-error']}",
            "backing_off": colours["text-warning"],
        }
        return (
            _cell(child.name, 24),
            Text(child_state(texts, child.state), style=style.get(child.state, "")),
            _number(child.pid),
            _number(child.restarts),
            Text(memory(child.rss_bytes), justify="right"),
            Text(duration(texts, child.uptime_s), justify="right"),
            _cell(child.detail, 100),
        )

    def _worker_cells(self, worker: WorkerStatus) -> tuple[Text, ...]:
        return (
            _cell(worker.id, 24),
            Text(f"{worker.busy}/{worker.slots}", justify="right"),
            Text(f"{worker.tokens_per_s:.1f}", justify="right"),
            _cell(worker.model, 40),
            _cell(worker.embedding_model, 30),
            _cell(worker.device, 60),
            _number(worker.context_tokens),
            _cell(worker.engine, 30),
        )


def _table(name: str) -> DataTable[Text]:
    return DataTable(id=name, cursor_type="none", classes="status-table")


def _cell(text: str, max_chars: int) -> Text:
    return Text(safe_line(text, max_chars), no_wrap=True)


def _number(number: int | None) -> Text:
    return Text("" if number is None else str(number), justify="right")
