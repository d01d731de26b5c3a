"""The records that cross a border: HTTP bodies, reply-stream events, work handed to a worker.

Every record is an immutable `msgspec.Struct`; nothing here knows how it is stored or sent.
Field names end in their unit (`_ms`, `_s`). Times are milliseconds since the Unix epoch.
`ui`, `worker` and `api` all speak in these, so a change here is a change of contract.
"""
