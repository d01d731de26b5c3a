"""The pure parts of the engine benchmark, and its client against a small server."""

import asyncio
import itertools
import statistics
import xml.etree.ElementTree as ElementTree
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from engine_bench import chart, measures, report, workloads
from engine_bench.build import BuildError, percent, pinned
from engine_bench.load import Answer, AskError, Door, Load, ask, run
from engine_bench.measures import Measure, Round, percentile, ratio
from engine_bench.peers import BOUNDED, DEFAULT, SLUICE
from engine_bench.processes import Cost, part
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.unit

TIMES = st.floats(min_value=0, max_value=1e6)


@given(st.lists(TIMES, min_size=2, max_size=60))
def test_percentiles_are_those_of_the_standard_library(values: list[float]) -> None:
    hundredths = statistics.quantiles(values, n=100, method="inclusive")
    for percent_ in (1, 50, 95, 99):
        assert percentile(values, percent_) == pytest.approx(hundredths[percent_ - 1])


def test_a_percentile_of_nothing_is_zero_and_of_one_value_that_value() -> None:
    assert percentile([], 95) == 0.0
    assert percentile([7.0], 95) == 7.0


def measured(tokens_per_s: float, first_ms: float = 100.0) -> Measure:
    load = Load(
        answers=(
            Answer(
                asked_at_s=0.0,
                text_at_s=(first_ms / 1000, first_ms / 1000 + 0.02),
                text="a b",
                prompt_tokens=5,
                cached_tokens=2,
                completion_tokens=int(tokens_per_s),
            ),
        ),
        wall_s=1.0,
        client_cpu_s=0.0,
    )
    free = Cost(cpu_s={"worker": 1.0}, machine_cpu_s=9.0, peak_bytes=0, proportional_bytes=0)
    spent = Cost(
        cpu_s={"worker": 3.0, "access": 1.0},
        machine_cpu_s=12.5,
        peak_bytes=2**20,
        proportional_bytes=0,
    )
    return measures.measure(load, free, spent)


def test_a_measure_has_the_load_s_numbers() -> None:
    measure = measured(200.0, first_ms=250.0)
    assert measure.tokens_per_s == 200.0
    assert measure.first_ms_p95 == pytest.approx(250.0)
    assert measure.gap_ms_p99 == pytest.approx(20.0)
    assert measure.tokens_per_chunk == 100.0
    assert measure.peak_mb == 1.0
    assert measure.cpu_ms_by_part == {"worker": 10.0, "access": 5.0}
    assert measure.cpu_ms_per_token == 15.0
    assert measure.others_cores == 0.5


def rounds_of(*speeds: tuple[float, float, float]) -> list[Round]:
    return [
        Round(
            seed=seed,
            sides={SLUICE: measured(a), DEFAULT: measured(b), BOUNDED: measured(c)},
        )
        for seed, (a, b, c) in enumerate(speeds)
    ]


def test_ratios_pair_the_sides_of_one_round() -> None:
    # The machine was half as fast in the second round, for both sides.
    rounds = rounds_of((100, 80, 10), (50, 40, 5), (300, 100, 20))
    found = ratio(rounds, "tokens_per_s", ours=SLUICE, peers=(DEFAULT, BOUNDED), higher=True)
    assert found.peer == DEFAULT
    assert (found.lowest, found.median, found.highest) == (1.25, 1.25, 3.0)
    assert (found.ours, found.theirs) == (100, 80)


def test_the_other_server_is_taken_with_its_better_setting() -> None:
    rounds = rounds_of((100, 80, 120), (100, 80, 110))
    speed = ratio(rounds, "tokens_per_s", ours=SLUICE, peers=(DEFAULT, BOUNDED), higher=True)
    assert speed.peer == BOUNDED
    lower = ratio(rounds, "tokens_per_s", ours=SLUICE, peers=(DEFAULT, BOUNDED), higher=False)
    assert lower.peer == DEFAULT


@pytest.mark.parametrize("name", workloads.names())
def test_prompts_depend_on_the_seed_alone(name: str) -> None:
    once, again, other = (workloads.make(name, seed, workloads.WHOLE) for seed in (1, 1, 2))
    assert once == again
    assert once.conversations != other.conversations
    assert len(once.conversations) >= once.users


def test_workloads_are_chosen_by_name_kind_and_users() -> None:
    assert workloads.chosen("", None) == workloads.names()
    assert workloads.chosen("shared, raw-1", None) == ["raw-1", "shared-8", "shared-16"]
    assert workloads.chosen("", 8) == ["raw-8", "shared-8"]
    with pytest.raises(workloads.UnknownWorkload, match="there is no workload fqa"):
        workloads.chosen("raw,fqa", None)
    with pytest.raises(workloads.UnknownWorkload, match="no workload has 3 users"):
        workloads.chosen("", 3)


@pytest.mark.parametrize("name", ["raw-1", "raw-16", "neighbour"])
def test_raw_prompts_share_almost_no_prefix(name: str) -> None:
    workload = workloads.make(name, 3, workloads.WHOLE)
    texts = [talk.system for talk in workload.conversations]
    for one, other in itertools.combinations(texts, 2):
        common = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
        assert len(list(common)) < 12


def test_a_shared_prompt_is_one_prompt_that_the_next_round_does_not_know() -> None:
    first, second = (workloads.make("shared-8", seed, workloads.WHOLE) for seed in (1, 2))
    (system,) = {talk.system for talk in first.conversations}
    assert system.split()[3] != second.conversations[0].system.split()[3]
    assert len({talk.questions for talk in first.conversations}) == 8


def test_a_faq_question_stands_after_the_text_that_answers_it() -> None:
    for talk in workloads.make("faq", 1, workloads.WHOLE).conversations:
        (question,) = talk.questions
        assert question.index("Answer: ") < question.index("word for word")


def test_parts_are_told_by_their_command_lines() -> None:
    assert part("/venv/bin/python -m appliance worker --name worker-0") == "worker"
    assert part("/venv/bin/python -m appliance serve --port 0") == "access"
    assert part("/opt/valkey-server /data/valkey.conf --port 0") == "valkey"
    assert part("bash") == "other"


def test_the_pinned_version_is_read_with_its_hashes() -> None:
    text = "a==1 \\\n    --hash=sha256:0\nllama-cpp-python==9.9 \\\n    --hash=sha256:1\nz==2\n"
    assert pinned(text) == "llama-cpp-python==9.9 \\\n    --hash=sha256:1\n"
    with pytest.raises(BuildError, match="does not pin"):
        pinned("a==1\n")


def test_progress_is_read_from_make_and_ninja() -> None:
    assert percent("[ 42%] Building CXX object a.o") == 42
    assert percent("[50/200] Building CXX object a.o") == 25
    assert percent("warning: [50/200]") is None


def results() -> report.Results:
    result = report.Result(
        commit="abc",
        threads=2,
        commands={SLUICE: "serve", DEFAULT: "llama-server", BOUNDED: "X=1 llama-server"},
        rounds=rounds_of((90, 100, 80)),
    )
    return report.Results().replaced("raw-8", result, machine="a machine")


def test_the_table_shows_ratio_goal_and_a_miss() -> None:
    text = report.markdown(results(), workloads.names())
    assert (
        "| 8 users | tokens/s | 90.0 | 100.0 | 0.90 (0.90 to 0.90) | ≥ 1.0 | **missed** |" in text
    )
    assert "| 8 users | first token p95, ms | 100.0 | 100.0 | 1.00" in text


def test_results_come_back_from_their_file() -> None:
    encoded = msgspec.json.encode(results())
    assert msgspec.json.decode(encoded, type=report.Results) == results()


def test_the_chart_is_well_formed_and_draws_bars_to_scale() -> None:
    text = chart.svg([chart.Bar("a < b", 2.0), chart.Bar("c", 0.5)], title="t & u", note="n")
    root = ElementTree.fromstring(text)
    widths = [float(node.attrib["width"]) for node in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert widths[0] == pytest.approx(4 * widths[1], rel=0.01)
    assert "c" in "".join(root.itertext())


TOKEN = b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n'
TAIL = (
    b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,'
    b'"prompt_tokens_details":{"cached_tokens":3}}}\n\n'
)


@asynccontextmanager
async def server(status: bytes, blocks: list[bytes]) -> AsyncIterator[Door]:
    """Answers every request with these chunks."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 " + status + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
        for block in [*blocks, b""]:
            writer.write(b"%x\r\n%s\r\n" % (len(block), block))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        host, port = listening.sockets[0].getsockname()
        yield Door(host=host, port=port)


async def test_events_are_put_together_from_any_chunks() -> None:
    whole = (
        TOKEN % b"" + TOKEN % b"Hel" + b": comment\n\n" + TOKEN % b"lo" + TAIL + b"data: [DONE]\n\n"
    )
    for size in (1, 7, 1000):
        blocks = [whole[at : at + size] for at in range(0, len(whole), size)]
        async with server(b"200 OK", blocks) as door:
            answer = await ask(door, b"{}")
        assert answer.text == "Hello"
        assert len(answer.text_at_s) == 2
        assert (answer.prompt_tokens, answer.cached_tokens, answer.completion_tokens) == (7, 3, 2)


@pytest.mark.parametrize(
    ("status", "blocks", "words"),
    [
        (b"503 Service Unavailable", [b"no worker"], "no worker"),
        (b"200 OK", [TOKEN % b"Hel"], "not whole"),
        (b"200 OK", [b'data: {"error":{"message":"lost"}}\n\n', b"data: [DONE]\n\n"], "lost"),
    ],
)
async def test_what_is_no_whole_answer_is_an_error(
    status: bytes, blocks: list[bytes], words: str
) -> None:
    async with server(status, blocks) as door:
        with pytest.raises(AskError, match=words):
            await ask(door, b"{}")


async def test_every_turn_of_every_conversation_is_asked() -> None:
    workload = workloads.make("chat", 1, workloads.QUICK)
    async with server(b"200 OK", [TOKEN % b"ok", TAIL, b"data: [DONE]\n\n"]) as door:
        load = await run(door, workload, timeout_s=30)
    assert len(load.answers) == workloads.CHAT_SESSIONS * workloads.QUICK.turns
