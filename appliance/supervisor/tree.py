"""All children of one appliance: started in order, stopped in the opposite order.

The list is the start order. A child starts once the children it `needs` are ready (by default the
one before it), and is stopped once all that need it have ended, with one deadline for everything:
at each step a child gets an equal share of the time that is left, so one that hangs cannot take
the time of the store it writes to. A failed child stops nobody; what needs it waits, and goes on
when the operator retries it. A child that crashes later does not restart those that need it:
they reconnect. Children may be added and removed while the others run.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from appliance.errors import Conflict, NotFound
from appliance.schema.status import ChildStatus
from appliance.supervisor.child import Child, ChildSpec
from appliance.supervisor.machine import ALIVE

KILL_GRACE_S = 2.0  # between the last SIGKILL and giving up on the kernel

OnChange = Callable[[ChildStatus], None]

log = logging.getLogger("sluice.supervisor")


class Tree:
    """Owns the children. Put `run` in the appliance's task group and `stop` on the way out."""

    def __init__(self, specs: Sequence[ChildSpec], *, on_change: OnChange | None = None) -> None:
        """`on_change` hears every change of state or detail, on the event loop; keep it short."""
        self._on_change = on_change
        self._children = {spec.name: Child(spec, on_change=self._changed) for spec in specs}
        assert len(self._children) == len(specs), "children need distinct names"
        self._needs = _needs(specs)
        self._group: asyncio.TaskGroup | None = None
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._starts: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Starts everything and returns once `stop` is done. Cancelled, it kills what is left."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for child in self._children.values():
                self._live(group, child)
            await self._stopping.wait()
            for start in tuple(self._starts):
                start.cancel()
            await self._stopped.wait()
            for life in self._lives.values():
                life.cancel()

    def add(self, spec: ChildSpec) -> None:
        """Starts one more child, once those it needs are ready; it is stopped before them.

        Raises Conflict for a name that is taken and while everything stops.
        """
        if self._group is None or self._stopping.is_set():
            raise Conflict(
                "the appliance is starting or stopping", hint="try again later", reason="starting"
            )
        if spec.name in self._children:
            raise Conflict(
                f"a child named {spec.name} is there already",
                hint="remove it first",
                reason="child_exists",
            )
        last = next(reversed(self._children), None)
        needs = ((last,) if last else ()) if spec.needs is None else spec.needs
        for needed in needs:
            self._child(needed)
        child = self._children[spec.name] = Child(spec, on_change=self._changed)
        self._needs[spec.name] = needs
        self._live(self._group, child)

    async def remove(self, name: str, timeout_s: float) -> None:
        """Stops a child that no other needs and forgets it. Raises NotFound, Conflict."""
        child = self._commanded(name)
        if any(name in needed for needed in self._needs.values()):
            raise Conflict(f"others need {name}", hint="remove them first", reason="child_needed")
        child.stop(timeout_s)
        await self._ended(name)
        if self._stopping.is_set() or self._children.get(name) is not child:
            return
        life = self._lives.pop(name)
        life.cancel()
        await asyncio.wait([life])
        del self._children[name], self._needs[name]

    async def stop(self, timeout_s: float) -> None:
        """Stops all children in reverse order; nothing runs when it returns. Safe to repeat."""
        self._stopping.set()
        deadline = asyncio.get_running_loop().time() + timeout_s
        try:
            async with asyncio.timeout_at(deadline + KILL_GRACE_S), asyncio.TaskGroup() as group:
                for name in self._children:
                    group.create_task(self._stop(name, deadline))
        except TimeoutError:
            left = [child.name for child in self._children.values() if child.state in ALIVE]
            log.error("%s did not end after SIGKILL", ", ".join(left))
        self._stopped.set()

    def statuses(self) -> tuple[ChildStatus, ...]:
        """In start order."""
        return tuple(child.status() for child in self._children.values())

    async def wait_ready(self, name: str, timeout_s: float) -> ChildStatus:
        """The child's status once it is ready or failed, or when the time is over."""
        child = self._child(name)
        try:
            async with asyncio.timeout(timeout_s):
                await child.settled("ready", "failed")
        except TimeoutError:
            pass  # the status says what it is doing instead
        return child.status()

    def restart(self, name: str) -> None:
        """Stops and starts one child in good order."""
        self._commanded(name).restart()

    def retry(self, name: str) -> None:
        """Starts a child that failed or is waiting to be restarted."""
        self._commanded(name).retry()

    def kill(self, name: str) -> None:
        """Ends one child with SIGKILL, for the caller who found it alive but wedged."""
        self._child(name).kill()

    def _child(self, name: str) -> Child:
        try:
            return self._children[name]
        except KeyError:
            known = ", ".join(self._children)
            raise NotFound(
                f"no child is named {name}", hint=f"there are: {known}", reason="no_child"
            ) from None

    def _commanded(self, name: str) -> Child:
        if self._stopping.is_set():
            raise Conflict("the appliance is stopping", hint="start it again", reason="starting")
        return self._child(name)

    def _changed(self, child: Child) -> None:
        if self._on_change is not None:
            self._on_change(child.status())

    def _live(self, group: asyncio.TaskGroup, child: Child) -> None:
        self._lives[child.name] = group.create_task(child.run())
        start = group.create_task(self._start(child.name))
        self._starts.add(start)
        start.add_done_callback(self._starts.discard)

    async def _start(self, name: str) -> None:
        for needed in self._needs[name]:
            await self._children[needed].settled("ready")
        if name in self._children:
            self._children[name].start()

    async def _stop(self, name: str, deadline: float) -> None:
        for other, needed in tuple(self._needs.items()):
            if name in needed:
                await self._ended(other)
        if name not in self._children:
            return  # removed meanwhile
        left_s = max(deadline - asyncio.get_running_loop().time(), 0.0)
        self._children[name].stop(left_s / self._depth(name))
        await self._ended(name)

    async def _ended(self, name: str) -> None:
        child = self._children.get(name)
        if child is not None and (child.state in ALIVE or child.state == "backing_off"):
            await child.settled("stopped", "failed")

    def _depth(self, name: str) -> int:
        """How many stops must still follow one another, this one included."""
        return 1 + max((self._depth(needed) for needed in self._needs[name]), default=0)


def _needs(specs: Sequence[ChildSpec]) -> dict[str, tuple[str, ...]]:
    needs: dict[str, tuple[str, ...]] = {}
    for position, spec in enumerate(specs):
        before = (specs[position - 1].name,) if position else ()
        needs[spec.name] = before if spec.needs is None else spec.needs
        unknown = set(needs[spec.name]) - {earlier.name for earlier in specs[:position]}
        assert not unknown, f"{spec.name} needs {unknown}, which do not start before it"
    return needs
