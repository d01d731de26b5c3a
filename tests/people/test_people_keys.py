"""API keys on a real Valkey: shown once, kept as a hash, gone when deleted."""

import msgspec
import pytest

from appliance import keys
from appliance.bus.client import Bus
from appliance.errors import Invalid, NotFound, Unauthorized
from appliance.people.api_keys import ApiKeys
from appliance.schema.people import ApiKeyPost

pytestmark = pytest.mark.integration

SERVICE = ApiKeyPost(role="service", name="crm")


async def test_a_key_is_found_by_its_secret_which_is_kept_nowhere(bus: Bus) -> None:
    api_keys = ApiKeys(bus, 10)
    made = await api_keys.create(ApiKeyPost(role="person", name="Lin", uid="lin"))
    found = await api_keys.find(made.key)
    assert found is not None
    assert (found.id, found.role, found.uid) == (made.id, "person", "lin")
    for name in (keys.API_KEYS, keys.API_KEY_HASHES):
        assert made.key.encode() not in repr(await bus.hgetall(name)).encode()
    for wrong in ("", made.key[:-1], made.key + "x", "sk-sluice-", "Bearer", "密" * 50):
        assert await api_keys.find(wrong) is None


async def test_a_deleted_key_is_found_no_more_and_a_persons_go_together(bus: Bus) -> None:
    api_keys = ApiKeys(bus, 10)
    kept = await api_keys.create(SERVICE)
    gone = await api_keys.create(SERVICE)
    await api_keys.delete(gone.id)
    assert await api_keys.find(gone.key) is None
    with pytest.raises(NotFound):
        await api_keys.delete(gone.id)
    for _ in range(2):
        await api_keys.create(ApiKeyPost(role="person", name="Lin", uid="lin"))
    assert await api_keys.erase("lin") == 2
    assert [key.id for key in await api_keys.all()] == [kept.id]


async def test_a_key_lets_in_until_it_expires_and_stays_listed(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000
    monkeypatch.setattr("appliance.people.api_keys.now_ms", lambda: now)
    api_keys = ApiKeys(bus, 10)
    made = await api_keys.create(ApiKeyPost(role="service", name="crm", days=0.5))
    lasting = await api_keys.create(SERVICE)
    assert (made.expires_at_ms, lasting.expires_at_ms) == (1_000 + 43_200_000, 0)
    now = made.expires_at_ms - 1
    assert await api_keys.find(made.key) is not None
    now = made.expires_at_ms
    with pytest.raises(Unauthorized, match="expired") as refused:
        await api_keys.find(made.key)
    assert refused.value.reason == "key_expired"
    assert "operator" in refused.value.hint
    now *= 1_000
    assert await api_keys.find(lasting.key) is not None
    assert made.id in [key.id for key in await api_keys.all()]


async def test_a_key_of_before_keys_expired_lets_in(bus: Bus) -> None:
    api_keys = ApiKeys(bus, 10)
    made = await api_keys.create(SERVICE)
    body = await bus.hget(keys.API_KEYS, made.id) or b""
    stored = msgspec.json.decode(body)
    del stored["expires_at_ms"]
    await bus.hset(keys.API_KEYS, mapping={made.id: msgspec.json.encode(stored)})
    assert await api_keys.find(made.key) is not None


async def test_keys_are_bounded_and_belong_to_whom_they_should(bus: Bus) -> None:
    api_keys = ApiKeys(bus, 1)
    for body in (
        ApiKeyPost(role="person", name="nobody's"),
        ApiKeyPost(role="service", name="crm", uid="lin"),
    ):
        with pytest.raises(Invalid):
            await api_keys.create(body)
    await api_keys.create(SERVICE)
    with pytest.raises(Invalid):
        await api_keys.create(SERVICE)
