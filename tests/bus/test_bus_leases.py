"""Any order of takes, writes, renewals, ends, expiries and deaths: one writer, one end, one text.

The model beside the store is a few plain variables; the store's clock is moved by writing the end
of a lease into the past.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from soak import much

from appliance import keys
from appliance.bus import leases, scripts
from appliance.bus.client import Bus, connect
from appliance.bus.leases import TRIAL_PIECES, Holder
from appliance.bus.script import run_all
from appliance.bus.texts import emitted_text
from appliance.schema.answers import Timings, Usage
from appliance.schema.events import Admitted, Delta, Done, Failed, Received
from appliance.schema.requests import Request
from appliance.schema.sampling import Sampling

pytestmark = pytest.mark.integration

ATTEMPTS = 2
LEASE_MS = 3_600_000
DONE = Done(finish_reason="stop", model="m", usage=Usage(), timings=Timings())
FAILED = Failed(code="internal", reason="r", message="m")
WORKERS = st.sampled_from(["w1", "w2", "w3"])

T = TypeVar("T")


class Leases(RuleBasedStateMachine):
    """One request, three workers that may be paused at any time, one reaper."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.bus: Bus = connect(self.url)
        self.number = 0
        self.state = "queued"
        self.holder = ""  # worker that holds the lease, expired or not
        self.expired = False
        self.attempt = 0
        self.text: list[str] = []
        self.ends = 0
        self.deaths = 0
        self.died_at = -1
        self.guilty = False
        # What each worker believes: its lease, and how much had been written when it last knew.
        self.believes: dict[str, tuple[str, int]] = {}
        self.request_id = keys.new_request_id()
        self.run(self._submit())

    def run(self, act: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(act)

    async def _submit(self) -> None:
        request = Request(
            id=self.request_id,
            uid="u",
            text="why?",
            sampling=Sampling(),
            created_at_ms=1,
            deadline_at_ms=2,
        )
        received = Received(request_id=self.request_id, session_id="", created_at_ms=1)
        await scripts.submit(self.bus, request, received, turns_kept=1)
        await scripts.tell(
            self.bus,
            self.request_id,
            Admitted(waited_ms=0),
            while_state="waiting",
            new_state="queued",
        )

    def teardown(self) -> None:
        self.run(self.bus.aclose())
        self.loop.close()

    def holds(self, worker: str) -> bool:
        """Whether what the worker believes is the lease in force."""
        believed = self.believes.get(worker)
        return (
            self.state == "running"
            and not self.expired
            and believed is not None
            and believed[0] == f"{self.holder}:{self.attempt}"
        )

    @rule(worker=WORKERS, repeated=st.booleans())
    def take(self, worker: str, repeated: bool) -> None:
        for _ in range(1 + repeated):
            taken = self.run(
                leases.take(
                    self.bus,
                    self.request_id,
                    worker,
                    entry=f"entry-{worker}",
                    lease_ms=LEASE_MS,
                    model="m",
                )
            )
            if self.state == "queued":
                self.state, self.holder, self.expired = "running", worker, False
                self.attempt += 1
            if self.state != "running":
                assert taken.outcome == self.state
            elif self.holder != worker:
                assert taken.outcome == "running"
            elif self.expired:
                assert taken.outcome == "lost"
            else:
                assert (taken.outcome, taken.attempt) == ("taken", self.attempt)
                assert taken.emitted == len(self.text)
                self.believes[worker] = (f"{worker}:{taken.attempt}", taken.emitted)

    @rule(worker=WORKERS, pieces=st.integers(1, 9), repeats=st.integers(0, 2))
    def append(self, worker: str, pieces: int, repeats: int) -> None:
        if worker not in self.believes:
            return
        held, before = self.believes[worker]
        texts = [f"<{self.number + n}>" for n in range(pieces)]
        self.number += pieces
        call = leases.append(
            self.request_id,
            held,
            lease_ms=LEASE_MS,
            before=before,
            deltas=[Delta(text=text) for text in texts],
        )
        may = self.holds(worker)
        for _ in range(1 + repeats):
            assert self.run(run_all(self.bus, [call])) == [1 if may else 0]
        if may:
            self.text += texts
            self.believes[worker] = (held, before + pieces)

    @rule(worker=WORKERS)
    def renew(self, worker: str) -> None:
        if worker not in self.believes:
            return
        call = leases.renew(
            self.request_id, self.believes[worker][0], lease_ms=LEASE_MS, waits=False
        )
        ((until_ms, _),) = self.run(run_all(self.bus, [call]))
        assert bool(until_ms) == self.holds(worker)

    @rule()
    def time_passes(self) -> None:
        if self.state == "running":
            self.run(self.bus.hset(keys.request(self.request_id), mapping={"until": 1}))
            self.expired = True

    @rule(gone=st.booleans(), died=st.booleans())
    def release(self, gone: bool, died: bool) -> None:
        held = f"{self.holder}:{self.attempt}"
        released = self.run(
            leases.release(
                self.bus,
                self.request_id,
                held,
                holder=Holder(gone=gone, died=died),
                attempts=ATTEMPTS,
            )
        )
        if self.state == "running" and (gone or self.expired):
            self.state = "queued"
            if died:
                self.deaths += 1
                near = self.died_at >= 0 and len(self.text) < self.died_at + TRIAL_PIECES
                self.guilty |= self.deaths > ATTEMPTS or (self.deaths == ATTEMPTS and near)
                self.died_at = len(self.text)
        assert released.outcome == self.state
        assert (released.deaths, released.guilty) == (self.deaths, self.guilty)

    @rule(worker=WORKERS, pieces=st.integers(1, 2 * TRIAL_PIECES))
    def live_and_die(self, worker: str, pieces: int) -> None:
        """What seldom comes about step by step: a death at work, some way into the answer."""
        self.take(worker, repeated=False)
        self.append(worker, pieces, repeats=0)
        self.release(gone=True, died=True)

    @rule(worker=WORKERS)
    def foreign_release(self, worker: str) -> None:
        """Whoever names another lease than the one in force takes nothing away."""
        if self.state != "running":
            return
        held = f"{worker}:{self.attempt - 1}"
        holder = Holder(gone=True, died=True)
        released = self.run(
            leases.release(self.bus, self.request_id, held, holder=holder, attempts=ATTEMPTS)
        )
        assert released.outcome == "foreign"

    @rule(worker=WORKERS, repeats=st.integers(0, 1))
    def end(self, worker: str, repeats: int) -> None:
        if worker not in self.believes:
            return
        may = self.holds(worker)
        held = self.believes[worker][0]
        written = [
            self.run(scripts.end(self.bus, self.request_id, DONE, ttl_s=600, held=held))
            for _ in range(1 + repeats)
        ]
        assert written == [may] + [False] * repeats
        if may:
            self.state = "done"
            self.ends += 1

    @rule()
    def end_from_outside(self) -> None:
        may = self.state == "queued"
        if not may or self.attempt > 1:  # rarely enough that most runs go on
            written = self.run(scripts.end(self.bus, self.request_id, FAILED, ttl_s=600))
            assert written == may
            if may:
                self.state = "failed"
                self.ends += 1

    @invariant()
    def the_store_says_the_same(self) -> None:
        assert self.run(emitted_text(self.bus, self.request_id)) == "".join(self.text)
        rows = self.run(self.bus.xrange(keys.reply(self.request_id), "-", "+", 1000))
        ends = [f[b"event"] for _, f in rows if f[b"event"] in (b"done", b"failed")]
        assert len(ends) == self.ends <= 1
        if ends:
            assert rows[-1][1][b"event"] == ends[0]


@pytest.mark.soak
def test_whatever_happens_one_holder_writes_and_one_end_is_written(valkey_url: str) -> None:
    class OnThisStore(Leases):
        url = valkey_url

    counts = settings(max_examples=much(20, 200), stateful_step_count=40, deadline=None)
    run_state_machine_as_test(OnThisStore, settings=counts)
