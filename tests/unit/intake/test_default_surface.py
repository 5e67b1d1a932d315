"""What names no surface has the same one everywhere, so that a model of an owner's files knows that of their live events."""

from __future__ import annotations

from pathlib import Path

from feature_repo.surfaces import DEFAULT_SURFACE
from services.intake.events import ClientEvent
from services.mixer.products import for_you
from tests.own_files import event, own, read, write_lines


def test_rows_of_files_live_events_and_pages_without_a_surface_have_the_same(tmp_path: Path) -> None:
    rows = [event(0), event(1, action="click")]
    write_lines(tmp_path / "events.jsonl", [{k: v for k, v in row.items() if k not in ("product", "surface")} for row in rows])
    assert set(read(own(tmp_path)).good["product"]) == {DEFAULT_SURFACE}
    assert ClientEvent(user_id=1, post_id=2, action="click").product == DEFAULT_SURFACE
    assert for_you.NAME == DEFAULT_SURFACE
