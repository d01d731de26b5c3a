"""Saved cache cells really come back: what goes on after a restore is what would have gone on.

The same suite runs on the fake, on a model with a plain cache and on one with sliding windows.
"""

from collections.abc import Iterator

import pytest
from llama_cpp import llama_cpp as binding
from worker_bench import Kind, model_path

from appliance.schema.sampling import Sampling
from appliance.worker.backend import Backend, Chunk, Outcome, Shape
from appliance.worker.boot import BackendSettings, build_backend
from appliance.worker.llama import LlamaBackend

GREEDY = Sampling(temperature=0, max_tokens=64)
TEXT = "The quick brown fox jumps over the lazy dog, and then it looks for the next one. " * 3
OTHER = "A completely different text, about the price of coffee in the harbour of Hamburg."
ANSWER_TOKENS = 8
USED = ("kind", "qwen", "gemma")  # fixtures


def prefill(
    backend: Backend, slot: int, tokens: list[int], *, start: int = 0, logits: bool = True
) -> None:
    """Decode tokens from a position on, and compute the logits of the last one."""
    step = backend.shape.step_tokens
    for begin in range(start, len(tokens), step):
        part = tokens[begin : begin + step]
        last = begin + len(part) == len(tokens)
        assert backend.decode([Chunk(slot, part, begin, last and logits)]) is Outcome.DONE


def greedy(backend: Backend, slot: int, length: int) -> list[int]:
    """Tokens that follow a prefilled slot."""
    answer: list[int] = []
    for position in range(length, length + ANSWER_TOKENS):
        token = backend.sample(slot)
        answer.append(token)
        assert backend.decode([Chunk(slot, [token], position, True)]) is Outcome.DONE
    return answer


def begin(backend: Backend, slot: int) -> None:
    backend.open(slot, GREEDY, seed=1, answered=[])


def prompt(kind: Kind, text: str = TEXT) -> list[int]:
    """A user's message, as tokens; long enough for several steps."""
    backend = kind.backend
    begin_token = backend.facts.begin_token
    marker = "<|im_start|>" if kind.name != "gemma" else ""
    tokens = backend.tokenize(f"{marker}user\n", special=True)
    tokens += backend.tokenize(text, special=False)
    return ([] if begin_token is None else [begin_token]) + tokens


def emptied(backend: Backend) -> Backend:
    """Backends are shared: begin with an empty cache."""
    for slot in range(backend.shape.slots):
        backend.truncate(slot, 0)
    return backend


@pytest.fixture(autouse=True)
def left_empty(request: pytest.FixtureRequest) -> Iterator[None]:
    """Other tests run engines on the same backends, and an engine finds its cache empty."""
    used = [request.getfixturevalue(name) for name in USED if name in request.fixturenames]
    yield
    for one in used:
        emptied(one.backend if isinstance(one, Kind) else one)


def test_a_restored_sequence_goes_on_as_an_undisturbed_one(kind: Kind) -> None:
    backend, tokens = emptied(kind.backend), prompt(kind)
    more = tokens + backend.tokenize(" What then?", special=False)
    begin(backend, 0)
    prefill(backend, 0, tokens, logits=False)
    cells = backend.save(0)
    assert cells is not None
    prefill(backend, 0, more, start=len(tokens))
    undisturbed = greedy(backend, 0, len(more))
    backend.truncate(0, 0)

    # Elsewhere in the cache, beside another conversation, and only what is new is prefilled.
    begin(backend, 1)
    prefill(backend, 1, prompt(kind, OTHER))
    begin(backend, 2)
    assert backend.restore(2, cells, tokens=len(tokens))
    prefill(backend, 2, more, start=len(tokens))
    assert greedy(backend, 2, len(more)) == undisturbed


def test_restoring_disturbs_no_other_sequence(kind: Kind) -> None:
    backend = emptied(kind.backend)
    other, tokens = prompt(kind, OTHER), prompt(kind)
    begin(backend, 0)
    prefill(backend, 0, other)
    alone = greedy(backend, 0, len(other))
    begin(backend, 1)
    prefill(backend, 1, tokens)
    cells = backend.save(1)
    assert cells is not None
    backend.truncate(0, 0)
    backend.truncate(1, 0)

    begin(backend, 0)
    prefill(backend, 0, other)
    begin(backend, 1)
    assert backend.restore(1, cells, tokens=len(tokens))
    assert greedy(backend, 0, len(other)) == alone


def test_surplus_tokens_are_cut_off(kind: Kind) -> None:
    backend, tokens = emptied(kind.backend), prompt(kind)
    kept = tokens[: len(tokens) // 2]
    more = kept + backend.tokenize(" Something else now.", special=False)
    begin(backend, 0)
    prefill(backend, 0, more)
    fresh = greedy(backend, 0, len(more))
    backend.truncate(0, 0)
    begin(backend, 0)
    prefill(backend, 0, tokens, logits=False)
    cells = backend.save(0)
    assert cells is not None
    backend.truncate(0, 0)

    begin(backend, 1)
    assert backend.restore(1, cells, tokens=len(kept))
    prefill(backend, 1, more, start=len(kept))
    assert greedy(backend, 1, len(more)) == fresh


def test_a_sequence_in_scattered_cells_is_saved_and_restored(kind: Kind) -> None:
    """Two sequences fill the cache in turns, so neither lies in one piece."""
    backend = emptied(kind.backend)
    first, second = prompt(kind), prompt(kind, OTHER + OTHER)
    most, piece = first[:-1], 7
    for slot in (0, 1):
        begin(backend, slot)
    for start in range(0, len(most), piece):
        for slot, tokens in ((0, most), (1, second)):
            part = tokens[start : start + piece]
            if part:
                assert backend.decode([Chunk(slot, part, start, False)]) is Outcome.DONE
    cells = backend.save(0)
    assert cells is not None
    prefill(backend, 0, first, start=len(most))
    undisturbed = greedy(backend, 0, len(first))
    backend.truncate(0, 0)
    begin(backend, 2)
    assert backend.restore(2, cells, tokens=len(most))
    prefill(backend, 2, first, start=len(most))
    assert greedy(backend, 2, len(first)) == undisturbed


def test_without_room_nothing_is_restored_and_the_slot_is_empty(kind: Kind) -> None:
    backend, tokens = emptied(kind.backend), prompt(kind)
    begin(backend, 0)
    prefill(backend, 0, tokens, logits=False)
    cells = backend.save(0)
    assert cells is not None
    backend.truncate(0, 0)
    word = backend.tokenize("word ", special=False)[:1]
    begin(backend, 0)
    prefill(backend, 0, word * (backend.shape.cache_tokens - len(tokens) + 1))
    begin(backend, 1)
    assert not backend.restore(1, cells, tokens=len(tokens))
    begin(backend, 1)
    prefill(backend, 1, word)  # would not fit the positions of a slot that is not empty
    backend.truncate(0, 0)
    begin(backend, 0)
    assert backend.restore(0, cells, tokens=len(tokens))


def test_cells_that_do_not_hold_as_many_tokens_are_refused(kind: Kind) -> None:
    backend, tokens = emptied(kind.backend), prompt(kind)
    begin(backend, 0)
    prefill(backend, 0, tokens, logits=False)
    cells = backend.save(0)
    assert cells is not None
    begin(backend, 1)
    assert not backend.restore(1, cells, tokens=len(tokens) + 1)
    assert not backend.restore(1, cells[: len(cells) // 2].copy(), tokens=len(tokens))
    begin(backend, 1)
    prefill(backend, 1, tokens[:5])


@pytest.mark.model
def test_cells_of_another_model_are_refused(qwen: Backend, gemma: Backend) -> None:
    assert qwen.facts.cache_stamp != gemma.facts.cache_stamp
    tokens = emptied(gemma).tokenize(TEXT, special=False)
    begin(gemma, 0)
    prefill(gemma, 0, tokens)
    cells = gemma.save(0)
    assert cells is not None
    begin(emptied(qwen), 0)
    assert not qwen.restore(0, cells, tokens=len(tokens))
    begin(qwen, 0)
    prefill(qwen, 0, qwen.tokenize(TEXT, special=False))
    emptied(gemma)


@pytest.fixture(scope="module")
def roomy_gemma() -> Iterator[Backend]:
    """Room for more than twice the model's sliding window of 512 tokens."""
    shape = Shape(slots=2, context_tokens=2048, cache_tokens=2048, step_tokens=256)
    backend = build_backend(
        BackendSettings(
            engine="llama", chat_model=model_path("gemma-3-270m*.gguf"), shape=shape, threads=1
        )
    )
    yield backend
    backend.shut_down()


@pytest.mark.model
def test_a_sliding_window_is_restored_where_it_is_whole_and_refused_where_not(
    roomy_gemma: Backend,
) -> None:
    backend = roomy_gemma
    numbers = " ".join(str(number) for number in range(400))
    tokens = [backend.facts.begin_token or 0, *backend.tokenize(numbers, special=False)][:1100]
    assert len(tokens) == 1100
    more = tokens + backend.tokenize(" and so on, until", special=False)
    begin(backend, 0)
    prefill(backend, 0, tokens, logits=False)
    cells = backend.save(0)
    assert cells is not None
    prefill(backend, 0, more, start=len(tokens))
    undisturbed = greedy(backend, 0, len(more))
    backend.truncate(0, 0)
    begin(backend, 1)
    assert backend.restore(1, cells, tokens=len(tokens))
    prefill(backend, 1, more, start=len(tokens))
    assert greedy(backend, 1, len(more)) == undisturbed
    # the window before token 900 reaches back to cells that were not saved
    assert not backend.restore(1, cells, tokens=900)


@pytest.mark.model
def test_drafts_that_are_cut_back_leave_a_sliding_window_whole(roomy_gemma: Backend) -> None:
    """What is added takes cells that have left the other's window."""
    backend, other, gone, drafts = emptied(roomy_gemma), 1, 2, 7
    numbers = " ".join(str(number) for number in range(400))
    tokens = [backend.facts.begin_token or 0, *backend.tokenize(numbers, special=False)][:1100]
    begin(backend, 0)
    prefill(backend, 0, tokens)
    undisturbed = [greedy(backend, 0, len(tokens) + n * ANSWER_TOKENS) for n in range(3)]
    answer = [token for part in undisturbed for token in part]
    backend.truncate(0, 0)

    word = backend.tokenize("word ", special=False)[:1]
    prefill(backend, gone, word * 12, logits=False)
    begin(backend, 0)
    prefill(backend, 0, tokens)
    said = [backend.sample(0)]
    prefill(backend, other, word * 850, logits=False)
    backend.truncate(gone, 0)  # cells are looked for from here on, and next come the first one's
    for n, token in enumerate(answer[:-1]):
        position = len(tokens) + n
        mine = Chunk(0, [token] + word * drafts, position, 1 + drafts)
        theirs = Chunk(other, word * 2, 850 + 2 * n, 0)
        assert backend.decode([mine, theirs]) is Outcome.DONE
        said.append(backend.sample(0))
        backend.truncate(0, position + 1)
    assert isinstance(backend, LlamaBackend)
    assert binding.llama_memory_seq_pos_min(backend._memory, 0) > 0, "nothing was taken"
    assert said == answer
