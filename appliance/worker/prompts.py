"""Makes a request's tokens: template, tokeniser, and the cut that makes the result fit.

Its grammar is read here too, which may take as long as a long prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.errors import TooLarge
from appliance.grammar.automaton import GrammarCache
from appliance.schema.requests import ChatMessage
from appliance.worker.backend import Backend
from appliance.worker.draft import Lookup
from appliance.worker.history import split, turns_to_cut
from appliance.worker.jobs import Generation
from appliance.worker.sequence import Prepared
from appliance.worker.template import ChatTemplate, Part, PromptTokens, prompt_tokens

CHARS_PER_TOKEN = 16  # no text has more in earnest; a longer prompt is refused untokenised
ANSWER_PART = 8  # of the context: history is cut when it leaves an answer less than this
TEMPLATE_TOKENS = 5  # around a message, about


@dataclass(frozen=True, slots=True)
class _Fitting:
    """A prompt that leaves room for an answer, without so many of the oldest turns."""

    prompt: PromptTokens
    cut_turns: int


class PromptMaker:
    """Prepares generations for one backend, on any one thread: about 1 ms per 1,000 tokens."""

    def __init__(self, backend: Backend) -> None:
        facts = backend.facts
        self._backend = backend
        self._grammars = GrammarCache()
        self._template = ChatTemplate(
            facts.chat_template, begin_text=facts.begin_text, end_text=facts.end_text
        )

    def prepare(self, generation: Generation) -> Prepared:
        """The request as tokens, without its oldest turns when the context is too short for all.

        Raises TooLarge when not even the question alone leaves room for an answer, Invalid for a
        grammar that cannot be followed.
        """
        grammar = generation.sampling.grammar
        automaton = self._grammars.get(grammar) if grammar else None
        fitting = self._fitting(generation)
        prompt = fitting.prompt
        resumed = list(generation.resume_tokens) or self._backend.tokenize(
            generation.resume_text, special=False
        )
        tokens = prompt.tokens + resumed
        return Prepared(
            tokens=tokens,
            prompt_tokens=len(prompt.tokens),
            public_tokens=prompt.public,
            cut_turns=fitting.cut_turns,
            lookup=Lookup(tokens),
            stops=(*generation.sampling.stop, *self._template.stops),
            automaton=automaton,
            resumed_pieces=tuple(self._backend.piece(token) for token in generation.resume_tokens),
        )

    def _fitting(self, generation: Generation) -> _Fitting:
        room = self._backend.shape.context_tokens
        wanted = room - min(generation.sampling.max_tokens, room // ANSWER_PART)
        messages = generation.messages
        if _chars(messages) <= CHARS_PER_TOKEN * room:
            prompt = self._prompt(generation, messages)
            if len(prompt.tokens) <= wanted:
                return _Fitting(prompt, 0)
        conversation = split(messages)
        if _chars(conversation.without(len(conversation.turns))) > CHARS_PER_TOKEN * room:
            raise self._too_large()
        sizes = [sum(map(self._size, turn)) for turn in conversation.turns]
        bound = room
        while True:
            bound //= 2
            cut = turns_to_cut(sizes, bound)
            if cut == len(sizes):
                break
            prompt = self._prompt(generation, conversation.without(cut))
            if len(prompt.tokens) <= wanted:
                return _Fitting(prompt, cut)
        if sizes and sizes[-1] < wanted:  # more than half of all, and it may fit for all that
            prompt = self._prompt(generation, conversation.without(cut - 1))
            if len(prompt.tokens) <= wanted:
                return _Fitting(prompt, cut - 1)
        prompt = self._prompt(generation, conversation.without(cut))
        if len(prompt.tokens) >= room:
            raise self._too_large()
        return _Fitting(prompt, cut)

    def _prompt(self, generation: Generation, messages: Sequence[ChatMessage]) -> PromptTokens:
        if generation.is_bare:
            parts = [Part(message.content, trusted=False) for message in messages]
        else:
            parts = self._template.render(messages)
        if generation.prefill_only:
            parts = parts[: max(n for n, part in enumerate(parts) if not part.trusted)]
        return prompt_tokens(
            parts,
            lambda text, special: self._backend.tokenize(text, special=special),
            self._backend.facts.begin_token,
        )

    def _size(self, message: ChatMessage) -> int:
        """Tokens of a message with about what the template puts around it."""
        if len(message.content) > CHARS_PER_TOKEN * self._backend.shape.context_tokens:
            return self._backend.shape.context_tokens  # it can never stay
        return len(self._backend.tokenize(message.content, special=False)) + TEMPLATE_TOKENS

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"the question is longer than {self._backend.shape.context_tokens} tokens",
            hint="ask a shorter question",
            reason="context_overflow",
        )


def _chars(messages: Sequence[ChatMessage]) -> int:
    return sum(len(message.content) for message in messages)
