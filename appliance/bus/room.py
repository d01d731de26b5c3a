"""How much room the store has left, in its memory and on its disk, by what it says of itself."""

from dataclasses import dataclass

from appliance.bus.client import Bus

NEARLY = 0.9


@dataclass(frozen=True, slots=True)
class Room:
    """`bound_bytes` 0 is without bound; `disk_works` False means that its last write failed."""

    used_bytes: int
    bound_bytes: int
    disk_works: bool

    @property
    def is_full(self) -> bool:
        return not self.disk_works or 0 < self.bound_bytes <= self.used_bytes

    @property
    def is_scarce(self) -> bool:
        """Full, or nearly so."""
        return self.is_full or 0 < NEARLY * self.bound_bytes <= self.used_bytes


async def room(bus: Bus) -> Room:
    """Raises what the store raises, which may refuse to be asked."""
    told = await bus.info("memory", "persistence")
    return Room(
        used_bytes=int(told.get("used_memory", 0)),
        bound_bytes=int(told.get("maxmemory", 0)),
        disk_works=told.get("aof_last_write_status", "ok") == "ok",
    )
