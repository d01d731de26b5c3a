"""The terminal UI with a person's key, against the real appliance: what is theirs, and no more."""

import pytest
from conftest import Running
from test_whole_faq_desks import ENGLISH, Seen

from ui.app import SluiceApp
from ui.client import Client

pytestmark = pytest.mark.integration


async def test_a_person_sees_their_own_sessions_inbox_and_sources(appliance: Running) -> None:
    question, answer = "Where is the lost property office?", "Beside the north gate."
    with appliance.client() as admin:
        made = admin.post("/api/keys", json={"role": "person", "name": "Ana", "uid": "ana"}).json()
        entry = admin.post("/api/faq", json={"question": question, "answer": answer})
        assert entry.status_code == 201, entry.text
        sent = admin.post("/api/users/ana/inbox", json={"text": "Your umbrella was found."})
        assert sent.status_code == 201, sent.text
    appliance.answer(question, appliance.session("ana"))
    client = Client(appliance.url, made["key"])
    app = SluiceApp(client, ENGLISH)
    try:
        async with app.run_test(size=(110, 40), notifications=True) as pilot:
            seen = Seen(app, pilot)
            await seen.sees(ENGLISH.link_up, "F9 Inbox 1")
            await pilot.press("f3")
            await seen.sees("FAQ is not for this key", ENGLISH.link_up)
            await pilot.press("ctrl+down")
            await seen.sees(question, answer)
            await pilot.press("ctrl+b", "o")
            await seen.sees(ENGLISH.chat.source_as_cited, answer)
            await pilot.press("escape", "f9")
            await seen.sees("Your umbrella was found.")
            await pilot.press("a")
            await seen.sees("unread: 0", ENGLISH.link_up)
    finally:
        await client.close()
    with appliance.client() as admin:
        assert admin.get("/api/users/ana/inbox").json()["unread"] == 0
        me = {"role": "admin", "name": "admin", "uid": ""}
        assert admin.get("/api/me").json() == me
