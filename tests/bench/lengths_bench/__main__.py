"""The command; see the package."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import platformdirs
from numpy.typing import NDArray

from appliance.prediction.features import Asked, features
from appliance.prediction.lengths import kendall_tau
from appliance.prediction.model import LengthModel
from lengths_bench import baselines, starters
from models.store import Store

SPLITS = 5
TRAIN_SHARE = 0.7
BOUND = 4096
RIDGES = (1.0, 3.0, 10.0)  # each baseline gets the one that serves it best


@dataclass
class Row:
    """Kendall's tau of one predictor per split."""

    name: str
    taus: list[float] = field(default_factory=list)

    def line(self) -> str:
        return f"| {self.name} | {np.mean(self.taus):.3f} | {np.std(self.taus):.3f} |"


@dataclass
class Ours:
    """What else is asked of the product's predictor."""

    covered: list[float] = field(default_factory=list)
    predict_ms: list[float] = field(default_factory=list)
    error: list[float] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(prog="lengths_bench", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--ceiling", type=int, default=0, metavar="N")
    given = parser.parse_args()
    pairs = [pair for path in given.files for pair in json.loads(path.read_text("utf-8"))]
    texts = [f"{pair['instruction']}\n{pair['input']}".strip() for pair in pairs]
    store = Store(platformdirs.user_cache_path("sluice", appauthor=False) / "models")
    backend = starters.load(store.starter("chat"), store.starter("embedding"))
    tokens = starters.token_counts(backend, [pair["output"] for pair in pairs])
    vectors = starters.vectors(backend, texts)
    show(*compare(texts, vectors, tokens))
    if given.ceiling:
        chosen = np.random.default_rng(0).permutation(len(texts))[: given.ceiling]
        asked = [texts[n] for n in chosen]
        first = starters.answer_lengths(backend, asked, seed=1)
        second = starters.answer_lengths(backend, asked, seed=100_001)
        tau = kendall_tau(first.astype(float), second.astype(float))
        say(f"\nTwo runs of the starter model on {len(asked)} of them agree to tau {tau:.3f}.")
    backend.shut_down()
    return 0


def compare(
    texts: Sequence[str], vectors: NDArray[np.float64], tokens: NDArray[np.int64]
) -> tuple[list[Row], Ours]:
    names = ("prompt length", "lexical", "TF-IDF", "this product")
    rows, ours = {name: Row(name) for name in names}, Ours()
    for split in range(SPLITS):
        order = np.random.default_rng(split).permutation(len(texts))
        cut = int(TRAIN_SHARE * len(order))
        train, test = order[:cut], order[cut:]
        real = tokens[test].astype(float)
        known, asked = [texts[n] for n in train], [texts[n] for n in test]
        targets = np.log(tokens[train])
        rows["prompt length"].taus.append(kendall_tau(baselines.prompt_length(asked), real))
        for name, predictor in (("lexical", baselines.lexical), ("TF-IDF", baselines.tf_idf)):
            found = [predictor(known, targets, asked, ridge=ridge) for ridge in RIDGES]
            rows[name].taus.append(max(kendall_tau(one, real) for one in found))
        rows["this product"].taus.append(judge(texts, vectors, tokens, train, test, ours))
    return list(rows.values()), ours


def judge(
    texts: Sequence[str],
    vectors: NDArray[np.float64],
    tokens: NDArray[np.int64],
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    ours: Ours,
) -> float:
    """Tau of the product's predictor, which learns from one answer after the other."""
    model = LengthModel(vectors.shape[1])

    def row(n: int) -> NDArray[np.float32]:
        return features(Asked(text=texts[n], vector=vectors[n].tolist()), vectors.shape[1])

    for n in train:
        model.learn(row(n), int(tokens[n]), cut=False)
    started_s = time.process_time()
    found = [model.predict(row(n), bound=BOUND) for n in test]
    ours.predict_ms.append(1000 * (time.process_time() - started_s) / len(test))
    real = tokens[test]
    middle = np.array([one.p50 for one in found])
    within = [count <= one.p80 for one, count in zip(found, real, strict=True)]
    ours.covered.append(float(np.mean(within)))
    ours.error.append(float(np.abs(np.log(real / middle)).mean()))
    return kendall_tau(middle, real.astype(float))


def show(rows: Sequence[Row], ours: Ours) -> None:
    say("| predictor | Kendall's tau | deviation over splits |\n|---|---|---|")
    for row in rows:
        say(row.line())
    say(
        f"\nOurs: the 80 % quantile covers {100 * np.mean(ours.covered):.1f} %, "
        f"mean |ln(real/predicted)| {np.mean(ours.error):.2f}, "
        f"{np.mean(ours.predict_ms):.3f} ms per prediction beyond the embedding."
    )


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
