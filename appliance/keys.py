"""Every key in Valkey, named in one place.

| key                    | type              | holds                                               |
|------------------------|-------------------|-----------------------------------------------------|
| `user:{uid}`           | hash              | `version`, fields `a:NAME` per attribute, `t:NAME` per tag with its source, `x:NAME` per tag taken off |
| `sessions:{uid}`       | zset              | session ids by last activity (ms)                   |
| `session:{T}`          | hash              | `uid title created_at_ms last_active_at_ms model`, `frozen` (what its prompts begin with) |
| `turns:{T}`            | zset              | turn ids by time (ms), trimmed from the oldest      |
| `turn:{T}`             | hash              | per turn three records, each written once: `ID:question ID:sent ID:answer`, and `ID:feedback` |
| `asked:{UID}`          | zset with TTL     | requests of a person outside sessions or of deleted ones, by time (ms) |
| `api-keys`             | hash              | keys of people and services by id, without the secret |
| `api-key-hashes`       | hash              | their ids by the SHA-256 of the secret               |
| `fragments`            | hash              | prompt fragments by name                            |
| `inbox:{UID}`          | stream with TTL   | messages to a person, and what was read of them: `event data id key digest expires` |
| `inbox-read:{UID}`     | set with TTL      | ids of the messages in it that were read            |
| `inbox-later:{UID}`    | hash              | messages that wait for their time by id, and `k:KEY` by idempotency key |
| `scheduled`            | zset              | `UID/ID` of those messages by their time (ms)       |
| `awaited`              | zset              | answers in sessions that nobody read to the end, by the time to look again (ms) |
| `request:{T}:RID`      | hash              | `body deadline state cancel handed`, `ask usage epoch` (predicted, real, whose), `lease until entry attempt` (who writes), `emitted` (pieces so far), `deaths died_at guilty waits`, `heard feedback` (entries it was answered from, thumb); expires after its end |
| `reply:{T}:RID`        | stream            | every event of one request; its ids are the SSE ids |
| `tokens:{T}:RID`       | string            | the tokens behind the text emitted so far, 4 bytes each; gone with the end |
| `open`                 | zset              | requests accepted and not ended, by time (ms)       |
| `limiter`              | hash              | `holder until epoch`: which limiter decides         |
| `queue`                | string with TTL   | the queue as that limiter last told it              |
| `budget:UID`           | hash              | a user's reservations and use, see `bus.budgets`    |
| `window:UID`           | string with TTL   | requests of a user in this minute, for the fixed window |
| `grants:{TIER}` `filled:{TIER}` | list, string, with TTL | grants of a tier's bucket, and until when it is filled (ms) |
| `admit`                | stream + group    | access and workers to limiter                       |
| `work:POOL`            | stream + group    | admitted requests any worker may pull               |
| `work:{POOL}:WORKER`   | stream + group    | admitted requests placed on one worker              |
| `bound:{POOL}`         | set               | workers that such a stream was written for          |
| `place`                | stream + group    | access and workers to the placement loop            |
| `placed:RID`           | list with TTL     | that loop's answer: a worker, or "" for any         |
| `placement`            | hash              | `holder until epoch`: which placement loop decides  |
| `placing`              | string with TTL   | what that loop last told; gone with it              |
| `policy`               | string            | the placement policy chosen at run time             |
| `leases:POOL`          | zset              | requests that workers hold, by the end of the lease (ms) |
| `dead`                 | zset              | requests given up because workers died of them, by time (ms), bounded |
| `dead:RID`             | string with TTL   | such a request with what is known of its end         |
| `pools`                | set               | every pool that has had work                        |
| `embed:POOL`           | stream + group    | texts to embed                                      |
| `control:POOL`         | stream            | to all workers: cancel a request, forget a session, a scope |
| `warm:POOL`            | stream + group    | sessions that somebody opened, for an idle worker to have ready |
| `warming:{T}`          | string with TTL   | this session's entry in `warm:POOL` is not done yet |
| `answers:NODE`         | stream            | embeddings for one access process                   |
| `wake:NODE`            | stream            | wakes that process's blocking reader                |
| `workers`              | zset              | worker ids by last heartbeat (ms)                   |
| `worker:ID`            | hash with TTL     | what a worker says of itself                        |
| `threads`              | hash              | by worker name: the CPU threads it may use          |
| `lengths`              | string            | what the length model has learned                   |
| `faq`                  | zset              | entry ids by creation time (ms)                     |
| `faq:ID`               | hash              | FAQ truth: `body` and `version`                     |
| `calibration`          | string            | what the FAQ's scores mean, for one embedding model |
| `centre`               | string            | what the vectors of one embedding model have in common |
| `faq-revision`         | string            | grows with every write to the FAQ                   |
| `faq:unindexed`        | set               | entries whose index rows are not known to be current |
| `faq-history:ID`       | hash              | older versions of an entry by number; `deleted` is the last one of a deleted entry |
| `faq-deleted`          | zset              | deleted entries that can come back, by time (ms), bounded |
| `faq-stats:ID`         | hash              | `hits last_hit_ms up down` of an entry              |
| `misses`               | zset              | clusters of questions without a good answer, by last time (ms), bounded |
| `miss:ID`              | hash              | such a cluster: `body vector stamp revision`        |
| `regressions`          | hash              | saved questions by id, bounded                      |
| `regression-runs`      | list              | when they were asked and what flipped, newest first, bounded |
| `imports`              | zset              | imports of files by time (ms), bounded              |
| `import:ID` `import-entries:ID` | string, set, with TTL | an import, and the entries it wrote    |
| `setup`                | string            | whether the first start's questions were answered: 1 or 0 |
| `layout`               | string            | version of this table                               |

`{T}` is a literal Valkey hash tag, so the keys one script touches share a slot in a cluster:
a session's id, or a request's own when it has no session. A request id starts with its tag:
`TAG-random`, so the tag is read off the id and never looked up.
A pool is the workers of one model: `main` those of the chat model, `model-NAME` those of another.
"""

import hashlib
import secrets

LAYOUT = "1"

OPEN = "open"
LIMITER = "limiter"
QUEUE = "queue"
ADMIT = "admit"
ADMIT_GROUP = "limiter"
WORKERS_GROUP = "workers"
WORKERS = "workers"
DEAD = "dead"
POOLS = "pools"
PLACE = "place"
PLACE_GROUP = "placement"
PLACEMENT = "placement"
PLACING = "placing"
POLICY = "policy"
MAIN = "main"
THREADS = "threads"
LENGTHS = "lengths"
FAQ = "faq"
CALIBRATION = "calibration"
CENTRE = "centre"
SCHEDULED = "scheduled"
FRAGMENTS = "fragments"
API_KEYS = "api-keys"
API_KEY_HASHES = "api-key-hashes"
AWAITED = "awaited"
FAQ_UNINDEXED = "faq:unindexed"
FAQ_REVISION = "faq-revision"
FAQ_DELETED = "faq-deleted"
IMPORTS = "imports"
MISSES = "misses"
REGRESSIONS = "regressions"
REGRESSION_RUNS = "regression-runs"
SETUP = "setup"
LAYOUT_KEY = "layout"


def new_session_id() -> str:
    return f"s{secrets.token_hex(8)}"


def new_message_id() -> str:
    return f"m{secrets.token_hex(8)}"


def new_api_key_id() -> str:
    return f"k{secrets.token_hex(6)}"


def new_request_id(session_id: str = "") -> str:
    """An id whose part before the dash is the hash tag of the request's keys."""
    return f"{session_id or 'x' + secrets.token_hex(8)}-{secrets.token_hex(6)}"


def new_entry_id() -> str:
    return f"f{secrets.token_hex(6)}"


def new_miss_id() -> str:
    return f"m{secrets.token_hex(6)}"


def new_regression_id() -> str:
    return f"r{secrets.token_hex(6)}"


def new_import_id() -> str:
    return f"i{secrets.token_hex(6)}"


def tag(request_id: str) -> str:
    return request_id.partition("-")[0]


def user(uid: str) -> str:
    return f"user:{uid}"


def sessions(uid: str) -> str:
    return f"sessions:{uid}"


def session(session_id: str) -> str:
    return f"session:{{{session_id}}}"


def turns(tag_or_session_id: str) -> str:
    return f"turns:{{{tag_or_session_id}}}"


def turn(tag_or_session_id: str) -> str:
    return f"turn:{{{tag_or_session_id}}}"


def asked(uid: str) -> str:
    return f"asked:{{{uid}}}"


def inbox(uid: str) -> str:
    return f"inbox:{{{uid}}}"


def inbox_read(uid: str) -> str:
    return f"inbox-read:{{{uid}}}"


def inbox_later(uid: str) -> str:
    return f"inbox-later:{{{uid}}}"


def request(request_id: str) -> str:
    return f"request:{{{tag(request_id)}}}:{request_id}"


def reply(request_id: str) -> str:
    return f"reply:{{{tag(request_id)}}}:{request_id}"


def tokens(request_id: str) -> str:
    return f"tokens:{{{tag(request_id)}}}:{request_id}"


def leases(pool: str) -> str:
    return f"leases:{pool}"


def dead(request_id: str) -> str:
    return f"dead:{request_id}"


def pool(model: str) -> str:
    """The pool of a model by its name, "" for the chat model."""
    return f"model-{model}" if model else MAIN


def work(pool: str) -> str:
    return f"work:{pool}"


def own_work(pool: str, worker_id: str) -> str:
    return f"work:{{{pool}}}:{worker_id}"


def bound(pool: str) -> str:
    return f"bound:{{{pool}}}"


def placed(request_id: str) -> str:
    return f"placed:{request_id}"


def embed(pool: str) -> str:
    return f"embed:{pool}"


def scope(uid: str) -> str:
    """Whose text it is, for workers: a digest, for streams and files keep it after an erasure."""
    return uid and hashlib.blake2b(uid.encode(), digest_size=16).hexdigest()


def control(pool: str) -> str:
    return f"control:{pool}"


def warm(pool: str) -> str:
    return f"warm:{pool}"


def warming(session_id: str) -> str:
    return f"warming:{{{session_id}}}"


def answers(node: str) -> str:
    return f"answers:{node}"


def wake(node: str) -> str:
    return f"wake:{node}"


def worker(worker_id: str) -> str:
    return f"worker:{worker_id}"


def budget(uid: str) -> str:
    return f"budget:{uid}"


def window(name: str) -> str:
    return f"window:{name}"


def grants(bucket: str) -> str:
    return f"grants:{{{bucket}}}"


def filled(bucket: str) -> str:
    return f"filled:{{{bucket}}}"


def entry(entry_id: str) -> str:
    return f"faq:{entry_id}"


def history(entry_id: str) -> str:
    return f"faq-history:{entry_id}"


def import_job(job_id: str) -> str:
    return f"import:{job_id}"


def import_entries(job_id: str) -> str:
    return f"import-entries:{job_id}"


def stats(entry_id: str) -> str:
    return f"faq-stats:{entry_id}"


def miss(miss_id: str) -> str:
    return f"miss:{miss_id}"
