"""The built executable as a person has it: an own home, no Python on the path, real terminals."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

READY_TIMEOUT_S = 240.0
ANSWER_TIMEOUT_S = 240.0
STOP_TIMEOUT_S = 60.0


@dataclass
class Carried:
    """One executable in one home. `before` is put in front of its command."""

    file: Path
    home: Path
    before: tuple[str, ...] = ()
    errors: list[str] = field(default_factory=list)
    url: str = ""

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "bin").mkdir(exist_ok=True)

    @property
    def data(self) -> Path:
        return self.home / ".local/share/sluice"

    def environment(self, **more: str) -> dict[str, str]:
        empty = str(self.home / "bin")
        return {"HOME": str(self.home), "PATH": empty, "LANG": "C.UTF-8", "TERM": "xterm"} | more

    def command(self, *arguments: str) -> list[str]:
        return [*self.before, str(self.file), *arguments]

    def run(self, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(*arguments),
            env=self.environment(**more),
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=READY_TIMEOUT_S,
        )

    def serve(self, *arguments: str) -> "subprocess.Popen[str]":
        """Starts it and returns once it says that it is ready."""
        process = subprocess.Popen(
            self.command("serve", "--port", "0", *arguments),
            env=self.environment(),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        threading.Thread(target=self.errors.extend, args=(process.stderr,), daemon=True).start()
        timer = threading.Timer(READY_TIMEOUT_S, process.kill)
        timer.start()
        line = process.stdout.readline()
        timer.cancel()
        word, _, self.url = line.strip().partition(" ")
        assert word == "ready", "".join(self.errors[-40:])
        return process

    def client(self) -> httpx.Client:
        key = (self.data / "admin.key").read_text().strip()
        return httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=ANSWER_TIMEOUT_S,
            trust_env=False,
        )

    def await_index(self) -> None:
        """Returns once the FAQ is searchable; a start after a kill catches up in the background."""
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        with self.client() as client:
            while not client.get("/api/status").json()["faq"]["indexed"]:
                assert time.monotonic() < deadline, "the FAQ never became searchable"
                time.sleep(0.1)

    def answer(self, question: str) -> str:
        with self.client() as client:
            said = client.post(
                "/v1/chat/completions",
                json={"messages": [{"role": "user", "content": question}], "max_tokens": 60},
            )
        assert said.status_code == 200, said.text
        return str(said.json()["choices"][0]["message"]["content"])

    def ask(self, session: str, question: str) -> str:
        """Asks in a session; returns the request's id."""
        with self.client() as client:
            said = client.post(f"/api/sessions/{session}/messages", json={"text": question})
        assert said.status_code == 202, said.text
        return str(said.json()["request_id"])

    def followed(self, request_id: str) -> dict[str, str]:
        """The data of the last event of a request, with all of its text under `text`."""
        text, event = "", ""
        with (
            self.client() as client,
            client.stream("GET", f"/api/requests/{request_id}/events") as stream,
        ):
            for line in stream.iter_lines():
                name, _, value = line.partition(": ")
                event = value if name == "event" else event
                if name == "data" and event == "delta":
                    text += json.loads(value)["text"]
        return {"event": event, "text": text}


class Screen:
    """A command on a pseudo-terminal, fed with keys and read until something is shown."""

    def __init__(self, carried: Carried, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.process = subprocess.Popen(
            carried.command(*arguments),
            env=carried.environment(TERM="xterm-256color"),
            cwd=carried.home,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.output = b""

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def read_until(self, wanted: str) -> None:
        start, deadline = len(self.output), time.monotonic() + ANSWER_TIMEOUT_S
        while wanted.encode() not in self.output[start:]:
            ready, _, _ = select.select([self._ours], [], [], deadline - time.monotonic())
            piece = os.read(self._ours, 65_536) if ready else b""
            assert piece, f"never shown: {wanted!r} in {self.output[-3000:]!r}"
            self.output += piece

    def close(self) -> None:
        """Ends the program the hard way if it still runs."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(STOP_TIMEOUT_S)
        os.close(self._ours)
