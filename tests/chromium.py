"""A real browser for tests: Chromium without a window, spoken to over a pipe in the DevTools protocol.

No driver, no port and no network: https://chromedevtools.github.io/devtools-protocol/, `--remote-debugging-pipe`.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

# Quiet: nothing of the browser's own asks for the network.
_FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--enable-precise-memory-info",
    "--remote-debugging-pipe",
)
_PATIENCE_S: Final = 30.0
_KEYS: Final = {
    "Tab": (9, ""),
    "Enter": (13, "\r"),
    " ": (32, " "),
    "ArrowRight": (39, ""),
    "ArrowLeft": (37, ""),
    "Home": (36, ""),
    "End": (35, ""),
}


class Chromium:
    """One browser with one tab; a context manager that ends it."""

    def __init__(self, profile: Path) -> None:
        binary = shutil.which("chromium") or shutil.which("chromium-browser")
        if binary is None:
            pytest.skip("no chromium on this machine")
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()

        def connect() -> None:
            # By way of two high numbers: 3 or 4 may be one of the pipes' own ends.
            reading, writing = os.dup(to_browser), os.dup(from_browser)
            high = (os.dup2(reading, 103), os.dup2(writing, 104))
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self._process = subprocess.Popen(
            [binary, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=connect,  # noqa: PLW1509 - only copies numbers of open files
            close_fds=False,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._asked = 0
        self._buffer = b""
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *ending: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def page(self) -> Tab:
        """A new tab in a profile of its own, with nothing stored."""
        context = self.send("Target.createBrowserContext")["browserContextId"]
        target = self.send("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(browser=self, session=session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.send(f"{domain}.enable")
        return tab

    def send(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Ask, wait for the answer, and keep what happens meanwhile in `events`."""
        self._asked += 1
        number = self._asked
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        os.write(self._out, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        while True:
            found = self.receive()
            if found.get("id") == number:
                if "error" in found:
                    raise AssertionError(f"{method}: {found['error']['message']}")
                return dict(found["result"])

    def receive(self) -> dict[str, Any]:
        """The next message; an event is kept as well."""
        deadline = time.monotonic() + _PATIENCE_S
        while b"\0" not in self._buffer:
            if not select.select([self._in], [], [], max(deadline - time.monotonic(), 0))[0]:
                raise AssertionError(f"chromium said nothing for {_PATIENCE_S:.0f} s")
            read = os.read(self._in, 1 << 20)
            if not read:
                raise AssertionError("chromium ended")
            self._buffer += read
        message, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        if "method" in found:
            self.events.append(found)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Tab:
    """One page, as its reader uses it."""

    browser: Chromium
    session: str

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command to this tab."""
        return self.browser.send(method, self.session, **parameters)

    def open(self, path: Path, hash_: str = "", ready: str = "true") -> None:
        """Load a file and wait until it is there and `ready` holds in it."""
        # By way of an empty page: where only what follows the # is new, nothing would be loaded.
        for address in ("about:blank", path.as_uri() + hash_):
            before = len(self.browser.events)
            self.send("Page.navigate", url=address)
            while not any(
                event["method"] == "Page.loadEventFired" and event.get("sessionId") == self.session
                for event in self.browser.events[before:]
            ):
                self.browser.receive()
        self.wait(ready)

    def wait(self, condition: str) -> None:
        """Until a condition holds in the page."""
        deadline = time.monotonic() + _PATIENCE_S
        while not self.js(f"Boolean({condition})"):
            if time.monotonic() > deadline:
                raise AssertionError(f"never came true: {condition}; {self.complaints()}")
            time.sleep(0.02)

    def offline(self) -> None:
        """As if there were no network."""
        nothing = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.send("Network.emulateNetworkConditions", **nothing)

    def width(self, width: int, height: int = 900) -> None:
        """The size of the window."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def js(self, expression: str) -> Any:
        """The value of an expression in the page; promises are waited for."""
        given = {"returnByValue": True, "awaitPromise": True, "userGesture": True}
        found = self.send("Runtime.evaluate", expression=expression, **given)
        if "exceptionDetails" in found:
            raise AssertionError(found["exceptionDetails"]["exception"].get("description"))
        return found["result"].get("value")

    def click(self, selector: str) -> None:
        """Press the mouse in the middle of an element."""
        where = self.js(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'});"
            " const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=where[0], y=where[1], button="left", clickCount=1)

    def press(self, key: str, *, shift: bool = False) -> None:
        """A key down and up."""
        code, text = _KEYS[key]
        given: dict[str, Any] = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": code}
        given["modifiers"] = 8 if shift else 0
        self.send("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **given)
        self.send("Input.dispatchKeyEvent", type="keyUp", **given)

    def write(self, text: str) -> None:
        """Type into what has the focus."""
        self.send("Input.insertText", text=text)

    def complaints(self) -> list[str]:
        """Errors and warnings that this tab's console has shown so far."""
        found = []
        for event in self.browser.events:
            if event.get("sessionId") != self.session:
                continue
            parameters = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                details = parameters["exceptionDetails"]
                found.append(details.get("exception", {}).get("description", details["text"]))
            elif event["method"] == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
                found.append(parameters["entry"]["text"])
        return found

    def asked_for(self) -> list[str]:
        """Every address that this tab has asked for so far."""
        return [
            event["params"]["request"]["url"]
            for event in self.browser.events
            if event.get("sessionId") == self.session and event["method"] == "Network.requestWillBeSent"
        ]
