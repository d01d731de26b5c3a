"""Traces, whole runs, and the measures, on cases small enough to count."""

import random
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.cli.main import main
from appliance.errors import EXIT_OK, EXIT_USAGE, Invalid
from appliance.limiter.core import Rules
from appliance.limiter.tiers import Tier
from appliance.placement.names import PolicyName
from appliance.simulator.compare import (
    FLOOD_CASES,
    FairnessRun,
    FloodRun,
    Plan,
    compare,
    read_outcomes,
)
from appliance.simulator.constants import Constants, read_constants
from appliance.simulator.fairness import served, service_difference
from appliance.simulator.record import Record
from appliance.simulator.results import write_results
from appliance.simulator.trace import TraceRequest, read_trace
from appliance.simulator.workload import CALM, Arrival, Disturbance, Workload
from appliance.simulator.world import LimiterName, Scene, World, capacity

pytestmark = pytest.mark.unit

MODEL = Constants(
    step_s=1.0, input_s=0.5, output_s=0.25, chunk_tokens=8, slots=2, kv_tokens=100_000
)
MOONCAKE = '{"timestamp": 0, "input_length": 1100, "output_length": 3, "hash_ids": [7, 8, 9]}\n'
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n"
VTC = "t_s,client,prompt_tokens,output_tokens\n0.500,13,12,199\n0.250,4,30,5\n"


def trace(count: int = 60, seed: int = 3) -> list[TraceRequest]:
    draw = random.Random(seed)
    return [
        TraceRequest(
            0.7 * number,
            f"u{number % 3}",
            tokens := draw.randrange(1, 2000),
            draw.randrange(1, 30),
            (1, 10 + number % 4, 100 + number)[: tokens // 512],
        )
        for number in range(count)
    ]


def test_each_trace_format_is_read(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_text(MOONCAKE + MOONCAKE.replace('"timestamp": 0', '"timestamp": 3000'))
    first, second = read_trace(path)
    assert first == TraceRequest(0.0, "", 1100, 3, (7, 8))
    assert second.at_s == 3.0
    path.write_text(AZURE)
    assert read_trace(path) == [TraceRequest(0.0, "", 4808, 10)]
    path.write_text(VTC)
    assert [(r.at_s, r.uid) for r in read_trace(path)] == [(0.0, "4"), (0.25, "13")]


def test_requests_of_one_time_stamp_are_spread_until_the_next(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_text(3 * MOONCAKE + MOONCAKE.replace('"timestamp": 0', '"timestamp": 3000'))
    assert [request.at_s for request in read_trace(path)] == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "unknown trace format"),
        ("a,b\n1,2\n", "columns a, b"),
        ("{}\n", "line 1"),
        (VTC + "x,1,1,1\n", "line 4"),
        (AZURE.splitlines()[0] + "\n", "no requests"),
        (None, "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_line(
    tmp_path: Path, text: str | None, said: str
) -> None:
    path = tmp_path / "trace"
    if text is not None:
        path.write_text(text)
    with pytest.raises(Invalid, match=said):
        read_trace(path)


def test_constants_come_by_name_or_from_a_file(tmp_path: Path) -> None:
    assert read_constants("gpu").slots == 64
    path = tmp_path / "mine.json"
    path.write_text(
        '{"step_s": 1, "input_s": 0.1, "output_s": 0.1, "chunk_tokens": 8, "slots": 2, '
        '"kv_tokens": 100}'
    )
    assert read_constants(str(path)).slots == 2
    path.write_text('{"step_s": 1}')
    with pytest.raises(Invalid, match="cannot be read"):
        read_constants(str(path))


def test_a_workload_keeps_its_rate_and_its_copies_share_no_prefix() -> None:
    made = list(Workload(trace(), 150, 2.0, 1, CALM).arrivals())
    assert len(made) == 150
    assert [a.at_s for a in made] == sorted(a.at_s for a in made)
    assert made[-1].at_s == pytest.approx(75, rel=0.1)
    first_blocks = {arrival.blocks[0] for arrival in made if arrival.blocks}
    assert len(first_blocks) == 3


def test_a_seed_is_one_run_and_another_seed_another() -> None:
    runs = [list(Workload(trace(), 60, 2.0, seed).arrivals()) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def naive(arrivals: list[Arrival], slots: int) -> list[tuple[float, float]]:
    """First token and end of each on one worker, step by step, first come first served."""
    waiting = deque(range(len(arrivals)))
    prompts: dict[int, int] = {}
    outputs: dict[int, int] = {}
    first, end = dict[int, float](), dict[int, float]()
    now_s = 0.0
    while waiting or prompts or outputs:
        if not prompts and not outputs:
            now_s = max(now_s, arrivals[waiting[0]].at_s)
        while waiting and arrivals[waiting[0]].at_s <= now_s:
            if len(prompts) + len(outputs) >= slots:
                break
            number = waiting.popleft()
            prompts[number] = arrivals[number].input_tokens
        room = MODEL.chunk_tokens - len(outputs)
        step_s = MODEL.step_s + MODEL.output_s * len(outputs)
        for number in prompts:
            part = min(room, prompts[number])
            prompts[number] -= part
            room -= part
            step_s += MODEL.input_s * part
        now_s += step_s
        outputs = {number: left - 1 for number, left in outputs.items()}
        for number in [number for number, left in prompts.items() if left == 0]:
            del prompts[number]
            first[number] = now_s
            outputs[number] = arrivals[number].output_tokens - 1
        for number in [number for number, left in outputs.items() if left == 0]:
            del outputs[number]
            end[number] = now_s
    return [(first[number], end[number]) for number in range(len(arrivals))]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.integers(1, 40), st.integers(1, 15)),
        min_size=2,
        max_size=15,
    )
)
def test_a_run_with_one_worker_equals_a_naive_simulator(
    made: list[tuple[int, int, int]],
) -> None:
    at_s, requests = 0.0, []
    for gap, tokens, output in made:
        at_s += gap / 7 + 0.0001234
        requests.append(TraceRequest(at_s, "", tokens, output))
    workload = Workload(requests, len(requests), len(requests) / at_s, 0, CALM, start=0)
    record = World(Scene(MODEL, 1, "pull"), workload).run()
    arrivals = list(workload.arrivals())
    for number, (first_s, end_s) in enumerate(naive(arrivals, MODEL.slots)):
        assert record.at_s[number] + record.first_s[number] == pytest.approx(first_s)
        assert record.at_s[number] + record.last_s[number] == pytest.approx(end_s)


FAIRNESS_CASES: list[tuple[LimiterName, float]] = [("none", 430.0), ("service", 240.0)]
POLICIES: list[PolicyName] = [
    "hybrid",
    "pull",
    "cost",
    "round_robin",
    "weighted_round_robin",
    "least_connections",
    "sglang",
]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("limiter", ["none", "service"])
def test_every_request_is_served_once_under_every_policy(policy: PolicyName, limiter: str) -> None:
    patient = Rules(tiers={"standard": Tier(waiting=1000)}, waiting=1000)
    spells = Disturbance(slow_share=0.3, slow_factor=3.0, slow_s=100.0)
    scene = Scene(
        read_constants("cpu"), 3, policy, "service" if limiter == "service" else "none", patient
    )
    report = World(scene, Workload(trace(), 120, 0.5, 1, spells)).run().report()
    assert (report.served, report.refused) == (120, 0)
    assert 0 < report.first.p50 <= report.first.p99 <= report.last.p99
    assert report.imbalance >= 1
    assert report.hit_rate > 0


def test_a_request_larger_than_the_memory_and_one_too_many_are_refused_and_counted() -> None:
    requests = [TraceRequest(0.0, "", 200_000, 1), *trace(40)]
    rules = Rules(tiers={"standard": Tier(waiting=2)})
    record = World(
        Scene(MODEL, 1, "pull", "service", rules), Workload(requests, 41, 100.0, 1, CALM, start=0)
    ).run()
    assert record.refusals["too_large"] == 1
    assert record.refusals["user_queue_full"] > 0
    report = record.report()
    assert report.refused == sum(record.refusals.values())
    assert report.served + report.refused == 41


def test_capacity_is_the_rate_of_a_run_where_all_waits_from_the_start() -> None:
    # 8 tokens at 0.5 s, one step of 1 s, and no further token: 5 seconds each.
    same = [TraceRequest(float(number), "", 8, 1) for number in range(50)]
    assert capacity(MODEL, 1, Workload(same, 50, 1.0, 0)) == pytest.approx(0.2)
    assert capacity(MODEL, 2, Workload(same, 50, 1.0, 0)) == pytest.approx(0.4)
    assert capacity(MODEL, 1000, Workload(same, 50, 1.0, 0)) == pytest.approx(50 / 35 * 125)


def test_equal_service_has_no_difference_and_a_starved_user_has_his_demand() -> None:
    fair, unfair = Record(1), Record(1)
    for record, second_s in ((fair, 1.0), (unfair, 10_000.0)):
        for number in range(200):
            arrival = Arrival(number // 2 * 1.0, "ab"[number % 2], 100, 50, 50.0, ())
            record.arrived(number, arrival)
            late_s = second_s if number % 2 else 1.0
            record.first_token(number, arrival, arrival.at_s + late_s, 0)
            record.ended(number, arrival, arrival.at_s + late_s + 1.0)
    assert service_difference(fair).mean < 10
    # He asked for 200 weighted tokens a second in the middle, and got none of them.
    assert service_difference(unfair).mean == pytest.approx(200, rel=0.2)
    assert fair.report().jain == pytest.approx(1.0)
    assert unfair.report().jain < 0.6


def test_what_is_under_way_at_the_edge_of_a_window_counts_in_part() -> None:
    record = Record(1)
    for number, (at_s, first_s, last_s) in enumerate([(0, 5, 25), (12, 4, 8), (19, 3, 9)]):
        arrival = Arrival(float(at_s), "ab"[number == 1], 100, 40, 40.0, ())
        record.arrived(number, arrival)
        record.first_token(number, arrival, at_s + first_s, 0)
        record.ended(number, arrival, at_s + last_s)
    record.arrived(3, Arrival(13.0, "b", 100, 40, 40.0, ()))  # refused: never served
    got = served(record, without="a", from_s=10.0, until_s=20.0)
    # Half of the first answer; the second whole, with its prompt; of the third nothing yet.
    assert got.tokens == 20 + 140
    assert (got.first_p95_s, got.last_p95_s) == (4.0, 8.0)


def test_a_comparison_goes_on_where_it_was_stopped_and_writes_its_page(tmp_path: Path) -> None:
    folder = tmp_path / "mooncake"
    folder.mkdir()
    (folder / "conversation_trace.jsonl").write_text(
        "".join(MOONCAKE.replace('p": 0', f'p": {n * 900}') for n in range(40))
    )
    plan = Plan(
        traces=("mooncake",),
        workers=(2,),
        loads=(0.5, 0.8),
        seeds=1,
        requests_per_worker=10,
        policies=("hybrid", "pull"),
        fairness=False,
    )
    said: list[str] = []
    first = compare(plan, tmp_path, tmp_path / "out", said.append)
    assert len(first) == len(said) == 4
    again = compare(plan, tmp_path, tmp_path / "out", said.append)
    assert (again, len(said)) == (first, 4)
    assert read_outcomes(tmp_path / "out" / "runs.jsonl") == first
    page = write_results(first, tmp_path / "out").read_text()
    assert "| 2 | 0.5 | 1 |" in page
    assert "**" in page
    assert "<svg" in (tmp_path / "out" / "mooncake-2.svg").read_text()


def test_the_page_shows_fairness_and_floods_and_leaves_out_what_is_incomplete(
    tmp_path: Path,
) -> None:
    fair = [
        FairnessRun(limiter, 0, difference, 500.0, 777.0, 0)
        for limiter, difference in FAIRNESS_CASES
    ]
    found = [(0.1, 2.0, 50), (90.0, 100.0, 1000), (0.15, 5.0, 995), (0.12, 2.2, 400)]
    floods = [
        FloodRun(case, 1, 0, first_s, last_s, tokens)
        for case, (first_s, last_s, tokens) in zip(FLOOD_CASES, found, strict=True)
    ]
    page = write_results([*fair, *floods, FloodRun(FLOOD_CASES[0], 4, 0, 0.1, 2.0, 50)], tmp_path)
    text = page.read_text()
    assert "| limiter service | 1 | 240 |" in text
    assert "| like the others' | limiter service | 1 | 0.150 | 1.50 | 5.0 | 2.50 | 0.995 |" in text
    assert "| limiter service, kept pace 0.9 | 1 | 0.120 | 1.20 | 2.2 | 1.10 | 0.400 |" in text
    assert "4 times as long" not in text


def test_the_command_prints_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace"
    path.write_text(VTC)
    assert main(["simulate", "--trace", str(path), "--workers", "2", "--load", "0.5"]) == EXIT_OK
    out = capsys.readouterr().out
    assert "time to first token" in out
    assert "refused" in out


@pytest.mark.parametrize("text", [MOONCAKE, AZURE])
def test_a_trace_of_one_moment_comes_all_at_once(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trace"
    path.write_text(text)
    for more in ([], ["--load", "0.8"], ["--requests", "5"]):
        assert main(["simulate", "--trace", str(path), *more]) == EXIT_OK
        assert "refused" in capsys.readouterr().out


@pytest.mark.parametrize(
    "line",
    [
        [],
        ["--trace", "t", "--workers", "0"],
        ["--trace", "t", "--load", "-1"],
        ["--trace", "t", "--slow", "1"],
        ["--trace", "t", "--kept-pace", "1"],
        ["--trace", "t", "--requests", "0"],
        ["--trace", "/nowhere/at/all"],
        ["--compare", "x"],
        ["--compare", "x", "--output", "y", "--sizes", "a"],
    ],
)
def test_wrong_usage_is_said(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", *line]) == EXIT_USAGE
    assert "sluice:" in capsys.readouterr().err
