"""Settings of models, the workers that run them, and who gets which request."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from appliance.schema.sampling import Adapter
from appliance.settings.fields import Positive


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
        str,
        Meta(
            description='Embedding model: a name or a path; "" is the starter. After a change the '
            "vectors of the FAQ are made anew at the start; until then entries are found by their "
            "words alone, and the status tells how many are left."
        ),
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
            description="Most tokens of them. Attention passes over them too: on a CPU 2,048 make "
            "a step a twentieth slower, 12,288 a third. Colder ones come back from the disk in "
            "milliseconds.",
        ),
    ] = 1024
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
    conversation_bytes: Annotated[
        int,
        Meta(
            ge=0,
            description="Memory of one worker for the same of conversations without a session, as "
            "programs have that send their history with each request: for at most an hour, and "
            "never on disk; 0 keeps none, nor does `snapshot_bytes` 0.",
        ),
    ] = 512_000_000
    gap_ms: Annotated[
        int,
        Meta(
            ge=1,
            description="While answers run, prompts are computed in portions that make no answer "
            "wait much longer than this for its next token, or twice this while more prompts are "
            "waiting than answers run. Shorter ones keep answers flowing and delay first tokens: "
            "on a slow CPU with sixteen people 500 instead of 1000 costs a seventh of all tokens.",
        ),
    ] = 1000
    kept_pace: Annotated[
        float,
        Meta(
            ge=0,
            lt=1,
            description="While somebody is answered who has used little lately, this part of the "
            "engine's time is his, and the answers of whoever has used half as much again "
            "go on with the rest: a flooder slows nobody but himself. Where a token a second for "
            "each of those takes more than that rest, they get one in three seconds. It costs "
            "throughput where "
            "steps grow with what runs: a quarter with four slots on a CPU. Where those who go "
            "first bring less than half of the tokens per second of all, as few do on a GPU, "
            "everybody takes part in each step; 0 is that always.",
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
    heartbeat_s: Annotated[
        Positive,
        Meta(description="Seconds between a worker's reports; twice that while it has no work."),
    ] = 1.0
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
    ] = 5.0
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
