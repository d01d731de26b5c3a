"""The curation side of the scripted server: what lies below /api/faq beside entries."""

from dataclasses import dataclass, field

import msgspec
from stub_http import Asked, Reply

from appliance.schema import Accepted, Entry, Page
from appliance.schema_curation import Asker, Miss, MissPromote

NOW_MS = 1_763_900_000_000


@dataclass
class StubCuration:
    """Lists that a test fills, and what was done to them."""

    misses: dict[str, Miss] = field(default_factory=dict)
    promoted: list[MissPromote] = field(default_factory=list)
    draft_id: str = ""

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

    def answer(self, asked: Asked, rest: list[str], entries: dict[str, Entry]) -> Reply | None:
        """None for what is not curation."""
        match (asked.method, *rest):
            case (_, "misses", *deed):
                return self._miss(asked, deed, entries)
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

    def _change(self, miss_id: str, **fields: object) -> Miss:
        self.misses[miss_id] = msgspec.structs.replace(self.misses[miss_id], **fields)
        return self.misses[miss_id]
