"""A run that was killed is carried on; a finished one is not."""

from __future__ import annotations

from flows.demo.run_folder import RunFolder


def test_an_unfinished_run_is_carried_on_with_what_it_found(tmp_path):
    folder, new = RunFolder.open(tmp_path)
    assert new
    folder.finish("ingest", {"events": 3}, 1.25)
    again, new = RunFolder.open(tmp_path)
    assert not new
    assert again.name == folder.name
    assert again.output("ingest") == {"events": 3}
    assert again.output("train") is None
    assert again.seconds() == {"ingest": 1.2}


def test_a_run_on_other_data_is_not_carried_on(tmp_path):
    folder, _ = RunFolder.open(tmp_path)
    folder.finish("ingest", {"fingerprint": "abc-v4"}, 1.0)
    assert not RunFolder.open(tmp_path, source="abc")[1]
    assert not RunFolder.open(tmp_path, source=None)[1]
    following, new = RunFolder.open(tmp_path, source="def")
    assert new
    assert following.name == "run-002"


def test_a_finished_run_is_followed_by_a_new_one(tmp_path):
    folder, _ = RunFolder.open(tmp_path)
    folder.write_summary({"run": folder.name})
    following, new = RunFolder.open(tmp_path)
    assert new
    assert following.name == "run-002"


def test_fresh_begins_anew_beside_an_unfinished_run(tmp_path):
    RunFolder.open(tmp_path)
    folder, new = RunFolder.open(tmp_path, fresh=True)
    assert new
    assert folder.name == "run-002"
