"""Makes prompts beside the engine thread, so that no running answer waits for a tokeniser.

One thread takes requests in order of arrival, renders and tokenises their prompts and indexes
them for drafts, and delivers each as exactly one `Ready` or `Unfit`. The engine bounds how many
it hands over; what it gave up meanwhile it recognises by the generation and ignores.
"""

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

from appliance.errors import Invalid
from appliance.worker.jobs import Generation
from appliance.worker.prompts import PromptMaker
from appliance.worker.sequence import Prepared

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """A generation as tokens."""

    generation: Generation
    prepared: Prepared


@dataclass(frozen=True, slots=True, eq=False)
class Unfit:
    """A generation that cannot be answered, with what `jobs.Rejected` says of it."""

    generation: Generation
    reason: str
    message: str
    hint: str = ""


class Preparation:
    """`deliver` is called on the preparing thread."""

    def __init__(self, prompts: PromptMaker, deliver: Callable[[Ready | Unfit], None]) -> None:
        self._prompts = prompts
        self._deliver = deliver
        self._queue: queue.SimpleQueue[Generation | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="prepare", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, generation: Generation) -> None:
        self._queue.put(generation)

    def stop(self) -> None:
        """End the thread after what it is working on."""
        self._queue.put(None)

    def _run(self) -> None:
        while (generation := self._queue.get()) is not None:
            self._deliver(self._prepare(generation))

    def _prepare(self, generation: Generation) -> Ready | Unfit:
        try:
            return Ready(generation, self._prompts.prepare(generation))
        except Invalid as error:
            return Unfit(generation, error.reason, error.message, error.hint)
        except Exception:
            log.exception("request %s: its prompt cannot be made", generation.request_id)
            return Unfit(generation, "engine_error", "the prompt could not be prepared")
