"""`mixer users`: who may do what with releases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from infra.settings import get_settings
from services.releases.roles import Role

if TYPE_CHECKING:
    from services.releases.people import People

users = typer.Typer(help="People who may see and move releases: add, list, revoke.", no_args_is_help=True)
out = Console()


def _people() -> People:
    from services.releases.people import People  # with SQLAlchemy: help needs none of it

    return People(get_settings().platform_database_url)


@users.command()
def add(
    name: Annotated[str, typer.Argument(help="As the ledger should name them.")],
    role: Annotated[Role, typer.Option(help="viewer: sees; operator: also pauses and takes off; approver: also lets go live.")],
    days: Annotated[float | None, typer.Option(help="How long the token holds; without it, until it is revoked.")] = None,
) -> None:
    """Add a person and print their token, which is stored nowhere and can't be shown again."""
    token = _people().add(name, role, days=days)
    typer.echo(f"{name} is {role}. Their token, shown this once (they set it as MIXER_TOKEN, or paste it in the control room):")
    typer.echo(token)


@users.command("list")
def list_people() -> None:
    """Everybody, with role and until when their token holds."""
    table = Table("name", "role", "since", "until")
    for person in _people().all():
        until = f"revoked {person.revoked_at[:16]}" if person.revoked_at else (person.expires_at or "")[:16]
        table.add_row(escape(person.name), person.role, person.added_at[:16], until)
    out.print(table)


@users.command()
def revoke(name: str) -> None:
    """Take a person's token back; it holds no longer from this moment on."""
    _people().revoke(name)
    typer.echo(f"the token of {name} is revoked")


@users.command()
def refused(most: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 20) -> None:
    """Who was not let do what, and why."""
    table = Table("at", "who", "what", "why")
    for one in _people().refusals(most):
        table.add_row(one["at"][:19], escape(one["who"]) or "nobody known", escape(one["what"]), escape(one["why"]))
    out.print(table)
