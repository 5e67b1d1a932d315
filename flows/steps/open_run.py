"""A flow run that stays open in Prefect with no process behind it, until somebody else ends it."""

from __future__ import annotations

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import Abort, Pause
from prefect.states import Paused, Suspended
from prefect.utilities.engine import propose_state_sync


def stay_open(message: str) -> None:
    """Leave the current flow run open, with `message` as what it waits for, and end its process without ending the run.

    Raises Pause, by which Prefect's engine leaves the flow; and Abort where somebody has cancelled the run meanwhile. Returns
    where there is no run, or Prefect's rules refuse: a run within another flow's ends with its process.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    # Prefect's own `suspend_flow_run` says no reason, and refuses a run that no worker started.
    waiting = Suspended(message=message) if context.flow_run.deployment_id else Paused(message=message)
    with get_client(sync_client=True) as client:
        try:
            state = propose_state_sync(client, waiting, flow_run_id=context.flow_run.id)
        except Abort:
            return
    if state.is_paused():
        raise Pause(state=state)
    if state.is_cancelling() or state.is_cancelled():
        raise Abort("the run was cancelled meanwhile")
