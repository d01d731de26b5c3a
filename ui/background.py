"""Starts work that goes on beside the screen, as a Textual worker of the node it belongs to.

The work is given as a function, not as a coroutine: one that is given up before it started would
otherwise be a coroutine that nobody awaited.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from textual.dom import DOMNode
from textual.worker import Worker

Work = Callable[[], Coroutine[Any, Any, None]]  # Any: what a coroutine is sent, unused


def start(node: DOMNode, work: Work, *, group: str, exclusive: bool = False) -> Worker[None]:
    """Runs `work` until it ends or `node` goes; `exclusive` gives up what runs in its group."""
    worker: Worker[None] = node.run_worker(work, group=group, exclusive=exclusive)
    return worker
