"""`/api/settings`: the settings file, for the operator alone.

Values are checked as at a start before the file is written, and its comments stay. What is changed
counts from the next start; nothing is restarted here.
"""

import asyncio
from functools import partial
from typing import Annotated

from litestar import Response, Router, get, patch
from litestar.params import Parameter

from appliance.api.lists import IfMatch
from appliance.api.services import Services
from appliance.schema.settings import SettingsPage, SettingsPatch

DryRun = Annotated[bool, Parameter(description="Only check; nothing is written.")]


@get("/")
async def read_settings(services: Services) -> Response[SettingsPage]:
    """Every key with its explanation, default and value. Secrets are not told."""
    return _tagged(await asyncio.to_thread(services.settings_file.read))


@patch("/")
async def change_settings(
    services: Services, data: SettingsPatch, if_match: IfMatch = None, dry_run: DryRun = False
) -> Response[SettingsPage]:
    """All of the changes or none; `waiting` names the keys that count from the next start."""
    seen = (if_match or "").strip().strip('"')
    change = partial(
        services.settings_file.change,
        data.changes,
        seen="" if seen == "*" else seen,
        is_rehearsal=dry_run,
    )
    return _tagged(await asyncio.to_thread(change))


def _tagged(page: SettingsPage) -> Response[SettingsPage]:
    return Response(page, headers={"ETag": f'"{page.version}"'})


router = Router("/api/settings", route_handlers=[read_settings, change_settings])
