"""The limiter's decisions: single rules by hand, then any history against a plain ledger."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from appliance.limiter.core import Limiter, Rules
from appliance.limiter.fairness import FairShare
from appliance.limiter.tiers import LEDGERS_SWEPT_ABOVE, Ledgers, Tier
from appliance.limiter.verdict import (
    Action,
    Ask,
    Expired,
    Forecast,
    Refuse,
    Run,
    Usage,
    Wait,
)
from appliance.schema.requests import Priority

pytestmark = pytest.mark.unit

FAR = 1e9


def ask(
    name: str,
    uid: str = "u",
    *,
    priority: Priority = "person",
    tokens: int = 10,
    output: float = 20,
    deadline_s: float = FAR,
    tier: str = "standard",
) -> Ask:
    forecast = Forecast(output, output * 1.5, int(output * 2))
    return Ask(name, uid, tier, priority, tokens, 0, forecast, deadline_s)


def limiter(rules: Rules | None = None, *, capacity: int = 1) -> Limiter:
    made = Limiter(rules or Rules(), 0.0)
    made.workers_changed(capacity, 0.0)
    return made


def runs(actions: list[Action]) -> list[str]:
    return [action.request_id for action in actions if isinstance(action, Run)]


def refusals(actions: list[Action]) -> dict[str, str]:
    return {action.request_id: action.reason for action in actions if isinstance(action, Refuse)}


def drained(made: Limiter, running: str, *, output: int = 20) -> list[str]:
    """The order in which one slot serves everything that waits."""
    order = []
    last = [running]
    while last:
        last = runs(made.ended(last[0], Usage(10, 0, output), 1.0))
        order += last
    return order


def test_a_request_runs_at_once_while_there_is_a_slot_and_then_waits_for_a_time() -> None:
    made = limiter()
    assert made.arrived(ask("a"), 0.0) == [Run("a", 0.0)]
    (told,) = made.arrived(ask("b", "v"), 0.0)
    assert isinstance(told, Wait)
    assert told.place == 1
    # 10 tokens in at 5 ms, about 21 expected tokens out at 50 ms.
    assert told.eta_s == pytest.approx(1.2, abs=0.2)


def test_the_expected_wait_is_the_work_ahead_and_not_the_place() -> None:
    made = limiter()
    made.arrived(ask("long", output=1000), 0.0)
    (first,) = made.arrived(ask("short", "v", output=1), 0.0)
    (second,) = made.arrived(ask("next", "w", output=1), 0.0)
    assert isinstance(first, Wait)
    assert isinstance(second, Wait)
    assert first.eta_s is not None
    assert second.eta_s is not None
    assert first.eta_s > 50
    assert second.eta_s - first.eta_s < 0.5


def test_the_user_served_least_is_next() -> None:
    made = limiter(capacity=1)
    made.arrived(ask("busy", "flooder"), 0.0)
    for number in range(4):
        made.arrived(ask(f"flood{number}", "flooder"), 0.0)
    made.arrived(ask("mine", "polite"), 0.0)
    assert drained(made, "busy").index("mine") <= 1


def test_shares_follow_the_weights_of_the_tiers() -> None:
    tiers = {"standard": Tier(), "double": Tier(weight=2.0)}
    made = limiter(Rules(tiers=tiers, half_life_s=float("inf"), kept_share=0.0))
    made.arrived(ask("start", "z"), 0.0)
    for number in range(30):
        made.arrived(ask(f"a{number}", "a"), 0.0)
        made.arrived(ask(f"b{number}", "b", tier="double"), 0.0)
    served = Counter(name[0] for name in drained(made, "start")[:30])
    assert served["b"] == pytest.approx(2 * served["a"], abs=2)


def test_a_user_who_was_away_has_earned_nothing() -> None:
    made = limiter(Rules(half_life_s=float("inf")))
    made.arrived(ask("a0", "a"), 0.0)
    for number in range(1, 20):
        made.arrived(ask(f"a{number}", "a"), 0.0)
        made.ended(f"a{number - 1}", Usage(10, 0, 500), 0.0)
    for number in range(10):
        made.arrived(ask(f"b{number}", "b"), 0.0)
        made.arrived(ask(f"c{number}", "a"), 0.0)
    order = drained(made, "a19")
    assert Counter(name[0] for name in order[:10])["c"] >= 4


def test_background_goes_last_until_it_has_waited_long_enough() -> None:
    made = limiter(Rules(age_s=100.0, kept_share=0.0))
    made.arrived(ask("running"), 0.0)
    made.arrived(ask("task", "system", priority="background"), 0.0)
    made.arrived(ask("person"), 1.0)
    assert runs(made.ended("running", None, 2.0)) == ["person"]
    for number in range(300):
        now_s = 3.0 + number
        made.arrived(ask(f"p{number}"), now_s)
        last = "person" if number == 0 else f"p{number - 1}"
        if runs(made.ended(last, Usage(10, 0, 20), now_s)) == ["task"]:
            break
    assert 190 <= number <= 210


def test_the_last_slot_is_kept_for_a_person_who_holds_less() -> None:
    made = limiter(capacity=4)
    made.arrived(ask("polite", "p"), 0.0)
    made.ended("polite", Usage(10, 0, 20), 0.0)
    for number in range(6):
        made.arrived(ask(f"f{number}", "flooder"), 1.0)
    assert made.running == 3
    assert runs(made.arrived(ask("again", "p"), 2.0)) == ["again"]
    assert made.running == 4


def test_alone_a_user_has_every_slot() -> None:
    made = limiter(capacity=4)
    for number in range(6):
        made.arrived(ask(f"f{number}", "only"), 1.0)
    assert made.running == 4


def test_a_full_line_sheds_the_lowest_class_first() -> None:
    made = limiter(Rules(waiting=2))
    made.arrived(ask("running"), 0.0)
    made.arrived(ask("task", "s", priority="background"), 0.0)
    made.arrived(ask("bulk", "s", priority="service"), 0.0)
    assert refusals(made.arrived(ask("p1", "p"), 0.0)) == {"task": "shed"}
    assert refusals(made.arrived(ask("p2", "p"), 0.0)) == {"bulk": "shed"}
    assert refusals(made.arrived(ask("p3", "p"), 0.0)) == {"p3": "queue_full"}


def test_a_user_may_only_have_so_many_waiting() -> None:
    made = limiter(Rules(tiers={"standard": Tier(waiting=1)}))
    for name in ("a", "b"):
        made.arrived(ask(name), 0.0)
    assert refusals(made.arrived(ask("c"), 0.0)) == {"c": "user_queue_full"}


def test_what_cannot_start_before_its_deadline_is_refused_at_once_and_refunded() -> None:
    made = limiter(Rules(tiers={"standard": Tier(tokens_per_day=10_000)}))
    made.arrived(ask("long", output=2000), 0.0)
    left = made.quotas("u", 0.0)
    assert refusals(made.arrived(ask("hopeless", deadline_s=5.0), 0.0)) == {"hopeless": "deadline"}
    assert made.quotas("u", 0.0) == left


def test_who_waits_past_the_deadline_has_waited_out() -> None:
    made = limiter()
    made.arrived(ask("a"), 0.0)
    made.arrived(ask("b", "v", deadline_s=90.0), 0.0)
    assert made.next_due_s(60.0) <= 90.0
    assert refusals(made.tick(90.0)) == {"b": "waited_out"}


def test_without_any_worker_for_long_everybody_is_refused() -> None:
    made = limiter(capacity=0)
    (told,) = made.arrived(ask("a"), 1.0)
    assert told == Wait("a", 1, None)
    assert made.next_due_s(1.0) == 60.0
    assert refusals(made.tick(60.0)) == {"a": "no_worker"}
    assert refusals(made.arrived(ask("b"), 61.0)) == {"b": "no_worker"}


def test_a_slot_whose_holder_fell_silent_is_free_again_and_its_tokens_are_refunded() -> None:
    rules = Rules(lease_s=10.0, tiers={"standard": Tier(tokens_per_minute=100)})
    made = limiter(rules)
    made.arrived(ask("a"), 0.0)
    made.arrived(ask("b", "v"), 0.0)
    made.renewed("a", 5, 8.0)
    assert made.tick(10.0) == []
    assert made.tick(18.0) == [Expired("a"), Run("b", 18.0)]
    assert [quota.left for quota in made.quotas("u", 18.0)] == [100]


def test_concurrency_of_a_tier_is_never_passed() -> None:
    made = limiter(Rules(tiers={"standard": Tier(concurrency=2)}), capacity=8)
    for number in range(5):
        made.arrived(ask(f"a{number}"), 0.0)
    assert made.running == 2
    assert runs(made.ended("a0", None, 1.0)) == ["a2"]


def test_whoever_waits_for_his_own_end_is_told_that_time_and_holds_up_nobody() -> None:
    tiers = {"standard": Tier(), "single": Tier(concurrency=1)}
    made = limiter(Rules(tiers=tiers, output_s=1.0, kept_share=0.0), capacity=2)
    made.arrived(ask("own", "s", tier="single"), 0.0)
    made.arrived(ask("other", "v", output=4), 0.0)
    told = [*made.arrived(ask("mine0", "s", tier="single"), 0.0)]
    told += made.arrived(ask("mine1", "s", tier="single"), 0.0)
    told += made.arrived(ask("theirs", "w"), 0.0)
    wait = {one.request_id: one for one in told if isinstance(one, Wait)}
    assert [wait[name].place for name in ("mine0", "mine1", "theirs")] == [1, 2, 1]
    etas = [wait[name].eta_s or 0.0 for name in ("theirs", "mine0", "mine1")]
    assert etas[0] < 8
    assert etas[1] == pytest.approx(21.5, abs=2.0)  # what is left of his own
    assert etas[2] == pytest.approx(2 * etas[1], rel=0.1)
    late = made.arrived(ask("late", "s", tier="single", deadline_s=2.0), 0.0)
    assert refusals(late) == {"late": "deadline"}


def test_a_users_limits_span_all_pools() -> None:
    tiers = {"standard": Tier(concurrency=1, waiting=2)}
    rules = Rules(tiers=tiers, waiting=3)
    ledgers = Ledgers(tiers)
    one, two = (Limiter(rules, 0.0, ledgers) for _ in range(2))
    for made in (one, two):
        made.workers_changed(4, 0.0)
    assert runs(one.arrived(ask("a"), 0.0)) == ["a"]
    (told,) = two.arrived(ask("b"), 0.0)
    assert isinstance(told, Wait)
    assert told.eta_s == pytest.approx(1.2, abs=0.3)
    one.arrived(ask("c"), 0.0)
    assert refusals(two.arrived(ask("d"), 0.0)) == {"d": "user_queue_full"}
    two.arrived(ask("e", "v"), 0.0)
    two.arrived(ask("f", "v"), 0.0)
    assert refusals(one.arrived(ask("g", "v"), 0.0)) == {"g": "queue_full"}
    assert runs(one.ended("a", None, 1.0)) == ["c"]
    assert runs(two.tick(1.0)) == []
    one.ended("c", None, 2.0)
    assert runs(two.tick(2.0)) == ["b"]


def test_a_users_tier_may_change_while_he_is_answered() -> None:
    tiers = {"standard": Tier(), "gold": Tier(tokens_per_minute=1_000)}
    made = limiter(Rules(tiers=tiers), capacity=4)
    made.arrived(ask("free", tokens=500), 0.0)
    assert runs(made.arrived(ask("first", tier="gold", output=200), 0.0)) == ["first"]
    made.ended("free", Usage(500, 0, 20), 1.0)
    (quota,) = made.quotas("u", 1.0)
    assert quota.left == 1_000 - 410
    made.arrived(ask("again free"), 2.0)  # standard, and gold once more: nothing is forgotten
    made.ended("first", Usage(10, 0, 100), 3.0)
    assert made.quotas("u", 3.0) == []
    made.arrived(ask("second", tier="gold"), 4.0)
    made.ended("again free", None, 4.0)
    (quota,) = made.quotas("u", 4.0)
    assert quota.left == 1_000 - 110 - 50
    made.ended("second", None, 5.0)
    (quota,) = made.quotas("u", 5.0)
    assert quota.left == 1_000 - 110


def test_more_users_than_are_remembered_are_answered_all_the_same() -> None:
    made = limiter(Rules(waiting=2 * LEDGERS_SWEPT_ABOVE), capacity=LEDGERS_SWEPT_ABOVE + 1)
    for number in range(LEDGERS_SWEPT_ABOVE + 1):
        made.adopted(f"r{number}", f"u{number}", 0.0, ask(f"r{number}", f"u{number}"))
    assert made.running == LEDGERS_SWEPT_ABOVE + 1
    made.ended("r0", Usage(10, 0, 20), 1.0)
    made.ended(f"r{LEDGERS_SWEPT_ABOVE}", None, 1.0)
    assert made.running == LEDGERS_SWEPT_ABOVE - 1


def test_a_budget_names_itself_and_when_to_come_back() -> None:
    made = limiter(Rules(tiers={"standard": Tier(requests_per_minute=1)}))
    made.arrived(ask("a"), 0.0)
    made.ended("a", Usage(10, 0, 20), 6.0)
    (refused,) = made.arrived(ask("b"), 10.0)
    assert isinstance(refused, Refuse)
    assert refused.reason == "requests_per_minute"
    assert refused.retry_after_s == pytest.approx(57.0)
    assert runs(made.arrived(ask("b"), 10.0 + refused.retry_after_s)) == ["b"]


def test_when_to_try_again_is_estimated_once_a_second() -> None:
    rules = Rules(tiers={"standard": Tier(waiting=1)}, output_s=1.0)
    made = limiter(rules, capacity=1)
    made.arrived(ask("a"), 0.0)
    made.arrived(ask("b"), 0.0)
    told = []
    for number, at_s in enumerate((2.0, 2.9, 3.1)):
        (refused,) = made.arrived(ask(f"c{number}"), at_s)
        assert isinstance(refused, Refuse)
        told.append(refused.retry_after_s)
    assert told[0] == told[1]
    assert 1.0 < told[2] < told[0]


def test_what_would_never_fit_a_budget_is_too_large() -> None:
    made = limiter(Rules(tiers={"standard": Tier(tokens_per_minute=10)}))
    assert refusals(made.arrived(ask("a"), 0.0)) == {"a": "too_large"}


def test_the_shortest_of_ones_own_goes_first_but_the_oldest_is_not_forgotten() -> None:
    made = limiter(Rules(shortest_first=True, patience_s=50.0))
    made.arrived(ask("running"), 0.0)
    made.arrived(ask("long", output=500), 0.0)
    made.arrived(ask("short", output=5), 1.0)
    made.arrived(ask("short2", output=5), 1.0)
    assert runs(made.ended("running", None, 2.0)) == ["short"]
    assert runs(made.ended("short", None, 60.0)) == ["long"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 400)), min_size=1, max_size=25))
def test_places_are_the_order_in_which_one_slot_serves(arrivals: list[tuple[str, int]]) -> None:
    rules = Rules(half_life_s=float("inf"), kept_share=0.0, news_interval_s=float("inf"))
    made = limiter(rules)
    made.arrived(ask("running", "z"), 0.0)
    for number, (uid, output) in enumerate(arrivals):
        made.arrived(ask(f"{uid}{number}", uid, output=output), 0.0)
    promised = [name for name in made.known() if name != "running"]
    order: list[str] = []
    last = ["running"]
    while last:
        # Settled exactly as charged, so that the order stays what it was.
        running = made._running[last[0]]
        last = runs(made.ended(last[0], Usage(int(running.charged), 0, 0), 0.0))
        order += last
    assert Counter(order) == Counter(promised)
    assert order[0] == promised[0]


LIMITS = Tier(requests_per_minute=6, tokens_per_minute=600, concurrency=3, waiting=4)


class AnyHistory(RuleBasedStateMachine):
    """Slots, limits and budgets hold, and each request is heard of once, whatever happens."""

    def __init__(self) -> None:
        super().__init__()
        limits = Rules(
            tiers={"standard": LIMITS, "heavy": replace(LIMITS, weight=2.0)},
            waiting=8,
            lease_s=40.0,
            news_interval_s=0.0,
            age_s=30.0,
        )
        self.made = limiter(limits, capacity=3)
        self.now_s = 0.0
        self.number = 0
        self.waiting: dict[str, Ask] = {}
        self.running: dict[str, Ask] = {}
        self.leased: dict[str, float] = {}
        self.spent: list[tuple[float, str, int]] = []
        self.verdicts: Counter[str] = Counter()
        self.capacity = 3

    def note(self, actions: list[Action]) -> None:
        for action in actions:
            name = action.request_id
            if isinstance(action, Wait):
                assert name in self.waiting
            elif isinstance(action, Expired):
                assert self.leased.pop(name) <= self.now_s
                del self.running[name]
            else:
                self.verdicts[name] += 1
                request = self.waiting.pop(name)
                if isinstance(action, Run):
                    self.running[name] = request
                    self.leased[name] = self.now_s + 40.0

    @rule(
        uid=st.sampled_from("abcd"),
        priority=st.sampled_from(["person", "service", "background"]),
        tokens=st.integers(1, 100),
        output=st.integers(1, 60),
        patience_s=st.floats(0.0, 200.0),
        tier=st.sampled_from(["standard", "heavy"]),
    )
    def arrives(
        self,
        uid: str,
        priority: Priority,
        *,
        tokens: int,
        output: int,
        patience_s: float,
        tier: str,
    ) -> None:
        self.number += 1
        request = ask(
            f"{uid}{self.number}",
            uid,
            priority=priority,
            tokens=tokens,
            output=output,
            deadline_s=self.now_s + patience_s,
            tier=tier,
        )
        self.waiting[request.request_id] = request
        self.note(self.made.arrived(request, self.now_s))
        assert self.made.arrived(request, self.now_s) == [] or self.verdicts[request.request_id]

    @precondition(lambda self: self.running)
    @rule(data=st.data(), share=st.floats(0.0, 1.0))
    def ends(self, data: st.DataObject, share: float) -> None:
        name = data.draw(st.sampled_from(sorted(self.running)))
        request = self.running.pop(name)
        del self.leased[name]
        used = int(share * request.output.most)
        self.spent.append((self.now_s, request.uid, request.input_tokens + used))
        self.note(self.made.ended(name, Usage(request.input_tokens, 0, used), self.now_s))
        assert self.made.ended(name, Usage(5, 0, 5), self.now_s) == []

    @precondition(lambda self: self.running or self.waiting)
    @rule(data=st.data())
    def vanishes(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.running | self.waiting)))
        self.running.pop(name, None)
        self.waiting.pop(name, None)
        self.leased.pop(name, None)
        self.note(self.made.ended(name, None, self.now_s))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def lives(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.running)))
        self.made.renewed(name, 1, self.now_s)
        self.leased[name] = self.now_s + 40.0

    @rule(seconds=st.floats(0.0, 50.0))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds
        self.note(self.made.tick(self.now_s))

    @rule(seconds=st.floats(0.0, 50.0))
    def the_clock_steps_back(self, seconds: float) -> None:
        self.note(self.made.tick(self.now_s - seconds))

    @rule(capacity=st.integers(0, 5))
    def workers_change(self, capacity: int) -> None:
        self.capacity = capacity
        self.note(self.made.workers_changed(capacity, self.now_s))

    @invariant()
    def holds(self) -> None:
        assert self.made.running == len(self.running)
        assert self.made.waiting == len(self.waiting) <= 8
        assert sorted(self.made.known()) == sorted(self.running | self.waiting)
        assert all(count == 1 for count in self.verdicts.values())

    @invariant()
    def no_limit_is_passed(self) -> None:
        for uid in "abcd":
            assert sum(request.uid == uid for request in self.running.values()) <= 3
            assert sum(request.uid == uid for request in self.waiting.values()) <= 4
            mine = [r for r in (self.running | self.waiting).values() if r.uid == uid]
            recent = [n for at_s, who, n in self.spent if who == uid and at_s > self.now_s - 60.0]
            assert len(mine) + len(recent) <= 6
            assert sum(r.input_tokens + r.output.most for r in mine) + sum(recent) <= 600

    def teardown(self) -> None:
        for name in list(self.running) + list(self.waiting):
            self.running.pop(name, None)
            self.waiting.pop(name, None)
            self.leased.pop(name, None)
            self.note(self.made.ended(name, None, self.now_s))
        assert self.made.running == self.made.waiting == 0
        for uid in "abcd":
            for quota in self.made.quotas(uid, self.now_s + 120.0):
                assert quota.left == quota.limit


class SlotsAreNeverExceeded(AnyHistory):
    """With a constant number of slots there are never more running than slots."""

    @rule(capacity=st.just(3))
    def workers_change(self, capacity: int) -> None:
        super().holds()

    @invariant()
    def no_slot_is_exceeded(self) -> None:
        assert len(self.running) <= 3


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestSlots = SlotsAreNeverExceeded.TestCase
TestSlots.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)


def test_after_a_week_without_a_question_the_next_one_is_served() -> None:
    """The weight of a charge once grew beyond what a number holds, after 17 quiet hours."""
    fair = FairShare(60.0, 0.0)
    fair.charge("a", 100.0, weight=1.0, now_s=1.0)
    fair.charge("b", 1.0, weight=1.0, now_s=7 * 86_400.0)
    assert fair.level("b") > fair.level("a") >= 0.0
