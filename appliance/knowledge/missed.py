"""A group of missed questions as a value: how one begins, grows, parts and forgets a person. Pure.

A phrasing that one person alone has asked remembers who that was (`Kept.said`): it goes when the
person is forgotten. What several have asked names nobody and stays.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from appliance import keys
from appliance.knowledge.opposites import are_opposite
from appliance.knowledge.retrieval import Embedded
from appliance.knowledge.text import canonical
from appliance.schema.curation import Asker, Miss, MissReason

PHRASINGS_KEPT = 32
REQUESTS_KEPT = 64


class Kept(msgspec.Struct, frozen=True):
    """`body` of a miss: what is shown, the requests that were counted last, and by the canonical
    form of a phrasing the one person who has asked it; None from a version that did not know."""

    miss: Miss
    requests: tuple[str, ...] = ()
    said: dict[str, str] | None = None


@dataclass(frozen=True)
class Missed:
    """A question to take in. `uid` is empty for nobody who could be told; `waits` for who is to
    hear that a person has been asked."""

    request_id: str
    uid: str
    question: str
    reason: MissReason
    at_ms: int
    embedded: Embedded
    session_id: str = ""
    waits: bool = False


def new(missed: Missed) -> Kept:
    """A group without questions."""
    miss = Miss(
        id=keys.new_miss_id(),
        question=missed.question,
        phrasings=(),
        askers=(),
        count=0,
        reasons={},
        first_at_ms=missed.at_ms,
        last_at_ms=missed.at_ms,
    )
    return Kept(miss, said={})


def grown(kept: Kept, missed: Missed, askers_kept: int) -> Kept:
    """The group with one question more; a request that was counted only adds its reason."""
    miss, mark = kept.miss, f"{missed.request_id} {missed.reason}"
    if mark in kept.requests:
        return kept
    counted = any(known.partition(" ")[0] == missed.request_id for known in kept.requests)
    reopened = _has_answer(miss) and miss.told
    askers = () if reopened else miss.askers  # those have their answer
    if miss.state == "dismissed":
        missed = dataclasses.replace(missed, waits=False)
    phrasings = _with_phrasing(miss.phrasings, missed.question)
    grown = msgspec.structs.replace(
        miss,
        phrasings=phrasings,
        askers=_with_asker(askers, missed, askers_kept),
        count=miss.count + (not counted),
        reasons=miss.reasons | {missed.reason: miss.reasons.get(missed.reason, 0) + 1},
        last_at_ms=max(miss.last_at_ms, missed.at_ms),
        state="open" if reopened else miss.state,
        told=miss.told and not reopened,
    )
    said = dict(kept.said or {})
    form = canonical(missed.question)
    if missed.uid and len(phrasings) > len(miss.phrasings):
        said[form] = missed.uid
    elif said.get(form) != missed.uid:
        said.pop(form, None)
    return Kept(grown, (*kept.requests, mark)[-REQUESTS_KEPT:], said)


def with_sayers(kept: Kept) -> Kept:
    """As it was stored, with forms as they are made now; one from a version that did not note who
    said what, as its askers tell it."""
    if kept.said is not None:
        return msgspec.structs.replace(kept, said=_by_form_now(kept.said, kept.miss.phrasings))
    said: dict[str, str] = {}
    for asker in kept.miss.askers:
        form = canonical(asker.question)
        said[form] = "" if form in said else asker.uid
    return msgspec.structs.replace(kept, said={form: uid for form, uid in said.items() if uid})


def _by_form_now(said: Mapping[str, str], phrasings: Sequence[str]) -> dict[str, str]:
    """Of older forms that are one now all must be the same person's, else it names nobody."""
    texts = Counter(map(canonical, phrasings))
    sayers: dict[str, list[str]] = {}
    for form, uid in said.items():
        sayers.setdefault(canonical(form), []).append(uid)
    return {
        form: uids[0]
        for form, uids in sayers.items()
        if len(set(uids)) == 1 and len(uids) >= texts[form]
    }


def said_by(kept: Kept, uid: str) -> list[str]:
    """The questions here that are known to be this person's."""
    said, miss = kept.said or {}, kept.miss
    alone = [text for text in miss.phrasings if said.get(canonical(text)) == uid]
    return [*(asker.question for asker in miss.askers if asker.uid == uid), *alone]


def forgotten(kept: Kept, uid: str) -> Kept | None:
    """The group without this person and what nobody else has asked, None when nothing is left."""
    said, miss = kept.said or {}, kept.miss
    left = tuple(text for text in miss.phrasings if said.get(canonical(text)) != uid)
    if not left:
        return None
    shown = msgspec.structs.replace(
        miss,
        question=left[0] if said.get(canonical(miss.question)) == uid else miss.question,
        phrasings=left,
        askers=tuple(asker for asker in miss.askers if asker.uid != uid),
    )
    return Kept(shown, kept.requests, {form: who for form, who in said.items() if who != uid})


def parted(kept: Kept) -> list[Kept]:
    """The group, and one of what is the opposite of its question where there is such."""
    miss = kept.miss
    opposed = tuple(text for text in miss.phrasings if are_opposite(miss.question, text))
    if miss.state != "open" or not opposed:
        return [kept]
    askers = tuple(a for a in miss.askers if are_opposite(miss.question, a.question))
    others = msgspec.structs.replace(
        miss,
        id=f"{miss.id}-o",
        question=opposed[0],
        phrasings=opposed,
        askers=askers,
        count=len(opposed),
        reasons={"no_match": len(opposed)},
    )
    rest = msgspec.structs.replace(
        miss,
        phrasings=tuple(text for text in miss.phrasings if text not in opposed),
        askers=tuple(asker for asker in miss.askers if asker not in askers),
        count=max(miss.count - len(opposed), 1),
    )
    return [msgspec.structs.replace(kept, miss=rest), Kept(others, said=kept.said)]


def takes(kept: Kept, question: str) -> bool:
    """Whether no phrasing of the group is the opposite of the question."""
    return not any(are_opposite(question, phrasing) for phrasing in kept.miss.phrasings)


def worth(miss: Miss) -> tuple[int, int, int]:
    """The least leaves first: what is settled, what nobody was promised an answer to, what was
    asked least, what was asked long ago."""
    unsettled = miss.state == "open" or (_has_answer(miss) and not miss.told)
    promised = unsettled and any(asker.waits for asker in miss.askers)
    return (unsettled + promised, miss.count, miss.last_at_ms)


def _has_answer(miss: Miss) -> bool:
    return miss.state in ("promoted", "answered")


def _with_phrasing(phrasings: Sequence[str], question: str) -> tuple[str, ...]:
    known = {canonical(phrasing) for phrasing in phrasings}
    if canonical(question) in known or len(phrasings) >= PHRASINGS_KEPT:
        return tuple(phrasings)
    return (*phrasings, question)


def _with_asker(askers: Sequence[Asker], missed: Missed, kept: int) -> tuple[Asker, ...]:
    """Past the bound the longest known leave, but nobody who waits."""
    known = next((asker for asker in askers if asker.uid == missed.uid), None)
    if not missed.uid or (known and (known.waits or not missed.waits)):
        return tuple(askers)
    new = Asker(
        uid=missed.uid,
        question=missed.question,
        waits=missed.waits,
        session_id=missed.session_id,
        request_id=missed.request_id,
    )
    joined = [asker for asker in askers if asker is not known] + [new]
    free = [asker for asker in joined if not asker.waits][: max(len(joined) - kept, 0)]
    return tuple(asker for asker in joined if asker not in free)[:kept]
