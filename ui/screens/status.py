"""How the appliance is: processes, workers, queue and FAQ index, read once a second while seen."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll

from appliance.schema.status import ChildStatus, Status, WorkerStatus
from ui.client import Client
from ui.drafts import Drafts
from ui.keys import key
from ui.operating import Operating
from ui.safe_text import safe_line
from ui.said import shortage
from ui.screens.polled import PolledScreen
from ui.screens.settings_desk import SettingsDesk
from ui.texts import Texts
from ui.widgets.plain import Plain
from ui.widgets.tables import RecordTable, cell, number
from ui.widgets.trend import Trend
from ui.wording import alarm_words, child_state, duration, memory, queue_lines


class StatusScreen(PolledScreen):
    """Shows `Status`."""

    PLACE = "status"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("s", "show_settings", "show_settings"),
        key("r", "refresh_status", "refresh"),
    ]

    def __init__(
        self, texts: Texts, address: str, *, client: Client, operating: Operating, drafts: Drafts
    ) -> None:
        super().__init__(texts, address)
        self._client = client
        self._operating = operating
        self._drafts = drafts
        self._summary = Plain(texts.status_waiting, classes="status-line")
        self._alarms = Plain(classes="status-alarms")
        self._alarms.display = False
        self._tokens_trend = Trend(texts.operate.trend_tokens)
        self._running_trend = Trend(texts.operate.trend_running)
        self._waiting_trend = Trend(texts.operate.trend_waiting)
        self._queue = Plain(classes="status-line")
        self._faq = Plain(classes="status-line")
        self._dead = Plain(classes="status-line")
        self._dead.display = False
        self._children = RecordTable("children", _child_titles(texts))
        self._workers = RecordTable("workers", _worker_titles(texts))

    def compose_body(self) -> ComposeResult:
        texts = self.texts
        with VerticalScroll(id="status"):
            yield self._summary
            yield self._alarms
            with Horizontal(id="trends"):
                yield self._tokens_trend
                yield self._running_trend
                yield self._waiting_trend
            yield self._queue
            yield self._faq
            yield self._dead
            yield Plain(texts.status_workers, classes="status-title")
            yield self._workers
            yield Plain(texts.status_children, classes="status-title")
            yield self._children

    async def read(self) -> None:
        self._show(await self._client.status())

    def action_show_settings(self) -> None:
        desk = SettingsDesk(self.texts, operating=self._operating, drafts=self._drafts)
        self.app.push_screen(desk)

    def say_stale(self, words: str) -> None:
        self._summary.update(words)

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
        detail = shortage(texts, status.faq.detail, status.faq.reason)
        self._faq.update(f"{faq} ({detail})" if detail else faq)
        self._dead.display = bool(status.dead_letters)
        self._dead.update(texts.status_dead_line.format(count=status.dead_letters))
        self._children.show([(one.name, self._child_cells(one)) for one in status.children])
        self._workers.show([(one.id, self._worker_cells(one)) for one in status.workers])
        self._push(status)

    def _push(self, status: Status) -> None:
        tokens = sum(worker.tokens_per_s for worker in status.workers)
        queue = status.queue
        self._tokens_trend.push(tokens, f"{tokens:.1f}")
        self._running_trend.push(queue.running, f"{queue.running}/{queue.capacity}")
        self._waiting_trend.push(queue.waiting, f"{queue.waiting}/{queue.bound}")

    def _child_cells(self, child: ChildStatus) -> tuple[Text, ...]:
        texts = self.texts
        colours = self.app.theme_variables
        style = {
            "ready": colours["text-success"],
            "failed": f"bold {colours['text-error']}",
            "backing_off": colours["text-warning"],
        }
        return (
            cell(child.name, 24),
            Text(child_state(texts, child.state), style=style.get(child.state, "")),
            number(child.pid),
            number(child.restarts),
            Text(memory(child.rss_bytes), justify="right"),
            Text(duration(texts, child.uptime_s), justify="right"),
            cell(child.detail, 100),
        )

    def _worker_cells(self, worker: WorkerStatus) -> tuple[Text, ...]:
        cache = worker.cache_tokens
        used = round(100 * worker.used_cells / cache) if cache else 0
        name = worker.id
        if worker.state == "draining":
            name = self.texts.operate.worker_draining.format(id=safe_line(worker.id, 24))
        return (
            cell(name, 40),
            number(f"{worker.busy}/{worker.slots}"),
            number(f"{worker.tokens_per_s:.1f}"),
            number(f"{used} %" if cache else None),
            number(len(worker.warm)),
            cell(worker.model, 40),
            cell(worker.embedding_model, 30),
            cell(worker.device, 60),
            number(worker.context_tokens),
            cell(worker.engine, 30),
        )


def _child_titles(texts: Texts) -> tuple[str, ...]:
    return (
        texts.status_name,
        texts.status_state,
        texts.status_pid,
        texts.status_restarts,
        texts.status_memory,
        texts.status_uptime,
        texts.status_detail,
    )


def _worker_titles(texts: Texts) -> tuple[str, ...]:
    return (
        texts.status_worker,
        texts.status_slots,
        texts.status_speed,
        texts.operate.worker_cache,
        texts.operate.worker_warm,
        texts.status_model,
        texts.status_embedding,
        texts.status_device,
        texts.status_context,
        texts.status_engine,
    )
