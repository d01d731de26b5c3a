"""What the model is told, as a pure function of person, history, FAQ hits and question.

The prompt is append-only and prefix-stable, so that a second turn prefills only what is new:
the public system prompt with the operator's fragments for the person's tags, then the person's
profile (`profile` keeps both as they are for a session), then the turns as they were sent, and what
changes from question to question (date, FAQ hits) last, in the same message as the question.

Which turns there is room for says `earlier`. Retrieved text is data in a block of its own, whose
end it cannot forge: our lines begin at the margin, and of a text of others every further line is
set in. Nor can it become a role token, for the worker tokenises contents apart from the template.
"""

import datetime
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from appliance.limiter.rules import TIER_TAG
from appliance.schema.answers import Match
from appliance.schema.conversations import Turn
from appliance.schema.people import User
from appliance.schema.requests import ChatMessage


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
    cut_turns: int = 0,
) -> Prompt:
    """The prompt of a message in a session with these earlier turns, without `cut_turns` others."""
    sent = last_message(question, matches, today=today)
    messages = [system]
    for turn in turns:
        messages.append(ChatMessage(role="user", content=turn.sent or turn.question))
        messages.append(ChatMessage(role="assistant", content=turn.answer))
    messages.append(ChatMessage(role="user", content=sent))
    return Prompt(tuple(messages), sent, cut_turns)


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
