"""Headless Chromium, spoken to in its own protocol: real key presses, console errors, requests, pictures of pages."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
MISSING = "no Chromium on the PATH (Debian: apt-get install chromium)"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
]
PATIENCE_SECONDS = 120  # generous: a test that waits is late, one that gives up is wrong
CODES = {
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
    "Escape": 27,
    "Enter": 13,
    "Tab": 9,
    " ": 32,
}


class Page:
    """One tab; `errors` and `requests` fill up while it is spoken to."""

    def __init__(self, socket: ClientConnection, session: str) -> None:
        self._socket, self._session, self._numbers = socket, session, itertools.count(1)
        self._events: list[dict] = []
        self.errors: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "sessionId": self._session, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=PATIENCE_SECONDS))
            if message.get("id") == number and message.get("sessionId") == self._session:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            self._hear(message)

    def go(self, address: str) -> None:
        """Open an address and wait until it has loaded."""
        self._events.clear()
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    def view(self, width: int = 1280, height: int = 900, *, dark: bool = False, media: str = "") -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, condition: str, seconds: float = PATIENCE_SECONDS) -> None:
        until = time.monotonic() + seconds
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < until, f"never came true: {condition}"
            time.sleep(0.02)

    def press(self, key: str, *, up: bool = True) -> None:
        """Press a key as a person does; `up=False` holds it down."""
        self._key("keyDown", key)
        if up:
            self.release(key)

    def release(self, key: str) -> None:
        self._key("keyUp", key)

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **self._clip(whole))
        path.write_bytes(base64.b64decode(shot["data"]))

    def load_pictures(self) -> list[dict]:
        """Scroll to every picture, wait for it, and say of each what it is."""
        return self.run(LOAD_PICTURES)

    def _clip(self, whole: bool) -> dict:
        if not whole:
            return {}
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}

    def _key(self, kind: str, key: str) -> None:
        text = {"text": key} if kind == "keyDown" and len(key) == 1 else {}
        code = CODES.get(key, ord(key.upper()) if len(key) == 1 else 0)
        self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text)

    def _hear(self, message: dict) -> None:
        params = message.get("params", {})
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif message.get("method") == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(params["exceptionDetails"])[:2000])
        elif message.get("method") == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif message.get("method") == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.errors.append(json.dumps(params["args"])[:2000])


LOAD_PICTURES = """(async () => {
  for (const closed of document.querySelectorAll('details:not([open])')) closed.open = true;
  const seen = [];
  for (const image of document.images) {
    image.loading = 'eager';
    await image.decode().catch(() => {});
    seen.push({src: image.getAttribute('src'), width: image.naturalWidth, alt: image.alt});
  }
  return seen;
})()"""


@contextmanager
def browser(*flags: str) -> Iterator[Page]:
    """A started Chromium with one empty tab, and more flags; it and its folder are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [CHROMIUM, *FLAGS, *flags, f"--user-data-dir={profile}", "about:blank"],
            env={**os.environ, "TMPDIR": profile},  # it leaves folders of its own behind
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with _connect(_address(Path(profile), process)) as socket:
                yield Page(socket, _tab(socket))
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)


def _connect(address: str) -> ClientConnection:
    """Without pings: on a busy machine a browser that is late is not one that is gone."""
    return connect(address, max_size=None, compression=None, open_timeout=PATIENCE_SECONDS, ping_interval=None)


def _address(profile: Path, process: subprocess.Popen) -> str:
    """Where the started browser listens: it writes port and path to a file."""
    until = time.monotonic() + PATIENCE_SECONDS
    port_file = profile / "DevToolsActivePort"
    while not (port_file.exists() and len(port_file.read_text().splitlines()) == 2):
        assert process.poll() is None, f"Chromium ended with {process.returncode}"
        assert time.monotonic() < until, "Chromium did not start"
        time.sleep(0.05)
    port, path = port_file.read_text().splitlines()
    return f"ws://127.0.0.1:{port}{path}"


def _tab(socket: ClientConnection) -> str:
    """The session of a new tab."""
    target = _ask(socket, "Target.createTarget", url="about:blank")["targetId"]
    return _ask(socket, "Target.attachToTarget", targetId=target, flatten=True)["sessionId"]


def _ask(socket: ClientConnection, method: str, **params: Any) -> dict:
    socket.send(json.dumps({"id": 0, "method": method, "params": params}))
    while True:
        message = json.loads(socket.recv(timeout=PATIENCE_SECONDS))
        if message.get("id") == 0:
            return message["result"]
