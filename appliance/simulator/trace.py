"""Public traces as a list of requests: Mooncake (JSON lines), Azure 2023 and VTC/LMSYS (CSV).

The format is told from the first line. Mooncake's `hash_ids` name blocks of 512 prompt tokens,
equal ids meaning equal prefixes; the others carry no prefixes and so nothing to reuse.
Sources: github.com/kvcache-ai/Mooncake (FAST'25), github.com/Azure/AzurePublicDataset
(Splitwise, ISCA'24), github.com/Ying1123/VTC-artifact (OSDI'24).
"""

import csv
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from pathlib import Path

import msgspec

from appliance.errors import Invalid

BLOCK_TOKENS = 512
REQUESTS_MOST = 5_000_000


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """`at_s` counts from the first request; `output_tokens` is what was really produced."""

    at_s: float
    uid: str
    input_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] = ()


class _Mooncake(msgspec.Struct):
    timestamp: float
    input_length: int
    output_length: int
    hash_ids: list[int]


def read_trace(path: Path) -> list[TraceRequest]:
    """All requests in order of time. Raises Invalid with the line that cannot be read."""
    try:
        with path.open(encoding="utf-8") as lines:
            first = lines.readline()
            lines.seek(0)
            if first.startswith("{"):
                found = [
                    _mooncake(line, number)
                    for number, line in enumerate(lines, start=1)
                    if line.strip()
                ]
            else:
                found = _csv(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(
            f"the trace {path} cannot be read: {error}", hint="give a file with --trace"
        ) from None
    if not found:
        raise Invalid(f"the trace {path} holds no requests", hint="see --help for the formats")
    found.sort(key=lambda request: request.at_s)
    found = _spread(found)
    first_s = found[0].at_s
    return [
        TraceRequest(
            r.at_s - first_s, r.uid, max(1, r.input_tokens), max(1, r.output_tokens), r.blocks
        )
        for r in found[:REQUESTS_MOST]
    ]


def _spread(found: list[TraceRequest]) -> list[TraceRequest]:
    """Requests of one time stamp evenly until the next: Mooncake's are rounded to 3 seconds."""
    spread: list[TraceRequest] = []
    for at_s, group in groupby(found, key=lambda request: request.at_s):
        same = list(group)
        following = len(spread) + len(same)
        next_s = found[following].at_s if following < len(found) else at_s
        for index, request in enumerate(same):
            spread.append(replace(request, at_s=at_s + (next_s - at_s) * index / len(same)))
    return spread


def _mooncake(line: str, number: int) -> TraceRequest:
    try:
        row = msgspec.json.decode(line, type=_Mooncake)
    except msgspec.MsgspecError as error:
        raise Invalid(f"line {number} of the trace: {error}", hint="remove or mend it") from None
    # Only whole blocks can be shared: the last id names what is left of the prompt.
    blocks = tuple(row.hash_ids[: row.input_length // BLOCK_TOKENS])
    return TraceRequest(row.timestamp / 1000, "", row.input_length, row.output_length, blocks)


def _csv(rows: "csv.DictReader[str]") -> list[TraceRequest]:
    names = set(rows.fieldnames or ())
    if {"TIMESTAMP", "ContextTokens", "GeneratedTokens"} <= names:
        read = _azure
    elif {"t_s", "client", "prompt_tokens", "output_tokens"} <= names:
        read = _vtc
    else:
        raise Invalid(
            f"unknown trace format with the columns {', '.join(sorted(names)) or 'none'}",
            hint="give a Mooncake .jsonl, an Azure 2023 .csv or a VTC/LMSYS .csv",
        )
    found = []
    for number, row in enumerate(rows, start=2):
        try:
            found.append(read(row))
        except (ValueError, TypeError) as error:
            raise Invalid(
                f"line {number} of the trace: {error}", hint="remove or mend it"
            ) from None
    return found


def _azure(row: dict[str, str]) -> TraceRequest:
    at = datetime.fromisoformat(row["TIMESTAMP"][:26])  # seven decimals, one too many
    at_s = (at - datetime(2023, 11, 16)).total_seconds()
    return TraceRequest(at_s, "", int(row["ContextTokens"]), int(row["GeneratedTokens"]))


def _vtc(row: dict[str, str]) -> TraceRequest:
    return TraceRequest(
        float(row["t_s"]), row["client"], int(row["prompt_tokens"]), int(row["output_tokens"])
    )
