"""Log-probabilities wait with their token's text until that text is certain."""

from collections import deque
from dataclasses import dataclass, field

from appliance.schema.events import TokenLogprob


@dataclass(slots=True)
class LogprobQueue:
    """Tokens whose text is held back, each with the byte of the answer at which it begins."""

    _waiting: deque[tuple[int, TokenLogprob]] = field(default_factory=deque)
    _fed_bytes: int = 0
    _shown_bytes: int = 0

    def add(self, logprob: TokenLogprob | None, piece: bytes) -> None:
        """Take the next token; None when the request did not ask."""
        if logprob is not None:
            self._waiting.append((self._fed_bytes, logprob))
        self._fed_bytes += len(piece)

    def show(self, text: str) -> tuple[TokenLogprob, ...]:
        """The tokens of which this text, following what was shown before, begins to tell."""
        self._shown_bytes += len(text.encode())
        found = []
        while self._waiting and self._waiting[0][0] < self._shown_bytes:
            found.append(self._waiting.popleft()[1])
        return tuple(found)
