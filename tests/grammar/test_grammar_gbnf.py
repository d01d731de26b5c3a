"""Grammars are read as llama.cpp reads them, and none can hang or bring down who follows it."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import Invalid
from appliance.grammar.automaton import MAX_CLASSES, Automaton, GrammarCache
from appliance.grammar.gbnf import MAX_GRAMMAR_CHARS, parse
from appliance.grammar.shortest import shortest

pytestmark = pytest.mark.unit

# A grammar, a regular expression of the same texts, and the letters to try them with.
TWINS = [
    ('root ::= "yes" | "no" (", " [a-c]+)?', r"yes|no(, [a-c]+)?", "yesno, abcd"),
    ('root ::= "a"{2,3} "b"{0,1} "c"{2}', r"a{2,3}b?c{2}", "abc"),
    ('root ::= x ("," x)* # a comment\n\nx ::= [^,a]{1,}', r"[^,a]+(,[^,a]+)*", "a,b"),
    ('root ::= ("a"* | "b")* "." .', r"(?s:(a|b)*\..)", "ab.\n"),
    (r'root ::= "\"" [\x41-\u0043\-\]]* "\\"', r'"[A-C\-\]]*\\', '"ABCD-]\\'),
    ("root ::= [一-龥]+ [。！]", "[一-龥]+[。！]", "中文。！a"),
]

BROKEN = {
    "there is no rule named root": 'rot ::= "a"',
    "expected ::= after root": 'root "a"',
    "rule x is used but not defined": "root ::= x",
    "rule root is defined twice": 'root ::= "a"\nroot ::= "b"',
    "the text ends inside a literal": 'root ::= "a',
    "unknown escape": r'root ::= "\q"',
    "unknown escape \\U": r'root ::= "\UFFFFFFFF"',
    "a range runs backwards": "root ::= [b-a]",
    "nothing before *": "root ::= *",
    "at least 5 and at most 3": 'root ::= "a"{5,3}',
    "more than 2000 repetitions": 'root ::= "a"{1,100000}',
    "expected a number of repetitions": 'root ::= "a"{' + "9" * 400 + "}",
    "elements": "root ::= " + '"' + "a" * 200 + '"{2000}',
    "nested more than": "root ::= " + "(" * 10_000 + '"a"' + ")" * 10_000,
    "expected )": 'root ::= ("a"',
    "expected a new line": 'root ::= "a" )',
    "token elements": "root ::= <[5]>",
    "longer than": "root ::= " + '"a" ' * MAX_GRAMMAR_CHARS,
    "rule root is left-recursive": 'root ::= root "a" | "b"',
    "rule root is left-recursive or": 'root ::= e root "a" | "b"\ne ::= f\nf ::= ""',
    "makes no text": "root ::= root",
    "begins in too many ways": "\n".join(
        [*(f'r{n} ::= r{n + 1} | r{n + 1} "a"' for n in range(60)), 'r60 ::= "x"', "root ::= r0"]
    ),
}


def fits(automaton: Automaton, text: str) -> bool:
    end = automaton.advance(automaton.start, text.encode())
    return end is not None and automaton.may_end(end)


@pytest.mark.parametrize(("grammar", "expression", "letters"), TWINS)
def test_a_grammar_takes_the_texts_of_its_twin(grammar: str, expression: str, letters: str) -> None:
    automaton = Automaton(parse(grammar))
    twin = re.compile(expression)

    @given(st.one_of(st.text(letters, max_size=8), st.from_regex(twin, fullmatch=True)))
    def check(text: str) -> None:
        assert fits(automaton, text) == (twin.fullmatch(text) is not None)

    check()


@pytest.mark.parametrize(("words", "grammar"), BROKEN.items(), ids=list(BROKEN))
def test_a_broken_grammar_is_refused_in_words(words: str, grammar: str) -> None:
    with pytest.raises(Invalid) as refused:
        Automaton(parse(grammar))
    assert words in refused.value.message
    assert refused.value.reason == "grammar"
    assert refused.value.hint


def test_stacks_that_double_with_each_character_are_stopped() -> None:
    automaton = Automaton(parse('root ::= "a" root "b" | "a" root "c" | "x"'))
    assert fits(automaton, "aaxbc")
    with pytest.raises(Invalid, match="too many ways"):
        automaton.advance(automaton.start, b"a" * 60)


@given(st.text(), st.binary(max_size=6))
def test_any_characters_are_followed_byte_by_byte_as_utf8_has_it(text: str, noise: bytes) -> None:
    automaton = Automaton(parse("root ::= .*"))
    whole = text.encode(errors="ignore") + noise
    try:
        whole.decode()
        valid = True
    except UnicodeDecodeError:
        valid = False
    position = automaton.start
    for byte in whole:
        following = automaton.advance(position, bytes((byte,)))
        assert following is None or automaton.first_bytes(position)[byte]
        if following is None:
            assert not valid
            return
        position = following
    assert automaton.may_end(position) == valid


def test_half_a_character_must_be_able_to_become_one_that_fits() -> None:
    automaton = Automaton(parse("root ::= [一-三] | [a-z]"))
    first = "一".encode()[:2]
    assert automaton.advance(automaton.start, first) is not None
    assert automaton.advance(automaton.start, "龥".encode()[:2]) is None
    half = automaton.advance(automaton.start, first)
    assert half is not None
    assert not automaton.may_end(half)


@given(st.text(max_size=200))
def test_no_text_makes_the_reader_fail_otherwise(text: str) -> None:
    with contextlib.suppress(Invalid):
        assert Automaton(parse(f"root ::= {text}")).start.missing == 0


@pytest.mark.parametrize(("grammar", "expression", "letters"), TWINS)
def test_the_shortest_text_fits(grammar: str, expression: str, letters: str) -> None:
    assert re.fullmatch(expression, shortest(parse(grammar)))


def test_a_rule_without_an_end_has_no_shortest_text() -> None:
    assert shortest(parse("root ::= a b\na ::= b\nb ::= a |")) == ""
    with pytest.raises(Invalid, match="no short text"):
        shortest(parse('root ::= "a" root'))


def test_grammars_are_kept_by_their_text_and_a_few_only() -> None:
    cache = GrammarCache()
    first = cache.get('root ::= "a"')
    assert cache.get('root ::= "a"') is first
    for number in range(40):
        cache.get(f'root ::= "{number}"')
    assert cache.get('root ::= "a"') is not first


def test_a_repeated_class_is_looked_at_once() -> None:
    class Counting(Automaton):
        looked_up = 0

        def _class_of(self, code: int) -> int:
            self.looked_up += 1
            return super()._class_of(code)

    letters = "".join(chr(0x4E00 + 2 * number) for number in range(1_000))
    once = Counting(parse(f"root ::= [{letters}]")).looked_up
    assert once >= 1_000
    assert Counting(parse(f"root ::= [{letters}]{{2000}}")).looked_up == once
    assert Counting(parse('root ::= "a" "a" "a"')).looked_up == 2


def test_kinds_of_characters_are_bounded() -> None:
    letters = "".join(chr(0x4E00 + 2 * number) for number in range(MAX_CLASSES // 2 + 1))
    Automaton(parse(f"root ::= [{letters[1:]}]"))
    with pytest.raises(Invalid, match="kinds of characters"):
        Automaton(parse(f"root ::= [{letters}]"))


def test_what_is_looked_at_to_begin_with_is_bounded() -> None:
    letters = "|".join(['"a"'] * 900)
    rules = "\n".join(f"r{number} ::= x" for number in range(1_000))
    with pytest.raises(Invalid, match="too many ways"):
        Automaton(parse(f"root ::= x\nx ::= {letters}\n{rules}"))


def test_an_alternative_without_anything_counts_once() -> None:
    automaton = Automaton(parse('root ::= "a" | "" | ""'))
    assert automaton.may_end(automaton.start)
    assert automaton.advance(automaton.start, b"a") is not None
