"""Wall-clock time as it is stored and sent: Unix milliseconds.

What waits or measures uses the monotonic clock instead; a pure rule is handed its time.
"""

import time


def now_ms() -> int:
    return time.time_ns() // 1_000_000
