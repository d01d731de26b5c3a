"""How an answer is chosen token by token."""

from typing import Annotated

from msgspec import Meta

from appliance.schema.fields import END, Body, Record

MAX_GRAMMAR_CHARS = 32_000
MAX_LOGIT_BIASES = 300
MAX_TOP_LOGPROBS = 20
GrammarText = Annotated[str, Meta(min_length=1, max_length=MAX_GRAMMAR_CHARS)]
TokenNumber = Annotated[str, Meta(pattern=r"^[0-9]{1,9}" + END)]
LogitBias = Annotated[
    dict[TokenNumber, Annotated[float, Meta(ge=-100, le=100)]], Meta(max_length=MAX_LOGIT_BIASES)
]


class SamplingDefaults(Record, frozen=True, kw_only=True):
    """How tokens are chosen. `temperature` 0 is greedy; `seed` None draws one."""

    temperature: Annotated[
        float,
        Meta(ge=0, le=2, description="How freely tokens are drawn; 0 takes the likeliest always."),
    ] = 0.1
    top_k: Annotated[
        int, Meta(ge=0, le=1000, description="So many of the likeliest tokens are left; 0 is all.")
    ] = 40
    top_p: Annotated[
        float, Meta(gt=0, le=1, description="Of those, the likeliest that have this much together.")
    ] = 0.95
    min_p: Annotated[
        float,
        Meta(ge=0, le=1, description="Of those, all that have this part of the likeliest one's."),
    ] = 0.05
    repeat_penalty: Annotated[
        float, Meta(gt=0, le=2, description="Above 1, tokens that came before come less; 1 is off.")
    ] = 1.0
    presence_penalty: Annotated[
        float, Meta(ge=-2, le=2, description="Taken from the logit of a token that came before.")
    ] = 0.0
    frequency_penalty: Annotated[
        float, Meta(ge=-2, le=2, description="The same for each time that it came before.")
    ] = 0.0
    seed: Annotated[
        Annotated[int, Meta(ge=0, le=2**32 - 2)] | None,
        Meta(description="The same seed draws the same answer; without one each is drawn anew."),
    ] = None
    max_tokens: Annotated[int, Meta(ge=1, le=131_072, description="Longest answer, in tokens.")] = (
        512
    )
    stop: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...],
        Meta(description="Words before which an answer ends."),
    ] = ()


class Adapter(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A LoRA adapter over the chat model; `scale` 1 is as it was trained, 0 is without it."""

    path: Annotated[str, Meta(min_length=1, max_length=4096)]
    scale: Annotated[float, Meta(ge=-10, le=10)] = 1.0


class TokenBias(Record, frozen=True, kw_only=True, array_like=True):
    """`bias` is added to the logit of a token before it can be chosen."""

    token: int
    bias: float


class Sampling(SamplingDefaults, frozen=True, kw_only=True):
    """The same with what only a request can ask for.

    `grammar` is GBNF, "" for none. `logprobs` is how many alternatives to name beside each token,
    None for no log-probabilities at all.
    """

    grammar: str = ""
    logit_bias: tuple[TokenBias, ...] = ()
    logprobs: int | None = None
