"""The length model against what is known of the numbers it was given."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.prediction.features import WORD_FEATURES, Asked, Vector, features
from appliance.prediction.model import FADING, PRIOR_TOKENS, RIDGE, LengthModel

pytestmark = pytest.mark.unit

SIZE = 8


def made_up(count: int, *, seed: int, noise: float) -> tuple[list[Vector], list[int]]:
    """Rows whose answers' logarithms are linear in them, but for noise of this deviation."""
    random = np.random.default_rng(seed)
    truth = random.normal(size=SIZE)
    rows, tokens = [], []
    for _ in range(count):
        vector = random.normal(size=SIZE)
        vector /= np.linalg.norm(vector)
        rows.append(features(Asked(text="", vector=vector.tolist()), SIZE))
        log_tokens = 4.5 + truth @ vector + noise * random.normal()
        tokens.append(max(1, round(float(np.exp(log_tokens)))))
    return rows, tokens


def trained(rows: list[Vector], tokens: list[int]) -> LengthModel:
    model = LengthModel(SIZE)
    for row, count in zip(rows, tokens, strict=True):
        model.learn(row, count, cut=False)
    return model


def test_before_any_answer_a_prediction_is_the_prior() -> None:
    found = LengthModel(SIZE).predict(features(Asked(text=""), SIZE), bound=4096)
    assert found.p50 == pytest.approx(PRIOR_TOKENS)
    assert found.p50 < found.p80 < found.p95 < 20 * PRIOR_TOKENS


def test_learning_one_by_one_is_ridge_regression_over_all() -> None:
    rows, tokens = made_up(60, seed=1, noise=0.3)
    x = np.array([[1.0, *row] for row in rows])
    y = np.log(tokens) - np.log(PRIOR_TOKENS)
    age = FADING ** np.arange(len(rows) - 1, -1, -1)
    ridge = np.diag([1.0] + [RIDGE] * (x.shape[1] - 1)) * FADING ** len(rows)
    weights = np.linalg.solve(x.T @ (age[:, None] * x) + ridge, x.T @ (age * y))
    found = trained(rows, tokens).save().weights
    found = found - np.eye(len(found))[0] * np.log(PRIOR_TOKENS)
    assert found == pytest.approx(weights, abs=1e-6)


def test_quantiles_cover_as_often_as_they_say() -> None:
    rows, tokens = made_up(3_000, seed=2, noise=0.7)
    model = trained(rows[:2_000], tokens[:2_000])
    found = [model.predict(row, bound=100_000) for row in rows[2_000:]]
    real = tokens[2_000:]
    for name, share in (("p50", 0.5), ("p80", 0.8), ("p95", 0.95)):
        covered = np.mean([r <= getattr(f, name) for f, r in zip(found, real, strict=True)])
        assert covered == pytest.approx(share, abs=0.05), name


def test_longer_answers_are_predicted_longer() -> None:
    rows, tokens = made_up(600, seed=3, noise=0.1)
    model = trained(rows[:500], tokens[:500])
    found = [model.predict(row, bound=100_000).p50 for row in rows[500:]]
    assert float(np.corrcoef(np.log(found), np.log(tokens[500:]))[0, 1]) > 0.9


def test_an_answer_that_was_cut_teaches_only_that_it_was_longer() -> None:
    row = features(Asked(text="list ten things"), SIZE)
    model = LengthModel(SIZE)
    model.learn(row, 10, cut=True)
    assert model.predict(row, bound=4096).p50 == pytest.approx(PRIOR_TOKENS)
    model.learn(row, 2_000, cut=True)
    assert model.predict(row, bound=4096).p50 > PRIOR_TOKENS


@given(bound=st.integers(1, 5_000), text=st.text(max_size=200), chars=st.integers(0, 10_000))
@settings(max_examples=60)
def test_quantiles_are_ordered_and_within_the_bound(bound: int, text: str, chars: int) -> None:
    model = trained(*made_up(50, seed=4, noise=0.5))
    found = model.predict(features(Asked(text=text, answer_chars=chars), SIZE), bound=bound)
    assert 1 <= found.p50 <= found.p80 <= found.p95 <= bound + 1e-6


def test_a_saved_model_predicts_the_same() -> None:
    rows, tokens = made_up(200, seed=5, noise=0.5)
    model = trained(rows, tokens)
    again = LengthModel(SIZE)
    assert again.load(model.save())
    assert again.predict(rows[0], bound=4096) == model.predict(rows[0], bound=4096)


def test_a_model_of_another_size_or_with_broken_numbers_is_not_loaded() -> None:
    saved = trained(*made_up(50, seed=6, noise=0.5)).save()
    assert not LengthModel(SIZE + 1).load(saved)
    saved.weights[3] = np.nan
    assert not LengthModel(SIZE).load(saved)


def test_the_form_that_is_asked_for_counts_in_both_languages() -> None:
    english = features(Asked(text="Write a story about a fox"), 0)
    chinese = features(Asked(text="写一个关于狐狸的故事"), 0)
    both = [n for n in range(8, WORD_FEATURES) if english[n] and chinese[n]]
    assert len(both) >= 2
    assert features(Asked(text="", vector=[1.0] * 3), SIZE)[WORD_FEATURES:].tolist() == [0.0] * SIZE


@pytest.mark.parametrize(
    ("beside", "alone"),
    [
        ("用python写", "用 python 写"),
        ("一条SQL语句", "一条 SQL 语句"),
        ("add函数a的", "add 函数 a 的"),
    ],
)
def test_a_latin_word_counts_beside_han_characters(beside: str, alone: str) -> None:
    def forms(text: str) -> list[float]:
        return [float(one) for one in features(Asked(text=text), 0)[8:WORD_FEATURES]]

    assert forms(beside) == forms(alone)


def test_a_letter_with_an_accent_is_no_border_of_a_word() -> None:
    assert not features(Asked(text="éa"), 0)[8:WORD_FEATURES].any()
