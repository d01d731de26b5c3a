"""What the end of a sequence in the engine means for the request: its terminal event."""

import re
from collections.abc import Sequence

from appliance.clock import now_ms
from appliance.schema.answers import Citation, PromptTokensDetails, Timings, Usage
from appliance.schema.events import Cancelled, Done, Event, Failed
from appliance.worker import jobs
from appliance.worker.held import Job

CITATIONS = 32
_CITED = re.compile(r"\[(\d{1,3})\]")
ASKED_TOO_MUCH = ("context_overflow", "grammar")  # reasons that the caller can mend


def ending(job: Job, output: jobs.Finished | jobs.Stopped | jobs.Rejected, model: str) -> Event:
    match output:
        case jobs.Finished():
            return Done(
                finish_reason=output.finish_reason,
                model=model,
                usage=usage(output),
                timings=_timings(job, output),
                cut_turns=job.work.cut_turns + output.cut_turns,
                decision=job.work.decision,
                citations=citations(output.text, job.work.entries),
            )
        case jobs.Stopped(reason="cancelled"):
            return Cancelled(reason="asked", usage=usage(output))
        case jobs.Stopped():
            return Failed(
                code="overloaded",
                reason="deadline",
                message="the answer was not finished before its deadline",
                hint="ask for less, or raise requests.deadline_s",
            )
        case jobs.Rejected(reason=reason, message=message, hint=hint):
            code = "invalid" if reason in ASKED_TOO_MUCH else "internal"
            return Failed(code=code, reason=reason, message=message, hint=hint)


def citations(text: str, entries: Sequence[str]) -> tuple[Citation, ...]:
    """The numbers an answer names in square brackets, in order, each with the entry it stands for.

    One that stands for none was made up by the model. Nothing is cited where nothing was given.
    """
    if not entries:
        return ()
    numbers = dict.fromkeys(int(found) for found in _CITED.findall(text))
    return tuple(
        Citation(number=n, entry_id=entries[n - 1] if 1 <= n <= len(entries) else "")
        for n in list(numbers)[:CITATIONS]
    )


def usage(ended: jobs.Finished | jobs.Stopped) -> Usage:
    return Usage(
        prompt_tokens=ended.prompt_tokens,
        completion_tokens=ended.completion_tokens,
        total_tokens=ended.prompt_tokens + ended.completion_tokens,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=ended.cached_tokens),
    )


def _timings(job: Job, ended: jobs.Finished) -> Timings:
    work = job.work
    new_tokens = ended.completion_tokens - ended.resumed_tokens
    return Timings(
        admitted_ms=work.admitted_at_ms - work.created_at_ms,
        first_token_ms=max(0, job.first_token_at_ms - work.created_at_ms),
        total_ms=now_ms() - work.created_at_ms,
        tokens_per_s=round(new_tokens / ended.decode_s, 1) if ended.decode_s > 0 else 0.0,
    )
