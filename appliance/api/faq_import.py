"""`/api/faq/import`, `imports` and `export`: entries as files, and the demo FAQ.

A file is stored whole or not at all before the answer. Being found by meaning takes longer, which
the answer waits for unless `wait=false`; `/api/faq/imports/{id}` tells how far it is.
"""

from collections.abc import AsyncGenerator
from typing import Annotated

import msgspec
from litestar import Request, Router, get, post
from litestar.datastructures import State
from litestar.params import Parameter
from litestar.response import Stream

from appliance.api.callers import Caller
from appliance.api.gate import XLSX_TYPE
from appliance.api.lists import IdPath
from appliance.api.requests import NO_BUFFERING, server_sent
from appliance.api.services import Services
from appliance.bus.replies import StreamEvent
from appliance.errors import Invalid
from appliance.knowledge.demo import load_demo
from appliance.knowledge.exchange import Format, export
from appliance.knowledge.imports import import_file, rehearse
from appliance.schema.curation import ImportJob, ImportOutcome
from appliance.schema.faq import ImportReport
from appliance.schema.fields import Page

IMPORT_SETTLE_TIMEOUT_S = 120.0
CONFLICTS_TOLD = 200

FORMATS: dict[str, Format] = {
    "text/csv": "csv",
    "application/jsonl": "jsonl",
    "application/x-ndjson": "jsonl",
    "text/markdown": "markdown",
    XLSX_TYPE: "xlsx",
}
MEDIA_TYPES: dict[Format, str] = {
    "csv": "text/csv",
    "jsonl": "application/jsonl",
    "markdown": "text/markdown; charset=utf-8",
    "xlsx": XLSX_TYPE,
}
ENDINGS: dict[Format, str] = {"csv": "csv", "jsonl": "jsonl", "markdown": "md", "xlsx": "xlsx"}

DryRun = Annotated[
    bool, Parameter(description="Store nothing; tell what would be done, and what is wrong.")
]
Overwrite = Annotated[
    bool, Parameter(description="The file goes before edits made since it was exported.")
]
Wait = Annotated[bool, Parameter(description="Answer once the entries can be found by meaning.")]


@get("/export")
async def export_entries(
    services: Services, file_format: Annotated[Format, Parameter(query="format")] = "jsonl"
) -> Stream:
    """Every entry as a file which `import` takes back unchanged."""
    return Stream(
        export(services.knowledge.entries, file_format),
        media_type=MEDIA_TYPES[file_format],
        headers={
            "Content-Disposition": f'attachment; filename="faq.{ENDINGS[file_format]}"',
        },
    )


@post("/import", status_code=200)
async def import_entries(
    services: Services,
    caller: Caller,
    request: Request[None, None, State],
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
    wait: Wait = True,
) -> ImportOutcome:
    """Takes a CSV, JSONL, XLSX or Markdown file whole or not at all; bad lines are named."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in FORMATS:
        raise Invalid(
            "the file's type is not known",
            hint=f"send it as {', '.join(sorted(FORMATS))}",
            reason="bad_file_type",
            facts={"kinds": ", ".join(sorted(FORMATS))},
        )
    data = await request.body()
    if dry_run:
        return await _rehearsed(services, data, FORMATS[kind])
    return await _taken(
        services, data, FORMATS[kind], overwrite=overwrite, wait=wait, by=caller.name
    )


@get("/imports")
async def list_imports(services: Services) -> Page:
    """The last imports, newest first."""
    return Page(items=await services.knowledge.imports.newest())


@get("/imports/{import_id:str}")
async def read_import(services: Services, import_id: IdPath) -> ImportJob:
    return await services.knowledge.imports.read(import_id)


@get("/imports/{import_id:str}/events", media_type="text/event-stream")
async def follow_import(services: Services, import_id: IdPath) -> Stream:
    """Server-sent events `progress`, the last one `done`; each carries the whole import."""
    await services.knowledge.imports.read(import_id)
    return Stream(
        server_sent(_progress(services, import_id), services.settings.server.keep_alive_s),
        media_type="text/event-stream",
        headers=NO_BUFFERING,
    )


@post("/demo", status_code=200)
async def load_demo_entries(services: Services, caller: Caller) -> ImportReport:
    """Loads the shipped demo FAQ, in Chinese and English."""
    return await _taken(services, load_demo(), "jsonl", overwrite=True, wait=True, by=caller.name)


async def _rehearsed(services: Services, data: bytes, form: Format) -> ImportOutcome:
    rehearsal = await rehearse(services.knowledge.entries, data, form)
    near = await services.knowledge.near.in_file(rehearsal.parsed.rows)
    return ImportOutcome(
        **msgspec.structs.asdict(rehearsal.plan.report),
        dry_run=True,
        errors=tuple(rehearsal.parsed.problems),
        conflicts=rehearsal.plan.conflicts[:CONFLICTS_TOLD],
        duplicates=near.lines,
        checked_lines=near.checked,
    )


async def _taken(
    services: Services, data: bytes, form: Format, *, overwrite: bool, wait: bool, by: str
) -> ImportOutcome:
    knowledge = services.knowledge
    taken = await import_file(
        knowledge.entries, data, form, jobs=knowledge.imports, overwrite=overwrite, by=by
    )
    if wait:
        written = [entry.id for entry in taken.writes]
        await knowledge.index.settled(written, IMPORT_SETTLE_TIMEOUT_S)
    return ImportOutcome(
        **msgspec.structs.asdict(taken.report),
        import_id=taken.job_id,
        conflicts=taken.conflicts[:CONFLICTS_TOLD],
    )


async def _progress(services: Services, import_id: str) -> AsyncGenerator[StreamEvent, None]:
    number = 0
    async for job in services.knowledge.imports.follow(import_id):
        number += 1
        name = "done" if job.state == "done" else "progress"
        yield StreamEvent(str(number), name, msgspec.json.encode(job))


router = Router(
    "/api/faq",
    route_handlers=[
        export_entries,
        import_entries,
        list_imports,
        read_import,
        follow_import,
        load_demo_entries,
    ],
)
