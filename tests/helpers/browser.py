"""Chromium without a window, driven through a pipe by its DevTools protocol. For tests.

https://chromedevtools.github.io/devtools-protocol/ says what it understands.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"
LONGEST_S = 60.0


def find_browser() -> str | None:
    """The program of $ASR_CTC_BROWSER, or the first that is installed."""
    return os.environ.get("ASR_CTC_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """A page of the browser. ``problems`` are its console errors and uncaught exceptions."""

    def __init__(self, to_browser: int, from_browser: int):
        self.to_browser, self.from_browser = to_browser, from_browser
        self.problems: list[str] = []
        self._n_sent, self._rest = 0, b""
        self._messages: list[dict] = []
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict:
        """The result of a command; RuntimeError with what the browser says of a wrong one."""
        self._n_sent += 1
        message = {"id": self._n_sent, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._n_sent:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def open(self, file: Path, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        """Loads a file and waits until it is there, its sound included."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[theme])
        self.call("Page.navigate", url=file.resolve().as_uri())
        self.wait_for("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression; a promise is awaited."""
        answer = self.call(
            "Runtime.evaluate",
            expression=script,
            returnByValue=True,
            awaitPromise=True,
            userGesture=True,
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"].get("description"))
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Until an expression is true."""
        ends_s = time.monotonic() + LONGEST_S
        while not self.run(condition):
            assert time.monotonic() < ends_s, f"never true: {condition}"

    def click(self, x: float, y: float) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str, **more: Any) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, **more)

    def screenshot(self, file: Path, whole: bool = True) -> None:
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(shot["data"]))

    def _read(self) -> dict:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self.from_browser], [], [], LONGEST_S)
            assert ready, "the browser says nothing"
            piece = os.read(self.from_browser, 1 << 20)
            assert piece, "the browser has ended"
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(line)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, method: str | None, parameters: dict) -> None:
        if method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(parameters["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning"):
            self.problems.append(json.dumps(parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.problems.append(parameters["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            url = parameters["request"]["url"]
            if not url.startswith(("file:", "data:", "about:")):
                self.problems.append(f"asks the network for {url}")


IS_NO_WIDER = """(() => { const root = document.documentElement;
    document.querySelectorAll("details").forEach(part => { part.open = true });
    return root.scrollWidth == root.clientWidth })()"""
COUNTS_STAND_AFTER = """(() => {
    const chips = [...document.querySelectorAll(".chip:has(bdi)")];
    const left = (chip, part) => chip.querySelector(part).getBoundingClientRect().left;
    return chips.length > 0 && chips.every(chip => left(chip, "bdi") < left(chip, ".soft")) })()"""


@contextmanager
def browser_page(program: str, profile: Path) -> Iterator[Page]:
    """A page of a new browser whose profile is in the folder ``profile``."""
    ours_in, theirs_out = os.pipe()
    theirs_in, ours_out = os.pipe()

    def place_pipes() -> None:  # where --remote-debugging-pipe looks for them
        reading, writing = os.dup(theirs_in), os.dup(theirs_out)
        os.dup2(reading, 3)
        os.dup2(writing, 4)

    process = subprocess.Popen(
        [
            program,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--mute-audio",
            "--autoplay-policy=no-user-gesture-required",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(3, 4, theirs_in, theirs_out),
        preexec_fn=place_pipes,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Page(ours_out, ours_in)
    finally:
        process.terminate()
        process.wait()
        os.close(ours_in)
        os.close(ours_out)
