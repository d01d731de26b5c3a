"""Whatever comes in whatever order: greedy answers are those given alone, and no cell leaks.

Random requests of several people arrive at random steps, some are cancelled, on engines of random
sizes. The fake backend answers from the tokens in its cells, so one cell shared wrongly, cut too
far or computed twice is a wrong answer. What a request says alone is found without the engine.
"""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worker_bench import Run, run_jobs

from appliance.schema.requests import ChatMessage
from appliance.schema.sampling import Sampling
from appliance.worker.backend import Chunk, Outcome, Shape
from appliance.worker.engine import Bounds, Engine
from appliance.worker.fake import FakeBackend
from appliance.worker.jobs import Finished, Generation, Stopped
from appliance.worker.prompts import PromptMaker

pytestmark = pytest.mark.unit

ALONE = 0  # any sequence of an empty backend
RULES = "You answer for the harbour office and you keep to what the entries say."
SENTENCES = (
    "The harbour opens at six. The harbour closes at ten. The harbour opens at six again.",
    "门禁密码是七三四一。门禁密码每周一更换。门禁密码是什么？",
    "hello hello hello hello hello hello",
    "x",
)


@dataclass(frozen=True)
class Asked:
    at_step: int
    text: str
    earlier: int  # turns before the question, each one sentence and its answer
    system: bool
    public_chars: int
    scope: str
    session: str
    max_tokens: int
    cancelled_after: int | None  # steps since it arrived

    def generation(self, number: int) -> Generation:
        system = (ChatMessage(role="system", content=RULES, public_chars=self.public_chars),)
        turns = [
            message
            for sentence in SENTENCES[: self.earlier]
            for message in (
                ChatMessage(role="user", content=sentence),
                ChatMessage(role="assistant", content=f"You said: {sentence}"),
            )
        ]
        question = ChatMessage(role="user", content=self.text)
        return Generation(
            request_id=f"r{number}",
            messages=(*(system if self.system else ()), *turns, question),
            sampling=Sampling(temperature=0, max_tokens=self.max_tokens),
            scope=self.scope,
            session_id=self.session,
        )


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    slots = draw(st.integers(1, 5))
    context = draw(st.integers(100, 300))
    return Shape(
        slots=slots,
        warm_sequences=draw(st.integers(0, 4)),
        warm_tokens=draw(st.integers(0, 300)),
        context_tokens=context,
        cache_tokens=draw(st.integers(context, 900)),
        step_tokens=draw(st.integers(slots, 64)),
    )


asked_lists = st.lists(
    st.builds(
        Asked,
        at_step=st.integers(0, 40),
        text=st.sampled_from(SENTENCES),
        earlier=st.integers(0, 2),
        system=st.booleans(),
        public_chars=st.sampled_from([0, 20, len(RULES)]),
        scope=st.sampled_from(["", "ann", "bob"]),
        session=st.sampled_from(["", "s", "t"]),
        max_tokens=st.integers(1, 40),
        cancelled_after=st.none() | st.integers(0, 30),
    ),
    min_size=1,
    max_size=9,
)


class Accounted(FakeBackend):
    """After each step its cells are those that the engine's tree says, and no more than fit."""

    engine: Engine | None = None
    steps = 0

    def decode(self, chunks: list[Chunk]) -> Outcome:
        self.check()
        self.steps += 1
        return super().decode(chunks)

    def check(self) -> None:
        assert self.engine is not None
        tree = self.engine._scheduler.tree
        assert self.used_cells == tree.used_cells <= self.shape.cache_tokens
        held = {sequence: self._tokens(sequence, 0) for sequence in self._held}
        known = {sequence: tree.tokens(sequence).tolist() for sequence in tree._residents}
        assert held == {sequence: tokens for sequence, tokens in known.items() if tokens}


def alone(generation: Generation, shape: Shape) -> list[int]:
    """The answer's tokens, computed one at a time without an engine."""
    backend = FakeBackend(Shape(context_tokens=shape.context_tokens, step_tokens=512))
    prompt = PromptMaker(backend).prepare(generation).tokens
    most = min(generation.sampling.max_tokens, shape.context_tokens - len(prompt))
    backend.open(ALONE, generation.sampling, seed=1, answered=[])
    answer: list[int] = []
    part, position = prompt, 0
    while len(answer) < most:
        assert backend.decode([Chunk(ALONE, part, position, 1)]) is Outcome.DONE
        token = backend.sample(ALONE)
        if backend.is_end(token):
            break
        answer.append(token)
        part, position = [token], position + len(part)
    return answer


def play(shape: Shape, asked: list[Asked], drafts: int) -> Run:
    """Every request at its step, or as soon as nothing else is left to do."""
    backend = Accounted(shape)
    coming = sorted(enumerate(asked), key=lambda one: -one[1].at_step)
    cancels: dict[str, int] = {}

    def come(engine: Engine) -> None:
        number, one = coming.pop()
        generation = one.generation(number)
        engine.submit(generation)
        if one.cancelled_after is not None:
            cancels[generation.request_id] = backend.steps + one.cancelled_after

    def on_step(engine: Engine, run: Run) -> None:
        backend.check()
        while coming and (
            coming[-1][1].at_step <= backend.steps or len(run.ends()) + len(coming) == len(asked)
        ):
            come(engine)
        for request_id in [one for one, at in cancels.items() if at <= backend.steps]:
            engine.cancel(request_id)
            del cancels[request_id]

    def begin(engine: Engine) -> None:
        backend.engine = engine
        come(engine)

    run = run_jobs(
        backend,
        expect=len(asked),
        before=begin,
        on_step=on_step,
        bounds=Bounds(drafts_per_request=drafts),
    )
    assert (backend.used_cells, backend._held) == (0, {}), "an engine leaves an empty cache"
    return run


@given(shapes(), asked_lists, st.sampled_from([0, 4]))
@settings(max_examples=60)
def test_batching_sharing_and_eviction_change_no_answer_and_leak_no_cell(
    shape: Shape, asked: list[Asked], drafts: int
) -> None:
    run = play(shape, asked, drafts)
    assert run.fatal is None
    for number, one in enumerate(asked):
        generation = one.generation(number)
        tokens = alone(generation, shape)
        whole = b"".join(map(FakeBackend().piece, tokens)).decode(errors="replace")
        end = run.end(generation.request_id)
        assert isinstance(end, Finished | Stopped), end
        said = end.text.rstrip("\N{REPLACEMENT CHARACTER}")
        assert "".join(run.pieces(generation.request_id)) == end.text
        if isinstance(end, Finished):
            assert end.completion_tokens == len(tokens)
            assert said == whole.rstrip("\N{REPLACEMENT CHARACTER}")
        else:
            assert one.cancelled_after is not None
            assert whole.startswith(said)
