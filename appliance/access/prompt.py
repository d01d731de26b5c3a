"""What the model is told, as a pure function of person, history, FAQ hits and question.

The prompt is append-only and prefix-stable, so that a second turn prefills only what is new:
the public system prompt with the operator's fragments for the person's tags, then the person's
profile (`profile` keeps both as they are for a session), then the turns as they were sent, and what
changes from question to question (date, FAQ hits) last, in the same message as the question.

When history outgrows its bound the older half goes in one large cut, at a point which depends
only on the turns themselves: the next prompts start with the same tokens until the next cut.
Retrieved text is data in a block of its own, whose end it cannot forge: our lines begin at the
margin, and of a text of others every further line is set in. Nor can it become a role token, for
the worker tokenises contents apart from the template.
"""

import datetime
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from appliance.limiter.rules import TIER_TAG
from appliance.schema.answers import Match
from appliance.schema.conversations import Turn
from appliance.schema.people import User
from appliance.schema.requests import ChatMessage

HISTORY_TURNS = 200  # looked at for one prompt, the question's own included


@dataclass(frozen=True)
class Prompt:
    """`sent` is the text of the last message, to be kept with the turn.

    `cut_turns` earlier turns are not in it.
    """

    messages: tuple[ChatMessage, ...]
    sent: str
    cut_turns: int = 0


@dataclass(frozen=True)
class _Wording:
    """How the last message is put. `thorough` follows a question that has facts before it: small
    models otherwise answer in three words and leave out the numbers people asked for."""

    today: str
    facts: str
    entry: str
    question: str
    thorough: str


_ENGLISH = _Wording(
    today="Today is {date}.",
    facts="Facts from the FAQ:",
    entry="[{n}] Question: {question}\nAnswer: {answer}",
    question="My question: {text}",
    thorough="Answer in full sentences, with all details that the facts give.",
)
_CHINESE = _Wording(
    today="今天是 {date}。",
    facts="常见问题中的事实：",
    entry="[{n}] 问：{question}\n答：{answer}",
    question="我的问题：{text}",
    thorough="请给出以上事实中的全部细节。",
)


def is_chinese(text: str) -> bool:
    """Whether a text holds Han characters."""
    return any("\u4e00" <= character <= "\u9fff" for character in text)


def session_prompt(
    system: ChatMessage,
    turns: Sequence[Turn],
    question: str,
    matches: Sequence[Match],
    *,
    today: datetime.date,
    history_chars: int,
    turns_kept: int = HISTORY_TURNS,
    older_turns: int = 0,
    left_out: Collection[str] = (),
) -> Prompt:
    """The prompt of a message in a session that has had `older_turns` before these, without the
    turns that are `left_out` by id."""
    sent = last_message(question, matches, today=today)
    messages = [system]
    recent = keep_recent(turns, history_chars, turns_kept=turns_kept)
    kept = [turn for turn in recent if turn.id not in left_out]
    for turn in kept:
        messages.append(ChatMessage(role="user", content=turn.sent or turn.question))
        messages.append(ChatMessage(role="assistant", content=turn.answer))
    messages.append(ChatMessage(role="user", content=sent))
    answered = sum(bool(turn.answer) for turn in turns)
    return Prompt(tuple(messages), sent, cut_turns=older_turns + answered - len(kept))


def stateless_prompt(
    system: ChatMessage,
    given: Sequence[ChatMessage],
    matches: Sequence[Match],
    *,
    today: datetime.date,
) -> Prompt:
    """The prompt of an OpenAI call: the caller's messages, and ours where the caller has none.

    A caller's own system message replaces ours. FAQ hits go into the last user message.
    """
    messages = list(given)
    if not any(message.role == "system" for message in messages):
        messages.insert(0, system)
    last = messages[-1]
    if matches and last.role == "user":
        messages[-1] = ChatMessage(
            role="user", content=last_message(last.content, matches, today=today)
        )
    return Prompt(tuple(messages), messages[-1].content)


def last_message(question: str, matches: Sequence[Match], *, today: datetime.date) -> str:
    """The question with what changes from question to question before it."""
    wording = _CHINESE if is_chinese(question) else _ENGLISH
    parts = [wording.today.format(date=today.isoformat())]
    if matches:
        entries = [
            wording.entry.format(n=n, question=set_in(match.phrasing), answer=set_in(match.answer))
            for n, match in enumerate(matches, start=1)
        ]
        parts += [wording.facts, *entries]
    parts.append(wording.question.format(text=question))
    if matches:
        parts.append(wording.thorough)
    return "\n".join(parts)


def set_in(text: str) -> str:
    """A text as part of a line of ours: none of its further lines begins at the margin."""
    return "\n ".join(text.splitlines())


def keep_recent(
    turns: Sequence[Turn], history_chars: int, *, turns_kept: int = HISTORY_TURNS
) -> Sequence[Turn]:
    """The answered turns that still fit, cut by halves from the oldest; the newest stays though it
    is more than half. Of a session no more than `turns_kept` are kept, the question's own too."""
    reach = min(turns_kept, HISTORY_TURNS) - 1
    answered = [turn for turn in _in_reach(turns, reach) if turn.answer]
    start, size = 0, 0
    for position, turn in enumerate(answered):
        size += _size(turn)
        if size > history_chars:
            while start < position and size > history_chars // 2:
                size -= _size(answered[start])
                start += 1
            if size > history_chars:
                start, size = position + 1, 0
    return answered[start:]


def _in_reach(turns: Sequence[Turn], reach: int) -> Sequence[Turn]:
    """The latest turns, from one on that stays the first for a while.

    Were it always the oldest of so many, each new turn would change what prompts begin with. It is
    the one with the least hash in the older half, which is the same until it leaves that half or
    one with less comes into it (winnowing, Schleimer et al. 2003): about every quarter of `reach`.
    """
    latest = turns[max(len(turns) - reach, 0) :]
    if len(latest) < max(reach, 2):
        return latest
    hashes = [blake2b(turn.id.encode()).digest() for turn in latest[: len(latest) // 2]]
    return latest[hashes.index(min(hashes)) :]


def _size(turn: Turn) -> int:
    return len(turn.sent or turn.question) + len(turn.answer)


def system_message(
    system: str, fragments: Sequence[str], person: User, *, untold: Collection[str] = ()
) -> ChatMessage:
    """The operator's words, which everybody's prompts begin with, then what is known of a person.

    Nothing but the operator's words may be shared between people, hence `public_chars`: those with
    the same tags have the same fragments. Attributes in `untold` are kept from the model.
    """
    public = "\n".join([system, *fragments])
    parts = [public]
    told = {name: value for name, value in person.attributes.items() if name not in untold}
    if told:
        attributes = ", ".join(f"{name}: {set_in(value)}" for name, value in told.items())
        parts.append(f"About the person you talk to: {attributes}.")
    tags = [tag for tag in person.tags if not tag.startswith(TIER_TAG)]
    if tags:
        parts.append(f"Their tags: {', '.join(tags)}.")
    return ChatMessage(role="system", content="\n".join(parts), public_chars=len(public))
