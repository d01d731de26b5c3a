"""Chooses tokens: one llama.cpp sampler chain per sequence.

The order is llama.cpp's: penalties, top-k, top-p, min-p, temperature, and a draw with the
request's seed; temperature 0 takes the most likely token. Penalties count the answer's own
tokens only, resumed ones included: an answer must be free to repeat the FAQ entry it quotes.
"""

from llama_cpp import llama_cpp as binding

from appliance.schema import Sampling

PENALTY_WINDOW_TOKENS = 256
KEEP_AT_LEAST = 1  # candidates that top-p and min-p always leave


class SamplerChain:
    """A chain for one sequence; `free` it."""

    def __init__(
        self, sampling: Sampling, *, vocabulary_size: int, seed: int, answered: list[int]
    ) -> None:
        self._chain = binding.llama_sampler_chain_init(binding.llama_sampler_chain_default_params())
        for stage in _stages(sampling, vocabulary_size, seed):
            binding.llama_sampler_chain_add(self._chain, stage)
        for token in answered:
            binding.llama_sampler_accept(self._chain, token)

    def sample(self, context: int, output: int) -> int:
        """The next token from the logits of the batch's token number `output`."""
        return int(binding.llama_sampler_sample(self._chain, context, output))

    def free(self) -> None:
        binding.llama_sampler_free(self._chain)


def _stages(sampling: Sampling, vocabulary_size: int, seed: int) -> list[int]:
    """Pointers to the samplers; the chain owns them once they are added."""
    stages: list[int] = []
    penalties = (sampling.repeat_penalty, sampling.frequency_penalty, sampling.presence_penalty)
    if penalties != (1.0, 0.0, 0.0):
        stages.append(
            binding.llama_sampler_init_penalties(vocabulary_size, PENALTY_WINDOW_TOKENS, *penalties)
        )
    if sampling.temperature == 0:
        return [*stages, binding.llama_sampler_init_greedy()]
    if sampling.top_k > 0:
        stages.append(binding.llama_sampler_init_top_k(sampling.top_k))
    if sampling.top_p < 1:
        stages.append(binding.llama_sampler_init_top_p(sampling.top_p, KEEP_AT_LEAST))
    if sampling.min_p > 0:
        stages.append(binding.llama_sampler_init_min_p(sampling.min_p, KEEP_AT_LEAST))
    return [
        *stages,
        binding.llama_sampler_init_temp(sampling.temperature),
        binding.llama_sampler_init_dist(seed),
    ]
