"""One turn: the question, the answer as it grows, its FAQ sources, and how it stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.events import Click
from textual.message import Message

from appliance.schema.answers import Match
from ui.attachments import split
from ui.safe_text import safe_line
from ui.said import shortage
from ui.texts import Texts
from ui.turns import LiveTurn
from ui.widgets.answer import Answer
from ui.widgets.plain import Plain
from ui.wording import block, ending, stages, trouble

QUESTION_LINES_MAX: Final = 20


class TurnView(Vertical):
    """Shows one `LiveTurn`; `show` takes the next state of the same turn."""

    @dataclass
    class Pointed(Message):
        """The person clicked on a turn."""

        turn: LiveTurn

    @dataclass
    class SourceWanted(Message):
        """The person wants to read a FAQ entry behind the answer."""

        match: Match

    @dataclass
    class QuestionWanted(Message):
        """The person picked a question to ask next."""

        question: str

    def __init__(self, texts: Texts, turn: LiveTurn) -> None:
        super().__init__()
        self._texts = texts
        self._turn = turn
        self._question = Plain(_question(texts, turn), classes="question")
        self.answer = Answer(
            turn.answer, sources=len(turn.matches), is_sketch=bool(turn.answer) and not turn.is_open
        )
        self._sources = PickableLines(classes="sources")
        self._standing = Plain(classes="standing")
        self._next = PickableLines(classes="suggestions")
        self._draw()

    def compose(self) -> ComposeResult:
        yield self._question
        yield self.answer
        yield self._sources
        yield self._standing
        yield self._next

    @property
    def turn(self) -> LiveTurn:
        return self._turn

    def show(self, turn: LiveTurn) -> None:
        """A change in nothing but the answer touches nothing else."""
        before, self._turn = self._turn, turn
        if (turn.answer, turn.is_open) != (before.answer, before.is_open):
            self.answer.show(turn.answer, is_final=not turn.is_open, sources=len(turn.matches))
        if _way(turn) != _way(before):
            self._draw()

    def source(self, number: int) -> Match | None:
        """The FAQ entry that `[number]` cites."""
        matches = self._turn.matches
        return matches[number - 1] if 1 <= number <= len(matches) else None

    def wish(self, number: int) -> "SourceWanted | QuestionWanted | None":
        """What `[number]` stands for: a question where entries are to pick from, else an entry.

        Whoever heard of it posts it: what a parent has its child post does not bubble.
        """
        match = self.source(number)
        if match is None:
            return None
        is_choice = bool(self._turn.choices)
        return self.QuestionWanted(match.question) if is_choice else self.SourceWanted(match)

    def _pick(self, number: int) -> None:
        wish = self.wish(number)
        if wish is not None:
            self.post_message(wish)

    def _draw(self) -> None:
        """An answer that only lists the entries to pick from gives way to the entries."""
        turn = self._turn
        self.answer.display = bool(turn.answer) and not turn.choices
        sources = _sources(self._texts, turn)
        self._sources.show(sources, before=len(sources) - len(turn.matches))
        self._next.show(_suggestions(self._texts, turn), before=1)
        self._standing.update(_standing(self._texts, turn))

    def on_click(self, event: Click) -> None:
        event.stop()
        self.post_message(self.Pointed(self._turn))

    def on_answer_cited(self, message: Answer.Cited) -> None:
        message.stop()
        self._pick(message.number)

    def on_pickable_lines_picked(self, message: "PickableLines.Picked") -> None:
        message.stop()
        if message.lines is self._sources:
            self._pick(message.number)
        elif message.number <= len(self._turn.suggestions):
            self.post_message(self.QuestionWanted(self._turn.suggestions[message.number - 1]))


class PickableLines(Plain):
    """Lines of one row each; a click picks one, counted from 1 after those before."""

    @dataclass
    class Picked(Message):
        lines: "PickableLines"
        number: int

    def __init__(self, *, classes: str) -> None:
        super().__init__(classes=classes)
        self._lines_before = 0

    def show(self, lines: Sequence[Content], *, before: int) -> None:
        """The first `before` lines cannot be picked."""
        self._lines_before = before
        self.update(Content("\n").join(lines))
        self.display = bool(lines)

    def on_click(self, event: Click) -> None:
        number = event.y - self._lines_before + 1
        if number >= 1:
            event.stop()
            self.post_message(self.Picked(self, number))


def _sources(texts: Texts, turn: LiveTurn) -> list[Content]:
    lines: list[Content] = []
    if turn.degraded:
        detail = shortage(texts, turn.degraded, turn.degraded_reason)
        words = texts.turn_degraded.format(detail=detail)
        lines.append(Content.styled(words, "$text-warning"))
    if turn.matches:
        title = texts.chat.did_you_mean if turn.choices else texts.turn_sources
        lines.append(Content.styled(title, "bold" if turn.choices else "dim"))
    for number, match in enumerate(turn.matches, 1):
        arrow = "→ " if turn.choices else ""
        mark = Content.styled(f"  {arrow}[{number}] {match.score:.2f}  ", "$text-accent")
        lines.append(Content.assemble(mark, safe_line(match.question)))
    return lines


def _suggestions(texts: Texts, turn: LiveTurn) -> list[Content]:
    if not turn.suggestions:
        return []
    lines = [Content.styled(texts.chat.suggestions, "dim")]
    mark = ("  → ", "$text-accent")
    return lines + [Content.assemble(mark, safe_line(one)) for one in turn.suggestions]


def _question(texts: Texts, turn: LiveTurn) -> str:
    """The question with a line for each file that came with it; a long one is cut."""
    asked = split(turn.question)
    lines = block(asked.question).split("\n")
    if len(lines) > QUESTION_LINES_MAX:
        rest = len(lines) - QUESTION_LINES_MAX
        lines = [*lines[:QUESTION_LINES_MAX], texts.chat.question_cut.format(count=rest)]
    for one in asked.attachments:
        name = safe_line(one.name, 80)
        lines.append(f"+ {texts.chat.asked_with_files.format(name=name, lines=one.lines)}")
    return "\n".join(lines)


def _way(turn: LiveTurn) -> tuple[object, ...]:
    """What the lines below the answer show while it is made."""
    waits = (turn.place, turn.eta_s, turn.percent)
    marks = (turn.interrupted, turn.cancelling, turn.suggestions, turn.thumb)
    return (turn.phase, turn.decision, *waits, *marks)


def _standing(texts: Texts, turn: LiveTurn) -> Content:
    """How the turn stands, and on a line of its own the thumb that was given."""
    if turn.is_open:
        way = stages(texts, turn)
        passed = Content.styled("".join(f"✓ {stage}  " for stage in way.passed), "dim")
        return passed + Content.styled(f"▸ {way.now}", "bold $text-accent")
    problem = trouble(texts, turn)
    if problem is None:
        told = Content.styled(f"✓ {ending(texts, turn)}", "dim")
    else:
        said = problem.title
        if problem.reason:
            said = texts.error_with_reason.format(title=problem.title, reason=problem.reason)
        told = Content.assemble(
            (f"✗ {said}", f"bold $text-{problem.severity}"), "\n  ", problem.next_step
        )
    if turn.thumb == "none":
        return told
    thumb = texts.chat.thumb_up if turn.thumb == "up" else texts.chat.thumb_down
    return Content.assemble(told, "\n  ", (thumb, "bold"))
