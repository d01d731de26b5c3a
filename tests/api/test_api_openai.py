"""OpenAI's shape in ours."""

import pytest

from appliance.api.openai_asking import chat_message
from appliance.api.openai_bodies import Message, Part
from appliance.schema.requests import ChatMessage

pytestmark = pytest.mark.unit


def test_an_application_s_system_message_is_shared_by_its_users_and_a_person_s_by_nobody() -> None:
    given = Message(
        role="developer",
        content=(Part(type="text", text="be"), Part(type="text", text="kind")),
    )
    shared = chat_message(given, shared=True)
    assert shared == ChatMessage(role="system", content="be\nkind", public_chars=7)
    assert chat_message(given, shared=False).public_chars == 0
    question = Message(role="user", content="why?")
    assert chat_message(question, shared=True) == ChatMessage(role="user", content="why?")
