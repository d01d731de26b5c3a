"""How a request wants its tokens chosen, from the fields of its body.

Whatever can be wrong with a grammar or a schema is found here, before anything is queued.
"""

import asyncio
from typing import Any

import msgspec

from appliance.errors import Invalid
from appliance.grammar.automaton import Automaton
from appliance.grammar.gbnf import parse
from appliance.grammar.json_schema import json_grammar
from appliance.schema.sampling import LogitBias, Sampling, SamplingDefaults, TokenBias


def sampling(
    defaults: SamplingDefaults,
    given: msgspec.Struct,
    *,
    grammar: str = "",
    logit_bias: LogitBias | None = None,
    logprobs: int | None = None,
) -> Sampling:
    """The defaults with every field that the caller gave."""
    fields = {
        name: value if (value := getattr(given, name, None)) is not None else default
        for name, default in msgspec.structs.asdict(defaults).items()
    }
    biases = tuple(
        TokenBias(token=int(token), bias=bias) for token, bias in (logit_bias or {}).items()
    )
    return Sampling(**fields, grammar=grammar, logit_bias=biases, logprobs=logprobs)


async def wanted_grammar(grammar: str | None, *, json_schema: dict[str, Any] | None) -> str:
    """The GBNF an answer must follow, "" when it is free; it is read on a thread beside the loop.

    Raises Invalid when both are given, and when what is given is broken.
    """
    if grammar is not None and json_schema is not None:
        raise Invalid(
            "a grammar and a JSON schema cannot be combined",
            hint="leave one out",
            reason="grammar_and_schema",
        )
    if json_schema is None and not grammar:
        return ""
    return await asyncio.to_thread(_checked, grammar or "", json_schema)


def _checked(grammar: str, json_schema: dict[str, Any] | None) -> str:
    text = grammar if json_schema is None else json_grammar(json_schema)
    Automaton(parse(text))
    return text


def wanted_logprobs(logprobs: bool | None, top_logprobs: int | None) -> int | None:
    """How many alternatives to name beside each token, None for no log-probabilities.

    Raises Invalid for alternatives without log-probabilities, as OpenAI does.
    """
    if top_logprobs and not logprobs:
        raise Invalid(
            "top_logprobs needs logprobs", hint='add "logprobs": true', reason="logprobs_missing"
        )
    return (top_logprobs or 0) if logprobs else None
