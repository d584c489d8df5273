"""The site's files on disk."""

from __future__ import annotations

import pytest

from builders import board_records
from paretoboard_reports import output, pages
from paretoboard_reports.output import SiteFile
from site_kit import files_of, site_of


def content_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != output.MANIFEST
    }


def test_what_is_written_is_what_was_made(tmp_path):
    target = output.write(pages.files(site_of(board_records())), tmp_path / "new" / "site")
    assert target == tmp_path / "new" / "site" / "index.html"
    assert content_of(target.parent) == files_of(board_records())


def test_a_page_that_is_no_longer_made_is_removed_and_a_stranger_s_file_is_kept(tmp_path):
    output.write(pages.files(site_of(board_records())), tmp_path)
    (tmp_path / "boards" / "notes.txt").write_text("mine")
    output.write(pages.files(site_of([])), tmp_path)
    assert content_of(tmp_path) == {**files_of([]), "boards/notes.txt": b"mine"}


def test_files_that_stay_as_they_are_are_not_written_again(tmp_path):
    output.write(pages.files(site_of(board_records())), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.html")}
    output.write(pages.files(site_of(board_records())), tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.html")} == before


def test_a_damaged_list_of_files_costs_nothing_but_the_removal(tmp_path):
    output.write([SiteFile(path="old.html", content=b"old")], tmp_path)
    (tmp_path / output.MANIFEST).write_text("{")
    output.write([SiteFile(path="new.html", content=b"new")], tmp_path)
    assert content_of(tmp_path) == {"old.html": b"old", "new.html": b"new"}


@pytest.mark.parametrize("path", ["../outside.html", "/tmp/outside.html", "boards/../../outside.html", "."])
def test_a_path_that_leads_out_of_the_folder_is_refused(tmp_path, path):
    with pytest.raises(ValueError, match="leads out"):
        output.write([SiteFile(path=path, content=b"")], tmp_path / "site")
    assert not (tmp_path / "outside.html").exists()


def test_a_list_of_files_that_a_stranger_changed_removes_nothing_outside(tmp_path):
    (tmp_path / "outside.txt").write_text("kept")
    output.write([], tmp_path / "site")
    (tmp_path / "site" / output.MANIFEST).write_text('["../outside.txt"]')
    with pytest.raises(ValueError, match="leads out"):
        output.write([], tmp_path / "site")
    assert (tmp_path / "outside.txt").exists()


def test_a_file_that_is_made_twice_is_refused(tmp_path):
    twice = [SiteFile(path="a.html", content=b"1"), SiteFile(path="a.html", content=b"2")]
    with pytest.raises(ValueError, match="made twice"):
        output.write(twice, tmp_path)
