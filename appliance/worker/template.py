"""From chat messages to prompt tokens, so that no text can pose as a role.

A template is rendered with an unguessable placeholder in place of each message's content, and
the result is cut at the placeholders. What the template wrote is tokenised with control tokens
allowed, what people and FAQ entries wrote without: `<|im_start|>system` in a question is then
seven ordinary tokens, whatever the template does.

It also makes prompts prefix-stable. Every part is tokenised by itself, so a conversation's
tokens are the first tokens of the same conversation continued, as long as the template appends;
nothing can merge across the border of a part. A message's public beginning is a part of its own,
so that what is the same for everybody ends between two tokens.

The model's own template is preferred, in a sandbox with bounds (`sandbox`). One that refuses the
system role gets the system text folded into the first user message. Models without a usable
template get the family whose control tokens their template names, base models a plain form.
"""

import logging
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appliance.schema.requests import ChatMessage
from appliance.worker.sandbox import Template, TemplateFailed

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Part:
    """A run of prompt text. Only `trusted` text may become control tokens.

    `public` text is the same in everybody's prompts.
    """

    text: str
    trusted: bool
    public: bool = False


@dataclass(frozen=True, slots=True)
class Family:
    """How a family of models marks roles. `stops` end an answer beside the model's own tokens."""

    name: str
    marker: str  # text by which a template shows that its model is of this family
    system: tuple[str, str]  # before and after; empty: fold it into the first user message
    user: tuple[str, str]
    assistant: tuple[str, str]
    stops: tuple[str, ...] = ()


CHATML = Family(
    name="chatml",
    marker="<|im_start|>",
    system=("<|im_start|>system\n", "<|im_end|>\n"),
    user=("<|im_start|>user\n", "<|im_end|>\n"),
    assistant=("<|im_start|>assistant\n", "<|im_end|>\n"),
)
GEMMA = Family(
    name="gemma",
    marker="<start_of_turn>",
    system=("", ""),
    user=("<start_of_turn>user\n", "<end_of_turn>\n"),
    assistant=("<start_of_turn>model\n", "<end_of_turn>\n"),
)
LLAMA3 = Family(
    name="llama3",
    marker="<|start_header_id|>",
    system=("<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"),
    user=("<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"),
    assistant=("<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"),
)
PLAIN = Family(
    name="plain",
    marker="",
    system=("", "\n\n"),
    user=("Question:\n", "\n\n"),
    assistant=("Answer:\n", "\n\n"),
    stops=("\n\nQuestion:", "\nQuestion:", "\n\nAnswer:", "\nAnswer:"),
)
FAMILIES = (CHATML, GEMMA, LLAMA3, PLAIN)


class ChatTemplate:
    """Renders conversations for one model. `source` is its own template, "" when it has none."""

    def __init__(self, source: str, *, begin_text: str = "", end_text: str = "") -> None:
        self._begin_text = begin_text
        self._end_text = end_text
        self.family = next(one for one in FAMILIES if one.marker in source) if source else PLAIN
        self._own: Template | None = None
        if source:
            try:
                self._own = Template(source)
            except TemplateFailed as error:
                log.warning("chat template of the model: %s; using %s", error, self.family.name)

    @property
    def stops(self) -> tuple[str, ...]:
        """Stop strings the prompt form needs beside those of the request."""
        return () if self._own else self.family.stops

    def render(self, messages: Sequence[ChatMessage]) -> list[Part]:
        """The prompt, up to where the answer begins. Needs at least one message."""
        if self._own is None:
            return _render_family(self.family, messages)
        try:
            return self._render_own(self._own, messages)
        except TemplateFailed as error:
            first = error
        try:
            return self._render_own(self._own, fold_system(messages))
        except TemplateFailed:
            log.warning("chat template of the model: %s; using %s", first, self.family.name)
            return _render_family(self.family, messages)

    def _render_own(self, own: Template, messages: Sequence[ChatMessage]) -> list[Part]:
        nonce = secrets.token_hex(16)
        rendered = own.render(
            messages=[
                {"role": message.role, "content": f"{nonce}x{position}x"}
                for position, message in enumerate(messages)
            ],
            add_generation_prompt=True,
            bos_token=self._begin_text,
            eos_token=self._end_text,
        )
        pieces = re.split(rf"{nonce}x(\d+)x", rendered)
        if {int(index) for index in pieces[1::2]} != set(range(len(messages))):
            raise TemplateFailed("it leaves out a message")
        parts: list[Part] = []
        for n, piece in enumerate(pieces):
            if n % 2 == 0:
                parts.append(Part(piece, trusted=True, public=True))
            else:
                parts += _content(messages[int(piece)])
        return [part for part in parts if part.text]


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """A prompt; its first `public` tokens are the same for everybody."""

    tokens: list[int]
    public: int


def prompt_tokens(
    parts: Sequence[Part], tokenize: Callable[[str, bool], list[int]], begin_token: int | None
) -> PromptTokens:
    """Tokens of a prompt; `tokenize(text, special)`. Begins with `begin_token` exactly once."""
    tokens: list[int] = []
    public: int | None = None
    for part in parts:
        if not part.public and public is None:
            public = len(tokens)
        tokens += tokenize(part.text, part.trusted)
    public = len(tokens) if public is None else public
    if begin_token is not None and tokens[:1] != [begin_token]:
        tokens.insert(0, begin_token)
        public += 1
    return PromptTokens(tokens, public)


def fold_system(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The same conversation with its system text at the head of the first user message."""
    system = "\n\n".join(message.content for message in messages if message.role == "system")
    folded: list[ChatMessage] = []
    for message in messages:
        if message.role == "user" and system:
            folded.append(
                ChatMessage(
                    role="user",
                    content=f"{system}\n\n{message.content}",
                    public_chars=messages[0].public_chars if messages[0].role == "system" else 0,
                )
            )
            system = ""
        elif message.role != "system":
            folded.append(message)
    return folded or [ChatMessage(role="user", content=system)]


def _render_family(family: Family, messages: Sequence[ChatMessage]) -> list[Part]:
    parts: list[Part] = []
    for message in messages if any(family.system) else fold_system(messages):
        before, after = getattr(family, message.role)
        parts += [
            Part(before, trusted=True, public=True),
            *_content(message),
            Part(after, trusted=True, public=True),
        ]
    parts.append(Part(family.assistant[0], trusted=True, public=True))
    return [part for part in parts if part.text]


def _content(message: ChatMessage) -> list[Part]:
    """A message's text, its public beginning apart."""
    public = message.content[: message.public_chars]
    private = message.content[message.public_chars :]
    return [Part(public, trusted=False, public=True), Part(private, trusted=False)]
