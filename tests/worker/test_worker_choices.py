"""How tokens are chosen when a request says how: grammar, seed, bias, log-probabilities."""

import ctypes
import itertools
import json
import math
import threading
from typing import Any

import numpy as np
import pytest
from llama_cpp import llama_cpp as binding
from worker_bench import Kind, Run, ask, model_path, run_jobs

from appliance.grammar.automaton import Automaton
from appliance.grammar.gbnf import Grammar, parse
from appliance.grammar.json_schema import json_grammar
from appliance.schema.events import TokenLogprob
from appliance.schema.sampling import Sampling, TokenBias
from appliance.worker.backend import Backend, Chunk, Outcome
from appliance.worker.jobs import Piece
from appliance.worker.sampler import mixed_seed
from appliance.worker.vocabulary import read_vocabulary

PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "姓名": {"type": "string", "minLength": 1, "maxLength": 6},
        "level": {"enum": ["高", "低"]},
        "sizes": {
            "type": "array",
            "items": {"type": "integer", "minimum": 1, "maximum": 40},
            "minItems": 1,
            "maxItems": 3,
        },
    },
    "required": ["姓名", "level", "sizes"],
}
QUESTION = "请用 JSON 介绍一个人。"


def logprobs(run: Run, request_id: str) -> list[TokenLogprob]:
    pieces = [one for one in run.all() if isinstance(one, Piece) and one.request_id == request_id]
    return [logprob for piece in pieces for logprob in piece.logprobs]


def test_whatever_is_drawn_under_a_schema_fits_it(kind: Kind) -> None:
    grammar = json_grammar(PERSON)
    jobs = [
        ask(
            f"r{seed}",
            QUESTION,
            Sampling(temperature=1, top_p=1, min_p=0, seed=seed, max_tokens=90, grammar=grammar),
        )
        for seed in range(4)
    ]
    run = run_jobs(kind.backend, *jobs)
    for job in jobs:
        end = run.finished(job.request_id)
        assert end.finish_reason == "stop", end.text
        value = json.loads(end.text)
        assert list(value) == ["姓名", "level", "sizes"]
        assert 1 <= len(value["姓名"]) <= 6
        assert value["level"] in ("高", "低")
        assert 1 <= len(value["sizes"]) <= 3
        assert all(type(size) is int and 1 <= size <= 40 for size in value["sizes"])


def test_an_answer_cut_short_under_a_grammar_ends_with_length(kind: Kind) -> None:
    sampling = Sampling(temperature=0, max_tokens=3, grammar=json_grammar(PERSON))
    end = run_jobs(kind.backend, ask("a", QUESTION, sampling)).finished("a")
    assert end.finish_reason == "length"
    assert end.completion_tokens == 3


def test_a_grammar_that_cannot_be_followed_ends_its_own_request_only(kind: Kind) -> None:
    doubling = 'root ::= "a" root "b" | "a" root "c"'
    broken = {"x": "root ::= y", "y": doubling if kind.name != "fake" else "root ::= ["}
    run = run_jobs(
        kind.backend,
        *(
            ask(name, "Go on.", Sampling(temperature=0, max_tokens=60, grammar=grammar))
            for name, grammar in broken.items()
        ),
        ask("good", "Say yes.", Sampling(temperature=0, max_tokens=3)),
    )
    for name in broken:
        assert run.rejected(name).reason == "grammar"
        assert "grammar" in run.rejected(name).message
    assert run.finished("good").completion_tokens > 0


def test_a_grammar_is_read_beside_the_engine_thread(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading: list[str] = []

    class Watched(Automaton):
        def __init__(self, grammar: Grammar) -> None:
            reading.append(threading.current_thread().name)
            super().__init__(grammar)

    monkeypatch.setattr("appliance.grammar.automaton.Automaton", Watched)
    sampling = Sampling(temperature=0, max_tokens=9, grammar='root ::= "yes"')
    first, second = ask("a", "Say no.", sampling), ask("b", "Say no.", sampling)
    run = run_jobs(kind.backend, first, second)
    assert run.finished("a").text == run.finished("b").text == "yes"
    assert reading == ["prepare"]


def test_log_probabilities_belong_to_the_text_and_come_only_when_asked(kind: Kind) -> None:
    sampling = Sampling(temperature=0, max_tokens=12, logprobs=3)
    run = run_jobs(
        kind.backend,
        ask("a", "重复：你好吗？", sampling),
        ask("b", "Say yes.", Sampling(max_tokens=4)),
    )
    found = logprobs(run, "a")
    assert 1 <= len(found) <= run.finished("a").completion_tokens
    said = b"".join(one.token for one in found).decode(errors="replace").rstrip("\ufffd")
    assert said.startswith(run.finished("a").text.rstrip("\ufffd"))
    for one in found:
        assert one.top[0].logprob == one.logprob, "greedy takes the most likely"
        values = [other.logprob for other in one.top]
        assert values == sorted(values, reverse=True)
        assert 0 < math.fsum(map(math.exp, values)) <= 1.0001
    assert logprobs(run, "b") == []


def test_log_probabilities_of_a_stop_string_are_not_told(kind: Kind) -> None:
    whole = run_jobs(kind.backend, ask("a", "Count: 1 2 3 4 5 6 7", Sampling(temperature=0)))
    text = whole.finished("a").text
    stop = text[4:7]
    sampling = Sampling(temperature=0, stop=(stop,), logprobs=0)
    run = run_jobs(kind.backend, ask("a", "Count: 1 2 3 4 5 6 7", sampling))
    cut = run.finished("a").text
    said = b"".join(one.token for one in logprobs(run, "a")).decode(errors="replace")
    assert cut == text[: text.index(stop)]
    assert said.startswith(cut)
    assert len(said) - len(cut) < 12, "at most the token in which the stop string begins"


@pytest.mark.model
@pytest.mark.parametrize("name", ["qwen", "gemma"])
def test_draws_depend_on_the_place_in_the_answer_and_on_nothing_before(
    name: str, request: pytest.FixtureRequest
) -> None:
    """Whoever goes on after some tokens draws what would have been drawn, penalties included."""
    backend: Backend = request.getfixturevalue(name)
    sampling = Sampling(temperature=1.5, top_k=0, top_p=1, min_p=0, frequency_penalty=1.0)
    prompt = backend.tokenize("Once upon a time", special=False)
    backend.open(0, sampling, seed=7, answered=[])
    assert backend.decode([Chunk(0, prompt, 0, 1)]) is Outcome.DONE
    drawn = [backend.sample(0) for _ in range(12)]
    assert len(set(drawn)) > 6
    for given in (1, 5, 11):
        backend.open(0, sampling, seed=7, answered=drawn[:given])
        assert [backend.sample(0) for _ in drawn[given:]] == drawn[given:]
    backend.open(0, sampling, seed=8, answered=[])
    assert [backend.sample(0) for _ in drawn] != drawn
    backend.close(0)
    backend.truncate(0, 0)


def test_a_constrained_draw_goes_on_after_any_token_too(kind: Kind) -> None:
    sampling = Sampling(temperature=1, top_p=1, seed=3, max_tokens=90, grammar=json_grammar(PERSON))
    first = run_jobs(kind.backend, ask("a", QUESTION, sampling))
    pieces = [one for one in first.all() if isinstance(one, Piece)][:4]
    text = "".join(piece.text for piece in pieces)
    tokens = tuple(itertools.chain.from_iterable(piece.tokens for piece in pieces))
    job = ask("a", QUESTION, sampling, resume_text=text, resume_tokens=tokens)
    resumed = run_jobs(kind.backend, job).finished("a").text
    assert json.loads(resumed)["level"] in ("高", "低")
    assert resumed.startswith(text)


@pytest.mark.unit
def test_the_seeds_of_neighbouring_draws_are_spread_evenly() -> None:
    seeds = [mixed_seed(seed, place, 0) for seed in range(40) for place in range(100)]
    assert len(set(seeds)) >= len(seeds) - 10
    counts = np.histogram(seeds, bins=16, range=(0, 2**32))[0]
    assert counts.min() > 180
    assert counts.max() < 330
    assert all(0 <= seed < 2**32 - 1 for seed in seeds)
    assert mixed_seed(5, 9, 0) != mixed_seed(5, 9, 1)


@pytest.mark.model
def test_a_bias_forces_and_forbids_tokens(qwen: Backend) -> None:
    [yes] = qwen.tokenize("yes", special=False)

    def answer(bias: float, **more: Any) -> str:
        sampling = Sampling(
            temperature=0,
            max_tokens=3,
            logit_bias=(TokenBias(token=yes, bias=bias), TokenBias(token=10**8, bias=5)),
            **more,
        )
        return (
            run_jobs(qwen, ask("a", "Answer with one word: yes or no?", sampling))
            .finished("a")
            .text
        )

    assert answer(100) == "yesyesyes"
    assert "yes" not in answer(-100)
    rule = 'root ::= ("yes" | "no")+'
    assert answer(100, grammar=rule) == "yesyesyes"
    assert answer(-100, grammar=rule).startswith("no")


@pytest.mark.model
@pytest.mark.parametrize(
    ("grammar", "said"),
    [
        (json_grammar(PERSON), '{"姓名": "王'),
        (json_grammar(PERSON), '{"姓名":"x", "level":'),
        (json_grammar(), '{"a": [1, -2.5e'),
        ('root ::= "yes" | "no" (" " [a-z]+)*', "no b"),
        ("root ::= [一-龥]{2,4} [^x]", "中文"),
    ],
    ids=range(5),
)
def test_the_same_tokens_are_allowed_as_by_the_native_sampler(
    qwen: Backend, grammar: str, said: str
) -> None:
    """The native grammar sampler is the oracle, for grammars that do not hang it."""
    parameters = binding.llama_model_default_params()
    parameters.vocab_only = True
    path = str(model_path("qwen2.5-coder-0.5b-instruct*.gguf")).encode()
    model = binding.llama_model_load_from_file(path, parameters)
    native_vocabulary = binding.llama_model_get_vocab(model)
    size = binding.llama_vocab_n_tokens(native_vocabulary)
    vocabulary = read_vocabulary(size, qwen.piece, qwen.is_end)
    automaton = Automaton(parse(grammar))
    at = automaton.advance(automaton.start, said.encode())
    assert at is not None
    native = binding.llama_sampler_init_grammar(native_vocabulary, grammar.encode(), b"root")
    for token in qwen.tokenize(said, special=False):
        binding.llama_sampler_accept(native, token)
    candidates = np.zeros(size, dtype=[("id", "<i4"), ("logit", "<f4"), ("p", "<f4")])
    candidates["id"] = np.arange(size)
    array = binding.llama_token_data_array(
        data=candidates.ctypes.data_as(binding.llama_token_data_p), size=size, selected=-1
    )
    binding.llama_sampler_apply(native, ctypes.byref(array))
    binding.llama_sampler_free(native)
    binding.llama_model_free(model)
    ends = set(vocabulary.ends.tolist())
    ours, theirs = set(), set()
    for token, piece in enumerate(vocabulary.pieces):
        native_allows = bool(np.isfinite(candidates["logit"][token]))
        if token in ends:
            assert automaton.may_end(at) == native_allows
        elif _is_text(piece):
            ours |= {token} if automaton.advance(at, piece) else set()
            theirs |= {token} if native_allows else set()
        elif piece and automaton.advance(at, piece) and b"\0" not in piece:
            assert native_allows, "ours takes valid UTF-8 only, the native one more"
    assert ours
    assert ours == theirs


def _is_text(piece: bytes) -> bool:
    """Whole characters, and no NUL, which the native sampler takes for an end."""
    try:
        return bool(piece.decode()) and b"\0" not in piece
    except UnicodeDecodeError:
        return False
