"""The records that cross a border: HTTP bodies, reply-stream events, work handed to a worker.

Every record is an immutable `msgspec.Struct`; nothing here knows how it is stored or sent.
Field names end in their unit (`_ms`, `_s`). Times are milliseconds since the Unix epoch.
`ui`, `worker` and `api` all speak in these, so a change here is a change of contract.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

UID_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
ID_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
DEFAULT_UID = "local"

MAX_TEXT_CHARS = 32_000
MAX_PROMPT_MESSAGES = 200
MAX_TITLE_CHARS = 200
MAX_ATTRIBUTES = 64
MAX_TAGS = 64
MAX_PHRASINGS = 64
MAX_ANSWER_CHARS = 16_000
MAX_QUESTION_CHARS = 2_000
MAX_GRAMMAR_CHARS = 32_000
MAX_LOGIT_BIASES = 300
MAX_TOP_LOGPROBS = 20

Uid = Annotated[str, Meta(pattern=UID_PATTERN)]
Identifier = Annotated[str, Meta(pattern=ID_PATTERN)]
Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARS)]
Title = Annotated[str, Meta(max_length=MAX_TITLE_CHARS)]
ModelName = Annotated[str, Meta(max_length=200)]
AttributeName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]
AttributeValue = Annotated[str, Meta(max_length=2_000)]
Tag = Annotated[str, Meta(min_length=1, max_length=64)]
Question = Annotated[str, Meta(min_length=1, max_length=MAX_QUESTION_CHARS)]
Answer = Annotated[str, Meta(min_length=1, max_length=MAX_ANSWER_CHARS)]
Category = Annotated[str, Meta(max_length=100)]
Language = Annotated[str, Meta(pattern=r"^([a-z]{2,3}(-[A-Za-z0-9]{2,8})?)?$")]
Moment = Annotated[
    str,
    Meta(pattern=r"^(\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2})?)?)?$"),
]
"""An ISO 8601 date or time, "" for none; without an offset it is meant where the appliance runs."""

GrammarText = Annotated[str, Meta(min_length=1, max_length=MAX_GRAMMAR_CHARS)]
TokenNumber = Annotated[str, Meta(pattern=r"^[0-9]{1,9}$")]
LogitBias = Annotated[
    dict[TokenNumber, Annotated[float, Meta(ge=-100, le=100)]], Meta(max_length=MAX_LOGIT_BIASES)
]

RequestState = Literal[
    "waiting", "loading", "queued", "running", "done", "failed", "refused", "cancelled"
]
Priority = Literal["person", "service", "background"]
TERMINAL_STATES = ("done", "failed", "refused", "cancelled")


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """A value that leaves the process."""


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value that enters the process from outside: unknown fields are errors."""


# --- sampling -----------------------------------------------------------------------------


class SamplingDefaults(Record, frozen=True, kw_only=True):
    """How tokens are chosen. `temperature` 0 is greedy; `seed` None draws one."""

    temperature: Annotated[float, Meta(ge=0, le=2)] = 0.1
    top_k: Annotated[int, Meta(ge=0, le=1000)] = 40
    top_p: Annotated[float, Meta(gt=0, le=1)] = 0.95
    min_p: Annotated[float, Meta(ge=0, le=1)] = 0.05
    repeat_penalty: Annotated[float, Meta(gt=0, le=2)] = 1.0
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] = 0.0
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] = 0.0
    seed: Annotated[int, Meta(ge=0, le=2**32 - 2)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=131_072)] = 512
    stop: tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...] = ()


class Adapter(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A LoRA adapter over the chat model; `scale` 1 is as it was trained, 0 is without it."""

    path: Annotated[str, Meta(min_length=1, max_length=4096)]
    scale: Annotated[float, Meta(ge=-10, le=10)] = 1.0


class TokenBias(Record, frozen=True, kw_only=True, array_like=True):
    """`bias` is added to the logit of a token before it can be chosen."""

    token: int
    bias: float


class Sampling(SamplingDefaults, frozen=True, kw_only=True):
    """The same with what only a request can ask for.

    `grammar` is GBNF, "" for none. `logprobs` is how many alternatives to name beside each token,
    None for no log-probabilities at all.
    """

    grammar: str = ""
    logit_bias: tuple[TokenBias, ...] = ()
    logprobs: int | None = None


# --- people and sessions ------------------------------------------------------------------


class TagDetail(Record, frozen=True, kw_only=True):
    """A tag and where it comes from. `at_ms` is 0 where nobody put it on: a rule gives it."""

    name: str
    source: Literal["registration", "operator", "job", "rule"]
    at_ms: int = 0
    note: str = ""


class User(Record, frozen=True, kw_only=True):
    """`tags` are those in force, `details` says where each comes from."""

    id: str
    attributes: dict[str, str]
    tags: tuple[str, ...]
    version: int
    details: tuple[TagDetail, ...] = ()


class UserPut(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    attributes: Annotated[dict[AttributeName, AttributeValue], Meta(max_length=MAX_ATTRIBUTES)] = {}
    tags: Annotated[tuple[Tag, ...], Meta(max_length=MAX_TAGS)] = ()


class UserPatch(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An attribute set to null is removed; tags, where given, replace the old ones."""

    attributes: Annotated[
        dict[AttributeName, AttributeValue | None], Meta(max_length=MAX_ATTRIBUTES)
    ] = {}
    tags: Annotated[tuple[Tag, ...], Meta(max_length=MAX_TAGS)] | msgspec.UnsetType = msgspec.UNSET


class Session(Record, frozen=True, kw_only=True):
    """`warm`: a worker has the conversation in its cache, so an answer begins sooner."""

    id: str
    uid: str
    title: str
    created_at_ms: int
    last_active_at_ms: int
    model: str = ""
    warm: bool = False


class SessionPost(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`model` is one of `GET /api/models`; "" is the chat model of the settings."""

    uid: Uid = DEFAULT_UID
    title: Title = ""
    model: ModelName = ""


class SessionPatch(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays as it is."""

    title: Title | msgspec.UnsetType = msgspec.UNSET
    model: ModelName | msgspec.UnsetType = msgspec.UNSET


class PromptTokensDetails(Record, frozen=True, kw_only=True):
    """`cached_tokens` of the prompt did not have to be computed."""

    cached_tokens: int = 0


class Usage(Record, frozen=True, kw_only=True):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: PromptTokensDetails = PromptTokensDetails()


class Timings(Record, frozen=True, kw_only=True):
    """Milliseconds from acceptance; `tokens_per_s` counts decoding only."""

    admitted_ms: int = 0
    first_token_ms: int = 0
    total_ms: int = 0
    tokens_per_s: float = 0.0


class Match(Record, frozen=True, kw_only=True):
    """A FAQ entry that retrieval found. `score` says how far it is the one meant, from 0 to 1:
    other entries as near take from it. `similarity` is that of question and `phrasing` alone; with
    `by_words` nothing but their words was compared, for a vector was not there (yet)."""

    id: str
    question: str
    phrasing: str
    answer: str
    category: str
    language: str
    score: float
    similarity: float = 0.0
    by_words: bool = False


class Citation(Record, frozen=True, kw_only=True):
    """`number` as the answer has it, `[1]`; `entry_id` is "" where nothing was retrieved for it."""

    number: int
    entry_id: str = ""


Decision = Literal["direct", "did_you_mean", "compose", "no_answer", "person_asked", "person"]
"""How the FAQ took part: its own answer without a model, entries to pick from, facts for the
model, or nothing that counts. With `person_asked` the question went to a person for that reason,
and `person` is that person's answer."""


class Turn(Record, frozen=True, kw_only=True):
    """A stored message pair. Its id is the id of the request that made it.

    `sent` is the exact text the model saw for `question` (with FAQ hits and date), kept so
    that the next prompt starts with the same tokens.
    """

    id: str
    created_at_ms: int
    question: str
    answer: str = ""
    state: RequestState = "waiting"
    matches: tuple[Match, ...] = ()
    usage: Usage = Usage()
    sent: str = ""
    decision: Decision | Literal[""] = ""
    citations: tuple[Citation, ...] = ()
    thumb: Literal["up", "down", "none"] = "none"


# --- requests -----------------------------------------------------------------------------


class MessagePost(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person writes into a session. Everything but `text` has a default in the settings."""

    text: Text
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=1000)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    repeat_penalty: Annotated[float, Meta(gt=0, le=2)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    seed: Annotated[int, Meta(ge=0, le=2**32 - 2)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=131_072)] | None = None
    stop: (
        Annotated[
            tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...], Meta(max_length=16)
        ]
        | None
    ) = None
    logit_bias: LogitBias | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    grammar: GrammarText | None = None
    json_schema: dict[str, Any] | None = None
    faq: bool = True
    deadline_s: Annotated[float, Meta(gt=0, le=86_400)] | None = None
    priority: Priority = "person"


class Accepted(Record, frozen=True, kw_only=True):
    """Answer to a submit: where to follow the request. `id` equals `request_id`."""

    id: str
    request_id: str
    session_id: str
    events: str


class ChatMessage(Record, frozen=True, kw_only=True):
    """The first `public_chars` of `content` are the operator's words, the same for everybody.

    Only what is public may be computed once for several people.
    """

    role: Literal["system", "user", "assistant"]
    content: str
    public_chars: int = 0


class Request(Record, frozen=True, kw_only=True):
    """One generation, as accepted. Kept in `request:{rid}` until it expires after its end."""

    id: str
    uid: str
    text: str
    sampling: Sampling
    created_at_ms: int
    deadline_at_ms: int
    session_id: str = ""
    messages: tuple[ChatMessage, ...] = ()
    faq: bool = True
    model: str = ""
    priority: Priority = "person"


class RequestStatus(Record, frozen=True, kw_only=True):
    id: str
    session_id: str
    state: RequestState
    attempt: int
    created_at_ms: int


class Work(Record, frozen=True, kw_only=True):
    """What a worker needs to answer: the finished prompt messages and how to sample.

    `cut_turns` turns of the conversation are not in the messages any more.
    """

    request_id: str
    uid: str
    session_id: str
    messages: tuple[ChatMessage, ...]
    sampling: Sampling
    created_at_ms: int
    admitted_at_ms: int
    deadline_at_ms: int
    cut_turns: int = 0
    decision: Decision | Literal[""] = ""
    entries: tuple[str, ...] = ()
    """Ids of the FAQ entries before the question; number 1 is the first."""


class Warming(Record, frozen=True, kw_only=True):
    """What a worker needs to have a session in its cache before its next question."""

    session_id: str
    uid: str
    messages: tuple[ChatMessage, ...]


# --- events on a reply stream -------------------------------------------------------------
# The stream entry holds two fields: `event` (a name below) and `data` (the record as JSON).


class Received(Record, frozen=True, kw_only=True):
    request_id: str
    session_id: str
    created_at_ms: int


class Waiting(Record, frozen=True, kw_only=True):
    """`place` counts from 1 (next). `eta_s` is None while nothing is known yet."""

    place: int
    eta_s: float | None


class Loading(Record, frozen=True, kw_only=True):
    """The request waits for its model. `percent` is 0 while room is made for it."""

    model: str
    percent: int


class Admitted(Record, frozen=True, kw_only=True):
    waited_ms: int


class Retrieved(Record, frozen=True, kw_only=True):
    """`degraded` says why retrieval gave less than it should, empty when all is well. `decision` is
    "" where the FAQ was not asked."""

    matches: tuple[Match, ...]
    degraded: str = ""
    decision: Decision | Literal[""] = ""


class Likely(Record, frozen=True, kw_only=True, array_like=True):
    """A token that could have been chosen; its bytes may end inside a character."""

    token: bytes
    logprob: float


class TokenLogprob(Record, frozen=True, kw_only=True, array_like=True):
    """A chosen token, with the natural logarithm of the probability the model itself gave it.

    That is the model's distribution, before penalties, bias, truncation and grammar. `top` has
    the most likely tokens, most likely first. All are short arrays in JSON, bytes as base64.
    """

    token: bytes
    logprob: float
    top: tuple[Likely, ...] = ()


class Delta(Record, frozen=True, kw_only=True, omit_defaults=True):
    """New text. `logprobs`, where asked for, are those of the tokens whose text it begins."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


class Done(Record, frozen=True, kw_only=True):
    """`cut_turns`: so many of the conversation's oldest turns the model was not shown any more.

    `decision` is that of `retrieved`; with `direct` and `did_you_mean` no model was asked, and
    `model` is "faq". `citations` are the numbers in square brackets in the answer.
    """

    finish_reason: Literal["stop", "length"]
    model: str
    usage: Usage
    timings: Timings
    cut_turns: int = 0
    decision: Decision | Literal[""] = ""
    citations: tuple[Citation, ...] = ()


class Failed(Record, frozen=True, kw_only=True):
    code: str
    reason: str
    message: str
    hint: str = ""


class Refused(Record, frozen=True, kw_only=True):
    """`retry_after_s` is None for what will never be let in."""

    reason: str
    message: str
    retry_after_s: float | None


class Cancelled(Record, frozen=True, kw_only=True):
    reason: str
    usage: Usage = Usage()


Event = (
    Received
    | Loading
    | Waiting
    | Admitted
    | Retrieved
    | Delta
    | Done
    | Failed
    | Refused
    | Cancelled
)

EVENTS: dict[str, type[Event]] = {
    "received": Received,
    "loading": Loading,
    "waiting": Waiting,
    "admitted": Admitted,
    "retrieved": Retrieved,
    "delta": Delta,
    "done": Done,
    "failed": Failed,
    "refused": Refused,
    "cancelled": Cancelled,
}
EVENT_NAMES: dict[type[Event], str] = {kind: name for name, kind in EVENTS.items()}


# --- FAQ ----------------------------------------------------------------------------------


class Entry(Record, frozen=True, kw_only=True):
    """A FAQ entry: one curated answer, reached by its question and any other phrasing of it.

    It answers from `valid_from` to the end of `valid_until`; "" is no bound.
    """

    id: str
    question: str
    answer: str
    phrasings: tuple[str, ...]
    category: str
    language: str
    state: Literal["published", "draft"]
    version: int
    created_at_ms: int
    updated_at_ms: int
    valid_from: str = ""
    valid_until: str = ""


class EntryPut(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    question: Question
    answer: Answer
    phrasings: Annotated[tuple[Question, ...], Meta(max_length=MAX_PHRASINGS)] = ()
    category: Category = ""
    language: Language = ""
    state: Literal["published", "draft"] = "published"
    valid_from: Moment = ""
    valid_until: Moment = ""


class Calibration(Record, frozen=True, kw_only=True):
    """What scores mean for this FAQ, learned from its own phrasings; None is "not known".

    `lexical` is the weight of words beside meaning. Evidence of `direct_bar` or more is answered
    without a model; matches below both floors do not count; where the second score comes to
    `guess_closeness` of the first, the first is a guess. `recall_1`, `recall_3` and `direct_share`
    are what left-out phrasings found and would have been answered directly.
    """

    stamp: str
    phrasings: int = 0
    samples: int = 0
    made_at_ms: int = 0
    lexical: float = 0.2
    direct_bar: float | None = None
    score_floor: float | None = None
    similarity_floor: float | None = None
    guess_closeness: float | None = None
    recall_1: float = 0.0
    recall_3: float = 0.0
    direct_share: float = 0.0


class FaqTestPost(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question to try, as the person `uid` would ask it at the start of a session."""

    question: Question
    uid: Uid = DEFAULT_UID


class FaqTest(Record, frozen=True, kw_only=True):
    """What would happen to a question, and why. `found` are the closest entries before the
    decision; `evidence` is what the bar is compared with. `answer` is what would be said without a
    model, or `prompt` is what the model would be told."""

    decision: Decision | Literal[""]
    matches: tuple[Match, ...]
    found: tuple[Match, ...]
    evidence: float
    calibration: Calibration
    degraded: str = ""
    answer: str = ""
    prompt: tuple[ChatMessage, ...] = ()


class LineError(Record, frozen=True, kw_only=True):
    line: int
    message: str


class ImportReport(Record, frozen=True, kw_only=True):
    """`created` + `updated` + `unchanged` entries came from the file; all or none are taken."""

    created: int
    updated: int
    unchanged: int


# --- status -------------------------------------------------------------------------------


class ChildStatus(Record, frozen=True, kw_only=True):
    """A supervised process. `state`: stopped, starting, ready, backing_off, failed, stopping.

    `percent` is how far a starting one says it is, 0 when it does not.
    """

    name: str
    state: str
    pid: int | None
    restarts: int
    uptime_s: float
    detail: str
    rss_bytes: int
    percent: int = 0


ModelState = Literal["absent", "on_disk", "loading", "loaded", "draining", "unloading", "failed"]


class ModelStatus(Record, frozen=True, kw_only=True):
    """A model that may be asked for by `name`.

    `percent` counts while it is loading. `memory_bytes` is weights, KV cache and working memory
    of one worker; 0 while the weights are absent or unsound. `detail` says why it failed.
    """

    name: str
    state: ModelState
    default: bool = False
    percent: int = 0
    size_bytes: int = 0
    memory_bytes: int = 0
    detail: str = ""


class DeviceStatus(Record, frozen=True, kw_only=True):
    """Something that computes, and how many layers of the chat model it holds.

    `kind`: cpu, gpu, integrated. Memory is as it was before the models were loaded.
    """

    name: str
    description: str
    kind: str
    backend: str
    free_bytes: int
    total_bytes: int
    layers: int = 0


class Alarm(Record, frozen=True, kw_only=True):
    """Something works worse than it was meant to, and nobody would notice."""

    code: str
    message: str
    hint: str


class WorkerStatus(Record, frozen=True, kw_only=True):
    """What a worker says of itself, refreshed every heartbeat in `worker:{id}`.

    `state` is ready, or draining when it takes nothing new.

    `python_share` is the part of the engine's busy time outside the model's library. `used_cells`
    of the cache are occupied, partly by `idle_sequences` that have ended. Of `drafted` tokens
    `confirmed` were right.
    """

    id: str
    engine: str
    model: str
    embedding_model: str
    device: str
    slots: int
    busy: int
    context_tokens: int
    tokens_per_s: float
    embedding_size: int
    pid: int
    pool: str = "main"
    state: str = "ready"
    threads: int = 0
    warm: tuple[str, ...] = ()
    """Sessions in the worker's cache, the last used first."""
    adapters: str = ""
    """LoRA adapters in force: file name x scale, comma-separated."""
    devices: tuple[DeviceStatus, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    python_share: float = 0.0
    cache_tokens: int = 0
    used_cells: int = 0
    idle_sequences: int = 0
    drafted: int = 0
    confirmed: int = 0


class QueueUser(Record, frozen=True, kw_only=True):
    uid: str
    waiting: int
    running: int


class RuleStatus(Record, frozen=True, kw_only=True):
    """The operator's own rule of admission.

    `state`: in_force, failing (the built-in rule decides until it works again), or set_aside (it
    failed too often in a row and is tried again later). `error` is what went wrong last.
    """

    file: str
    state: Literal["in_force", "failing", "set_aside"]
    decided: int
    failures: int
    error: str = ""


class QueueStatus(Record, frozen=True, kw_only=True):
    """Who waits and who runs. `users` are those with most requests, at most 20; `classes` counts
    who waits by class; `pools` counts waiting and running requests by pool of workers.

    Of `promises` (first waits told to people) `promises_kept` were true within 30 % or 2 s.
    """

    waiting: int
    running: int
    capacity: int
    bound: int
    users: tuple[QueueUser, ...] = ()
    classes: dict[str, int] = {}
    pools: dict[str, int] = {}
    promises: int = 0
    promises_kept: int = 0
    rule: RuleStatus | None = None


class PlacedWorker(Record, frozen=True, kw_only=True):
    """What the placement loop believes of a worker: `bound` requests wait in its own stream,
    `backlog_s` of prompts lie before it, and it takes `pace` times as long as one would expect."""

    id: str
    bound: int
    running: int
    slots: int
    backlog_s: float
    pace: float
    takes_new: bool


class PlacementStatus(Record, frozen=True, kw_only=True):
    """Which worker gets a request, as the loop last told; `active` is false while none leads, and
    idle workers then take the oldest by themselves.

    `pools` are those with more than one worker. Of `prompt_tokens` so far `matched_tokens` lay in
    the cache of the worker they were placed on, as far as the loop knew.
    """

    policy: str
    active: bool = True
    pools: tuple[str, ...] = ()
    workers: tuple[PlacedWorker, ...] = ()
    placed: int = 0
    shared: int = 0
    given_back: int = 0
    prompt_tokens: int = 0
    matched_tokens: int = 0


class LengthStatus(Record, frozen=True, kw_only=True):
    """How right predictions of answers' lengths were lately: mean error of the logarithm,
    Kendall's tau, and the share of answers within their 80 % quantile."""

    answers: int = 0
    error: float = 0.0
    tau: float = 0.0
    covered: float = 0.0


class Limit(Record, frozen=True, kw_only=True):
    """One limit of a user. `reserved` is what open requests may use, `used` what ended ones did;
    in `reset_s` seconds nothing of it is used any more, if nothing is added."""

    name: str
    limit: int
    used: int
    reserved: int
    left: int
    reset_s: float


class Quota(Record, frozen=True, kw_only=True):
    """What a user may still use, and why. `concurrency` 0 is no limit; `limits` has those there
    are."""

    uid: str
    tier: str
    priority: Priority
    weight: float
    concurrency: int
    limits: tuple[Limit, ...]


class DeadLetter(Record, frozen=True, kw_only=True):
    """A request that was given up because workers died of it.

    `words` are the last ones of the worker that died, empty when nobody heard them.
    """

    id: str
    uid: str
    session_id: str
    failed_at_ms: int
    attempts: int
    deaths: int
    reason: str
    words: str


class FaqStatus(Record, frozen=True, kw_only=True):
    entries: int
    phrasings: int
    indexed: bool
    detail: str
    calibration: Calibration | None = None


class Status(Record, frozen=True, kw_only=True):
    version: str
    uptime_s: float
    ready: bool
    children: tuple[ChildStatus, ...]
    workers: tuple[WorkerStatus, ...]
    queue: QueueStatus
    faq: FaqStatus
    sessions_following: int
    lengths: LengthStatus = LengthStatus()
    placement: PlacementStatus | None = None
    dead_letters: int = 0
    models: tuple[ModelStatus, ...] = ()
    alarms: tuple[Alarm, ...] = ()


class Page(Record, frozen=True, kw_only=True):
    """A list: `cursor` is what to send as `?cursor=` for the next page, None at the end."""

    items: tuple[Any, ...]
    cursor: str | None = None


class ErrorDetail(Record, frozen=True, kw_only=True):
    """The one shape of every error. `type` repeats `code` for OpenAI clients."""

    code: str
    message: str
    hint: str
    type: str = ""
    reason: str = ""
    retry_after_s: float | None = None
    errors: tuple[LineError, ...] = ()


class ErrorBody(Record, frozen=True, kw_only=True):
    error: ErrorDetail
