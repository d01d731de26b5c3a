"""Each person is addressed as themselves: tags, fragments and what the model is told."""

import pytest
from conftest import Running

pytestmark = pytest.mark.integration


def test_two_people_with_different_tags_are_answered_from_different_words(
    appliance: Running,
) -> None:
    with appliance.client() as client:
        for city, floor in (("berlin", 7), ("上海", 2)):
            put = client.put(
                f"/api/fragments/floor-{floor}",
                json={
                    "text": f"The canteen is on floor {floor}. 食堂在{floor}楼。",
                    "tags": [city],
                },
            )
            assert put.status_code == 200, put.text
        client.put("/api/users/ann", json={"attributes": {"name": "Ann"}, "tags": ["berlin"]})
        client.put("/api/users/bao", json={"attributes": {"name": "宝"}, "tags": ["上海"]})
        for uid, mine, other in (("ann", 7, 2), ("bao", 2, 7)):
            preview = client.get(f"/api/users/{uid}/prompt").json()
            assert f"floor {mine}." in preview["system"]
            assert f"floor {other}." not in preview["system"]
            assert [one["name"] for one in preview["fragments"]] == [f"floor-{mine}"]
            session = appliance.session(uid)
            first = appliance.ask("Where is the canteen?", session)
            list(appliance.follow(first))
            sent = client.get(f"/api/requests/{first}/prompt").json()
            assert sent["messages"][0]["content"] == preview["system"]
            assert "Where is the canteen?" in sent["messages"][-1]["content"]
            assert sent["exact"] is True
            second = appliance.ask("And when?", session)
            list(appliance.follow(second))
            audit = client.get(f"/api/requests/{second}/prompt").json()
            assert audit["messages"][:2] == sent["messages"]
            assert len(audit["messages"]) == 4


def test_a_tag_is_put_on_shown_with_its_source_and_taken_off(appliance: Running) -> None:
    with appliance.client() as client:
        client.put("/api/users/tom", json={"tags": ["one"]})
        put = client.put("/api/users/tom/tags/新人", json={"note": "started today"})
        assert put.status_code == 200, put.text
        details = {one["name"]: one for one in put.json()["details"]}
        assert details["新人"]["source"] == "operator"
        assert details["新人"]["note"] == "started today"
        off = client.delete("/api/users/tom/tags/新人")
        assert off.json()["tags"] == ["one"]
        again = client.delete("/api/users/tom/tags/新人")
        assert again.status_code == 404
        assert again.json()["error"]["hint"]


def test_a_changed_profile_counts_in_the_next_session_or_after_a_refresh(
    appliance: Running,
) -> None:
    with appliance.client() as client:
        client.put("/api/users/kim", json={"attributes": {"room": "A1"}})
        session = appliance.session("kim")

        def told() -> str:
            request_id = appliance.ask("hello", session)
            list(appliance.follow(request_id))
            sent = client.get(f"/api/requests/{request_id}/prompt").json()
            return str(sent["messages"][0]["content"])

        assert "A1" in told()
        client.patch("/api/users/kim", json={"attributes": {"room": "B2"}})
        assert "A1" in told()
        assert client.post(f"/api/sessions/{session}/refresh").status_code == 202
        assert "B2" in told()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/fragments/x", {"text": ""}),
        ("/api/fragments/x", {"text": "x" * 4001}),
        ("/api/fragments/UPPER", {"text": "x"}),
        ("/api/users/u/tags/" + "x" * 65, {}),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    appliance: Running, path: str, body: dict[str, object]
) -> None:
    with appliance.client() as client:
        answer = client.put(path, json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["hint"]


def test_more_users_than_are_read_in_one_call_are_refused_and_not_cut(appliance: Running) -> None:
    with appliance.client() as client:
        client.put("/api/users/last", json={"tags": ["one"]})
        uids = [*(f"nobody-{n}" for n in range(99)), "last"]
        found = client.get("/api/users", params={"ids": ",".join(uids)})
        assert [one["id"] for one in found.json()["items"]] == ["last"]
        refused = client.get("/api/users", params={"ids": ",".join(["more", *uids])})
        assert refused.status_code == 400
        assert "at most 100" in refused.json()["error"]["message"]
