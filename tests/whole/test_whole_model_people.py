"""With the real model: two people with different tags get different, right answers."""

import json
import shutil
from collections.abc import Iterator

import platformdirs
import pytest
from conftest import ONE_THREAD, Running, eventually, start

pytestmark = pytest.mark.model

TAG_TIMEOUT_S = 240.0  # an aside waits for what people ask
TAGGING = """
[sessions]
titles = "model"
[people]
tagging = true
tagging_after = 2
[[people.vocabulary]]
tag = "cyclist"
meaning = "asks about bicycles"
[[people.vocabulary]]
tag = "accountant"
meaning = "asks about invoices and taxes"
"""
WEIGHTS = platformdirs.user_cache_path("sluice") / "models"


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One appliance with the starter models."""
    data = tmp_path_factory.mktemp("data")
    data.chmod(0o700)
    settings = f"[models]\ndirectory = {json.dumps(str(WEIGHTS))}\n{ONE_THREAD}{TAGGING}"
    (data / "settings.toml").write_text(settings, encoding="utf-8")
    assert WEIGHTS.is_dir(), "the tests' weights are missing: run `make models`"
    running = start(data)
    yield running
    assert running.stop() == 0
    shutil.rmtree(data)
    for stream in (running.process.stdout, running.process.stderr):
        if stream is not None:
            stream.close()


@pytest.mark.parametrize(
    ("question", "english"),
    [("On which floor is my canteen?", True), ("我的食堂在几楼？", False)],
)
def test_two_people_with_different_tags_get_different_right_answers(
    appliance: Running, question: str, english: bool
) -> None:
    language = "en" if english else "zh"
    words = "The canteen of this person is on floor {}." if english else "这个人的食堂在{}楼。"
    with appliance.client() as client:
        for floor in (7, 3):
            tag = f"{language}-{floor}"
            client.put(
                f"/api/fragments/{tag}", json={"text": words.format(floor), "tags": [tag]}
            ).raise_for_status()
            client.put(f"/api/users/{tag}", json={"tags": [tag]}).raise_for_status()
    for floor, other in ((7, 3), (3, 7)):
        session = appliance.session(f"{language}-{floor}")
        answer = appliance.answer(question, session, temperature=0, max_tokens=60)
        assert str(floor) in answer, answer
        assert str(other) not in answer, answer


def test_what_a_person_asks_gives_the_session_a_title_and_the_person_a_tag(
    appliance: Running,
) -> None:
    session = appliance.session("rider")
    for question in ("Where can I park my bicycle?", "Who repairs bicycles here?"):
        appliance.answer(question, session, temperature=0, max_tokens=20)
    with appliance.client() as client:

        def tagged() -> bool:
            found = client.get("/api/users/rider")
            return found.status_code == 200 and bool(found.json()["tags"])

        eventually(tagged, "a tag", within_s=TAG_TIMEOUT_S)
        details = client.get("/api/users/rider").json()["details"]
        assert ("cyclist", "job") in [(one["name"], one["source"]) for one in details]
        title = client.get(f"/api/sessions/{session}").json()["title"]
    assert 0 < len(title) <= 62
