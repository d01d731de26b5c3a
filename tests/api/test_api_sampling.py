"""How a request wants its tokens chosen, from the fields of its body."""

import threading

import pytest

from appliance.api import sampling
from appliance.errors import Invalid
from appliance.grammar.automaton import Automaton
from appliance.grammar.gbnf import Grammar

pytestmark = pytest.mark.unit


async def test_a_grammar_is_read_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []

    class Watched(Automaton):
        def __init__(self, grammar: Grammar) -> None:
            threads.append(threading.current_thread())
            super().__init__(grammar)

    monkeypatch.setattr(sampling, "Automaton", Watched)
    assert await sampling.wanted_grammar(None, json_schema=None) == ""
    assert await sampling.wanted_grammar('root ::= "a"', json_schema=None) == 'root ::= "a"'
    assert "root ::=" in await sampling.wanted_grammar(None, json_schema={"type": "string"})
    assert len(threads) == 2
    assert threading.current_thread() not in threads


async def test_a_broken_grammar_is_refused() -> None:
    with pytest.raises(Invalid):
        await sampling.wanted_grammar("root ::= x", json_schema=None)
    with pytest.raises(Invalid):
        await sampling.wanted_grammar('root ::= "a"', json_schema={})
