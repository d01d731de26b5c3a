"""`sluice faq`: what an operator does to the FAQ of a running appliance, over its API."""

import sys

import httpx
import msgspec

from appliance.errors import EXIT_OK, NotFound, Unavailable
from appliance.runtime.keyfile import FILE_NAME as KEY_NAME
from appliance.runtime.options import Options
from appliance.schema.status import FaqStatus
from appliance.supervisor.directory import prepare_data_directory
from appliance.supervisor.lock import sight

TIMEOUT_S = 30.0


def reindex(options: Options) -> int:
    """Asks for a new index and returns; the appliance builds it while the present one serves.

    Raises NotFound when none runs on the data directory, Unavailable when it does not take it.
    """
    data = prepare_data_directory(options.data_directory)
    seen = sight(data)
    if seen.running is None or seen.state != "running":
        raise NotFound(f"no appliance runs on {data}", hint="start one with `sluice serve`")
    key = (data / KEY_NAME).read_text("utf-8").strip()
    try:
        answer = httpx.post(
            f"{seen.running.url}/api/faq/reindex",
            headers={"Authorization": f"Bearer {key}"},
            timeout=TIMEOUT_S,
            trust_env=False,  # a proxy of the environment would be told the key
        )
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise Unavailable(f"the appliance did not take it: {error}", hint="see its log") from None
    status = msgspec.json.decode(answer.content, type=FaqStatus)
    sys.stdout.write(
        f"a new index of {status.entries} entries is being filled; the present one serves until "
        "then, and /api/status tells how far it is\n"
    )
    return EXIT_OK
