"""The calls of the first start's questions, over the client's connection."""

from appliance.schema.setup import DownloadPost, DownloadStatus, SetupPut, SetupStatus, UiLanguage
from ui.answers import parse
from ui.client import Client


class SettingUp:
    """What the operator settles once. Raises `Forbidden` for anybody else."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def status(self) -> SetupStatus:
        return await self._client.get("/api/setup", SetupStatus)

    async def finish(self) -> SetupStatus:
        return await self._put(SetupPut(done=True))

    async def choose_language(self, language: UiLanguage) -> SetupStatus:
        return await self._put(SetupPut(language=language))

    async def choose_model(self, name: str) -> SetupStatus:
        """The server starts anew with it; `restarting` is true until it does."""
        return await self._put(SetupPut(chat=name))

    async def download(self, name: str) -> DownloadStatus:
        """Begins, or goes on with what has arrived."""
        return await self._client.write(
            "POST", "/api/setup/download", DownloadStatus, DownloadPost(name=name)
        )

    async def pause_download(self) -> DownloadStatus:
        response = await self._client.send_call("POST", "/api/setup/download/pause")
        return parse(response.content, DownloadStatus)

    async def _put(self, wanted: SetupPut) -> SetupStatus:
        response = await self._client.send_call("PUT", "/api/setup", body=wanted)
        return parse(response.content, SetupStatus)
