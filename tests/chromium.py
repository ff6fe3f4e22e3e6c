"""A headless Chromium, as tests drive it: the DevTools protocol over two pipes, so it needs no driver and no package.

`CHROMIUM` names another binary than `chromium`. Without one, `Chromium.path()` is None and tests are skipped.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

_FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--disable-sync",
    "--remote-debugging-pipe",
]  # fmt: skip
_KEYS = {"Enter": 13, "Escape": 27, "Tab": 9, "Delete": 46, "Home": 36, "End": 35, " ": 32}
_KEYS |= {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
_MODIFIERS = {"Alt": 1, "Control": 2, "Shift": 8}
SECONDS = 30
"""That a page has to do what a test waits for."""
_CONTRASTS = """
[...document.querySelectorAll("body *")].filter(node =>
    [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim())
    && node.checkVisibility({ opacityProperty: true }) && !node.closest(":disabled, .hidden, script"))
  .map(node => {
    const parts = colour => colour.match(/[\\d.]+/g).map(Number);
    const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const light = colour => [0.2126, 0.7152, 0.0722].reduce((sum, w, i) => sum + w * linear(colour[i] / 255), 0);
    let below = node;
    while (parts(getComputedStyle(below).backgroundColor)[3] === 0) below = below.parentElement;
    const [a, b] = [getComputedStyle(node).color, getComputedStyle(below).backgroundColor].map(parts).map(light);
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), node.outerHTML.slice(0, 100)];
  })
"""
"""Contrast of every visible text with what is behind it, by WCAG, and its element."""


class Chromium:
    """One browser process with one page. Use it as a context manager."""

    def __init__(self, profile: Path) -> None:
        self.events: list[dict[str, Any]] = []
        """What the browser reported since the last `clear`."""
        self._answers: dict[int, dict[str, Any]] = {}
        self._number, self._buffer = 0, b""
        read, self._write = os.pipe()
        self._read, write = os.pipe()
        # Chromium reads commands from descriptor 3 and writes to 4; bash puts them there.
        command = ["bash", "-c", f'exec "$@" 3<&{read} 4>&{write}', "bash", str(self.path()), *_FLAGS]
        command += [f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            command, pass_fds=(read, write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(read)
        os.close(write)
        self._session = None
        target = next(t for t in self.send("Target.getTargets")["targetInfos"] if t["type"] == "page")
        attached = self.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "Accessibility"):
            self.send(f"{domain}.enable")

    @staticmethod
    def path() -> str | None:
        """The binary, or None."""
        return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")

    def __enter__(self) -> "Chromium":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        os.close(self._read)
        os.close(self._write)

    def send(self, method: str, /, **parameters: Any) -> dict[str, Any]:
        """The result of a command of the DevTools protocol."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + 30
        while number not in self._answers:
            assert time.monotonic() < end, f"{method}: no answer"
            self.pump(1)
        answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def pump(self, seconds: float) -> None:
        """Takes in what the browser sends within so many seconds, until something comes."""
        if not select.select([self._read], [], [], seconds)[0]:
            return
        self._buffer += os.read(self._read, 1 << 20)
        *messages, self._buffer = self._buffer.split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self.events.append(message)

    def of(self, method: str) -> list[dict[str, Any]]:
        """The parameters of all events of a kind."""
        return [event["params"] for event in self.events if event["method"] == method]

    def clear(self) -> None:
        self.events.clear()

    def open(self, url: str) -> None:
        """Loads a page anew, also if only its hash differs."""
        self.send("Page.navigate", url="about:blank")
        self.send("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def value(self, expression: str) -> Any:
        """The JSON value of an expression in the page; a promise is awaited."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, f"{expression}: {result['exceptionDetails']}"
        return result["result"].get("value")

    def wait(self, expression: str, seconds: float = SECONDS) -> None:
        """Waits until an expression is true."""
        end = time.monotonic() + seconds
        while not self.value(expression):
            assert time.monotonic() < end, f"never: {expression}\n{self.value('document.body.innerText')[:2000]}"
            self.pump(0.03)

    def type(self, text: str) -> None:
        """Types into what has the focus."""
        self.send("Input.insertText", text=text)

    def press(self, *keys: str) -> None:
        """Presses keys, one after another; "Alt+ArrowUp" is one with a modifier."""
        for key in keys:
            *held, name = key.split("+")
            common = {"key": name, "modifiers": sum(_MODIFIERS[modifier] for modifier in held)}
            common["windowsVirtualKeyCode"] = _KEYS.get(name) or ord(name.upper())
            text = {"Enter": "\r", " ": " "}.get(name)
            self.send("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text else {}))
            self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def click(self, selector: str) -> None:
        """Clicks in the middle of an element with the mouse, once nothing moves any more."""
        self.wait("document.getAnimations().length === 0")
        at = f"document.querySelector({json.dumps(selector)})"
        middle = f"(r => [r.x + r.width / 2, r.y + r.height / 2])({at}.getBoundingClientRect())"
        x, y = self.value(f"{at}.scrollIntoView({{block: 'center'}}), {middle}")
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def window(self, width: int, height: int = 800, *, dark: bool = False, still: bool = True) -> None:
        """Sets the size of the page, and what the visitor prefers."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
        ]
        self.send("Emulation.setEmulatedMedia", features=features)

    def tree(self) -> list[tuple[str, str]]:
        """Role and name of everything that a screen reader meets."""
        nodes = self.send("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node.get("ignored")
        ]

    def contrasts(self) -> list[tuple[float, str]]:
        """Contrast of every visible text with its background, from 1 to 21, and the text's element; the worst first."""
        return sorted((contrast, html) for contrast, html in self.value(_CONTRASTS))

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        data = self.send("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))
