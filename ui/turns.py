"""What is known of one turn: the stored record, or the events folded over it so far.

Pure and immutable: `advance` takes a turn and an event and returns the next turn, so a
conversation on screen is a fold over its event streams. Texts are kept as they came; they are
made safe where they are shown. Events after the terminal one change nothing.
"""

from dataclasses import dataclass, field, replace
from typing import Final, Literal

from appliance.schema.answers import Decision, Match, Timings, Usage
from appliance.schema.conversations import Turn
from appliance.schema.curation import Thumb
from appliance.schema.events import (
    Admitted,
    Cancelled,
    Delta,
    Done,
    Event,
    Failed,
    Loading,
    Received,
    Refused,
    Retrieved,
    Waiting,
)
from appliance.schema.requests import TERMINAL_STATES

MAX_SHOWN_CHARS: Final = 400_000

Phase = Literal[
    "sent",
    "received",
    "loading",
    "waiting",
    "admitted",
    "retrieved",
    "answering",
    "done",
    "failed",
    "refused",
    "cancelled",
    "lost",
]
_ENDS: Final = ("done", "failed", "refused", "cancelled", "lost")


@dataclass(frozen=True, kw_only=True)
class LiveTurn:
    """A turn as it stands now.

    `has_searched` tells whether the FAQ was asked, whatever it found.
    `phase` "lost" means that its events could not be followed to the end; the answer may exist.
    `timings` is None for a turn read from the store, which does not keep them.
    """

    id: str
    question: str
    created_at_ms: int
    phase: Phase = "sent"
    answer: str = ""
    model: str = ""
    percent: int = 0
    place: int = 0
    eta_s: float | None = None
    has_searched: bool = False
    matches: tuple[Match, ...] = ()
    degraded: str = ""
    degraded_reason: str = ""
    decision: Decision | Literal[""] = ""
    finish_reason: str = ""
    usage: Usage = field(default_factory=Usage)
    timings: Timings | None = None
    message: str = ""
    hint: str = ""
    reason: str = ""
    retry_after_s: float | None = None
    suggestions: tuple[str, ...] = ()
    thumb: Thumb = "none"
    cancelling: bool = False
    interrupted: bool = False

    @property
    def is_open(self) -> bool:
        return self.phase not in _ENDS

    @property
    def has_answer(self) -> bool:
        """Whether there is an answer that grows no more."""
        return bool(self.answer) and not self.is_open

    @property
    def choices(self) -> tuple[Match, ...]:
        """The entries to pick from where the FAQ could not tell which one is meant."""
        return self.matches if self.decision == "did_you_mean" else ()


def from_store(turn: Turn) -> LiveTurn:
    """An open turn starts empty: its events tell everything from the beginning."""
    if turn.state not in TERMINAL_STATES:
        return LiveTurn(id=turn.id, question=turn.question, created_at_ms=turn.created_at_ms)
    phases: dict[str, Phase] = {
        "done": "done",
        "failed": "failed",
        "refused": "refused",
        "cancelled": "cancelled",
    }
    return LiveTurn(
        id=turn.id,
        question=turn.question,
        created_at_ms=turn.created_at_ms,
        phase=phases[turn.state],
        answer=turn.answer[:MAX_SHOWN_CHARS],
        matches=turn.matches,
        decision=turn.decision,
        usage=turn.usage,
        thumb=turn.thumb,
    )


def advance(turn: LiveTurn, event: Event) -> LiveTurn:
    """The turn after one event of its request."""
    if not turn.is_open:
        return turn
    match event:
        case Received(created_at_ms=created_at_ms):
            return replace(turn, phase="received", created_at_ms=created_at_ms)
        case Loading(model=model, percent=percent):
            return replace(turn, phase="loading", model=model, percent=percent)
        case Waiting(place=place, eta_s=eta_s):
            return replace(turn, phase="waiting", place=place, eta_s=eta_s)
        case Admitted():
            return replace(turn, phase="admitted", place=0, eta_s=None)
        case Retrieved(matches=matches, degraded=degraded, decision=decision):
            return replace(
                turn,
                phase="retrieved",
                has_searched=True,
                matches=matches,
                degraded=degraded,
                degraded_reason=event.degraded_reason,
                decision=decision,
            )
        case Delta(text=text):
            room = MAX_SHOWN_CHARS - len(turn.answer)
            return replace(turn, phase="answering", answer=turn.answer + text[:room])
        case _:
            return _finish(turn, event)


def _finish(turn: LiveTurn, event: Event) -> LiveTurn:
    ended = replace(turn, interrupted=False, cancelling=False)
    match event:
        case Done(finish_reason=finish_reason, usage=usage, timings=timings):
            return replace(
                ended, phase="done", finish_reason=finish_reason, usage=usage, timings=timings
            )
        case Failed(reason=reason, message=message, hint=hint):
            return replace(ended, phase="failed", reason=reason, message=message, hint=hint)
        case Refused(reason=reason, message=message, retry_after_s=retry_after_s):
            return replace(
                ended,
                phase="refused",
                reason=reason,
                message=message,
                retry_after_s=retry_after_s,
            )
        case Cancelled(reason=reason, usage=usage):
            return replace(ended, phase="cancelled", reason=reason, usage=usage)
        case _:
            return turn


def merge(known: tuple[LiveTurn, ...], stored: tuple[Turn, ...]) -> tuple[LiveTurn, ...]:
    """Known turns, refreshed by the store's latest page: what ended here keeps its details,
    but for the thumb, which may have been given elsewhere.

    The result is in the store's order; known turns older than the page come first, and turns
    that were sent from here and are not in the page yet come last.
    """
    by_id = {turn.id: turn for turn in known}
    fresh: list[LiveTurn] = []
    for record in stored:
        mine = by_id.pop(record.id, None)
        ended_there = record.state in TERMINAL_STATES
        keep = mine is not None and mine.phase != "lost" and not (mine.is_open and ended_there)
        if mine is not None and keep:
            same = mine.thumb == record.thumb
            fresh.append(mine if same else replace(mine, thumb=record.thumb))
        else:
            fresh.append(from_store(record))
    first_ms = stored[0].created_at_ms if stored else 0
    older = [turn for turn in by_id.values() if turn.created_at_ms < first_ms]
    newer = [turn for turn in by_id.values() if turn.created_at_ms >= first_ms]
    return (*older, *fresh, *newer)
