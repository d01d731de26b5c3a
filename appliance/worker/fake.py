"""The deterministic backend that ships: the whole appliance runs on it without a model.

It is a function of the tokens in its cache, as a model is: cells with a token, a position and
the sequences that hold them, so cells shared wrongly are seen in the answer. For each token it
reads the last user message out of the sequence's cells, makes up the whole answer, looks how much
of it is there already, and gives what follows; so a resumed answer goes on byte for byte where it
stopped. The answer is the first FAQ entry's where the message quotes entries, else an echo:
`You said: ...`, `你说：...`.

A token is up to three bytes of UTF-8, the first of a text two, so Chinese characters are always
cut in two. Control tokens are those of ChatML, and only `special` tokenising makes them.

Under a grammar it says the same when that fits, else the shortest text the grammar makes. Each
token has the log-probability CERTAIN; the alternatives beside it are made up. A logit bias and
the other ways of choosing change nothing.

Words in the question steer it, for tests and demonstrations:
    #tokens=200   the answer has 200 tokens
    #slow=20      every step that this request takes part in lasts 20 ms longer
    #step=13      and 13 ms more, together with all that say so: the longest of them counts
    #die, #die=5  the process ends at once (status 9) before the answer's first, sixth token
    #hang, ...    the step never returns, likewise
`#die` and `#hang` are the poison requests of fault tests: never serve people with this backend.
"""

import functools
import itertools
import math
import os
import re
import threading
import time
import unicodedata
import zlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from appliance.grammar.automaton import CACHED_GRAMMARS, Automaton
from appliance.grammar.gbnf import parse
from appliance.grammar.shortest import shortest
from appliance.schema.events import Likely, TokenLogprob
from appliance.schema.sampling import Sampling
from appliance.worker.backend import (
    Cells,
    Chunk,
    Facts,
    GivenUp,
    Outcome,
    Shape,
    TextKind,
    Unless,
    Vectors,
)

EXIT_STATUS_DIE = 9
EMBEDDING_SIZE = 384
EMBEDDING_TEXT_TOKENS = 512
SIMILARITY_FLOOR = 0.7  # e5 models give unrelated texts about this much; thresholds expect it

CERTAIN = -0.125
UNLIKELY = -2.5

_CONTROL = {"<|im_start|>": 1, "<|im_end|>": 2, "<|endoftext|>": 3}
_START, _END, _END_OF_TEXT = _CONTROL.values()
_CONTROL_PATTERN = re.compile("|".join(re.escape(text) for text in _CONTROL))
_DIRECTIVE = re.compile(r"#(tokens|slow|step|die|hang)(?:=(\d{1,6}))?\b")
_QUESTION = re.compile(r"^(?:My question: |我的问题：)", re.MULTILINE)
_ENTRY = re.compile(
    r"^\[1\] (?:Question: |问：).*?^(?:Answer: |答：)(.*?)(?=^\[2\] |\Z)", re.MULTILINE | re.DOTALL
)
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True, slots=True)
class _Script:
    """What a sequence will say and do. Tokens count from the answer's start."""

    answer: bytes
    slow_s: float
    step_s: float
    die_at: int
    hang_at: int


@dataclass(slots=True, eq=False)
class _Cell:
    token: int
    position: int
    holders: set[int]


class _Feature(NamedTuple):
    column: int
    sign: float


class FakeBackend:
    """A backend without a model. Every step takes `step_delay_s`, every text to embed
    `embed_delay_s`."""

    def __init__(
        self,
        shape: Shape | None = None,
        *,
        step_delay_s: float = 0.0,
        embed_delay_s: float = 0.0,
    ) -> None:
        self._shape = shape or Shape()
        self._step_delay_s = step_delay_s
        self._embed_delay_s = embed_delay_s
        self.threads = 1
        self._held: dict[int, list[_Cell]] = {}  # each sequence's cells by position
        self._outputs: dict[int, int] = {}  # how many the last step kept of a sequence
        self.used_cells = 0
        self._sampling: dict[int, Sampling] = {}
        self._automata: dict[int, Automaton] = {}
        self._sampled: dict[int, bytes] = {}  # what the token sampled last writes

    @property
    def shape(self) -> Shape:
        return self._shape

    @property
    def facts(self) -> Facts:
        return Facts(
            engine="fake",
            model="fake",
            device="none",
            cache_stamp="fake",
            chat_template=_TEMPLATE,
            begin_text="",
            end_text="<|im_end|>",
            begin_token=None,
            embedding_model="fake-ngrams",
            embedding_size=EMBEDDING_SIZE,
            embedding_text_tokens=EMBEDDING_TEXT_TOKENS,
            embedding_batch_tokens=4 * EMBEDDING_TEXT_TOKENS,
            embedding_batch_texts=16,
        )

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        if not special:
            return _plain_tokens(_encoded(text))
        tokens: list[int] = []
        end = 0
        for match in _CONTROL_PATTERN.finditer(text):
            tokens += _plain_tokens(_encoded(text[end : match.start()]))
            tokens.append(_CONTROL[match.group()])
            end = match.end()
        return tokens + _plain_tokens(_encoded(text[end:]))

    def piece(self, token: int) -> bytes:
        return _bytes_of(token)

    def is_end(self, token: int) -> bool:
        return token in (_END, _END_OF_TEXT)

    def open(
        self,
        sequence: int,
        sampling: Sampling,
        *,
        seed: int,
        answered: list[int],
        automaton: Automaton | None = None,
    ) -> None:
        if automaton is not None:
            _shortest(sampling.grammar)  # refused here if it cannot be followed
            self._automata[sequence] = automaton
        self._sampling[sequence] = sampling

    def decode(self, chunks: list[Chunk]) -> Outcome:
        self._outputs = {}
        if self.used_cells + sum(len(chunk.tokens) for chunk in chunks) > self._shape.cache_tokens:
            return Outcome.NO_ROOM
        if sum(chunk.outputs for chunk in chunks) > self._shape.slots + self._shape.drafts:
            return Outcome.REFUSED
        if any(chunk.position != len(self._held.get(chunk.sequence, ())) for chunk in chunks):
            return Outcome.REFUSED
        delay_s, shared_s = self._step_delay_s, 0.0
        for chunk in chunks:
            self._hold(chunk.sequence, chunk.tokens)
            if chunk.outputs:
                self._outputs[chunk.sequence] = chunk.outputs
                script = self._act_out(chunk)
                delay_s += script.slow_s
                shared_s = max(shared_s, script.step_s)
        if delay_s + shared_s:
            time.sleep(delay_s + shared_s)
        return Outcome.DONE

    def sample(self, sequence: int, row: int = 0) -> int:
        message, said = _read(self._tokens(sequence, self._outputs[sequence] - 1 - row))
        answer, automaton = _script(message).answer, self._automata.get(sequence)
        if automaton is not None and not _fits(answer, automaton):
            answer = _shortest(self._sampling[sequence].grammar)
        rest = answer[len(said) : len(said) + _width_at(len(said))]
        self._sampled[sequence] = rest
        return _token_of(rest) if rest else _END

    def logprobs(self, sequence: int) -> TokenLogprob | None:
        wanted, said = self._sampling[sequence].logprobs, self._sampled[sequence]
        if wanted is None:
            return None
        others = [
            Likely(token=b"%d" % number, logprob=UNLIKELY - number) for number in range(1, wanted)
        ]
        top = [Likely(token=said, logprob=CERTAIN), *others]
        return TokenLogprob(token=said, logprob=CERTAIN, top=tuple(top[:wanted]))

    def close(self, sequence: int) -> None:
        self._outputs.pop(sequence, None)
        self._sampling.pop(sequence, None)
        self._automata.pop(sequence, None)
        self._sampled.pop(sequence, None)

    def share(self, source: int, target: int, tokens: int) -> bool:
        if self._held.get(target) or tokens > len(self._held[source]):
            raise RuntimeError(f"{tokens} cells of {source} cannot be shared with {target}")
        self._held[target] = self._held[source][:tokens]
        for cell in self._held[target]:
            cell.holders.add(target)
        return True

    def truncate(self, sequence: int, length: int) -> None:
        held = self._held.get(sequence, [])
        for cell in held[length:]:
            cell.holders.remove(sequence)
            self.used_cells -= not cell.holders
        del held[length:]
        if not held:
            self._held.pop(sequence, None)

    def save(self, sequence: int) -> Cells | None:
        return np.array(self._tokens(sequence, 0), dtype="<i4").view(np.uint8)

    def restore(self, sequence: int, cells: Cells, *, tokens: int) -> bool:
        self.truncate(sequence, 0)
        saved: list[int] = np.frombuffer(cells.tobytes(), "<i4", cells.nbytes // 4).tolist()
        if len(saved) < tokens or self.used_cells + len(saved) > self._shape.cache_tokens:
            return False
        self._hold(sequence, saved[:tokens])
        return True

    def embedding_tokens(self, text: str, kind: TextKind) -> list[int]:
        folded = unicodedata.normalize("NFKC", text).casefold()
        return _plain_tokens(_encoded(folded))[:EMBEDDING_TEXT_TOKENS]

    def embed(self, texts: list[list[int]], unless: Unless | None = None) -> Vectors:
        made = []
        for tokens in texts:
            if unless is not None and unless():
                raise GivenUp
            time.sleep(self._embed_delay_s)
            made.append(_vector(b"".join(map(_bytes_of, tokens)).decode(errors="ignore")))
        return np.stack(made)

    def use_threads(self, threads: int) -> None:
        self.threads = threads

    def shut_down(self) -> None:
        self._held.clear()

    def _hold(self, sequence: int, tokens: list[int]) -> None:
        """Put tokens into new cells at a sequence's end."""
        held = self._held.setdefault(sequence, [])
        for token in tokens:
            held.append(_Cell(token, len(held), {sequence}))
        self.used_cells += len(tokens)

    def _tokens(self, sequence: int, without: int) -> list[int]:
        """What the cells of a sequence hold, less the last `without` of them."""
        held = self._held[sequence]
        cells = held[: len(held) - without]
        if any(cell.position != n for n, cell in enumerate(cells)):
            raise RuntimeError(f"the cells of sequence {sequence} are out of order")
        return [cell.token for cell in cells]

    def _act_out(self, chunk: Chunk) -> _Script:
        """Obey the directives of a prompt once it is complete, but for its delays."""
        message, said = _read(self._tokens(chunk.sequence, chunk.outputs - 1))
        script = _script(message)
        first = len(_plain_tokens(said))
        if script.die_at in range(first, first + chunk.outputs):
            os._exit(EXIT_STATUS_DIE)
        if script.hang_at in range(first, first + chunk.outputs):
            threading.Event().wait()
        return script


def _encoded(text: str) -> bytes:
    """UTF-8, with question marks for lone surrogates."""
    return text.encode(errors="replace")


def _width_at(offset: int) -> int:
    """Bytes of the token that begins at this offset of a text: 2, then 3 to a boundary."""
    return 2 - offset if offset < 2 else 3 - (offset - 2) % 3


def _plain_tokens(text: bytes) -> list[int]:
    cuts = [0, *range(2, len(text), 3), len(text)] if text else [0]
    return [_token_of(text[a:b]) for a, b in itertools.pairwise(cuts) if a < b]


def _token_of(part: bytes) -> int:
    """The length in the fourth byte keeps every id apart from the control tokens."""
    return len(part) << 24 | int.from_bytes(part, "big")


def _bytes_of(token: int) -> bytes:
    return (token & 0xFFFFFF).to_bytes(token >> 24, "big") if token >> 24 else b""


def _read(tokens: list[int]) -> tuple[str, bytes]:
    """The last user message and the answer so far, from the tokens of a whole prompt."""
    said: bytes | None = None
    end = len(tokens)
    for start in range(end - 1, -1, -1):
        if tokens[start] != _START and start > 0:
            continue
        turn = b"".join(map(_bytes_of, tokens[start:end]))
        end = start
        if said is None:
            said = turn.removeprefix(b"assistant\n")
        if turn.startswith(b"user\n"):
            message = turn.removeprefix(b"user\n").removesuffix(b"\n")
            return message.decode(errors="replace"), said
    return "", said or b""


@functools.lru_cache(maxsize=1024)
def _script(message: str) -> _Script:
    found = _QUESTION.search(message)
    question = message[found.end() :] if found else message
    numbers = {name: int(value or 0) for name, value in _DIRECTIVE.findall(question)}
    references = message[: found.start()] if found else message
    entry = _ENTRY.search(references)
    if entry:
        answer = entry.group(1).strip()
    else:
        heard = " ".join(_DIRECTIVE.sub("", question).split())
        chinese = any("\u4e00" <= character <= "\u9fff" for character in heard)
        answer = f"你说：{heard}" if chinese else f"You said: {heard}"
    return _Script(
        answer=_lengthened(answer, numbers["tokens"]) if "tokens" in numbers else answer.encode(),
        slow_s=numbers.get("slow", 0) / 1000,
        step_s=numbers.get("step", 0) / 1000,
        die_at=numbers.get("die", -1),
        hang_at=numbers.get("hang", -1),
    )


@functools.lru_cache(maxsize=256)
def _fits(answer: bytes, automaton: Automaton) -> bool:
    end = automaton.advance(automaton.start, answer)
    return end is not None and automaton.may_end(end)


@functools.lru_cache(maxsize=CACHED_GRAMMARS)
def _shortest(grammar: str) -> bytes:
    """The shortest text that the grammar makes."""
    return shortest(parse(grammar)).encode()


def _lengthened(answer: str, tokens: int) -> bytes:
    """The answer over and over, cut to this many tokens at a character's end."""
    size = max(3 * tokens - 1, 0)
    unit = f"{answer} ".encode()
    return (unit * (size // len(unit) + 1))[:size].decode(errors="ignore").encode()


def _vector(text: str) -> Vectors:
    """Signed hashing of character 1- to 3-grams, moved so that unrelated texts meet at 0.7."""
    own = np.zeros(EMBEDDING_SIZE, dtype=np.float32)
    for word in re.findall(r"[\u3040-\u9fff]+|\w+", text):
        padded = f" {word} "
        for size, weight in ((1, 0.5), (2, 1.0), (3, 1.5)):
            for start in range(len(padded) - size + 1):
                column, sign = _feature(padded[start : start + size])
                own[column] += weight * sign
    length = float(np.linalg.norm(own))
    if length:
        own /= length
    mixed: Vectors = math.sqrt(1 - SIMILARITY_FLOOR) * own + math.sqrt(SIMILARITY_FLOOR) * _common()
    mixed /= float(np.linalg.norm(mixed))
    return mixed


@functools.lru_cache(maxsize=65_536)
def _feature(gram: str) -> _Feature:
    code = zlib.crc32(gram.encode())
    return _Feature(code % EMBEDDING_SIZE, 1.0 if code & 0x80000000 else -1.0)


@functools.cache
def _common() -> Vectors:
    """The direction all vectors share."""
    return np.full(EMBEDDING_SIZE, EMBEDDING_SIZE**-0.5, dtype=np.float32)
