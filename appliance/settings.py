"""Settings: declared once, read once at start, passed down by constructor.

One TOML file, `settings.toml` in the data directory. Each field's description here is the
comment above it in the generated example, so the example is the manual. Unknown keys are
errors that name the file, the key and the nearest known key. Nothing else reads the environment.
"""

import difflib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import platformdirs
from msgspec import Meta

from appliance.errors import Invalid
from appliance.schema import Adapter, SamplingDefaults, Uid
from appliance.settings_curation import Curation
from appliance.settings_people import Inbox, People

APP_NAME = "sluice"
FILE_NAME = "settings.toml"

Positive = Annotated[float, Meta(gt=0)]


class Server(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The HTTP API."""

    host: Annotated[
        str, Meta(description="Address to listen on. Anything but loopback needs `insecure`.")
    ] = "127.0.0.1"
    port: Annotated[
        int, Meta(ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    ] = 8400
    insecure: Annotated[
        bool,
        Meta(
            description="Allow a non-loopback host without TLS: keys and answers then cross the "
            "network in the clear. Better: a reverse proxy with TLS in front of loopback."
        ),
    ] = False
    allowed_hosts: Annotated[
        tuple[str, ...],
        Meta(
            description="Host names, besides loopback and `host`, under which clients may call. "
            "Others are refused, which stops DNS rebinding."
        ),
    ] = ()
    body_limit_bytes: Annotated[
        int, Meta(ge=1024, description="Largest request body; FAQ imports have their own bound.")
    ] = 1_000_000
    import_limit_bytes: Annotated[int, Meta(ge=1024, description="Largest FAQ import.")] = (
        16_000_000
    )
    connections: Annotated[
        int, Meta(ge=8, description="Most HTTP connections at once; more are answered 503.")
    ] = 2_000
    keep_alive_s: Annotated[
        Positive, Meta(description="Seconds between comments that keep an idle event stream open.")
    ] = 15.0


class Models(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Weights."""

    directory: Annotated[
        str, Meta(description='Where weights are kept; "" is `models` in the user data directory.')
    ] = ""
    chat: Annotated[
        str,
        Meta(description='Chat model: a name from `sluice models list` or a path; "" is starter.'),
    ] = ""
    embedding: Annotated[
        str, Meta(description='Embedding model: a name or a path; "" is the starter.')
    ] = ""
    lora: Annotated[
        tuple[Adapter, ...],
        Meta(
            max_length=16,
            description="LoRA adapters (GGUF) laid over the chat model: "
            '[{ path = "/path/to/adapter.gguf", scale = 1.0 }].',
        ),
    ] = ()
    more: Annotated[
        tuple[str, ...],
        Meta(
            max_length=64,
            description="Paths of further chat models that may be asked for by name. Those in "
            "the directory above may be asked for without being listed.",
        ),
    ] = ()
    aliases: Annotated[
        tuple[str, ...],
        Meta(
            max_length=64,
            description="Names that clients send by habit, * for any ending: they mean the chat "
            "model unless a model is called so. Any other unknown name is refused.",
        ),
    ] = ("sluice", "default", "gpt-*")
    loaded_bound: Annotated[
        int,
        Meta(
            ge=1,
            le=64,
            description="Most models loaded at once, the chat model included; 1 loads no other. "
            "Each needs a thread too.",
        ),
    ] = 3
    memory_bound_mb: Annotated[
        int,
        Meta(
            ge=0,
            description="Most memory for all loaded models, in megabytes; 0 is all the machine "
            "has. A model is loaded only when enough of it is free besides.",
        ),
    ] = 0
    idle_unload_s: Annotated[
        Positive,
        Meta(description="A model loaded on demand leaves after this long without a request."),
    ] = 900.0
    retry_after_s: Annotated[
        Positive,
        Meta(description="Who asks for a model this soon after its load failed is refused."),
    ] = 60.0
    mirror: Annotated[
        str, Meta(description="Base address that replaces scheme and host of HTTPS downloads.")
    ] = ""


class Worker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Inference workers."""

    engine: Annotated[
        Literal["llama", "fake"],
        Meta(description='"llama" runs the models; "fake" is a deterministic echo for tests.'),
    ] = "llama"
    count: Annotated[
        int,
        Meta(
            ge=0,
            le=64,
            description="How many workers the chat model gets, each a process with its own copy; "
            "0 is one per GPU, or one.",
        ),
    ] = 0
    slots: Annotated[
        int, Meta(ge=1, le=256, description="Requests one worker answers side by side.")
    ] = 8
    context_tokens: Annotated[
        int, Meta(ge=512, description="Longest prompt plus answer of one request, in tokens.")
    ] = 8192
    cache_tokens: Annotated[
        int,
        Meta(ge=512, description="KV cache of one worker, in tokens, shared by all its slots."),
    ] = 16384
    warm_sequences: Annotated[
        int,
        Meta(
            ge=0,
            le=248,
            description="Ended requests of one worker whose text stays in its KV cache, so that "
            "the next turn computes only what is new.",
        ),
    ] = 24
    warm_tokens: Annotated[
        int,
        Meta(
            ge=0,
            description="Most tokens of them. Attention passes over them too: on a CPU 4,096 make "
            "a step a tenth slower, 12,288 a third.",
        ),
    ] = 4096
    step_tokens: Annotated[
        int, Meta(ge=16, description="Tokens per engine step: prompt chunks plus running answers.")
    ] = 512
    snapshot_bytes: Annotated[
        int,
        Meta(
            ge=0,
            description="Disk space for conversations that left the KV cache, so that they go on "
            "without computing them again, after a restart too; 0 keeps none.",
        ),
    ] = 2_000_000_000
    gap_ms: Annotated[
        int,
        Meta(
            ge=1,
            description="While answers run, prompts are computed in portions that make no answer "
            "wait longer than this for its next token, or twice this while more prompts are "
            "waiting than answers run. Shorter ones keep answers flowing and delay first tokens.",
        ),
    ] = 1000
    kept_pace: Annotated[
        float,
        Meta(
            ge=0,
            lt=1,
            description="While somebody is answered who has used little lately, this part of the "
            "engine's time is his, and the answers of whoever has used half as much again "
            "go on with the rest: a flooder slows nobody but himself. It costs throughput where "
            "steps grow with what runs: a quarter with four slots on a CPU. Where those who go "
            "first would fill less than a third of the steps, as few do on a GPU, everybody takes "
            "part in each; 0 is that always.",
        ),
    ] = 0.9
    draft_tokens: Annotated[
        int,
        Meta(
            ge=0,
            le=64,
            description="Most tokens of an answer guessed from its prompt and verified in one "
            "step; 0 guesses never. Guessing stops by itself where it does not pay.",
        ),
    ] = 16
    threads: Annotated[
        int, Meta(ge=0, description="CPU threads over all workers; 0 is the physical cores.")
    ] = 0
    gpu_layers: Annotated[
        int, Meta(ge=-1, description="Layers on the GPU; -1 is all that fit when there is a GPU.")
    ] = -1
    device: Annotated[
        str,
        Meta(description='The one GPU to use, as `sluice doctor` names it; "" is all there are.'),
    ] = ""
    heartbeat_s: Annotated[Positive, Meta(description="Seconds between a worker's reports.")] = 1.0
    lost_after_s: Annotated[
        Positive, Meta(description="Seconds without a report after which a worker counts as dead.")
    ] = 10.0
    lease_s: Annotated[
        Positive,
        Meta(
            description="A worker that has not renewed its hold on a request for this long may "
            "not write to it any more. At least 3 `heartbeat_s`, at most `lost_after_s`."
        ),
    ] = 10.0
    wedged_after_s: Annotated[
        Positive,
        Meta(
            description="A worker that has work and makes no step for this long (or for four "
            "times its longest step, if that is more) is killed and started again."
        ),
    ] = 120.0
    probe_idle_s: Annotated[
        Positive, Meta(description="An idle engine is asked for one token this often.")
    ] = 60.0

    def __post_init__(self) -> None:
        if self.lease_s < 3 * self.heartbeat_s:
            raise ValueError("lease_s must be at least 3 times heartbeat_s")
        if self.lost_after_s < self.lease_s:
            raise ValueError("lost_after_s must be at least lease_s")


Generation = Literal["service", "window", "bucket"]


class Tier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What each user of this tier may use; 0 means without limit.

    `weight` is the share of service among those who wait. `waiting` 0 is `queue_bound_per_user`.
    `priority` is the highest class its requests may have: person, service or background.
    """

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    weight: Positive = 1.0
    requests_per_minute: Annotated[int, Meta(ge=0)] = 0
    tokens_per_minute: Annotated[int, Meta(ge=0)] = 0
    tokens_per_day: Annotated[int, Meta(ge=0)] = 0
    concurrency: Annotated[int, Meta(ge=0)] = 0
    waiting: Annotated[int, Meta(ge=0)] = 0
    priority: Literal["person", "service", "background"] = "person"
    generation: Generation = "service"


class Limiter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Admission: who runs now, who waits, who is refused."""

    tiers: Annotated[
        tuple[Tier, ...],
        Meta(
            max_length=64,
            description="Limits by kind of user, each a table [[limiter.tiers]] with `name` and "
            "any of weight, requests_per_minute, tokens_per_minute, tokens_per_day, concurrency, "
            "waiting (0: no limit), priority (person, service, background), generation. A user "
            'with the tag "tier:gold" has the tier gold, all others have "standard", without '
            "limits unless it stands here.",
        ),
    ] = ()
    generation_sessions: Annotated[
        Literal["tier", "service", "window", "bucket"],
        Meta(
            description="How messages in sessions are let in. service: the queue with fair shares. "
            "window: a user's requests_per_minute at once, then none until the minute is over. "
            "bucket: all users of a tier wait for requests_per_minute grants. tier: as it says."
        ),
    ] = "tier"
    generation_v1: Annotated[
        Literal["tier", "service", "window", "bucket"],
        Meta(description="How calls to /v1 are let in, likewise."),
    ] = "tier"
    half_life_s: Annotated[
        Positive, Meta(description="What a user was served counts half against him after this.")
    ] = 60.0
    age_s: Annotated[
        Positive, Meta(description="A waiting request rises by one class each time this passes.")
    ] = 120.0
    shortest_first: Annotated[
        bool, Meta(description="Of one user's own requests the shortest predicted one goes first.")
    ] = False
    kept_share: Annotated[
        float,
        Meta(
            ge=0,
            le=0.5,
            description="This share of all slots, at least one of two, is kept from whoever holds "
            "many of them while others are about, so that a newcomer begins at once. More of it "
            "also leaves people fewer neighbours in a step, which makes their answers faster and "
            "a crowd's slower; 0 keeps none.",
        ),
    ] = 0.03
    embed_timeout_s: Annotated[
        Positive,
        Meta(description="Admission waits this long for the embedding that tells lengths apart."),
    ] = 0.25
    lease_s: Annotated[
        Positive,
        Meta(
            description="Of several limiters on one store one decides; after a crash the next "
            "takes over when this has passed."
        ),
    ] = 3.0
    queue_bound: Annotated[int, Meta(ge=1, description="Most requests waiting in all.")] = 512
    queue_bound_per_user: Annotated[
        int, Meta(ge=1, description="Most requests one user may have waiting.")
    ] = 64
    news_interval_s: Annotated[
        Positive, Meta(description="A waiting person hears of a new place at most this often.")
    ] = 1.0
    reconcile_interval_s: Annotated[
        Positive, Meta(description="How often the limiter checks its view against the store.")
    ] = 5.0
    no_worker_after_s: Annotated[
        Positive, Meta(description="Refuse with 503 when no worker has been alive for this long.")
    ] = 60.0
    rule_file: Annotated[
        str,
        Meta(
            description="A rule of your own: the path of a Python file with decide(request, view), "
            "asked before the built-in rule; see appliance/limiter/rule.py for what it is told and "
            'may answer. It runs in a process of its own. "" is the built-in rule alone.'
        ),
    ] = ""
    rule_timeout_s: Annotated[
        Positive,
        Meta(description="A rule that takes longer is killed; the built-in rule decides instead."),
    ] = 0.05
    rule_pause_s: Annotated[
        Positive, Meta(description="A rule that failed three times in a row rests for this long.")
    ] = 60.0

    def __post_init__(self) -> None:
        names = [tier.name for tier in self.tiers]
        if len(set(names)) < len(names):
            raise ValueError("two tiers have the same name")


class Placement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which worker answers, where a model has several."""

    policy: Annotated[
        Literal["hybrid", "cost", "pull"],
        Meta(
            description="hybrid: the cheapest worker, what its cache holds of the prompt counted, "
            "but none that is far behind. cost: by price alone. pull: any idle one. It can be "
            "changed while it runs: PUT /api/placement."
        ),
    ] = "hybrid"
    lease_s: Annotated[
        Positive,
        Meta(description="After a crash of the loop that places, the next takes over in this."),
    ] = 3.0
    answer_timeout_s: Annotated[
        Positive, Meta(description="A request without an answer by then goes to any idle worker.")
    ] = 0.1
    hold_s: Annotated[
        Positive,
        Meta(
            description="While every worker has prompts enough to compute, up to 16 requests are "
            "held for the first with room, at most this long."
        ),
    ] = 30.0
    stall_s: Annotated[
        Positive,
        Meta(description="A worker with work that says nothing for this long gets nothing new."),
    ] = 30.0


class Requests(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Requests and their answers."""

    deadline_s: Annotated[
        Positive, Meta(description="A request ends after this long, waiting included.")
    ] = 900.0
    reply_ttl_s: Annotated[
        int, Meta(ge=60, description="How long a finished reply can be replayed.")
    ] = 3600
    attempts: Annotated[
        int, Meta(ge=2, le=5, description="A request that killed this many workers is given up.")
    ] = 2
    dead_letters_kept: Annotated[
        int, Meta(ge=1, le=100_000, description="Most requests kept that were given up so.")
    ] = 1000
    dead_letter_ttl_s: Annotated[int, Meta(ge=60, description="How long each of them is kept.")] = (
        604_800
    )
    defaults: Annotated[
        SamplingDefaults, Meta(description="How tokens are chosen when a request does not say.")
    ] = SamplingDefaults()


class Sessions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Conversations."""

    turns_kept: Annotated[int, Meta(ge=1, description="Turns kept per session.")] = 500
    sessions_kept: Annotated[int, Meta(ge=1, description="Sessions kept per user.")] = 1000
    history_chars: Annotated[
        int,
        Meta(
            ge=0,
            description="Characters of earlier turns put before a question. When they do not "
            "fit, the older half is cut in one step.",
        ),
    ] = 8000
    kept_days: Annotated[
        float,
        Meta(ge=0, description="Turns, and sessions idle for this long, are removed; 0 keeps all."),
    ] = 0.0
    titles: Annotated[
        Literal["words", "model", "none"],
        Meta(
            description="What a session without a title is called after its first answer: the "
            'first words of the question, or what the model makes of it when it has time ("model").'
        ),
    ] = "words"
    search_turns: Annotated[
        int, Meta(ge=1, description="Most turns of a person that one search looks through.")
    ] = 20_000


class Prompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the model is told besides the question."""

    system: Annotated[str, Meta(description="System prompt, the same for everybody.")] = (
        "You are the organisation's assistant. Answer in the language of the question. "
        "When FAQ entries are given, answer from them and keep their names, numbers and times "
        "exactly. If they do not contain the answer, say that you do not know."
    )


class Faq(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Knowledge."""

    matches: Annotated[
        int, Meta(ge=1, le=20, description="Most entries put before a question.")
    ] = 2
    floor: Annotated[
        float,
        Meta(
            ge=-1,
            le=1,
            description="Similarity below which an entry does not count, while too few phrasings "
            "are there to learn it from. Unrelated texts stay below 0.35.",
        ),
    ] = 0.38
    direct: Annotated[
        Literal["calibrated", "exact", "off"],
        Meta(
            description="When an entry's answer is given without a model. exact: to a question "
            "that is one of its phrasings. calibrated: also where the FAQ's own phrasings, asked "
            "one by one, say that at most one such answer in a hundred is wrong. off: never."
        ),
    ] = "calibrated"
    did_you_mean: Annotated[
        bool,
        Meta(description="Offer up to three entries to pick from where the first is a guess."),
    ] = True
    no_answer: Annotated[
        Literal["model", "say_so", "person"],
        Meta(
            description="When no entry counts. model: it answers, marked as not covered by the "
            "FAQ. say_so: the person is told that there is no answer. person: the question goes "
            "to the misses, where whoever keeps the FAQ answers it, and the answer goes to the "
            "asker's inbox and session."
        ),
    ] = "model"
    persons: Annotated[
        tuple[Uid, ...],
        Meta(
            max_length=64,
            description="Users who hear in their inbox when a question begins to wait for a "
            'person, with no_answer = "person".',
        ),
    ] = ()
    entries_bound: Annotated[int, Meta(ge=1, description="Most entries.")] = 100_000
    retrieval_timeout_s: Annotated[
        Positive, Meta(description="An answer does not wait longer than this for retrieval.")
    ] = 10.0


class Store(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The embedded Valkey."""

    fsync: Annotated[
        Literal["everysec", "always"],
        Meta(
            description="When what was accepted reaches the disk. A process that dies loses "
            'nothing; a power cut loses about the last second with "everysec", and nothing '
            'with "always", where every write waits for the disk.'
        ),
    ] = "everysec"


class External(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Existing servers that replace the embedded ones."""

    redis_url: Annotated[
        str, Meta(description='"" starts the embedded Valkey; else redis:// rediss:// or unix://.')
    ] = ""
    milvus_uri: Annotated[
        str, Meta(description='"" starts the embedded Milvus Lite; else http(s)://host:port.')
    ] = ""
    milvus_token: Annotated[str, Meta(description="Token of the external Milvus.")] = ""


class Supervision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Children of this process."""

    start_timeout_s: Annotated[
        Positive, Meta(description="A child that is not ready after this long is restarted.")
    ] = 300.0
    stop_timeout_s: Annotated[
        Positive, Meta(description="One deadline for stopping everything in order.")
    ] = 20.0
    drain_timeout_s: Annotated[
        Positive, Meta(description="How long a stop waits for running answers.")
    ] = 10.0
    restarts: Annotated[
        int,
        Meta(ge=1, le=1000, description="More restarts of a child in the window give it up."),
    ] = 5
    restart_window_s: Annotated[
        Positive,
        Meta(description="The window; a child that ran this long counts as healthy again."),
    ] = 60.0


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Logs: JSON lines in `logs/` of the data directory, plain lines on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    file_bytes: Annotated[int, Meta(ge=10_000, description="Size at which a log rotates.")] = (
        10_000_000
    )
    files_kept: Annotated[int, Meta(ge=1, le=100, description="Rotated logs kept.")] = 5
    kept_lines: Annotated[
        int, Meta(ge=10, le=100_000, description="Last lines kept in memory for GET /api/logs.")
    ] = 2_000


class Ui(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The terminal UI that is opened on this machine."""

    language: Annotated[
        Literal["", "en", "zh"], Meta(description='Its language; "" is that of the locale.')
    ] = ""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings of one appliance."""

    server: Server = Server()
    models: Models = Models()
    worker: Worker = Worker()
    limiter: Limiter = Limiter()
    placement: Placement = Placement()
    requests: Requests = Requests()
    sessions: Sessions = Sessions()
    prompt: Prompt = Prompt()
    faq: Faq = Faq()
    inbox: Inbox = Inbox()
    curation: Curation = Curation()
    people: People = People()
    store: Store = Store()
    external: External = External()
    supervision: Supervision = Supervision()
    log: Log = Log()
    ui: Ui = Ui()


def default_data_directory() -> Path:
    """The platform's user data directory for this product."""
    return platformdirs.user_data_path(APP_NAME, appauthor=False)


def models_directory(settings: Settings) -> Path:
    """Weights are shared by all data directories of a user unless the settings say otherwise."""
    if settings.models.directory:
        return Path(settings.models.directory).expanduser()
    return default_data_directory() / "models"


def load(data_directory: Path) -> Settings:
    """The settings of a data directory; writes the commented example where there is none.

    Raises Invalid naming file, key and the nearest known key.
    """
    path = data_directory / FILE_NAME
    if not path.exists():
        path.write_text(example(), encoding="utf-8")
        return Settings()
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(
            f"{path} is not valid TOML: {error}", hint="mend or delete the file"
        ) from None
    _check_keys(path, table, Settings, "")
    try:
        return msgspec.convert(table, Settings)
    except msgspec.ValidationError as error:
        raise Invalid(
            f"{path}: {error}", hint=f"each setting is explained in {path.name} of a new directory"
        ) from None


def example() -> str:
    """The settings file with every key at its default, commented out and explained."""
    lines = [
        "# Settings of Sluice. Remove the # before a key to change it; restart to apply.",
        "",
    ]
    for name, section in get_type_hints(Settings).items():
        lines += [f"[{name}]", f"# {_first_line(section)}"]
        lines += _example_fields(section, getattr(Settings(), name), "")
        lines.append("")
    return "\n".join(lines)


def _example_fields(section: type, default: msgspec.Struct, prefix: str) -> list[str]:
    lines: list[str] = []
    for field, kind in get_type_hints(section, include_extras=True).items():
        value = getattr(default, field)
        lines += [f"# {text}" for text in _wrapped(_description(kind))]
        if isinstance(value, msgspec.Struct):
            lines += _example_fields(type(value), value, f"{prefix}{field}.")
        elif value is not None:
            lines.append(f"#{prefix}{field} = {_toml(value)}")
    return lines


def _description(kind: Any) -> str:
    metas = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    return next((m.description for m in metas if isinstance(m, Meta) and m.description), "")


def _wrapped(text: str, width: int = 96) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + len(word) < width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _first_line(section: type) -> str:
    return (section.__doc__ or "").strip().splitlines()[0]


def _toml(value: Any) -> str:
    """TOML text of a default: JSON writes strings, numbers, booleans and lists the same way."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def _check_keys(path: Path, table: dict[str, Any], section: type, prefix: str) -> None:
    known = get_type_hints(section)
    for key, value in table.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
            raise Invalid(
                f"{path}: unknown key {prefix}{key}",
                hint=f"did you mean {prefix}{near[0]}?" if near else "remove it",
            )
        if isinstance(value, dict) and isinstance(known[key], type):
            _check_keys(path, value, known[key], f"{prefix}{key}.")
