"""A real browser without a driver or a port: Chromium on two pipes, in its own words (the DevTools protocol)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

_FLAGS = (
    "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-sync "
    "disable-component-update hide-scrollbars enable-precise-memory-info remote-debugging-pipe disable-dev-shm-usage"
)


# The browser reads from its descriptor 3 and writes to its descriptor 4.
_START = """
import os, sys
ours, theirs = os.dup(int(sys.argv[1])), os.dup(int(sys.argv[2]))
high = [os.dup2(ours, 100), os.dup2(theirs, 101)]
os.dup2(high[0], 3)
os.dup2(high[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """One browser with a fresh profile and one tab; offline, and every message of the console is kept."""

    def __init__(self, profile: Path, *, width: int = 1280) -> None:
        found = shutil.which("chromium") or shutil.which("chromium-browser")
        if found is None:
            pytest.skip("no chromium on this machine")
        ours, self._to = os.pipe()
        self._from, theirs = os.pipe()
        flags = [*(f"--{flag}" for flag in _FLAGS.split()), f"--user-data-dir={profile}", f"--window-size={width},900"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, str(ours), str(theirs), found, *flags, "about:blank"],
            pass_fds=(ours, theirs),
            stderr=subprocess.DEVNULL,
        )
        os.close(ours)
        os.close(theirs)
        self._read, self._number, self._session = b"", 0, ""
        self.troubles: list[str] = []
        self.requests: list[str] = []
        pages = [t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        attached = self.call("Target.attachToTarget", targetId=pages[0]["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        conditions = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.call("Network.emulateNetworkConditions", **conditions)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)
        os.close(self._to)
        os.close(self._from)

    def call(self, method: str, **parameters: Any) -> Any:
        """What the browser answers to one command."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            found = self._next()
            if found.get("id") == self._number:
                assert "error" not in found, found["error"]
                return found["result"]

    def open(self, address: str, ready: str = "true") -> None:
        """Load a page from nothing, and wait until `ready` holds in it."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=address)
        self.wait(f"location.href != 'about:blank' && document.readyState == 'complete' && ({ready})")

    def run(self, script: str) -> Any:
        """What an expression gives in the page, promises awaited."""
        given = {"expression": script, "returnByValue": True, "awaitPromise": True, "userGesture": True}
        answer = self.call("Runtime.evaluate", **given)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str, timeout_s: float = 30.0) -> None:
        """Until a condition holds in the page."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if self.run(f"Boolean({condition})"):
                return
            time.sleep(0.02)
        raise AssertionError(f"never came true: {condition}; troubles: {self.troubles}")

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            more = os.read(self._from, 1 << 20)
            assert more, "the browser has gone"
            self._read += more
        message, _, self._read = self._read.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        self._note(found)
        return found

    def _note(self, found: dict[str, Any]) -> None:
        details = found.get("params", {})
        match found.get("method"):
            case "Runtime.exceptionThrown":
                self.troubles.append(str(details["exceptionDetails"]))
            case "Log.entryAdded" if details["entry"]["level"] in ("error", "warning"):
                self.troubles.append(details["entry"]["text"])
            case "Runtime.consoleAPICalled" if details["type"] in ("error", "warning"):
                self.troubles.append(str(details["args"]))
            case "Network.requestWillBeSent":
                self.requests.append(details["request"]["url"])
