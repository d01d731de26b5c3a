"""Settings of the door and of the house: HTTP, store, children, log, terminal UI."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from appliance.schema.sampling import SamplingDefaults
from appliance.settings.fields import SECRET, Positive


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
        int,
        Meta(
            ge=8,
            description="Most requests answered at once, open event streams included; others: 503.",
        ),
    ] = 2_000
    keep_alive_s: Annotated[
        Positive, Meta(description="Seconds between comments that keep an idle event stream open.")
    ] = 15.0


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


class Store(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The embedded Valkey."""

    memory_mb: Annotated[
        int,
        Meta(
            ge=16,
            description="Most memory it may use, in megabytes. Beyond that nothing new is taken "
            "(507) and what is stored can still be read; nothing is thrown away.",
        ),
    ] = 1024

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
        str,
        Meta(
            description='"" starts the embedded Valkey; else redis:// rediss:// or unix://.',
            extra=SECRET,
        ),
    ] = ""
    milvus_uri: Annotated[
        str, Meta(description='"" starts the embedded Milvus Lite; else http(s)://host:port.')
    ] = ""
    milvus_token: Annotated[
        str, Meta(description="Token of the external Milvus.", extra=SECRET)
    ] = ""


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

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="The least that is logged: debug, info, warning or error."),
    ] = "info"
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
    theme: Annotated[
        Literal["dark", "light"], Meta(description="Its colours; F8 there changes them.")
    ] = "dark"
