"""The server's last log lines, with a filter; new ones come while one looks."""

from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.timer import Timer
from textual.widgets import Input

from appliance.schema.logs import LogLevel, LogLine, LogPage
from ui.clock import Clock
from ui.keys import key
from ui.operating import Operating
from ui.screens.polled import PolledScreen
from ui.screens.reader import Reader
from ui.texts import Texts
from ui.widgets.plain import LineField, Plain
from ui.widgets.tables import RecordTable, cell
from ui.wording import block, level_word, second

LINES_MAX: Final = 500
FILTER_DELAY_S: Final = 0.25
_LEVELS: Final[tuple[LogLevel, ...]] = ("debug", "info", "warning", "error")


class LogsScreen(PolledScreen):
    """The newest lines at the end, where the cursor stays while it stands there."""

    PLACE = "logs"
    AUTO_FOCUS = "#logs"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("slash,ctrl+f", "search", "search"),
        key("escape", "leave_search", "leave_search", show=False),
        key("v", "level", "level"),
        key("enter", "open_line", "open_line"),
        key("r", "refresh_status", "refresh"),
    ]

    def __init__(self, texts: Texts, address: str, *, operating: Operating, clock: Clock) -> None:
        super().__init__(texts, address)
        self._operating = operating
        self._clock = clock
        self._level: LogLevel = "info"
        self._lines: dict[str, LogLine] = {}
        self._filter: tuple[LogLevel, str] = ("info", "")  # that the lines passed
        self._last = 0  # the number of the newest line that was asked for
        self._timer_of_filter: Timer | None = None
        words = texts.operate
        self._field = LineField(id="logs-filter", placeholder=words.logs_filter, compact=True)
        self._note = Plain(texts.status_waiting, classes="place-note")
        titles = (words.logs_time, words.logs_level, words.logs_from, words.logs_message)
        self._table = RecordTable("logs", titles, pointing=True)

    def compose_body(self) -> ComposeResult:
        yield self._field
        yield self._note
        yield self._table

    async def read(self) -> None:
        wanted = (self._level, self._field.value.strip()[:200])
        goes_on = wanted == self._filter
        page = await self._page(wanted, self._last if goes_on else 0)
        if page.last < self._last:  # the server began anew, and its numbers too
            goes_on, page = False, await self._page(wanted, 0)
        before = list(self._lines.items()) if goes_on else []
        new = [(str(line.number), line) for line in page.items]
        lines = dict([*before, *new][-LINES_MAX:])
        self._filter, self._last = wanted, page.last
        if lines.keys() != self._lines.keys() or not self._lines:
            follows = self._table.cursor_row >= len(self._lines) - 1
            self._lines = lines
            self._table.show([(key, self._cells(line)) for key, line in lines.items()])
            if follows and lines:
                self._table.move_cursor(row=len(lines) - 1, animate=False)
        self._say_count()

    async def _page(self, wanted: tuple[LogLevel, str], after: int) -> LogPage:
        level, words = wanted
        return await self._operating.logs(level=level, words=words, after=after, limit=LINES_MAX)

    def _say_count(self) -> None:
        words = self.texts.operate
        names = {
            "debug": words.level_debug,
            "info": words.level_info,
            "warning": words.level_warning,
            "error": words.level_error,
        }
        said = words.logs_count.format(count=len(self._lines), level=names[self._level])
        self._note.update(said if self._lines else f"{words.logs_none} {said}")

    def say_stale(self, words: str) -> None:
        self._note.update(words)

    def _cells(self, line: LogLine) -> tuple[Text, ...]:
        colours = self.app.theme_variables
        style = {"error": colours["text-error"], "warning": colours["text-warning"]}
        return (
            Text(second(line.at_ms, self._clock.zone)),
            Text(level_word(self.texts, line.level), style=style.get(line.level, "")),
            cell(line.logger.removeprefix("appliance."), 24),
            cell(line.message, 300),
        )

    def action_search(self) -> None:
        self._field.focus()

    def action_leave_search(self) -> None:
        self._field.value = ""
        self._table.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._timer_of_filter is not None:
            self._timer_of_filter.stop()
        self._timer_of_filter = self.set_timer(FILTER_DELAY_S, self.action_refresh_status)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._table.focus()

    def action_level(self) -> None:
        self._level = _LEVELS[(_LEVELS.index(self._level) + 1) % len(_LEVELS)]
        self.action_refresh_status()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action != "open_line" or not self._field.has_focus

    def on_data_table_row_selected(self) -> None:
        self.action_open_line()

    def action_open_line(self) -> None:
        line = self._lines.get(self._table.pointed)
        if line is not None:
            title = f"{second(line.at_ms, self._clock.zone)}  {level_word(self.texts, line.level)}"
            text = f"{block(line.logger)}\n\n{block(line.message)}"
            self.app.push_screen(Reader(self.texts, title=title, text=text))
