"""One worker's KV cache: prompt blocks shared by prefix, the least recently used leave first.

Memory is counted in tokens. A running sequence holds its whole prompt and output; blocks whose
prefill is done stay after it, until room is needed. Within a prefix the deepest block leaves
first, so that a held block implies the ones before it.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class PrefixCache:
    """`evicted` is told of each block that leaves."""

    capacity: int
    block_tokens: int
    evicted: Callable[[int], None]
    _pins: dict[int, int] = field(default_factory=dict)
    _idle: OrderedDict[int, None] = field(default_factory=OrderedDict)
    _private: int = 0

    @property
    def free(self) -> int:
        """Tokens that could be taken, idle blocks counted as free."""
        return self.capacity - self._private - len(self._pins) * self.block_tokens

    def match(self, blocks: tuple[int, ...]) -> int:
        """How many leading blocks are here."""
        count = 0
        for block in blocks:
            if block not in self._pins and block not in self._idle:
                break
            count += 1
        return count

    def needs(self, blocks: tuple[int, ...], matched: int, tokens: int) -> int:
        """Tokens of free room a sequence of so many tokens in all would take."""
        idle = sum(block in self._idle for block in blocks[:matched])
        return tokens - (matched - idle) * self.block_tokens

    def open(self, blocks: tuple[int, ...], matched: int, tokens: int) -> int:
        """Takes room for a sequence; returns its private tokens, to be given to `close`."""
        for block in blocks[:matched]:
            self._pin(block)
        private = tokens - matched * self.block_tokens
        self._private += private
        self._make_room()
        return private

    def store(self, blocks: tuple[int, ...], matched: int) -> int:
        """The prompt is computed: its blocks can be shared. Returns tokens no longer private."""
        shared = 0
        for block in blocks[matched:]:
            self._pin(block)
            shared += self.block_tokens
        self._private -= shared
        return shared

    def close(self, blocks: tuple[int, ...], private: int) -> None:
        """The sequence ended; its blocks stay while there is room."""
        self._private -= private
        for block in reversed(blocks):
            left = self._pins[block] - 1
            if left:
                self._pins[block] = left
            else:
                del self._pins[block]
                self._idle[block] = None
        self._make_room()

    def _pin(self, block: int) -> None:
        self._idle.pop(block, None)
        self._pins[block] = self._pins.get(block, 0) + 1

    def _make_room(self) -> None:
        while self._idle and self.free < len(self._idle) * self.block_tokens:
            block, _ = self._idle.popitem(last=False)
            self.evicted(block)
