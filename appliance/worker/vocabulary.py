"""What every token of a model writes, as tables made once when the model was loaded.

With them the choice among all tokens under a grammar is a few numpy operations, and only tokens
whose first byte fits are looked at one by one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """`pieces[token]` is what a token writes, b"" for control tokens, which write nothing.

    `first_bytes[token]` is the piece's first byte where `writes[token]`; `ends` are the tokens
    that end an answer.
    """

    pieces: list[bytes]
    first_bytes: NDArray[np.uint8]
    writes: NDArray[np.bool_]
    ends: NDArray[np.intp]

    @property
    def size(self) -> int:
        return len(self.pieces)


def read_vocabulary(
    size: int, piece: Callable[[int], bytes], is_end: Callable[[int], bool]
) -> Vocabulary:
    """The tables of a vocabulary of `size` tokens."""
    pieces = [piece(token) for token in range(size)]
    ends = [token for token in range(size) if is_end(token)]
    for token in ends:
        pieces[token] = b""
    return Vocabulary(
        pieces=pieces,
        first_bytes=np.fromiter((one[0] if one else 0 for one in pieces), np.uint8, size),
        writes=np.fromiter(map(bool, pieces), np.bool_, size),
        ends=np.array(ends, dtype=np.intp),
    )
