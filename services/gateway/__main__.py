"""`python -m services.gateway`: serve the gateway until SIGTERM; requests under way are finished first."""

from __future__ import annotations

import socket

import uvicorn

from infra.logs import configure_logs
from infra.settings import get_settings
from services.gateway.app import create_app

GRACE_S = 20  # seconds that requests under way get at shutdown


def main() -> None:
    configure_logs()
    settings = get_settings()
    config = uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.gateway_port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    handed = None if settings.listen_fd is None else [socket.socket(fileno=settings.listen_fd)]
    uvicorn.Server(config).run(sockets=handed)


if __name__ == "__main__":
    main()
