"""What would happen to a question, and why: decision, scores, and the answer or the prompt.

The question stays in its field, so that one can change a word and look again; the result of an
earlier question never stays beside a newer one.
"""

from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input

from appliance.errors import SluiceError
from appliance.schema.faq import FaqTest
from appliance.schema.fields import MAX_QUESTION_CHARS
from appliance.schema.requests import ChatMessage
from ui.background import start
from ui.curating import Curating
from ui.keys import key
from ui.safe_text import safe_line
from ui.said import shortage
from ui.screens.expected import ask_expected
from ui.screens.faq_checks import saved_words
from ui.screens.frame import Dialog, explained
from ui.texts import Texts
from ui.widgets.key_bar import KeyBar
from ui.widgets.plain import LineField, Plain
from ui.wording import block


class FaqTestScreen(Dialog[None]):
    """Enter tries the question; `question` is one to begin with."""

    AUTO_FOCUS = "#faq-test-question"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("enter", "try_question", "test_question"),
        key("ctrl+s", "save_check", "save_check"),
        key("escape", "close", "close"),
        key("down", "to_outcome", "choose", show=False),
    ]

    def __init__(self, texts: Texts, *, curating: Curating, question: str = "") -> None:
        super().__init__(texts)
        self._curating = curating
        self._tried: tuple[str, FaqTest] | None = None
        self._field = LineField(id="faq-test-question", max_length=MAX_QUESTION_CHARS)
        self._field.set_text(question[:MAX_QUESTION_CHARS])
        self._field.border_title = texts.faq.test_label
        self._outcome = Plain(texts.faq.test_hint, id="faq-test-outcome")
        self._scroll = VerticalScroll(self._outcome, id="faq-test-scroll")

    def compose(self) -> ComposeResult:
        with Vertical(classes="form"):
            yield Plain(self.texts.faq.test_title, classes="dialog-title")
            yield self._field
            yield self._scroll
        yield KeyBar()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_try_question()

    def action_try_question(self) -> None:
        question = self._field.value.strip()
        self.workers.cancel_group(self, "try")
        self._keep(None)
        if not question:
            self._show(Content(self.texts.faq.test_empty))
            return
        self._show(Content(self.texts.faq.test_asking))
        start(self, partial(self._try, question), group="try", exclusive=True)

    async def _try(self, question: str) -> None:
        try:
            outcome = await self._curating.try_question(question)
        except SluiceError as error:
            self._show(Content.styled(explained(self, error), "$text-error"))
            return
        self._keep((question, outcome))
        self._show(outcome_words(self.texts, outcome))

    def _keep(self, tried: tuple[str, FaqTest] | None) -> None:
        is_other = (tried is None) != (self._tried is None)
        self._tried = tried
        if is_other:
            self.refresh_bindings()  # the footer is made anew each time, which can be seen

    def _show(self, words: Content) -> None:
        self._outcome.update(words)
        self._scroll.scroll_home(animate=False)

    # --- saving it as a check -----------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self._tried is not None if action == "save_check" else True

    def action_save_check(self) -> None:
        if self._tried is None:
            return
        question, outcome = self._tried

        def take(entry_id: str) -> None:
            start(self, partial(self._save, question, entry_id), group="save")

        ask_expected(self.app, self.texts, question=question, matches=outcome.found, take=take)

    async def _save(self, question: str, entry_id: str) -> None:
        try:
            saved = await self._curating.save_regression(question, entry_id)
        except SluiceError as error:
            self.notify(explained(self, error), severity="error", markup=False)
            return
        self.notify(saved_words(self.texts, saved), markup=False)

    def action_to_outcome(self) -> None:
        self._scroll.focus()

    def action_close(self) -> None:
        self.dismiss(None)


def outcome_words(texts: Texts, outcome: FaqTest) -> Content:
    """All that the server tells of a try, safe to show."""
    words = texts.faq
    decision = {
        "direct": words.test_direct,
        "did_you_mean": words.test_did_you_mean,
        "compose": words.test_compose,
        "no_answer": words.test_no_answer,
    }.get(outcome.decision, words.test_undecided)
    parts: list[Content] = [_title(decision)]
    if outcome.found:
        bar = outcome.calibration.direct_bar
        template = words.test_evidence_unknown if bar is None else words.test_evidence
        said = template.format(evidence=f"{outcome.evidence:.2f}", bar=f"{bar or 0:.2f}")
        parts.append(Content(said))
    if outcome.degraded:
        detail = shortage(texts, outcome.degraded, outcome.degraded_reason)
        degraded = texts.turn_degraded.format(detail=detail)
        parts.append(Content.styled(degraded, "$text-warning"))
    parts += [Content(), *_found(texts, outcome), Content()]
    if outcome.answer:
        parts += [_title(words.test_answer), Content(block(outcome.answer))]
    elif outcome.prompt:
        parts += [_title(words.test_prompt), *(_told(texts, one) for one in outcome.prompt)]
    return Content("\n").join(parts)


def _found(texts: Texts, outcome: FaqTest) -> list[Content]:
    """The closest entries, those that count for the decision marked."""
    if not outcome.found:
        return [Content(texts.faq.test_found_none)]
    used = {match.id for match in outcome.matches}
    lines = [_title(texts.faq.test_found)]
    for match in outcome.found:
        mark = "→" if match.id in used else " "
        line = f"{mark} {match.score:.2f}  {match.similarity:.2f}  {safe_line(match.question)}"
        lines.append(Content.styled(line, "" if match.id in used else "dim"))
    return lines


def _told(texts: Texts, message: ChatMessage) -> Content:
    role = {
        "system": texts.faq.role_system,
        "user": texts.faq.role_user,
        "assistant": texts.faq.role_assistant,
    }[message.role]
    return Content.assemble((f"{role}\n", "$text-accent"), block(message.content))


def _title(words: str) -> Content:
    return Content.styled(words, "bold")
