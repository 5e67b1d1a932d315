"""A real browser for tests: Chromium without a window, driven by its own DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import pytest

START_TIMEOUT_S = 60.0
WAIT_S = 30.0


class Browser:
    """One page. Coroutines; made by `opened`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = count(1)

    async def open(self, url: str) -> None:
        """Go to `url`, and wait until it is loaded."""
        await self._ask("Page.navigate", url=url)
        await self.until("document.readyState === 'complete'")

    async def value(self, script: str) -> Any:
        """What a JavaScript expression gives, as JSON."""
        found = await self._ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    async def until(self, script: str) -> None:
        """Wait until the expression is true; raises AssertionError with the page's text where it does not come."""
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                if await self.value(f"Boolean({script})"):
                    return
            except RuntimeError:  # the page is between two documents
                pass
            if time.monotonic() > deadline:
                raise AssertionError(f"{script} did not come; the page says:\n{await self.value('document.body.innerText')}")
            await asyncio.sleep(0.05)

    async def click(self, selector: str) -> None:
        """Press and let go of the mouse in the middle of the first element that `selector` finds."""
        box = await self.value(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}}); "
            "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2, r.width * r.height]; })()"
        )
        if not box[2]:
            raise AssertionError(f"{selector} can't be seen, so nobody can click it")
        for kind in ("mousePressed", "mouseReleased"):
            await self._ask("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    async def type(self, selector: str, text: str) -> None:
        """Click into a field and type."""
        await self.click(selector)
        await self._ask("Input.insertText", text=text)

    async def picture(self, file: Path) -> None:
        """Keep what is seen as PNG."""
        shot = await self._ask("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))

    async def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            answer = await self._socket.receive_json(timeout=WAIT_S)
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]


@contextmanager
def chromium() -> Iterator[str]:
    """Run the browser; yields its DevTools address. Skips where the machine has none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no browser on this machine: install Debian's package `chromium`")
    with tempfile.TemporaryDirectory(prefix="browser", ignore_cleanup_errors=True) as folder:
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        options += ["--remote-debugging-port=0", f"--user-data-dir={folder}", "--window-size=1280,1600", "about:blank"]
        process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield f"http://127.0.0.1:{_port(Path(folder) / 'DevToolsActivePort', process)}"
        finally:
            process.kill()
            process.wait()


def _port(file: Path, process: subprocess.Popen) -> int:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not (file.exists() and (lines := file.read_text().split())):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the browser did not start within {START_TIMEOUT_S:.0f} s")
        time.sleep(0.05)
    return int(lines[0])


async def opened(address: str, session: aiohttp.ClientSession) -> Browser:
    """A page of the browser at `address`."""
    async with session.put(f"{address}/json/new?about:blank") as reply:
        target = json.loads(await reply.text())
    socket = await session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0)
    browser = Browser(socket)
    await browser._ask("Page.enable")
    return browser
