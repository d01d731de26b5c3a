"""The settings file over HTTP: listed, checked, changed; what is in use stays until a restart."""

import pytest
from conftest import Running

pytestmark = pytest.mark.integration


def test_settings_are_checked_and_written_and_wait_for_a_restart(appliance: Running) -> None:
    with appliance.client() as client:
        page = client.get("/api/settings")
        items = {one["key"]: one for one in page.json()["items"]}
        before = items["faq.matches"]["value"]
        assert items["faq.matches"]["in_use"] == before
        assert page.headers["ETag"] == f'"{page.json()["version"]}"'

        wrong = client.patch("/api/settings", json={"changes": {"faq.matches": "99"}})
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "invalid")
        assert "faq.matches" in wrong.json()["error"]["message"]

        wanted = {"changes": {"faq.matches": "3"}}
        tried = client.patch("/api/settings", json=wanted, params={"dry_run": "true"})
        assert "faq.matches" in tried.json()["waiting"]
        assert client.get("/api/settings").headers["ETag"] == page.headers["ETag"]

        match = {"If-Match": page.headers["ETag"]}
        done = client.patch("/api/settings", json=wanted, headers=match)
        assert done.status_code == 200
        assert "faq.matches" in done.json()["waiting"]
        late = client.patch("/api/settings", json=wanted, headers=match)
        assert (late.status_code, late.json()["error"]["reason"]) == (409, "edited_since")
        back = client.patch("/api/settings", json={"changes": {"faq.matches": None}})
        items = {one["key"]: one for one in back.json()["items"]}
        assert (items["faq.matches"]["is_set"], items["faq.matches"]["in_use"]) == (False, before)
