"""What the end of a sequence in the engine means for the request: its terminal event."""

import time

from appliance.schema import Cancelled, Done, Event, Failed, PromptTokensDetails, Timings, Usage
from appliance.worker import jobs
from appliance.worker.held import Job

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
        total_ms=time.time_ns() // 1_000_000 - work.created_at_ms,
        tokens_per_s=round(new_tokens / ended.decode_s, 1) if ended.decode_s > 0 else 0.0,
    )
