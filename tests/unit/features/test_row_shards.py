"""Rows on disk are the rows that were written, or an error that names the file."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from feature_repo.feature_rows import FeatureRows
from feature_repo.row_shards import DESCRIPTION, DamagedRows, open_rows, pieces_of, write_rows
from tests.synthetic_rows import synthetic_rows


def columns_of(rows: FeatureRows) -> dict[str, np.ndarray | None]:
    """Every array of the rows, by a name."""
    names = ("user_id", "post_id", "author_id", "topic", "product", "labels", "occurred_at", "dwell_s")
    plain = {name: getattr(rows, name) for name in names}
    history = {f"history.{name}": getattr(rows.history, name) for name in rows.history.__dataclass_fields__}
    return plain | history | {f"block.{name}": block for name, block in rows.blocks.items()}


def assert_same_rows(one: FeatureRows, other: FeatureRows) -> None:
    """Equal to the last bit, type and name."""
    ours, theirs = columns_of(one), columns_of(other)
    assert ours.keys() == theirs.keys()
    for name, column in ours.items():
        assert (column.dtype, column.shape) == (theirs[name].dtype, theirs[name].shape), name
        assert column.tobytes() == theirs[name].tobytes(), name
    assert one.names == other.names


@pytest.fixture
def rows() -> FeatureRows:
    return synthetic_rows(1_000, seed=3)


@pytest.fixture
def folder(rows, tmp_path):
    write_rows(tmp_path / "rows", pieces_of(rows, 300))
    return tmp_path / "rows"


@pytest.mark.parametrize("size", [1, 300, 1_000, 5_000])
def test_rows_written_in_pieces_are_the_rows(rows, tmp_path, size):
    assert write_rows(tmp_path / "rows", pieces_of(rows, size)) == len(rows)
    assert_same_rows(open_rows(tmp_path / "rows"), rows)


def test_an_index_a_mask_and_a_slice_read_those_rows(rows, folder):
    read = open_rows(folder)
    for index in (np.array([999, 0, 17]), rows.labels[:, 0] == 1):
        assert_same_rows(read.take(index), rows.take(index))
    assert_same_rows(read.between(250, 700), rows.take(np.arange(250, 700)))


def test_what_is_read_cannot_change_the_files(folder):
    read = open_rows(folder)
    with pytest.raises(ValueError, match="read-only"):
        read.blocks["user"][0] = 1.0
    taken = read.take(np.arange(5))
    taken.blocks["user"][0] = 1.0  # a copy is the reader's own


def test_columns_are_plain_arrays_that_a_reader_of_numpy_files_opens(rows, folder):
    assert type(open_rows(folder).post_id) is np.ndarray
    np.testing.assert_array_equal(np.load(folder / "block.user.npy"), rows.blocks["user"])


def test_rows_without_labels_come_back_without(rows, tmp_path):
    write_rows(tmp_path / "rows", [replace(rows, labels=None)])
    assert open_rows(tmp_path / "rows").labels is None


def test_writing_that_is_cut_off_leaves_nothing(rows, tmp_path):
    def cut_off():
        yield rows
        raise InterruptedError

    with pytest.raises(InterruptedError):
        write_rows(tmp_path / "rows", cut_off())
    assert list(tmp_path.iterdir()) == []


def test_rows_that_another_process_wrote_meanwhile_stay(rows, folder):
    before = (folder / DESCRIPTION).stat().st_ino
    assert write_rows(folder, [rows]) == len(rows)
    assert (folder / DESCRIPTION).stat().st_ino == before
    assert list(folder.parent.iterdir()) == [folder]


def test_pieces_that_do_not_fit_together_are_refused(rows, tmp_path):
    wide = replace(rows, blocks={**rows.blocks, "user": np.ones((len(rows), 3), np.float32)})
    with pytest.raises(ValueError, match=r"block.user.npy: a piece is float32 \(3,\), the first was float32 \(12,\)"):
        write_rows(tmp_path / "rows", [rows, wide])
    with pytest.raises(ValueError, match="a piece has the columns .*, the first had .*labels"):
        write_rows(tmp_path / "rows", [rows, replace(rows, labels=None)])
    with pytest.raises(ValueError, match="share 1 histories"):
        write_rows(tmp_path / "rows", [synthetic_rows(10, shared=True)])
    with pytest.raises(ValueError, match="there was no piece"):
        write_rows(tmp_path / "rows", [])


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no rows in .*nowhere"):
        open_rows(tmp_path / "nowhere")


def truncate(folder):
    file = folder / "history.post_id.npy"
    file.write_bytes(file.read_bytes()[:-8])


def flip_a_bit(folder):
    file = folder / "block.context.npy"
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)


def shorten(folder):
    np.save(folder / "labels.npy", np.load(folder / "labels.npy")[:-1])


def other_format(folder):
    content = json.loads((folder / DESCRIPTION).read_text())
    (folder / DESCRIPTION).write_text(json.dumps({**content, "format": 99}))


def forget_a_column(folder):
    content = json.loads((folder / DESCRIPTION).read_text())
    del content["columns"]["history.age_s"]
    (folder / DESCRIPTION).write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / DESCRIPTION).unlink(), "holds no rows.json: its writing was cut off"),
        (lambda folder: (folder / DESCRIPTION).write_text('{"form'), "rows.json cannot be read"),
        (lambda folder: (folder / DESCRIPTION).write_text("[]"), "rows.json cannot be read"),
        (lambda folder: (folder / "topic.npy").unlink(), "topic.npy is not there"),
        (lambda folder: (folder / "topic.npy").write_bytes(b""), "topic.npy is not a whole array"),
        (truncate, "history.post_id.npy is not a whole array"),
        (shorten, r"labels.npy holds \|u1 \[999, 22\], not \|u1 \[1000, 22\]"),
        (flip_a_bit, "the content of .*block.context.npy is not what was written"),
        (other_format, "'format': 99"),
        (forget_a_column, "names no column 'age_s'|names no column 'history.age_s'"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_damage_is_named_with_a_remedy(folder, damage, said):
    damage(folder)
    with pytest.raises(DamagedRows, match=said) as raised:
        open_rows(folder)
    assert "remove the folder" in str(raised.value)
