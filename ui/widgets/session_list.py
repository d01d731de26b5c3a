"""The list of sessions: title, last activity, and a mark where an answer is open or unread, or
where the next answer begins sooner because a worker has the conversation in its cache."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final

from textual.binding import BindingType
from textual.content import Content
from textual.events import Resize
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from ui.keys import key
from ui.texts import Texts

_NEW: Final = "+new"  # no session id starts with a plus sign
_MORE: Final = "+more"
_OPEN_MARK: Final = "▸ "
_UNREAD_MARK: Final = "● "
_WARM_MARK: Final = "~ "
_NO_MARK: Final = "  "


@dataclass(frozen=True)
class SessionRow:
    """One line of the list; `title` is safe and of one line."""

    id: str
    title: str
    moment: str
    has_open_answer: bool = False
    has_unread_answer: bool = False
    is_warm: bool = False


class SessionList(OptionList):
    """Shows rows, with `current` (empty for a new session) emphasised."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("delete,d", "delete_session", "delete_session"),
    ]

    @dataclass
    class Chosen(Message):
        """A session was chosen; an empty id means a new one."""

        session_id: str

    @dataclass
    class DeleteWanted(Message):
        session_id: str

    class MoreWanted(Message):
        """The person reached the end of what is loaded."""

    def __init__(self, texts: Texts) -> None:
        super().__init__(markup=False, id="sessions")
        self.border_title = texts.chat_sessions
        self._texts = texts
        self._rows: tuple[SessionRow, ...] = ()
        self._current = ""
        self._has_more = False

    def show(self, rows: Iterable[SessionRow], *, current: str, has_more: bool) -> None:
        shown = tuple(rows)
        if (shown, current, has_more) == (self._rows, self._current, self._has_more):
            return
        moved = current != self._current
        self._rows, self._current, self._has_more = shown, current, has_more
        self._draw(highlight=(current or _NEW) if moved else "")

    def on_resize(self, event: Resize) -> None:
        self._draw(highlight="")

    def _draw(self, *, highlight: str) -> None:
        width = self.scrollable_content_region.width - 1  # the marks pad the left, this the right
        if width < 1:
            return
        options = [Option(self._new_line(width), id=_NEW)]
        options += [Option(self._line(row, width), id=row.id) for row in self._rows]
        if self._has_more:
            options.append(Option(Content.styled(self._texts.chat_more_sessions, "dim"), id=_MORE))
        kept = self.highlighted_option
        top = self.scroll_y
        self.set_options(options)
        wanted = highlight or (kept.id if kept is not None and kept.id else self._current or _NEW)
        known = {option.id: index for index, option in enumerate(options)}
        self.highlighted = known.get(wanted, known.get(self._current or _NEW, 0))
        if not highlight:
            self.scroll_to(y=top, animate=False)

    def _new_line(self, width: int) -> Content:
        line = Content(f"+ {self._texts.chat_new}").truncate(width, ellipsis=True)
        return line if self._current else line.stylize("bold")

    def _line(self, row: SessionRow, width: int) -> Content:
        mark = _NO_MARK
        if row.has_open_answer:
            mark = _OPEN_MARK
        elif row.has_unread_answer:
            mark = _UNREAD_MARK
        elif row.is_warm:
            mark = _WARM_MARK
        room = max(1, width - len(mark) - len(row.moment) - 1)
        title = Content(row.title).truncate(room, ellipsis=True)
        title = title.pad_right(max(0, room - title.cell_length))
        if row.id == self._current:
            title = title.stylize("bold")
        return Content.assemble(
            (mark, "$text-warning" if row.has_open_answer else "$text-success"),
            title,
            " ",
            (row.moment, "dim"),
        )

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_id == _MORE:
            self.post_message(self.MoreWanted())
        else:
            chosen = event.option_id or _NEW
            self.post_message(self.Chosen("" if chosen == _NEW else chosen))

    def action_delete_session(self) -> None:
        option = self.highlighted_option
        if option is not None and option.id not in (None, _NEW, _MORE):
            self.post_message(self.DeleteWanted(str(option.id)))
