"""Fetches one file over HTTP, goes on where it was broken off, and believes only its checksum.

The body is appended to `FILE.part`; its entity tag is kept beside it in `FILE.part.etag`, so a
later attempt, also by another process, asks for the rest with `Range` and `If-Range`. What the
server answers decides:

    206, the range asked for      append
    200                           it starts over: so do we
    206, another range or tag     the part is stale: drop it, ask once for the whole
    416                           likewise; a complete part is checked without asking
    408, 425, 429, 5xx, broken    keep the part, back off, try again
    404, 410                      NotFound
    anything else                 Unavailable

A connection that yields new bytes may break as often as it likes up to `MAX_ATTEMPTS`; one that
yields none is given up after `MAX_FRUITLESS` tries in a row. Never is a byte written beyond the
expected size, and a body that is longer, or whose checksum is another, is deleted at once.
"""

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Literal

import httpx

from appliance.errors import Invalid, NotFound, Unavailable
from models import files
from models.files import Progress

MAX_ATTEMPTS = 200
MAX_FRUITLESS = 6
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
MAX_REDIRECTS = 5

_AGAIN = {408, 425, 429}
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True)
class Wanted:
    """A file to fetch: its final path, its exact size in bytes and its SHA-256."""

    url: str
    target: Path
    size_bytes: int
    sha256: str

    @property
    def part(self) -> Path:
        return files.part_of(self.target)

    @property
    def tag(self) -> Path:
        return self.target.with_name(self.target.name + ".part.etag")

    def here_bytes(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def drop(self) -> None:
        self.part.unlink(missing_ok=True)
        self.tag.unlink(missing_ok=True)


@dataclass
class _Tries:
    """What the attempts so far came to."""

    fruitless: int = 0
    stale: int = 0
    asked_pause_s: float = 0.0
    why: str = "it sent nothing"


def client() -> httpx.Client:
    """A client for large bodies; it honours the proxy settings of the environment."""
    return httpx.Client(
        follow_redirects=True,
        max_redirects=MAX_REDIRECTS,
        timeout=httpx.Timeout(30.0, read=60.0),
        headers={"User-Agent": "sluice", "Accept-Encoding": "identity"},
    )


def mirrored(url: str, mirror: str) -> str:
    """`url` with scheme and host replaced by the base address `mirror`, if there is one."""
    if not mirror:
        return url
    sound = False
    with contextlib.suppress(httpx.InvalidURL):
        base = httpx.URL(mirror)
        sound = base.scheme in ("http", "https") and bool(base.host)
    if not sound:
        raise Invalid(
            f"The mirror {mirror!r} is not an http or https address.",
            hint="set `models.mirror` to something like https://mirror.example",
            reason="bad_address",
            facts={"address": mirror},
        )
    return mirror.rstrip("/") + httpx.URL(url).raw_path.decode("ascii")


def download(
    wanted: Wanted,
    *,
    progress: Progress,
    http: httpx.Client,
    pause: Callable[[float], None] = sleep,
) -> None:
    """Put the checked file at `wanted.target`. The caller holds `files.only_writer`.

    Raises NotFound where the server has no such file, and Unavailable where it cannot be reached,
    the disk is full, or what it sends is not the file wanted.
    """
    directory = wanted.target.parent
    if wanted.here_bytes() > wanted.size_bytes:
        wanted.drop()
    files.require_room(directory, wanted.size_bytes - wanted.here_bytes())
    tries = _Tries()
    for _ in range(MAX_ATTEMPTS):
        before = wanted.here_bytes()
        if before == wanted.size_bytes:
            break
        with files.no_room_is_told(directory, wanted.size_bytes - before):
            broken = _attempt(wanted, http, progress, tries)
        if broken and wanted.here_bytes() > before:
            tries.fruitless = 0
        elif broken:
            pause(_count_fruitless(wanted, tries))
    _finish(wanted, tries)


def _count_fruitless(wanted: Wanted, tries: _Tries) -> float:
    tries.fruitless += 1
    if tries.fruitless >= MAX_FRUITLESS:
        raise _away(wanted, tries.why)
    backed_off_s = FIRST_PAUSE_S * (1 << tries.fruitless - 1)
    return min(max(tries.asked_pause_s, backed_off_s), LONGEST_PAUSE_S)


def _attempt(wanted: Wanted, http: httpx.Client, progress: Progress, tries: _Tries) -> bool:
    """True when the attempt broke off or was put off, so that another may do better."""
    here = wanted.here_bytes()
    headers = {"Range": f"bytes={here}-"} if here else {}
    tag = _read_tag(wanted) if here else ""
    if tag:
        headers["If-Range"] = tag
    try:
        with http.stream("GET", wanted.url, headers=headers) as response:
            verdict = _judge(wanted, response, here, tries)
            if verdict == "append":
                _append(wanted, response, progress)
                return wanted.here_bytes() < wanted.size_bytes
            return verdict == "later"
    except (httpx.UnsupportedProtocol, httpx.InvalidURL):
        raise Invalid(
            f"{wanted.url!r} is not an address to download from.",
            hint="check `models.mirror`",
            reason="bad_address",
            facts={"address": wanted.url},
        ) from None
    except httpx.TooManyRedirects:
        raise _away(wanted, "it redirects in a circle") from None
    except httpx.TransportError as error:
        tries.asked_pause_s = 0.0
        tries.why = f"the connection failed ({type(error).__name__}: {error})"
        return True


def _judge(
    wanted: Wanted, response: httpx.Response, here: int, tries: _Tries
) -> Literal["append", "anew", "later"]:
    """The table above. Drops a part that cannot be continued."""
    status = response.status_code
    if status in _AGAIN or status >= 500:
        tries.why = f"it answers {status} {response.reason_phrase}"
        tries.asked_pause_s = _retry_after_s(response)
        return "later"
    if status in (404, 410):
        raise NotFound(
            f"{_host(wanted)} has no {wanted.target.name} ({status}).",
            hint="check `models.mirror`, or import the file with `sluice models import FILE`",
            reason="not_at_source",
            facts={"host": _host(wanted)},
        )
    if status == 206 and here and _continues(wanted, response, here):
        _require_fit(wanted, response, here)
        return "append"
    if status == 200:
        wanted.drop()
        _require_fit(wanted, response, 0)
        _write_tag(wanted, response)
        return "append"
    if status in (206, 416) and here and not tries.stale:
        wanted.drop()
        tries.stale += 1
        return "anew"
    raise _away(wanted, f"it answers {status} {response.reason_phrase}")


def _continues(wanted: Wanted, response: httpx.Response, here: int) -> bool:
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != here:
        return False
    if found[2] not in ("*", str(wanted.size_bytes)):
        return False
    known, told = _read_tag(wanted), response.headers.get("ETag", "")
    return not known or not told or known == told


def _require_fit(wanted: Wanted, response: httpx.Response, here: int) -> None:
    told = response.headers.get("Content-Length", "")
    if told.isdigit() and here + int(told) != wanted.size_bytes:
        wanted.drop()
        raise _wrong(wanted, f"{here + int(told):,} bytes, expected are {wanted.size_bytes:,}")


def _append(wanted: Wanted, response: httpx.Response, progress: Progress) -> None:
    with files.open_private(wanted.part, append=True) as part:
        done = wanted.here_bytes()
        progress(done, wanted.size_bytes)
        for chunk in response.iter_raw():
            if done + len(chunk) > wanted.size_bytes:
                break
            part.write(chunk)
            done += len(chunk)
            progress(done, wanted.size_bytes)
        else:
            return
    wanted.drop()
    raise _wrong(wanted, f"more than the expected {wanted.size_bytes:,} bytes")


def _finish(wanted: Wanted, tries: _Tries) -> None:
    if wanted.here_bytes() != wanted.size_bytes:
        raise _away(wanted, tries.why)
    if files.sha256_of(wanted.part) != wanted.sha256:
        wanted.drop()
        raise _wrong(wanted, "a file whose checksum is not the one in the catalogue")
    files.publish(wanted.part, wanted.target)
    wanted.tag.unlink(missing_ok=True)


def _read_tag(wanted: Wanted) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return wanted.tag.read_text(encoding="ascii")[:1024]
    return ""


def _write_tag(wanted: Wanted, response: httpx.Response) -> None:
    tag = response.headers.get("ETag", "")
    if tag.startswith('"') and tag.isascii():  # a weak tag cannot vouch for a byte range
        with files.open_private(wanted.tag) as file:
            file.write(tag.encode("ascii"))


def _retry_after_s(response: httpx.Response) -> float:
    told = response.headers.get("Retry-After", "")
    asked_s = float(told) if told.isdigit() else FIRST_PAUSE_S
    return min(max(asked_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)


def _host(wanted: Wanted) -> str:
    return httpx.URL(wanted.url).host or "the server"


def _away(wanted: Wanted, why: str) -> Unavailable:
    return Unavailable(
        f"{wanted.target.name} could not be fetched from {_host(wanted)}: {why}.",
        hint="run the same command again to go on from here; what has arrived is kept",
        reason="download",
        facts={"host": _host(wanted)},
    )


def _wrong(wanted: Wanted, what: str) -> Unavailable:
    return Unavailable(
        f"{_host(wanted)} sent {what} for {wanted.target.name}; it was deleted.",
        hint="try again later, set another `models.mirror`, or `sluice models import FILE`",
        reason="checksum",
    )
