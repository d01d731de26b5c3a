"""From tokens to text that may be shown: whole characters, never past a stop string.

A token may end inside a UTF-8 character and a stop string may begin in one token and end in
another. So text is held back while its end could still grow into a stop string; what has been
given out is never taken back. The stop string that is complete first wins, and of those that
complete together the one that began first: a rule about positions in the text alone, so the
same bytes give the same text however tokens cut them.
"""

import codecs
from collections.abc import Sequence


class TextStream:
    """Turns the bytes of one answer into text. `stopped` tells that a stop string was met."""

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False

    def feed(self, piece: bytes) -> str:
        """The text that is certain now, often empty. Nothing more comes after a stop string."""
        if self.stopped:
            return ""
        return self._release(self._decoder.decode(piece))

    def flush(self) -> str:
        """The rest, at the end of an answer; half a character becomes U+FFFD."""
        if self.stopped:
            return ""
        certain = self._release(self._decoder.decode(b"", final=True))
        rest, self._held = self._held, ""
        return certain + rest

    def _release(self, text: str) -> str:
        self._held += text
        cut = self._first_stop()
        if cut >= 0:
            self.stopped = True
        else:
            cut = len(self._held) - self._open_stop()
        certain, self._held = self._held[:cut], self._held[cut:]
        if self.stopped:
            self._held = ""
        return certain

    def _first_stop(self) -> int:
        """Where the stop string that is complete first begins, -1 when there is none."""
        found = (
            (start + len(stop), start)
            for stop in self._stops
            if (start := self._held.find(stop)) >= 0
        )
        return min(found, default=(0, -1))[1]

    def _open_stop(self) -> int:
        """Length of the longest end of the held text that could become a stop string."""
        for length in range(min(len(self._held), self._longest() - 1), 0, -1):
            end = self._held[-length:]
            if any(stop.startswith(end) for stop in self._stops):
                return length
        return 0

    def _longest(self) -> int:
        return max((len(stop) for stop in self._stops), default=1)
