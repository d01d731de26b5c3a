"""What is told in a corner of the screen leaves it, however late it got there."""

import pytest
from stub_api import StubApi
from textual.notifications import Notification, Notify
from textual.widgets._toast import Toast
from ui_driver import new_app, running

from ui.client import Client

pytestmark = pytest.mark.ui


async def test_whatever_is_told_has_time_left_even_when_its_time_is_up(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A timer for less than no time never ends, and nothing else is done meanwhile."""
    app = new_app(client)
    told: list[Notify] = []
    monkeypatch.setattr(app, "post_message", told.append)
    app.notify("Done.")
    app.notify("It failed.", severity="error", timeout=8)
    for event in told:
        late = event.notification
        assert late.time_left > 1
        assert not late.has_expired
        late.raised_at -= 60
        assert late.time_left > 0
        assert late.has_expired
    assert [event.notification.timeout for event in told] == [app.NOTIFICATION_TIMEOUT, 8]


async def test_what_expires_while_it_is_being_shown_goes_and_the_screen_lives(
    api: StubApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = Toast.__init__
    late: list[Notification] = []

    def draw(toast: Toast, notification: Notification) -> None:
        late.append(notification)
        notification.raised_at -= 60
        drawn(toast, notification)

    monkeypatch.setattr(Toast, "__init__", draw)
    async with running(api) as driven:
        driven.app.notify("Too late.")
        await driven.until(lambda: late)
        await driven.type("hello")
        await driven.sees("hello")
        await driven.sees_no("Too late.")
