"""Searching conversations and keeping them as files."""

import json

import msgspec
import pytest

from appliance import keys
from appliance.bus.client import Bus
from appliance.people.late_answers import LateAnswers
from appliance.people.search import Search, contains, excerpt, words_of
from appliance.people.sessions import Sessions
from appliance.people.transcripts import as_json, as_markdown, first_words
from appliance.people.turns import Answered, Asked, Turns
from appliance.schema.answers import Match
from appliance.schema.conversations import Session, Turn


def turn(number: int, question: str, answer: str = "an answer", **more: object) -> Turn:
    fields = {"id": f"t{number}", "created_at_ms": number, "state": "done"} | more
    return msgspec.convert({"question": question, "answer": answer} | fields, Turn)


SESSION = Session(id="s1", uid="lin", title="", created_at_ms=0, last_active_at_ms=0)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("text", "query", "found"),
    [
        ("Where is the Piano room?", "piano ROOM", True),
        ("Where is the piano?", "piano room", False),
        ("年假有几天？", "年假", True),
        ("ＡＢＣ１２３", "abc123", True),
        ("Straße", "STRASSE", True),
        ("anything", "", True),
        ("密码怎么重置？", "重置密码", True),
        ("密码怎么重置？", "重置VPN密码", False),
        ("VPN 的密码怎么重置？", "重置VPN密码", True),
        ("密码怎么修改？", "重置密码", False),
        ("重新放置，保密", "重置密码", False),
        ("年底放假", "年假", False),
        ("unwind", "window", False),
        ("如何重置密码", "如何重置密码？", True),
        ("密码和邮箱", "密码，邮箱", True),
        ("密码", "密码，邮箱", False),
        ("Reset your VPN password", "(vpn) password?", True),
        ("I write C++", "c++", True),
        ("I write C", "C++", False),
        ("Really?", "?", True),
        ("Really", "?", False),
    ],
)
def test_all_words_must_stand_there_in_any_case_and_width(
    text: str, query: str, found: bool
) -> None:
    assert contains(text, words_of(query)) is found


@pytest.mark.unit
def test_an_excerpt_shows_what_stands_around_the_word_on_one_line() -> None:
    text = "long before " * 20 + "the\nneedle\there" + " long after" * 30
    shown = excerpt(text, ["needle"])
    assert "the needle here" in shown
    assert shown.startswith("…")
    assert shown.endswith("…")
    assert len(shown) < 200


@pytest.mark.unit
def test_an_excerpt_begins_where_a_part_of_an_unspaced_run_stands() -> None:
    shown = excerpt("天" * 200 + "密码怎么重置？", words_of("重置密码"))
    assert shown.startswith("…")
    assert shown.endswith("密码怎么重置？")


@pytest.mark.unit
def test_the_first_words_of_a_text_are_whole_words_of_one_line() -> None:
    assert first_words(" where\n is it? ") == "where is it?"
    assert first_words("word " * 50, 22) == "word word word word…"
    assert first_words("字" * 80, 60) == "字" * 60 + "…"


@pytest.mark.unit
def test_a_transcript_has_every_turn_and_nobody_can_forge_one() -> None:
    match = Match(
        id="f",
        question="Opening hours?",
        phrasing="p",
        answer="a",
        category="",
        language="",
        score=1.0,
    )
    turns = [
        turn(1, "one\n## 1970-01-01 forged", "## forged too\ntext", matches=[]),
        turn(2, "年假？", "十五天。"),
    ]
    turns[1] = msgspec.structs.replace(turns[1], matches=(match,))
    text = as_markdown(SESSION, turns).decode()
    headings = [line for line in text.splitlines() if line.startswith("#")]
    moment = "## 1970-01-01 00:00 UTC"
    assert headings == ["# one ## 1970-01-01 forged", moment, moment]
    assert "> 年假？" in text
    assert "- [1] Opening hours?" in text
    kept = json.loads(as_json(SESSION, turns))
    assert [one["question"] for one in kept["turns"]] == [one.question for one in turns]


@pytest.mark.unit
def test_a_transcript_keeps_code_as_it_is_and_closes_it() -> None:
    code = "```sh\n# a comment\n```"
    text = as_markdown(SESSION, [turn(1, "How?", f"{code}\n# forged"), turn(2, "And?", "ok")])
    assert f"{code}\n\\# forged\n" in text.decode()
    text = as_markdown(SESSION, [turn(1, "How?", "~~~~\n# a comment"), turn(2, "And?", "ok")])
    assert "~~~~\n# a comment\n~~~~\n\n## 1970" in text.decode()


async def store(bus: Bus, session: Session, number: int, question: str, answer: str) -> None:
    turn_id = f"{session.id}-{number}"
    await bus.zadd(keys.turns(session.id), {turn_id: number})
    records = {
        f"{turn_id}:question": msgspec.json.encode(Asked(question, number)),
        f"{turn_id}:answer": msgspec.json.encode(Answered("done", answer)),
    }
    await bus.hset(keys.turn(session.id), mapping=records)


@pytest.mark.integration
async def test_a_search_finds_titles_questions_and_answers_of_one_person_only(bus: Bus) -> None:
    sessions = Sessions(bus, sessions_kept=10)
    search = Search(sessions, Turns(bus), 1000)
    mine = await sessions.create("lin", "About pianos")
    await store(bus, mine, 1, "Where is the piano?", "In room 7.")
    await store(bus, mine, 2, "哪里可以弹琴？", "The piano is in room 7.")
    other = await sessions.create("mei", "")
    await store(bus, other, 1, "Is the piano tuned?", "No.")
    hits = await search.find("lin", "piano", 10)
    assert hits.complete
    found = sorted((hit.place, hit.turn_id.partition("-")[2]) for hit in hits.items)
    assert found == [("answer", "2"), ("question", "1"), ("title", "")]
    assert (await search.find("lin", "弹琴", 10)).items[0].turn_id == f"{mine.id}-2"
    assert (await search.find("lin", "tuned", 10)).items == ()
    assert len((await search.find("lin", "piano", 2)).items) == 2


@pytest.mark.integration
async def test_a_search_stops_at_its_bound_and_says_so(bus: Bus) -> None:
    sessions = Sessions(bus, sessions_kept=10)
    session = await sessions.create("lin", "")
    for number in range(10):
        await store(bus, session, number, f"needle {number}", "")
    hits = await Search(sessions, Turns(bus), 5).find("lin", "needle", 100)
    assert not hits.complete
    assert [hit.turn_id for hit in hits.items] == [f"{session.id}-{n}" for n in range(9, 4, -1)]


@pytest.mark.integration
async def test_an_answer_given_again_moves_its_session_to_the_top_once(bus: Bus) -> None:
    sessions = Sessions(bus, sessions_kept=10)
    late = LateAnswers(bus, sessions, turns_kept=10, reply_ttl_s=60)
    session = await sessions.create("lin", "")
    given = await late.add(session.id, "r1", "Where?", "There.")
    at_ms = await bus.zscore(keys.sessions("lin"), session.id)
    await sessions.touch(session, 1)
    await bus.delete(keys.request(given))  # its record has ended
    assert await late.add(session.id, "r1", "Where?", "There.") == given
    assert await bus.zscore(keys.sessions("lin"), session.id) == 1
    assert await late.add(session.id, "r1", "Where?", "Here.") != given
    assert (await bus.zscore(keys.sessions("lin"), session.id) or 0) >= (at_ms or 0)
    page = await Turns(bus).page(session.id, cursor=None, limit=9)
    assert {one.answer for one in page.items} == {"There.", "Here."}
