"""Answers a prompt in a process of its own and prints what it saw as JSON.

Which Vulkan devices there are is settled when the library loads, so each case needs a process.
Arguments: the model, layers asked for, free bytes of the GPU to pretend ("" for the real ones),
and the answer's length in tokens.
"""

import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock

import msgspec
from worker_bench import GREEDY, SMALL

from appliance.worker.backend import Backend, Chunk, Outcome
from appliance.worker.boot import BackendSettings, build_backend
from appliance.worker.llama_library import Library

PROMPT = "One, two, three, four,"


def main(model: str, layers: str, free_bytes: str, tokens: str) -> None:
    real = Library.devices

    def devices(library: Library) -> object:
        return [
            replace(one, free_bytes=int(free_bytes)) if free_bytes and one.kind != "cpu" else one
            for one in real(library)
        ]

    with mock.patch.object(Library, "devices", devices):
        backend = build_backend(
            BackendSettings(
                engine="llama",
                chat_model=Path(model),
                shape=SMALL,
                threads=1,
                gpu_layers=int(layers),
            )
        )
    answered = answer(backend, int(tokens))
    facts = backend.facts
    backend.shut_down()
    said = {
        "answer": answered,
        "device": facts.device,
        "devices": facts.devices,
        "alarms": facts.alarms,
    }
    sys.stdout.write(msgspec.json.encode(said).decode())


def answer(backend: Backend, count: int) -> list[int]:
    """Greedy tokens after the prompt; a device in software needs seconds for each."""
    tokens = [backend.facts.begin_token or 0, *backend.tokenize(PROMPT, special=False)]
    answered: list[int] = []
    position = 0
    backend.open(0, GREEDY, seed=1, answered=[])
    while len(answered) < count:
        outcome = backend.decode([Chunk(0, tokens, position, outputs=1)])
        assert outcome is Outcome.DONE, outcome
        position += len(tokens)
        tokens = [backend.sample(0)]
        answered += tokens
    return answered


if __name__ == "__main__":
    main(*sys.argv[1:])
