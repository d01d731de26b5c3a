"""A bench for engines: run requests on a backend and see, step by step, what came out and went in.

Everything is counted in steps and synchronised by the engine's own outputs; the only time is a
deadline far beyond what any test needs.
"""

import itertools
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs
import pytest

from appliance.grammar.automaton import Automaton
from appliance.schema.events import TokenLogprob
from appliance.schema.requests import ChatMessage
from appliance.schema.sampling import Sampling
from appliance.worker.archive import Archive
from appliance.worker.backend import (
    Backend,
    Cells,
    Chunk,
    Facts,
    Outcome,
    Shape,
    TextKind,
    Unless,
    Vectors,
)
from appliance.worker.engine import Bounds, Engine
from appliance.worker.jobs import (
    Embedded,
    EmbedFailed,
    EmbedJob,
    Finished,
    Generation,
    Output,
    Piece,
    Rejected,
    Stopped,
)

DEADLINE_S = 300.0
GREEDY = Sampling(temperature=0, max_tokens=16)

SMALL = Shape(slots=4, context_tokens=256, cache_tokens=512, step_tokens=32)

Job = Generation | EmbedJob


@dataclass(frozen=True)
class Kind:
    """A backend and what a test must know of its model."""

    name: str
    backend: Backend
    marker: str  # text that its template or its vocabulary makes a control token

    @property
    def exact(self) -> bool:
        """Whether results are equal to the bit, however requests are batched."""
        return self.name == "fake"


class Watched:
    """A backend that notes what each step and each embedding call was given."""

    def __init__(self, backend: Backend) -> None:
        self.inner = backend
        self.steps: list[list[Chunk]] = []
        self.embedded: list[list[list[int]]] = []

    @property
    def facts(self) -> Facts:
        return self.inner.facts

    @property
    def shape(self) -> Shape:
        return self.inner.shape

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        return self.inner.tokenize(text, special=special)

    def piece(self, token: int) -> bytes:
        return self.inner.piece(token)

    def is_end(self, token: int) -> bool:
        return self.inner.is_end(token)

    def open(
        self,
        sequence: int,
        sampling: Sampling,
        *,
        seed: int,
        answered: list[int],
        automaton: Automaton | None = None,
    ) -> None:
        self.inner.open(sequence, sampling, seed=seed, answered=answered, automaton=automaton)

    def decode(self, chunks: list[Chunk]) -> Outcome:
        self.steps.append(chunks)
        return self.inner.decode(chunks)

    def sample(self, sequence: int, row: int = 0) -> int:
        return self.inner.sample(sequence, row)

    def logprobs(self, sequence: int) -> TokenLogprob | None:
        return self.inner.logprobs(sequence)

    def close(self, sequence: int) -> None:
        self.inner.close(sequence)

    def save(self, sequence: int) -> Cells | None:
        return self.inner.save(sequence)

    def restore(self, sequence: int, cells: Cells, *, tokens: int) -> bool:
        return self.inner.restore(sequence, cells, tokens=tokens)

    def share(self, source: int, target: int, tokens: int) -> bool:
        return self.inner.share(source, target, tokens)

    def truncate(self, sequence: int, length: int) -> None:
        self.inner.truncate(sequence, length)

    def embedding_tokens(self, text: str, kind: TextKind) -> list[int]:
        return self.inner.embedding_tokens(text, kind)

    def embed(self, texts: list[list[int]], unless: Unless | None = None) -> Vectors:
        self.embedded.append(texts)
        return self.inner.embed(texts, unless)

    def use_threads(self, threads: int) -> None:
        self.inner.use_threads(threads)

    def shut_down(self) -> None:
        self.inner.shut_down()


@dataclass
class Run:
    """What came out of an engine: `emitted[n]` is one step's outputs."""

    emitted: list[list[Output]] = field(default_factory=list)
    fatal: Exception | None = None

    def all(self) -> list[Output]:
        return [output for outputs in self.emitted for output in outputs]

    def pieces(self, request_id: str) -> list[str]:
        return [
            one.text
            for one in self.all()
            if isinstance(one, Piece) and one.request_id == request_id
        ]

    def ends(self) -> list[Finished | Stopped | Rejected]:
        return [one for one in self.all() if isinstance(one, Finished | Stopped | Rejected)]

    def end(self, request_id: str) -> Finished | Stopped | Rejected:
        ends = [one for one in self.ends() if one.request_id == request_id]
        assert len(ends) == 1, f"{request_id} ended {len(ends)} times"
        return ends[0]

    def finished(self, request_id: str) -> Finished:
        end = self.end(request_id)
        assert isinstance(end, Finished), end
        return end

    def stopped(self, request_id: str) -> Stopped:
        end = self.end(request_id)
        assert isinstance(end, Stopped), end
        return end

    def rejected(self, request_id: str) -> Rejected:
        end = self.end(request_id)
        assert isinstance(end, Rejected), end
        return end

    def embedded(self, job_id: str) -> Vectors:
        found = [one for one in self.all() if isinstance(one, Embedded) and one.job_id == job_id]
        assert len(found) == 1, f"{job_id} was answered {len(found)} times"
        return found[0].vectors

    def steps_with(self, request_id: str) -> list[int]:
        """The steps that brought text of a request."""
        return [
            n
            for n, outputs in enumerate(self.emitted)
            if any(isinstance(one, Piece) and one.request_id == request_id for one in outputs)
        ]


OnStep = Callable[[Engine, Run], None]


def nothing(engine: Engine, run: Run) -> None:
    """Does nothing after a step."""


def run_jobs(
    backend: Backend,
    *first: Job,
    expect: int | None = None,
    before: Callable[[Engine], None] = lambda engine: None,
    on_step: OnStep = nothing,
    bounds: Bounds | None = None,
    archive: Archive | None = None,
    clock: Callable[[], float] | None = None,
) -> Run:
    """Run jobs on a new engine until `expect` of them (all of `first`) ended, or it gave up.

    The first jobs, and what `before` adds, are in the mailbox before the engine starts, so it
    meets them all at once.
    `on_step` runs on the engine thread between two steps: what it asks for is done in the next.
    """
    run = Run()
    over = threading.Event()
    remaining = expect if expect is not None else len(first)

    def emit(outputs: list[Output]) -> None:
        nonlocal remaining
        run.emitted.append(outputs)
        remaining -= sum(not isinstance(one, Piece) for one in outputs)
        on_step(engine, run)
        if remaining <= 0:
            over.set()

    def on_fatal(error: Exception) -> None:
        run.fatal = error
        over.set()

    engine = Engine(
        backend,
        emit=emit,
        on_fatal=on_fatal,
        bounds=bounds,
        archive=archive,
        clock=clock or time.monotonic,
    )
    for job in first:
        give(engine, job)
    before(engine)
    engine.start()
    in_time = over.wait(DEADLINE_S)
    engine.stop()  # also when it is late: its backend is shared, and freed in the end
    assert engine.join(DEADLINE_S)
    assert in_time, f"not over after {DEADLINE_S} s: {engine.status}"
    return run


def give(engine: Engine, job: Job) -> None:
    if isinstance(job, Generation):
        engine.submit(job)
    else:
        engine.embed(job)


def ask(
    request_id: str,
    text: str,
    sampling: Sampling = GREEDY,
    *,
    resume_text: str = "",
    resume_tokens: tuple[int, ...] = (),
    scope: str = "somebody",
    deadline_at_s: float = math.inf,
) -> Generation:
    """A request with one user message."""
    return Generation(
        request_id=request_id,
        messages=(ChatMessage(role="user", content=text),),
        sampling=sampling,
        resume_text=resume_text,
        resume_tokens=resume_tokens,
        scope=scope,
        deadline_at_s=deadline_at_s,
    )


def common_prefix(a: str, b: str) -> str:
    equal = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False))
    return "".join(x for x, _ in equal)


def is_rising(numbers: list[int]) -> bool:
    return all(a < b for a, b in itertools.pairwise(numbers))


def failed(run: Run, job_id: str) -> EmbedFailed:
    found = [one for one in run.all() if isinstance(one, EmbedFailed) and one.job_id == job_id]
    assert len(found) == 1
    return found[0]


def model_path(pattern: str) -> Path:
    """A starter model by file name pattern; tests fail, not skip, without it."""
    folder = platformdirs.user_cache_path("sluice", appauthor=False) / "models"
    found = sorted(folder.glob(pattern))
    if not found:
        pytest.fail(f"no {pattern} in {folder}: get the starter models with `sluice models pull`")
    return found[0]
