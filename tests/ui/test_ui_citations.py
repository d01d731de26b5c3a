"""Which marks in an answer are citations."""

import pytest
from markdown_it.token import Token

from ui.citations import number_of
from ui.widgets.answer import parser

pytestmark = pytest.mark.unit


def links(text: str, sources: int) -> list[str]:
    found = []
    for token in parser(sources).parse(text):
        found += [str(one.attrs["href"]) for one in token.children or () if one.type == "link_open"]
    return found


def plain(tokens: list[Token]) -> str:
    return "".join(one.content for token in tokens for one in token.children or ())


@pytest.mark.parametrize(
    ("text", "sources", "hrefs"),
    [
        ("Yes [1].", 1, ["source:1"]),
        ("Yes [1][2], 是的[2]。", 2, ["source:1", "source:2", "source:2"]),
        ("Not [3], not [0], not [01x]", 2, []),
        ("Without sources [1]", 0, []),
        ("`a[1]`\n\n```\nb[1]\n```", 1, []),
        ("[1](https://evil.example)", 1, ["source:1"]),
        ("**bold [1]**\n\n- item [1]\n\n|a [1]|\n|-|\n|b [1]|", 1, ["source:1"] * 4),
    ],
)
def test_numbers_of_sources_outside_code_are_citations(
    text: str, sources: int, hrefs: list[str]
) -> None:
    assert links(text, sources) == hrefs


def test_the_text_stays_as_it_was() -> None:
    text = "a [1] b[2] [9] c"
    assert plain(parser(2).parse(text)[1:2]) == text


@pytest.mark.parametrize(
    ("href", "number"), [("source:2", 2), ("source:", 0), ("https://x", 0), ("2", 0)]
)
def test_only_our_own_links_have_a_number(href: str, number: int) -> None:
    assert number_of(href) == number
