"""Names for the beginnings of a prompt, so that equal beginnings are found without their text.

A prompt is cut into blocks of `BLOCK_TOKENS` (counted as bytes of text, as the limiter counts), and
a block's name is a hash of everything up to its end. Blocks behind the first system message are
named with the person too, because a cache cell is reused by the scope that wrote it.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from appliance.schema.requests import ChatMessage

BLOCK_TOKENS = 32
BYTES_PER_TOKEN = 3
BLOCKS_MOST = 256
_BLOCK_BYTES = BLOCK_TOKENS * BYTES_PER_TOKEN
_NAME_BYTES = 6


class Prefix(NamedTuple):
    """The blocks of a prompt; the first `history` of them lie before its last message."""

    blocks: tuple[int, ...]
    history: int
    tokens: int


def prefix_of(messages: Sequence[ChatMessage], uid: str) -> Prefix:
    """At most 256 blocks; what is longer is known by its beginning."""
    parts = [f"{message.role}\n{message.content}\n".encode() for message in messages]
    if messages and messages[0].role == "system":
        parts.insert(1, b"\0" + uid.encode() + b"\0")
    else:
        parts.insert(0, b"\0" + uid.encode() + b"\0")
    text = b"".join(parts)
    before = len(text) - len(parts[-1])
    chain = hashlib.blake2b(digest_size=_NAME_BYTES)
    blocks = []
    for end in range(_BLOCK_BYTES, len(text) + 1, _BLOCK_BYTES)[:BLOCKS_MOST]:
        chain.update(text[end - _BLOCK_BYTES : end])
        blocks.append(int.from_bytes(chain.digest(), "big"))
    history = min(len(blocks), before // _BLOCK_BYTES)
    return Prefix(tuple(blocks), history, max(1, len(text) // BYTES_PER_TOKEN))


@dataclass
class Held:
    """The blocks one worker is believed to hold, the last used ones, at most `most` of them."""

    most: int
    _blocks: "OrderedDict[int, None]" = field(default_factory=OrderedDict)

    def used(self, blocks: Sequence[int]) -> list[int]:
        """Counts as used now; returns what has no room any more."""
        for block in reversed(blocks):  # the first block of all is the last to go
            self._blocks[block] = None
            self._blocks.move_to_end(block)
        dropped = []
        while len(self._blocks) > self.most:
            dropped.append(self._blocks.popitem(last=False)[0])
        return dropped
