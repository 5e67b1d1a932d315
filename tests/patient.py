"""A mixer that waits for its components: on a loaded machine a deadline would decide what a test sees."""

from __future__ import annotations

from services.mixer.runtime import MixerRuntime

PATIENCE = 60.0  # times each component's deadline; a component that hangs still ends its request


def patient(runtime: MixerRuntime) -> MixerRuntime:
    """The runtime itself, each component's deadline `PATIENCE` times as long. Deadlines have tests of their own."""
    # By identity: products share components, and a shared one must not get its patience twice.
    components = {id(one): one for pipeline in runtime.pipelines.values() for one in pipeline.components()}
    for component in components.values():
        component.deadline_ms *= PATIENCE
    return runtime
