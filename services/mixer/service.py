"""The mixer as a BentoML service: the API's ASGI app is mounted in it, the runtime loads when the worker starts.

Importing this module is cheap (a build imports it); models and stores are imported by the worker only.
"""

from __future__ import annotations

import bentoml

from infra.settings import apply_environment
from services.mixer.app import create_app

settings = apply_environment()
app = create_app()


@bentoml.service(
    name="home_mixer",
    workers=1,
    traffic={"timeout": 30},
    metrics={"enabled": False},  # the app serves its own /metrics
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(app, path="/")
class HomeMixer:
    """One release of the mixer. GET /ready (and /readyz) answer 200 once warm-up requests have been served well."""

    def __init__(self) -> None:
        from services.mixer.release import served_manifest
        from services.mixer.runtime import MixerRuntime

        app.state.runtime = MixerRuntime(settings, served_manifest(settings))
        app.state.runtime.start()

    @bentoml.on_startup
    async def warm_up(self) -> None:
        from services.mixer.warm_up import warm_up

        await warm_up(app.state.runtime)

    @bentoml.on_shutdown
    async def close(self) -> None:
        await app.state.runtime.engine.drain()
        app.state.runtime.close()

    def __is_ready__(self) -> bool:
        return app.state.runtime.not_ready is None
