"""Makes a request's tokens: template, tokeniser, and the check that the result can fit."""

from appliance.errors import TooLarge
from appliance.worker.backend import Backend
from appliance.worker.draft import Lookup
from appliance.worker.jobs import Generation
from appliance.worker.sequence import Prepared
from appliance.worker.template import ChatTemplate, prompt_tokens

CHARS_PER_TOKEN = 16  # no text has more in earnest; a longer prompt is refused untokenised


class PromptMaker:
    """Prepares generations for one backend, on any one thread: about 1 ms per 1,000 tokens."""

    def __init__(self, backend: Backend) -> None:
        facts = backend.facts
        self._backend = backend
        self._template = ChatTemplate(
            facts.chat_template, begin_text=facts.begin_text, end_text=facts.end_text
        )

    def prepare(self, generation: Generation) -> Prepared:
        """The request as tokens. Raises TooLarge when its context has no room for an answer."""
        room = self._backend.shape.context_tokens
        chars = len(generation.resume_text) + sum(len(one.content) for one in generation.messages)
        if chars > CHARS_PER_TOKEN * room:
            raise self._too_large()
        parts = self._template.render(generation.messages)
        if generation.prefill_only:
            parts = parts[: max(n for n, part in enumerate(parts) if not part.trusted)]
        prompt = prompt_tokens(
            parts,
            lambda text, special: self._backend.tokenize(text, special=special),
            self._backend.facts.begin_token,
        )
        resumed = list(generation.resume_tokens) or self._backend.tokenize(
            generation.resume_text, special=False
        )
        if len(prompt.tokens) >= room:
            raise self._too_large()
        tokens = prompt.tokens + resumed
        return Prepared(
            tokens=tokens,
            prompt_tokens=len(prompt.tokens),
            public_tokens=prompt.public,
            lookup=Lookup(tokens),
            stops=(*generation.sampling.stop, *self._template.stops),
            resumed_pieces=tuple(self._backend.piece(token) for token in generation.resume_tokens),
        )

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"the conversation is longer than {self._backend.shape.context_tokens} tokens",
            hint="start a new session or ask a shorter question",
            reason="context_overflow",
        )
