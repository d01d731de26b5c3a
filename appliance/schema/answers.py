"""What an answer brings along: what was found and decided, citations, tokens and times."""

from typing import Literal

from appliance.schema.fields import Record


class PromptTokensDetails(Record, frozen=True, kw_only=True):
    """`cached_tokens` of the prompt did not have to be computed."""

    cached_tokens: int = 0


class Usage(Record, frozen=True, kw_only=True):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: PromptTokensDetails = PromptTokensDetails()


class Timings(Record, frozen=True, kw_only=True):
    """Milliseconds from acceptance; `tokens_per_s` counts decoding only."""

    admitted_ms: int = 0
    first_token_ms: int = 0
    total_ms: int = 0
    tokens_per_s: float = 0.0


class Match(Record, frozen=True, kw_only=True):
    """A FAQ entry that retrieval found. `score` says how far it is the one meant, from 0 to 1:
    other entries as near take from it. `similarity` is that of question and `phrasing` alone; with
    `by_words` nothing but their words was compared, for a vector was not there (yet)."""

    id: str
    question: str
    phrasing: str
    answer: str
    category: str
    language: str
    score: float
    similarity: float = 0.0
    by_words: bool = False


class Citation(Record, frozen=True, kw_only=True):
    """`number` as the answer has it, `[1]`; `entry_id` is "" where nothing was retrieved for it."""

    number: int
    entry_id: str = ""


Decision = Literal["direct", "did_you_mean", "compose", "no_answer", "person_asked", "person"]
"""How the FAQ took part: its own answer without a model, entries to pick from, facts for the
model, or nothing that counts. With `person_asked` the question went to a person for that reason,
and `person` is that person's answer."""
