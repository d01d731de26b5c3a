"""Entries as an organisation writes them, and questions about them in other words."""

import random
from collections.abc import Iterator

DEEDS = (
    *("renew", "cancel", "order", "return", "repair", "register", "borrow", "replace", "transfer"),
    *("activate", "insure", "share", "store", "copy", "label", "move", "test", "clean", "upgrade"),
)
THINGS = (
    *("badge", "parking permit", "laptop", "monitor", "travel card", "library book", "locker"),
    *("software licence", "mail account", "phone contract", "projector", "bicycle", "meeting room"),
    *("visitor pass", "printer", "course", "timesheet", "expense claim", "contract", "key"),
)
CASES = (
    *("after a holiday", "for a new colleague", "in the Lisbon office", "during the summer"),
    *("without a manager", "at the weekend", "from abroad", "for a customer", "by telephone"),
    *("before a deadline", "in the second year", "with a disability", "for a whole team"),
)
ANSWERS = (
    "Fill in form {n} on the intranet and bring it to desk {d}; it takes {d} working days.",
    "Write to the service desk with the number {n}. They answer within {d} days and tell the cost.",
    "This is done in the portal under item {n}; your team lead confirms it within {d} days.",
)
OTHER_WORDS = (
    "what are the steps when I want to {deed} a {thing} {case}",
    "can somebody tell me about the way to {deed} the {thing} {case}, please",
    "is it possible to {deed} my {thing} {case} and what does it need",
)


def entries(first: int, count: int, chance: random.Random) -> list[dict[str, object]]:
    return [_entry(first + n, chance) for n in range(count)]


def _entry(n: int, chance: random.Random) -> dict[str, object]:
    deed, thing, case = (chance.choice(words) for words in (DEEDS, THINGS, CASES))
    return {
        "question": f"How do I {deed} my {thing} {case}, case {n}?",
        "answer": chance.choice(ANSWERS).format(n=n, d=chance.randint(2, 30)),
        "phrasings": [f"{thing} number {n}: {deed} it {case}"] if n % 4 == 0 else [],
    }


def questions(chance: random.Random) -> Iterator[str]:
    """Without end."""
    while True:
        deed, thing, case = (chance.choice(words) for words in (DEEDS, THINGS, CASES))
        yield chance.choice(OTHER_WORDS).format(deed=deed, thing=thing, case=case)
