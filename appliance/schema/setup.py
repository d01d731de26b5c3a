"""The records of `/api/setup`: what the first start asks."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from appliance.schema.fields import END, Body, Record

UiLanguage = Literal["", "en", "zh"]
DownloadState = Literal["none", "running", "pausing", "checking", "paused", "failed", "done"]
WeightsState = Literal["here", "partial", "absent", "damaged"]
Obstacle = Literal["", "memory", "disk"]
WeightsName = Annotated[
    str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*" + END)
]


class SetupMachine(Record, frozen=True, kw_only=True):
    """What models can use here. `free_bytes` counts what the present chat model would give back;
    `disk_free_bytes` is where weights are kept."""

    memory_bytes: int
    free_bytes: int
    cores: int
    gpus: tuple[str, ...]
    disk_free_bytes: int


class SetupModel(Record, frozen=True, kw_only=True):
    """A chat model that could be used, and what to expect of it here.

    `memory_bytes` is weights, KV cache and working memory of one worker. `tokens_per_s` is what
    one person sees when nobody else asks, and `first_word_s` how long an answer from the FAQ takes
    to begin, both about; None on a GPU, whose speed is not known before. `obstacle` says what there
    is too little of. `notes` are by language.
    """

    name: str
    state: WeightsState
    size_bytes: int
    here_bytes: int
    memory_bytes: int
    tokens_per_s: float | None
    first_word_s: float | None
    obstacle: Obstacle
    starter: bool
    chosen: bool
    recommended: bool
    licence: str
    notes: dict[str, str]


class DownloadStatus(Record, frozen=True, kw_only=True):
    """The one download there is at a time, or the last one.

    `checking` is after the last byte, until the checksum is known. A paused or failed one keeps
    what has arrived; starting it again goes on from there. `message`, `hint`, `reason` and `facts`
    are those of the error it failed with.
    """

    name: str = ""
    state: DownloadState = "none"
    done_bytes: int = 0
    total_bytes: int = 0
    percent: int = 0
    message: str = ""
    hint: str = ""
    reason: str = ""
    facts: dict[str, str] = {}


class SetupStatus(Record, frozen=True, kw_only=True):
    """`done` is true once somebody finished or skipped it, or when the FAQ has entries.

    `chat` is the model in use, `restarting` while another one is taken into use, and `trouble`
    why the last one chosen did not start, so that the one before is in use again. `fixed` says why
    the model cannot be chosen here. `trouble_reason` and `trouble_facts` are of the same error as
    `trouble`.

    `lacking` names the weights without which no question is answered, the chat model first. They
    are fetched once it is `settled` which chat model that is: `chat`, and the one to be is chosen
    though it is not here. Then the server starts anew with them by itself.
    """

    done: bool
    language: UiLanguage
    chat: str
    restarting: bool
    trouble: str
    fixed: str
    entries: int
    key_file: str
    machine: SetupMachine
    models: tuple[SetupModel, ...]
    download: DownloadStatus
    lacking: tuple[str, ...] = ()
    settled: bool = True
    trouble_reason: str = ""
    trouble_facts: dict[str, str] = {}


class SetupPut(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays as it is. A `chat` model is taken into use by a restart; while the
    one to be used is lacking, it is downloaded first."""

    done: bool | msgspec.UnsetType = msgspec.UNSET
    language: UiLanguage | msgspec.UnsetType = msgspec.UNSET
    chat: WeightsName | msgspec.UnsetType = msgspec.UNSET


class DownloadPost(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The name of weights in the catalogue."""

    name: WeightsName
