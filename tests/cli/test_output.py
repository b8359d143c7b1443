"""Files and directories appear whole or not at all."""

import json

import pytest

from scripts import output


def test_write_json_round_trip(tmp_path):
    path = tmp_path / "result.json"
    output.write_json(path, {"a": [1, 2]})
    assert json.loads(path.read_text()) == {"a": [1, 2]}
    assert list(tmp_path.iterdir()) == [path]


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    path.write_text("old")

    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(output.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        output.write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_parent_is_named(tmp_path):
    with pytest.raises(ValueError, match="there is no directory '.*nowhere'"):
        output.write_text(tmp_path / "nowhere" / "file", "text")
    assert list(tmp_path.iterdir()) == []


def test_file_where_a_directory_is(tmp_path):
    with pytest.raises(ValueError, match="is a directory, not a file"):
        output.write_text(tmp_path, "text")


def test_directory_appears_whole(tmp_path):
    target = tmp_path / "out"
    with output.directory(target) as place:
        (place / "a").write_text("1")
        assert not target.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert (target / "a").read_text() == "1"


def test_failing_directory_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), output.directory(tmp_path / "out") as place:
        (place / "a").write_text("1")
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


def test_directory_keeps_other_files(tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "mine").write_text("kept")
    (target / "a").write_text("old")
    with output.directory(target) as place:
        (place / "a").write_text("new")
        (place / "deep").mkdir()
        (place / "deep" / "b").write_text("2")
    assert (target / "mine").read_text() == "kept"
    assert (target / "a").read_text() == "new"
    assert (target / "deep" / "b").read_text() == "2"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_directory_where_a_file_is(tmp_path):
    (tmp_path / "out").write_text("file")
    with (pytest.raises(ValueError, match="is a file, not a directory"),
          output.directory(tmp_path / "out")):
        pass
    assert (tmp_path / "out").read_text() == "file"
