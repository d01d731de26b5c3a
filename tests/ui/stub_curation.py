"""The curation side of the scripted server: what lies below /api/faq beside entries."""

from dataclasses import dataclass, field

import msgspec
from stub_http import Asked, Reply

from appliance.schema.curation import (
    Asker,
    DeletedEntry,
    Flip,
    ImportOutcome,
    Miss,
    MissAnswer,
    MissPromote,
    Outcome,
    Regression,
    RegressionPost,
    RegressionPreview,
    RegressionRun,
)
from appliance.schema.faq import Entry
from appliance.schema.fields import Page
from appliance.schema.requests import Accepted

NOW_MS = 1_763_900_000_000


@dataclass
class StubCuration:
    """Lists that a test fills, and what was done to them."""

    misses: dict[str, Miss] = field(default_factory=dict)
    promoted: list[MissPromote] = field(default_factory=list)
    draft_id: str = ""
    checks: dict[str, Regression] = field(default_factory=dict)
    runs: list[RegressionRun] = field(default_factory=list)
    first_found: str = ""
    flips: tuple[Flip, ...] = ()
    rehearsed: ImportOutcome | None = None
    imported: ImportOutcome | None = None
    exported: bytes = b""
    deleted: dict[str, DeletedEntry] = field(default_factory=dict)

    def add_miss(self, question: str, *others: str, people: int = 1, count: int = 1) -> Miss:
        miss = Miss(
            id=f"m-{len(self.misses) + 1}",
            question=question,
            phrasings=(question, *others),
            askers=tuple(Asker(uid=f"u-{n}", question=question) for n in range(people)),
            count=count,
            reasons={"no_match": count},
            first_at_ms=NOW_MS - 86_400_000,
            last_at_ms=NOW_MS,
        )
        self.misses[miss.id] = miss
        return miss

    def wait_for(self, miss_id: str) -> None:
        """Who asked was told that a person has been asked."""
        askers = self.misses[miss_id].askers
        self._change(
            miss_id, askers=tuple(msgspec.structs.replace(asker, waits=True) for asker in askers)
        )

    def add_check(self, question: str, entry_id: str, found: str, at_ms: int = NOW_MS) -> str:
        """A saved question that found another entry, or the right one; returns its id."""
        check_id = f"g-{len(self.checks) + 1}"
        outcome = Outcome(entry_id=found, score=0.8, passed=found == entry_id, at_ms=at_ms)
        self.checks[check_id] = Regression(
            id=check_id, question=question, entry_id=entry_id, outcome=outcome
        )
        return check_id

    def answer(self, asked: Asked, rest: list[str], entries: dict[str, Entry]) -> Reply | None:
        """None for what is not curation."""
        match (asked.method, *rest):
            case (_, "misses", *deed):
                return self._miss(asked, deed, entries)
            case (_, "regressions", *deed):
                return self._check(asked, deed)
            case ("POST", "import"):
                dry = asked.query.get("dry_run") == "true"
                outcome = self.rehearsed if dry else self.imported
                return Reply(200, outcome) if outcome is not None else None
            case ("GET", "deleted"):
                return Reply(200, Page(items=tuple(self.deleted.values())))
            case ("POST", entry_id, "restore") if entry_id in self.deleted:
                fields = msgspec.structs.asdict(self.deleted.pop(entry_id))
                fields["version"] += 1
                del fields["deleted_at_ms"]
                entries[entry_id] = Entry(**fields)
                return Reply(200, entries[entry_id])
            case ("GET", "export"):
                return Reply(200, self.exported)
            case _:
                return None

    def _miss(self, asked: Asked, rest: list[str], entries: dict[str, Entry]) -> Reply | None:
        match (asked.method, *rest):
            case ("GET",):
                found = [m for m in self.misses.values() if m.state == asked.query["state"]]
                return Reply(200, Page(items=tuple(sorted(found, key=lambda m: -m.count))))
            case ("POST", miss_id, "dismiss"):
                return Reply(200, self._change(miss_id, state="dismissed"))
            case ("POST", miss_id, "reopen"):
                return Reply(200, self._change(miss_id, state="open"))
            case ("POST", miss_id, "answer"):
                text = msgspec.json.decode(asked.body, type=MissAnswer).answer
                return Reply(200, self._change(miss_id, state="answered", answer=text))
            case ("POST", _, "draft") if self.draft_id:
                events = f"/api/requests/{self.draft_id}/events"
                accepted = Accepted(
                    id=self.draft_id, request_id=self.draft_id, session_id="", events=events
                )
                return Reply(202, accepted)
            case ("POST", miss_id, "promote"):
                body = msgspec.json.decode(asked.body, type=MissPromote)
                self.promoted.append(body)
                entry_id = body.entry_id or f"e-of-{miss_id}"
                if body.answer is not None:
                    entries[entry_id] = Entry(
                        id=entry_id,
                        question=body.question or self.misses[miss_id].question,
                        answer=body.answer,
                        phrasings=body.phrasings or (),
                        category=body.category,
                        language=body.language,
                        state=body.state,
                        version=1,
                        created_at_ms=NOW_MS,
                        updated_at_ms=NOW_MS,
                    )
                told = body.state == "published"
                self._change(miss_id, state="promoted", entry_id=entry_id, told=told)
                return Reply(201, entries[entry_id])
            case _:
                return None

    def _check(self, asked: Asked, rest: list[str]) -> Reply | None:
        match (asked.method, *rest):
            case ("GET",):
                failing = sorted(
                    self.checks.values(), key=lambda c: bool(c.outcome and c.outcome.passed)
                )
                return Reply(200, Page(items=tuple(failing)))
            case ("POST",):
                post = msgspec.json.decode(asked.body, type=RegressionPost)
                saved = self.add_check(post.question, post.entry_id, self.first_found)
                return Reply(201, self.checks[saved])
            case ("GET", "runs"):
                return Reply(200, Page(items=tuple(self.runs)))
            case ("POST", "preview"):
                flips = self.flips
                seen = RegressionPreview(entry_id="", passed=0, failed=len(flips), flips=flips)
                return Reply(200, seen)
            case ("POST", "run"):
                return Reply(200, Page(items=tuple(self.runs)))
            case ("DELETE", check_id) if check_id in self.checks:
                del self.checks[check_id]
                return Reply(204)
            case _:
                return None

    def _change(self, miss_id: str, **fields: object) -> Miss:
        self.misses[miss_id] = msgspec.structs.replace(self.misses[miss_id], **fields)
        return self.misses[miss_id]
