"""Live placement by hand and under any history: affinity, workers that come and go, lost news."""

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.bus.placing import HELD, Told
from appliance.placement.policies import make_policy
from appliance.placement.pool import CPU, GPU, SIZE_AT_FIRST, PoolPlacement
from appliance.placement.prefixes import BLOCKS_MOST, Held, prefix_of
from appliance.schema.requests import ChatMessage
from appliance.schema.status import DeviceStatus, WorkerStatus

pytestmark = pytest.mark.unit

LONG = "What is written in the handbook about travel? " * 12
CHINESE = "手册中关于出差的规定是什么？" * 12


def pool(policy: str = "hybrid") -> PoolPlacement:
    assert policy in ("hybrid", "cost", "pull")
    return PoolPlacement(make_policy(policy, random.Random(3)), stall_s=30.0)  # type: ignore[arg-type]


def report(name: str, *, slots: int = 2, state: str = "ready", cache: int = 8192) -> WorkerStatus:
    return WorkerStatus(
        id=name,
        engine="fake",
        model="m",
        embedding_model="",
        device="cpu",
        slots=slots,
        busy=0,
        context_tokens=4096,
        tokens_per_s=0.0,
        embedding_size=0,
        pid=1,
        cache_tokens=cache,
        state=state,
    )


def messages(*texts: str, system: str = "Be helpful.") -> tuple[ChatMessage, ...]:
    said = (
        ChatMessage(role="assistant" if number % 2 else "user", content=text)
        for number, text in enumerate(texts)
    )
    return (ChatMessage(role="system", content=system), *said)


def wanted(request_id: str, *texts: str, uid: str = "u", session_id: str = "") -> Told:
    prefix = prefix_of(messages(*texts), uid)
    return Told(
        kind="wanted",
        request_id=request_id,
        session_id=session_id,
        input_tokens=prefix.tokens,
        blocks=prefix.blocks,
        history=prefix.history,
    )


def served(made: PoolPlacement, request_id: str, worker_id: str, now_s: float = 1.0) -> None:
    made.taken(request_id, worker_id, 50.0, now_s)
    made.first(request_id, now_s)
    made.ended(request_id, now_s)


def computes(name: str, kind: str, layers: int) -> DeviceStatus:
    return DeviceStatus(
        name=name,
        description="x",
        kind=kind,
        backend=name,
        free_bytes=1,
        total_bytes=1,
        layers=layers,
    )


@pytest.mark.parametrize(
    ("device", "kind", "layers", "priced"),
    [
        ("CPU: Intel(R) Xeon(R) Processor @ 2.80GHz", "gpu", 0, CPU),
        ("Vulkan0: Intel(R) Graphics, 19 of 19 layers", "integrated", 19, CPU),
        ("CUDA0: NVIDIA A100, 37 of 37 layers", "gpu", 37, GPU),
    ],
)
def test_a_pool_is_priced_by_what_holds_the_layers(
    device: str, kind: str, layers: int, priced: object
) -> None:
    made = pool()
    found = computes("GPU0", kind, layers), computes("CPU", "cpu", 0)
    made.reported([msgspec.structs.replace(report("w0"), device=device, devices=found)], 0.0)
    assert made.board.fleet.speed is priced


@pytest.mark.parametrize("text", [LONG, CHINESE], ids=["en", "zh"])
def test_the_next_turn_goes_to_the_worker_that_answered_the_last(text: str) -> None:
    made = pool()
    made.reported([report(f"w{n}") for n in range(4)], 0.0)
    texts = [f"{n} {text}" for n in range(12)]
    hosts = {}
    for number, first in enumerate(texts):
        hosts[number] = made.wanted(wanted(f"a{number}", first), 50.0, {}, 0.0)
        served(made, f"a{number}", hosts[number])
    assert len(set(hosts.values())) > 1
    for number, first in enumerate(texts):
        told = wanted(f"b{number}", first, "An answer.", "And then?")
        assert made.wanted(told, 50.0, {}, 1.0) == hosts[number]
        served(made, f"b{number}", hosts[number])
    assert made.matched_tokens > 0.4 * made.prompt_tokens


def test_what_one_person_wrote_draws_no_other_and_a_system_prompt_draws_all() -> None:
    same = messages(LONG, system="s" * 960)
    mine, yours = prefix_of(same, "me"), prefix_of(same, "you")
    common = sum(a == b for a, b in zip(mine.blocks, yours.blocks, strict=True))
    assert common == 10
    assert prefix_of(messages(LONG), "me").blocks[0] != prefix_of(messages(LONG), "you").blocks[0]


def test_a_prompt_has_a_bounded_number_of_blocks_and_its_history_ends_before_the_question() -> None:
    prefix = prefix_of(messages(LONG, "An answer.", "What else?"), "u")
    assert 0 < prefix.history == len(prefix.blocks)
    assert prefix_of(messages(LONG), "u").history == 0
    assert len(prefix_of(messages("x" * 1_000_000), "u").blocks) == BLOCKS_MOST


def test_after_a_change_of_loops_a_session_is_found_by_its_workers_own_report() -> None:
    for number in range(8):
        made = pool()
        made.reported([report("w0"), report("w1")], 0.0)
        told = wanted("r", LONG, "An answer.", "And then?", session_id="s")
        host = f"w{number % 2}"
        assert made.wanted(told, 50.0, {"s": host}, 0.0) == host


def test_a_worker_that_drains_or_is_gone_gets_nothing_and_gives_back_what_waits() -> None:
    made = pool("cost")
    assert made.reported([report("w0"), report("w1")], 0.0) == set()
    placed = [made.wanted(wanted(f"r{n}", f"{n}"), 50.0, {}, 0.0) for n in range(4)]
    assert set(placed) == {"w0", "w1"}
    assert made.reported([report("w0", state="draining"), report("w1")], 1.0) == {"w0"}
    assert {made.wanted(wanted(f"s{n}", f"{n}"), 50.0, {}, 1.0) for n in range(4)} == {"w1"}
    assert made.reported([report("w2")], 2.0) == {"w0", "w1"}
    assert made.wanted(wanted("t", "t"), 50.0, {}, 2.0) == "w2"


def test_a_worker_that_says_nothing_is_given_nothing_new_until_it_speaks() -> None:
    made = pool("cost")
    made.reported([report("w0", slots=1), report("w1", slots=1)], 0.0)
    first = made.wanted(wanted("a", "a"), 50.0, {}, 0.0)
    other = "w1" if first == "w0" else "w0"
    made.taken("a", first, 50.0, 0.0)
    while made.wanted(wanted(f"x{len(made.known())}", "x"), 50.0, {}, 0.0) != first:
        pass
    assert first in made.stalled(100.0)
    assert {made.wanted(wanted(f"y{n}", "y"), 50.0, {}, 100.0) for n in range(3)} <= {
        other,
        "",
        HELD,
    }
    made.first("a", 101.0)
    assert next(one for one in made.status() if one.id == first).takes_new


def test_there_is_room_for_more_workers_than_at_first() -> None:
    made = pool("cost")
    names = [f"w{n}" for n in range(3 * SIZE_AT_FIRST)]
    made.reported([report(name) for name in names], 0.0)
    placed = {made.wanted(wanted(f"r{n}", f"{n}"), 50.0, {}, 0.0) for n in range(len(names))}
    assert placed == set(names)


def test_while_nobody_has_room_a_few_are_held_for_the_first_who_has() -> None:
    made = pool()
    made.reported([report("w0", slots=1), report("w1", slots=1)], 0.0)
    first = [made.wanted(wanted(f"a{n}", f"{n} {LONG}"), 50.0, {}, 0.0) for n in range(2)]
    assert set(first) == {"w0", "w1"}
    for number, worker in enumerate(first):
        made.taken(f"a{number}", worker, 50.0, 0.0)
    window = made.board.policy.window
    names = [f"b{n}" for n in range(window + 1)]
    told = [made.wanted(wanted(name, f"{name} {LONG}"), 50.0, {}, 1.0) for name in names]
    assert told == [HELD] * window + [""]
    assert made.wanted(wanted("b0", LONG), 50.0, {}, 1.0) == HELD  # asked again
    assert made.released(1.0) == {}
    made.first("a0", 2.0)
    assert made.released(2.0) == {}  # its slot is not free yet
    made.ended("a0", 3.0)
    (bound,) = made.released(3.0).items()
    assert bound[0] in names
    assert bound[1] == first[0]
    assert made.released(3.0) == {}


def test_a_held_one_that_is_given_up_is_let_go_and_one_taken_by_anybody_is_not_placed() -> None:
    made = pool()
    made.reported([report("w0", slots=1), report("w1", slots=1)], 0.0)
    for number in range(2):
        worker = made.wanted(wanted(f"a{number}", f"{number} {LONG}"), 50.0, {}, 0.0)
        made.taken(f"a{number}", worker, 50.0, 0.0)
    for name in ("gone", "taken", "left"):
        assert made.wanted(wanted(name, f"{name} {LONG}"), 50.0, {}, 0.0) == HELD
    made.ended("gone", 1.0)
    assert made.released(1.0) == {"gone": ""}
    made.ended("a0", 2.0)
    made.taken("taken", "w0", 50.0, 2.0)  # its caller had lost patience
    assert made.released(2.0) == {}
    made.ended("taken", 3.0)
    assert made.released(3.0).keys() == {"left"}


def test_a_worker_that_was_slow_in_a_busy_moment_is_tried_again() -> None:
    """One question at a time, so the one that looks faster is always free."""
    made, now_s, asked = pool(), 0.0, 0

    def ask(*, takes_s: float) -> str:
        nonlocal now_s, asked
        asked += 1
        made.reported([report("w0"), report("w1")], now_s)
        worker = made.wanted(wanted(f"r{asked}", f"{asked}"), 50.0, {}, now_s)
        made.taken(f"r{asked}", worker, 50.0, now_s)
        made.first(f"r{asked}", now_s + takes_s)
        made.ended(f"r{asked}", now_s + takes_s + 1.0)
        now_s += 5.0
        return worker

    assert {ask(takes_s=0.2) for _ in range(20)} == {"w0", "w1"}
    unlucky = ask(takes_s=4.0)
    assert {ask(takes_s=0.2) for _ in range(10)} == {"w0", "w1"} - {unlucky}
    later = [ask(takes_s=0.2) for _ in range(60)]
    assert later.count(unlucky) > 10
    paces = {one.id: one.pace for one in made.status()}
    assert paces[unlucky] < 1.3 * paces[({"w0", "w1"} - {unlucky}).pop()]


def test_a_slow_worker_is_tried_seldom() -> None:
    made, now_s, slow = pool(), 0.0, 0
    for number in range(400):
        made.reported([report("w0"), report("w1")], now_s)
        worker = made.wanted(wanted(f"r{number}", f"{number}"), 50.0, {}, now_s)
        made.taken(f"r{number}", worker, 50.0, now_s)
        made.first(f"r{number}", now_s + (0.8 if worker == "w1" else 0.2))
        made.ended(f"r{number}", now_s + 2.0)
        slow += worker == "w1"
        now_s += 5.0
    assert slow < 40


def test_what_a_worker_holds_is_bounded_and_the_oldest_goes_first() -> None:
    held = Held(most=4)
    assert held.used((1, 2, 3)) == []
    assert held.used((1, 4, 5)) == [3]
    assert held.used((6,)) == [2]


@settings(max_examples=80)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["wanted", "taken", "first", "ended", "workers", "stalled"]),
            st.integers(0, 9),
            st.integers(0, 4),
        ),
        max_size=60,
    ),
    st.sampled_from(["hybrid", "cost", "pull"]),
)
def test_any_news_in_any_order_leaves_loads_that_add_up(
    steps: list[tuple[str, int, int]], policy: str
) -> None:
    """News is lost, doubled and late; nothing of it may break the books or bind to the dead."""
    made, now_s, alive = pool(policy), 0.0, {"w0", "w1"}
    made.reported([report(name) for name in sorted(alive)], now_s)
    for kind, number, worker in steps:
        now_s += 10.0
        name = f"r{number}"
        if kind == "wanted":
            assert made.wanted(wanted(name, LONG), 50.0, {}, now_s) in alive | {"", HELD}
        elif kind == "taken":
            made.taken(name, f"w{worker}", 50.0, now_s)
        elif kind == "first":
            made.first(name, now_s)
        elif kind == "ended":
            made.ended(name, now_s)
        elif kind == "stalled":
            assert made.stalled(now_s) <= alive
        else:
            alive ^= {f"w{worker}"}
            made.reported([report(one) for one in sorted(alive)], now_s)
        assert set(made.released(now_s).values()) <= alive | {""}
        fleet = made.board.fleet
        assert (fleet.running >= 0).all()
        assert (fleet.bound >= 0).all()
        assert (fleet.backlog_s >= -1e-9).all()
        assert {str(one) for one in made.board.known()} == set(made.known())
    for name in made.known():
        made.ended(name, now_s)
    assert not made.board.fleet.running.any()
    assert not made.board.fleet.bound.any()
