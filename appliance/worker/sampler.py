"""Chooses tokens: one llama.cpp sampler chain per sequence.

The order is llama.cpp's: logit bias and penalties, then top-k, top-p, min-p, temperature, and a
draw; temperature 0 takes the most likely token. Penalties count the answer's own tokens only,
resumed ones included: an answer must be free to repeat the FAQ entry it quotes.

A draw depends on the request's seed and on how many bytes of the answer came before, on nothing
else. So an answer with a seed goes on as it would have, also on another worker, and tokens that
were guessed and dropped leave no trace.

Under a grammar a token is chosen freely first. Only when the grammar does not allow it are the
most likely tokens that it does allow found and the choice made among them: a constrained answer
costs little more than a free one (as llama.cpp's `common_sampler_sample`). Tokens that write
nothing are never chosen there.
"""

import ctypes
import itertools
from collections.abc import Iterator

import numpy as np
from llama_cpp import llama_cpp as binding
from numpy.typing import NDArray

from appliance.errors import Invalid
from appliance.grammar.automaton import Automaton, Position
from appliance.schema.events import Likely, TokenLogprob
from appliance.schema.sampling import Sampling
from appliance.worker.vocabulary import Vocabulary

PENALTY_WINDOW_TOKENS = 256
KEEP_AT_LEAST = 1  # candidates that top-p and min-p always leave
ALLOWED_TOKENS = 256  # without top-k, a draw under a grammar is among this many
LIKELY_TOKENS = 2_000  # tried first under a grammar; the others only when none of these fits

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


class SamplerChain:
    """A chain for one sequence; `free` it.

    `answered` are the tokens of the answer so far, `automaton` the request's grammar. Raises
    Invalid when the answer so far or a token in `logit_bias` does not fit.
    """

    def __init__(
        self,
        sampling: Sampling,
        *,
        vocabulary: Vocabulary,
        seed: int,
        answered: list[int],
        automaton: Automaton | None,
    ) -> None:
        self._sampling = sampling
        self._vocabulary = vocabulary
        self._seed = seed
        self._said_bytes = sum(len(vocabulary.pieces[token]) for token in answered)
        self._automaton = automaton
        self._position = _position(automaton, vocabulary, answered)
        self._top_logprobs: TokenLogprob | None = None
        shaping = _shaping(sampling, vocabulary.size)
        choosing = _choosing(sampling)
        self._shapes = bool(shaping)
        self._draws = sampling.temperature > 0
        self._shaping, self._choosing = _chain(shaping), _chain(choosing)
        self._chain = _chain([self._shaping, self._choosing])
        self._drawn = len(choosing)  # where in `_choosing` the draw stands
        if self._draws:
            binding.llama_sampler_chain_add(self._choosing, binding.llama_sampler_init_dist(seed))
        for token in answered:
            binding.llama_sampler_accept(self._chain, token)

    @property
    def logprobs(self) -> TokenLogprob | None:
        """Of the token sampled last; None when the request did not ask."""
        return self._top_logprobs

    def sample(self, context: int, output: int) -> int:
        """The next token from the logits of the batch's token number `output`.

        Raises Invalid when the grammar allows no token, or goes on in too many ways.
        """
        if self._draws:
            self._prepare_draw(0)
        if self._automaton is None:
            token = int(binding.llama_sampler_sample(self._chain, context, output))
        else:
            token = self._sample_under_grammar(self._logits(context, output))
            binding.llama_sampler_accept(self._chain, token)
        if self._sampling.logprobs is not None:
            self._top_logprobs = token_logprob(
                self._logits(context, output), token, self._sampling.logprobs, self._vocabulary
            )
        self._said_bytes += len(self._vocabulary.pieces[token])
        return token

    def free(self) -> None:
        binding.llama_sampler_free(self._chain)

    def _logits(self, context: int, output: int) -> NDArray[np.float32]:
        """A view: it is the library's memory, good until the next decode."""
        pointer = binding.llama_get_logits_ith(context, output)
        return np.ctypeslib.as_array(pointer, (self._vocabulary.size,))

    def _prepare_draw(self, attempt: int) -> None:
        """Put a generator of this place in the answer where the draw is made."""
        old = binding.llama_sampler_chain_remove(self._choosing, self._drawn)
        binding.llama_sampler_free(old)
        seed = mixed_seed(self._seed, self._said_bytes, attempt)
        binding.llama_sampler_chain_add(self._choosing, binding.llama_sampler_init_dist(seed))

    def _sample_under_grammar(self, logits: NDArray[np.float32]) -> int:
        assert self._automaton is not None
        assert self._position is not None
        candidates = _candidates(np.arange(len(logits), dtype=np.int32), logits)
        token = _chosen(self._chain, candidates)
        following = self._follow(token)
        if following is None:
            if self._draws:
                self._prepare_draw(1)
            allowed = self._allowed(logits)
            token = _chosen(self._choosing, allowed)
            following = self._follow(token)
            assert following is not None
        self._position = following
        return token

    def _follow(self, token: int) -> Position | None:
        """Where the grammar is after a token, None when it does not allow it."""
        assert self._automaton is not None
        assert self._position is not None
        piece = self._vocabulary.pieces[token]
        if piece:
            return self._automaton.advance(self._position, piece)
        ends = token in self._vocabulary.ends and self._automaton.may_end(self._position)
        return self._position if ends else None

    def _allowed(self, logits: NDArray[np.float32]) -> NDArray[np.void]:
        """The most likely tokens that the grammar allows, as many as the choice can use."""
        assert self._automaton is not None
        assert self._position is not None
        candidates = _candidates(np.arange(len(logits), dtype=np.int32), logits)
        if self._shapes:
            binding.llama_sampler_apply(self._shaping, ctypes.byref(_array(candidates)))
        shaped = candidates["logit"]
        first_bytes = self._automaton.first_bytes(self._position)
        possible = self._vocabulary.writes & first_bytes[self._vocabulary.first_bytes]
        possible[self._vocabulary.ends] = self._automaton.may_end(self._position)
        wanted = (self._sampling.top_k or ALLOWED_TOKENS) if self._draws else 1
        found: list[int] = []
        for tokens in _by_likelihood(shaped, np.flatnonzero(possible)):
            fitting = (token for token in tokens if self._follow(token) is not None)
            found = list(itertools.islice(fitting, wanted))
            if found:
                break
        if not found:
            raise Invalid(
                "the grammar allows nothing here that the model can write",
                hint="let the grammar end where nothing can follow",
                reason="grammar",
            )
        return _candidates(np.array(found, dtype=np.int32), shaped[found])


def mixed_seed(seed: int, said_bytes: int, attempt: int) -> int:
    """A seed for one draw, unlike those of its neighbours (the finaliser of MurmurHash3)."""
    mixed = (seed * 0x9E3779B1 + said_bytes * 0x85EBCA77 + attempt * 0xC2B2AE3D) & 0xFFFFFFFF
    mixed = (mixed ^ mixed >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    mixed = (mixed ^ mixed >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    mixed ^= mixed >> 16
    return min(mixed, 0xFFFFFFFE)  # the largest number means "a random seed" to llama.cpp


def token_logprob(
    logits: NDArray[np.float32], token: int, alternatives: int, vocabulary: Vocabulary
) -> TokenLogprob:
    """Natural log-probabilities by the model's own distribution: a log-softmax of its logits."""
    highest = logits.max()
    normaliser = float(highest) + float(np.log(np.exp(logits - highest).sum(dtype=np.float64)))
    top: list[int] = []
    if alternatives:
        most = np.argpartition(logits, -alternatives)[-alternatives:]
        top = most[np.argsort(-logits[most], kind="stable")].tolist()

    def logprob(one: int) -> float:
        return round(float(logits[one]) - normaliser, 5)

    return TokenLogprob(
        token=vocabulary.pieces[token],
        logprob=logprob(token),
        top=tuple(Likely(token=vocabulary.pieces[one], logprob=logprob(one)) for one in top),
    )


def _position(
    automaton: Automaton | None, vocabulary: Vocabulary, answered: list[int]
) -> Position | None:
    """Where the grammar is after the answer so far; None without a grammar."""
    if automaton is None:
        return None
    said = b"".join(vocabulary.pieces[token] for token in answered)
    position = automaton.advance(automaton.start, said)
    if position is None:
        raise Invalid(
            "the answer so far does not fit the grammar", hint="ask again", reason="grammar"
        )
    return position


def _by_likelihood(logits: NDArray[np.float32], tokens: NDArray[np.intp]) -> Iterator[list[int]]:
    """The likely tokens, then all others, each most likely first."""
    if len(tokens) > LIKELY_TOKENS:
        split = np.argpartition(-logits[tokens], LIKELY_TOKENS)
        likely, tokens = tokens[split[:LIKELY_TOKENS]], tokens[split[LIKELY_TOKENS:]]
        yield likely[np.argsort(-logits[likely])].tolist()
    yield tokens[np.argsort(-logits[tokens])].tolist()


def _candidates(tokens: NDArray[np.int32], logits: NDArray[np.float32]) -> NDArray[np.void]:
    candidates = np.zeros(len(tokens), dtype=_CANDIDATE)
    candidates["id"], candidates["logit"] = tokens, logits
    return candidates


def _array(candidates: NDArray[np.void]) -> binding.llama_token_data_array:
    return binding.llama_token_data_array(
        data=candidates.ctypes.data_as(binding.llama_token_data_p),
        size=len(candidates),
        selected=-1,
        sorted=False,
    )


def _chosen(chain: int, candidates: NDArray[np.void]) -> int:
    """The token a chain selects; it reorders the candidates."""
    array = _array(candidates)
    binding.llama_sampler_apply(chain, ctypes.byref(array))
    return int(array.data[array.selected].id)


def _chain(stages: list[int]) -> int:
    """A chain, which owns its stages."""
    chain: int = binding.llama_sampler_chain_init(binding.llama_sampler_chain_default_params())
    for stage in stages:
        binding.llama_sampler_chain_add(chain, stage)
    return chain


def _shaping(sampling: Sampling, vocabulary_size: int) -> list[int]:
    """Stages that change logits; pointers, owned by the chain they are added to."""
    stages: list[int] = []
    if sampling.logit_bias:
        biases = (binding.llama_logit_bias * len(sampling.logit_bias))(
            *((one.token, one.bias) for one in sampling.logit_bias)
        )
        stages.append(binding.llama_sampler_init_logit_bias(vocabulary_size, len(biases), biases))
    penalties = (sampling.repeat_penalty, sampling.frequency_penalty, sampling.presence_penalty)
    if penalties != (1.0, 0.0, 0.0):
        stages.append(
            binding.llama_sampler_init_penalties(vocabulary_size, PENALTY_WINDOW_TOKENS, *penalties)
        )
    return stages


def _choosing(sampling: Sampling) -> list[int]:
    """Stages that leave one token, or those among which the draw is made."""
    if sampling.temperature == 0:
        return [binding.llama_sampler_init_greedy()]
    stages: list[int] = []
    if sampling.top_k > 0:
        stages.append(binding.llama_sampler_init_top_k(sampling.top_k))
    if sampling.top_p < 1:
        stages.append(binding.llama_sampler_init_top_p(sampling.top_p, KEEP_AT_LEAST))
    if sampling.min_p > 0:
        stages.append(binding.llama_sampler_init_min_p(sampling.min_p, KEEP_AT_LEAST))
    return [*stages, binding.llama_sampler_init_temp(sampling.temperature)]
