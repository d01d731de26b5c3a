"""Turns states into the words a person reads; pure, in the language of the `Texts` given.

Texts of the server that are woven in are made safe here, so what comes out can be shown.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final, Literal

from appliance.errors import Forbidden, SluiceError
from appliance.schema.conversations import Session
from appliance.schema.inbox import InboxMessage
from appliance.schema.logs import LogLevel
from appliance.schema.people import KEY_EXPIRED
from appliance.schema.status import Alarm, Limit, ModelStatus, Status
from ui.answers import UNREACHABLE
from ui.link import FOREIGN_HOST, LinkState
from ui.safe_text import safe_line, safe_text
from ui.said import alarm_said, error_said, failure_said
from ui.texts import Texts
from ui.turns import LiveTurn

MODELS_PART: Final = "models: "
_FORBIDDEN: Final = "forbidden"
_NO_BREAK: Final = "\u00a0"
_BYTES_PER_MB: Final = 1_000_000
_BYTES_PER_GB: Final = 1_000_000_000


@dataclass(frozen=True)
class Stages:
    """What lies behind a running turn, and where it is now."""

    passed: tuple[str, ...]
    now: str


@dataclass(frozen=True)
class Trouble:
    """How a turn ended badly: what happened, why, and what can be done."""

    severity: Literal["error", "warning"]
    title: str
    reason: str
    next_step: str


def stages(texts: Texts, turn: LiveTurn) -> Stages:
    """The way of an open turn: received, loading, waiting, admitted, FAQ, answering."""
    if turn.interrupted:
        return Stages((), texts.turn_reconnecting)
    found = len(turn.matches)
    searched = texts.turn_retrieved.format(count=found) if found else texts.turn_retrieved_none
    passed = [texts.turn_received, texts.turn_admitted]
    if turn.has_searched:
        passed.append(searched)
    match turn.phase:
        case "sent":
            way = [texts.turn_sent]
        case "received":
            way = [texts.turn_received]
        case "loading":
            loading = texts.turn_loading.format(
                model=safe_line(turn.model, 60), percent=turn.percent
            )
            way = [texts.turn_received, loading]
        case "waiting":
            way = [texts.turn_received, _waiting(texts, turn)]
        case "answering":
            way = [*passed, texts.turn_answering]
        case _:
            way = passed
    if turn.cancelling:
        way.append(texts.turn_stopping)
    return Stages(tuple(way[:-1]), way[-1])


def _waiting(texts: Texts, turn: LiveTurn) -> str:
    place = ordinal(texts, turn.place)
    if turn.eta_s is None:
        return texts.turn_waiting.format(place=place)
    return texts.turn_waiting_eta.format(place=place, eta=duration(texts, turn.eta_s))


def ending(texts: Texts, turn: LiveTurn) -> str:
    """The closing line of a finished turn: how it finished, length, speed, first word."""
    parts = [texts.turn_cut if turn.finish_reason == "length" else texts.turn_finished]
    decided = {
        "direct": texts.chat.decided_direct,
        "no_answer": texts.chat.decided_no_answer,
        "person_asked": texts.chat.decided_person_asked,
        "person": texts.chat.decided_person,
    }.get(turn.decision, "")
    if decided:
        parts.append(decided)
    if turn.usage.completion_tokens:
        parts.append(texts.turn_tokens.format(count=turn.usage.completion_tokens))
    if turn.timings is not None and turn.timings.tokens_per_s > 0:
        rate = turn.timings.tokens_per_s
        parts.append(texts.turn_rate.format(rate=f"{rate:.1f}" if rate < 100 else f"{rate:.0f}"))
    if turn.timings is not None and turn.timings.first_token_ms:
        wait = duration(texts, turn.timings.first_token_ms / 1000)
        parts.append(texts.turn_first_word.format(duration=wait))
    return " · ".join(part.replace(" ", _NO_BREAK) for part in parts)


def trouble(texts: Texts, turn: LiveTurn) -> Trouble | None:
    """None for a turn that is open or ended well."""
    said = failure_said(texts, turn.reason)
    reason = said.what or safe_line(turn.message or turn.reason)
    hint = said.then or ("" if said.what else safe_line(turn.hint))
    match turn.phase:
        case "failed":
            return Trouble("error", texts.turn_failed, reason, hint or texts.turn_failed_next)
        case "refused":
            reason = refusal(texts, turn.reason) or reason
            return Trouble("warning", texts.turn_refused, reason, _retry(texts, turn))
        case "cancelled":
            return Trouble("warning", texts.turn_stopped, "", texts.turn_stopped_next)
        case "lost":
            return Trouble("error", texts.turn_lost, reason, hint or texts.turn_lost_next)
        case _:
            return None


def failed_words(texts: Texts, reason: str, message: str) -> str:
    """Why an answer under way failed, in one line."""
    return failure_said(texts, reason).what or safe_line(message)


def _retry(texts: Texts, turn: LiveTurn) -> str:
    if turn.retry_after_s is None:
        return texts.turn_refused_next
    return texts.turn_refused_retry.format(duration=duration(texts, turn.retry_after_s))


def error_words(texts: Texts, error: SluiceError) -> str:
    """What happened, with the server's own words, and what the person can do next."""
    kind = error.reason if error.reason in (UNREACHABLE, KEY_EXPIRED) else error.code
    if isinstance(error, Forbidden):
        kind = _FORBIDDEN
    titles = {
        UNREACHABLE: (texts.error_unreachable, texts.error_unreachable_next),
        KEY_EXPIRED: (texts.keys.refused, texts.keys.refused_next),
        "invalid": (texts.error_invalid, texts.error_invalid_next),
        "unauthorized": (texts.error_unauthorized, texts.error_unauthorized_next),
        _FORBIDDEN: (texts.keys.forbidden, texts.keys.forbidden_next),
        "not_found": (texts.error_not_found, texts.error_not_found_next),
        "conflict": (texts.error_conflict, texts.error_conflict_next),
        "overloaded": (texts.error_overloaded, texts.error_overloaded_next),
        "unavailable": (texts.error_unavailable, texts.error_unavailable_next),
    }
    title, next_step = titles.get(kind, (texts.error_internal, texts.error_internal_next))
    said = error_said(texts, error.reason, error.facts)
    if error.retry_after_s is not None:
        next_step = texts.error_retry.format(duration=duration(texts, error.retry_after_s))
    elif said.what:
        next_step = said.then or next_step
    elif error.hint and kind not in (UNREACHABLE, KEY_EXPIRED):
        next_step = _advice(texts, kind, safe_line(error.hint), next_step)
    what = said.what or refusal(texts, error.reason) or safe_line(error.message)
    if kind in (UNREACHABLE, KEY_EXPIRED) or not what:
        return f"{texts.error_alone.format(title=title)}\n{next_step}"
    return f"{texts.error_with_reason.format(title=title, reason=what)}\n{next_step}"


def _advice(texts: Texts, kind: str, hint: str, ours: str) -> str:
    """Of an error that is told in the server's words, which are English: elsewhere our own come
    first, and its hint only where it says what to change."""
    if texts.language == "en":
        return hint
    return f"{ours}{texts.error_hint.format(hint=hint)}" if kind == "invalid" else ours


def link_banner(texts: Texts, state: LinkState, address: str) -> str:
    """What to say across the screen about the way to the server; empty when all is well."""
    shown = safe_line(address, 60)
    match state.kind:
        case "connecting" | "away" if state.detail:
            return texts.link_unsafe_banner.format(
                address=shown, reason=safe_line(state.detail, 120)
            )
        case "connecting":
            return texts.link_connecting_banner.format(address=shown)
        case "away":
            return texts.link_away_banner.format(address=shown)
        case "starting" if speaks_of_models(state):
            return models_banner(texts, state.detail.removeprefix(MODELS_PART))
        case "starting" if state.detail:
            return texts.link_starting_detail.format(detail=safe_line(state.detail, 120))
        case "starting":
            return texts.link_starting_banner
        case "refused" if state.detail == KEY_EXPIRED:
            return texts.keys.refused_banner
        case "refused" if state.detail == FOREIGN_HOST:
            return texts.link_foreign_banner.format(address=shown)
        case "refused":
            return texts.link_refused_banner
        case _:
            return ""


def speaks_of_models(state: LinkState) -> bool:
    """Whether the server is up but for models that it lacks."""
    return state.detail.startswith(MODELS_PART)


def models_banner(texts: Texts, said: str) -> str:
    """What a server that lacks models says of them, in the person's language."""
    words = texts.setup
    if found := re.match(r"downloading (.+), (\d+) %", said):
        return words.banner_fetching.format(name=safe_line(found[1], 60), percent=found[2])
    if found := re.match(r"the download of (.+) is paused at (\d+) %", said):
        return words.banner_paused.format(name=safe_line(found[1], 60), percent=found[2])
    if found := re.match(r"(.+?) was not downloaded: (.*);", said):
        name = safe_line(found[1], 60)
        if texts.language != "en":  # the reason is English, and F12 tells it in our own words
            return words.banner_failed_why.format(name=name)
        return words.banner_failed.format(name=name, reason=safe_line(found[2], 100))
    return words.banner_choose if said.startswith("no model") else words.banner_soon


def link_word(texts: Texts, state: LinkState) -> str:
    if state.detail == FOREIGN_HOST:
        return texts.link_foreign
    words = {
        "connecting": texts.link_connecting,
        "away": texts.link_away,
        "starting": texts.link_starting,
        "up": texts.link_up,
        "refused": texts.link_refused,
    }
    return words[state.kind]


def session_title(texts: Texts, session: Session, first_question: str) -> str:
    """The title, or the first question where there is none yet."""
    return safe_line(session.title) or safe_line(first_question) or texts.chat_untitled


def moment(at_ms: int, now_ms: int, zone: tzinfo | None = None) -> str:
    """A point in time, as short as it can be told: time today, else day, else year and month."""
    at = datetime.fromtimestamp(at_ms / 1000, zone)
    now = datetime.fromtimestamp(now_ms / 1000, zone)
    if at.date() == now.date():
        return f"{at:%H:%M}"
    return f"{at:%m-%d}" if at.year == now.year else f"{at:%Y-%m}"


def second(at_ms: int, zone: tzinfo | None = None) -> str:
    """The time of day to the second."""
    return f"{datetime.fromtimestamp(at_ms / 1000, zone):%H:%M:%S}"


def duration(texts: Texts, seconds: float) -> str:
    """A span of time with one unit: 0.4 s, 12 s, 3 min, 2 h, 5 d."""
    if 0 < seconds < 0.05:
        return texts.seconds.format(count="<0.1")
    if seconds < 9.95:
        return texts.seconds.format(count=f"{max(seconds, 0):.1f}".removesuffix(".0"))
    if seconds < 90:
        return texts.seconds.format(count=round(seconds))
    if seconds < 90 * 60:
        return texts.minutes.format(count=round(seconds / 60))
    if seconds < 36 * 3600:
        return texts.hours.format(count=round(seconds / 3600))
    return texts.days.format(count=round(seconds / 86_400))


def memory(size_bytes: int) -> str:
    """A size as people say it, empty for nothing."""
    if size_bytes >= _BYTES_PER_GB:
        return f"{size_bytes / _BYTES_PER_GB:.1f} GB"
    return f"{size_bytes / _BYTES_PER_MB:.0f} MB" if size_bytes else ""


def ordinal(texts: Texts, number: int) -> str:
    """ "3rd" in English; the bare number where the text around it makes it an ordinal."""
    if texts.language != "en":
        return str(number)
    teen = number % 100 in (11, 12, 13)
    suffix = "th" if teen else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def refusal(texts: Texts, reason: str) -> str:
    """Why the limiter let nobody in, in the reader's language; empty for other reasons."""
    return {
        "queue_full": texts.refused_queue_full,
        "user_queue_full": texts.refused_user_queue_full,
        "shed": texts.refused_shed,
        "deadline": texts.refused_deadline,
        "waited_out": texts.refused_waited_out,
        "no_worker": texts.refused_no_worker,
        "requests_per_minute": texts.refused_requests_per_minute,
        "tokens_per_minute": texts.refused_tokens_per_minute,
        "tokens_per_day": texts.refused_tokens_per_day,
        "too_large": texts.refused_too_large,
    }.get(reason, "")


def queue_lines(texts: Texts, status: Status) -> tuple[str, ...]:
    """Who waits, how true told waits were, how right lengths; nothing of what there is none."""
    queue, lengths = status.queue, status.lengths
    classes = {
        "person": texts.class_person,
        "service": texts.class_service,
        "background": texts.class_background,
    }
    lines = []
    if queue.users:
        users = ", ".join(
            f"{safe_line(one.uid, 40)} {one.waiting}+{one.running}" for one in queue.users
        )
        lines.append(texts.status_queue_users.format(users=users))
    if queue.classes:
        waiting = ", ".join(
            f"{classes.get(name, safe_line(name, 20))} {count}"
            for name, count in queue.classes.items()
        )
        lines.append(texts.status_queue_classes.format(classes=waiting))
    if queue.promises:
        kept = texts.status_promises.format(kept=queue.promises_kept, told=queue.promises)
        lines.append(kept)
    if lengths.answers:
        covered, tau = round(100 * lengths.covered), f"{lengths.tau:.2f}"
        lines.append(texts.status_lengths.format(covered=covered, tau=tau))
    placement = status.placement
    if placement is not None and not placement.active and len(status.workers) > 1:
        lines.append(texts.status_placement_away)
    elif placement is not None and placement.pools and placement.prompt_tokens:
        matched = round(100 * placement.matched_tokens / placement.prompt_tokens)
        policy = safe_line(placement.policy, 20)
        lines.append(texts.status_placement.format(policy=policy, matched=matched))
    return tuple(lines)


def alarm_words(texts: Texts, alarm: Alarm) -> str:
    """Three lines: what is wrong, the facts, and what to do."""
    titles = {
        "gpu_not_used": texts.alarm_gpu_not_used,
        "gpu_partly_used": texts.alarm_gpu_partly_used,
        "gpu_driver_missing": texts.alarm_gpu_driver_missing,
        "gpu_not_found": texts.alarm_gpu_not_found,
        "gpu_backend_missing": texts.alarm_gpu_backend_missing,
        "gpu_aborted": texts.alarm_gpu_aborted,
        "rule_failed": texts.alarm_rule_failed,
        "store_full": texts.alarm_store_full,
        "store_disk_full": texts.alarm_store_full,
    }
    title = titles.get(alarm.code, texts.alarm_unknown)
    said = alarm_said(texts, alarm)
    return f"⚠ {title}\n  {said.what}\n  → {said.then}"


def message_line(texts: Texts, message: InboxMessage) -> str:
    """A message of the inbox on one line, with its title if it has one."""
    text = safe_line(message.text)
    match message.kind:
        case "answer_ready":
            return texts.operate.inbox_answer_ready.format(text=text)
        case "answer_found":
            return texts.operate.inbox_answer_found.format(text=text)
        case "question_waiting":
            return texts.operate.inbox_question_waiting.format(text=text)
        case _:
            title = safe_line(message.title)
            return texts.error_with_reason.format(title=title, reason=text) if title else text


def limit_words(texts: Texts, limit: Limit) -> str:
    """What is left of one limit, and when all of it is there again."""
    names = {
        "requests_per_minute": texts.operate.limit_requests,
        "tokens_per_minute": texts.operate.limit_tokens,
        "tokens_per_day": texts.operate.limit_day,
    }
    return texts.operate.people_limit.format(
        name=names.get(limit.name, safe_line(limit.name, 40)),
        left=limit.left,
        limit=limit.limit,
        used=limit.used,
        reserved=limit.reserved,
        reset=duration(texts, limit.reset_s),
    )


def priority_words(texts: Texts, priority: str) -> str:
    words = texts.operate
    known = {
        "person": words.priority_person,
        "service": words.priority_service,
        "background": words.priority_background,
    }
    return known.get(priority, safe_line(priority, 20))


def tier_words(texts: Texts, tier: str) -> str:
    """The name of a tier: those but the one of everybody are the operator's own words."""
    return texts.operate.tier_standard if tier == "standard" else safe_line(tier, 40)


def level_word(texts: Texts, level: LogLevel) -> str:
    """The level of one line of the log."""
    words = texts.operate
    return {
        "debug": words.line_debug,
        "info": words.line_info,
        "warning": words.line_warning,
        "error": words.line_error,
    }[level]


def tag_words(texts: Texts, tag: str, source: str) -> str:
    """A tag, and who put it on where that was not the operator."""
    words = texts.operate
    by = {"rule": words.tag_rule, "job": words.tag_job, "registration": words.tag_registration}
    name = safe_line(tag, 64)
    return words.tag_by.format(tag=name, source=by[source]) if source in by else name


def model_state(texts: Texts, model: ModelStatus) -> str:
    words = texts.operate
    if model.state == "loading":
        return words.models_loading.format(percent=model.percent)
    return {
        "absent": words.model_absent,
        "on_disk": words.model_on_disk,
        "loaded": words.model_loaded,
        "draining": words.model_draining,
        "unloading": words.model_unloading,
        "failed": words.model_failed,
    }[model.state]


def model_note(texts: Texts, notes: Mapping[str, str]) -> str:
    """What a model is good for, of its notes by language."""
    return safe_line(notes.get(texts.language, ""), 200)


def model_standing(texts: Texts, model: ModelStatus) -> str:
    """What a model is good for, and what there is to know of it as things stand."""
    words, name = texts.operate, safe_line(model.name, 60)
    lines = [model_note(texts, model.notes)]
    if model.default:
        lines.append(words.models_default)
    if model.state == "absent":
        lines.append(words.models_fetch.format(name=name))
    else:
        lines.append(safe_line(model.detail, 400))
    return "\n".join(line for line in lines if line)


def run_cause(texts: Texts, cause: str) -> str:
    """Why saved questions were asked; what we do not know is shown as the server names it."""
    words = texts.curate
    known = {
        "start": words.cause_start,
        "import": words.cause_import,
        "edit": words.cause_edit,
        "asked": words.cause_asked,
        "a new calibration": words.cause_calibration,
        "a new index": words.cause_index,
        "another embedding model": words.cause_model,
        "a new question": words.cause_question,
    }
    parts = cause.split(", ")
    named = (
        known.get(part) or known.get(part.split(" ")[0]) or safe_line(part, 60) for part in parts
    )
    return ", ".join(dict.fromkeys(named))


def child_state(texts: Texts, state: str) -> str:
    """A process's state in words; one we do not know is shown as the server names it."""
    known = {
        "stopped": texts.state_stopped,
        "starting": texts.state_starting,
        "ready": texts.state_ready,
        "backing_off": texts.state_backing_off,
        "failed": texts.state_failed,
        "stopping": texts.state_stopping,
    }
    return known.get(state, safe_line(state, 24))


def block(text: str) -> str:
    """A text of several lines from outside, made safe, without blank lines at its ends."""
    return safe_text(text).strip("\n")
