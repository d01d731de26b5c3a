"""One turn: the question, the answer as it grows, its FAQ sources, and how it stands."""

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content

from ui.safe_text import safe_line
from ui.texts import Texts
from ui.turns import LiveTurn
from ui.widgets.answer import Answer
from ui.widgets.plain import Plain
from ui.wording import block, ending, stages, trouble


class TurnView(Vertical):
    """Shows one `LiveTurn`; `show` takes the next state of the same turn."""

    def __init__(self, texts: Texts, turn: LiveTurn) -> None:
        super().__init__()
        self._texts = texts
        self._turn = turn
        self._question = Plain(block(turn.question), classes="question")
        self.answer = Answer(turn.answer)
        self._sources = Plain(classes="sources")
        self._standing = Plain(classes="standing")
        self._draw()

    def compose(self) -> ComposeResult:
        yield self._question
        yield self.answer
        yield self._sources
        yield self._standing

    @property
    def turn(self) -> LiveTurn:
        return self._turn

    def show(self, turn: LiveTurn) -> None:
        """A change in nothing but the answer touches nothing else."""
        before, self._turn = self._turn, turn
        if (turn.answer, turn.is_open) != (before.answer, before.is_open):
            self.answer.show(turn.answer, is_final=not turn.is_open)
        same = (turn.phase, turn.place, turn.eta_s, turn.interrupted, turn.cancelling)
        if same != (
            before.phase,
            before.place,
            before.eta_s,
            before.interrupted,
            before.cancelling,
        ):
            self._draw()

    def _draw(self) -> None:
        turn = self._turn
        self.answer.display = bool(turn.answer)
        sources = _sources(self._texts, turn)
        self._sources.update(sources)
        self._sources.display = bool(sources)
        self._standing.update(_standing(self._texts, turn))


def _sources(texts: Texts, turn: LiveTurn) -> Content:
    lines: list[Content] = []
    if turn.degraded:
        words = texts.turn_degraded.format(detail=safe_line(turn.degraded, 200))
        lines.append(Content.styled(words, "$text-warning"))
    if turn.matches:
        lines.append(Content.styled(texts.turn_sources, "dim"))
    for match in turn.matches:
        score = Content.styled(f"  {match.score:.2f}  ", "$text-accent")
        lines.append(Content.assemble(score, safe_line(match.question)))
    return Content("\n").join(lines)


def _standing(texts: Texts, turn: LiveTurn) -> Content:
    if turn.is_open:
        way = stages(texts, turn)
        passed = Content.styled("".join(f"✓ {stage}  " for stage in way.passed), "dim")
        return passed + Content.styled(f"▸ {way.now}", "bold $text-accent")
    problem = trouble(texts, turn)
    if problem is None:
        return Content.styled(f"✓ {ending(texts, turn)}", "dim")
    said = problem.title
    if problem.reason:
        said = texts.error_with_reason.format(title=problem.title, reason=problem.reason)
    return Content.assemble(
        (f"✗ {said}", f"bold $text-{problem.severity}"), "\n  ", problem.next_step
    )
