"""Reports as files: Data Docs, drift reports. Only what lies under the reports folder, and nothing from outside hosts."""

from __future__ import annotations

from pathlib import Path

from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

# Evidently's pages are one file with their scripts inside; they may run those, and talk to nobody.
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


class ReportFiles(StaticFiles):
    """Static files of `folder`, which may appear later; `index.html` answers for a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder, html=True, check_dir=False)

    async def check_config(self) -> None:
        """A folder that is not there yet is no error: it only holds no file, and every path in it is a 404."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [(b"content-security-policy", POLICY.encode()), (b"x-content-type-options", b"nosniff")]
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        await super().__call__(scope, receive, send_with_policy)
