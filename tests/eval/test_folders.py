import os
import unicodedata

import pytest

from base.errors import ConfigError
from eval.folders import find_images, printable


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_extensions_in_any_case_and_nothing_else(tmp_path):
    for name in (
        "a.png",
        "b.JPG",
        "c.Jpeg",
        "d.bmp",
        "e.WEBP",
        "f.gif",
        "g.txt",
        ".h.png",
        "i.j.png",
    ):
        touch(tmp_path / name)
    (tmp_path / "folder.png").mkdir()
    assert list(find_images(tmp_path).images) == ["a", "b", "c", "d", "e", "i.j"]


def test_names_written_in_two_unicode_forms_have_one_key(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    touch(tmp_path / "one" / f"{composed}.png")
    touch(tmp_path / "two" / f"{decomposed}.jpg")
    assert (
        find_images(tmp_path / "one").images.keys() == find_images(tmp_path / "two").images.keys()
    )


def test_of_two_files_with_one_key_the_lossless_is_taken_with_a_warning(tmp_path):
    for name in ("a.jpg", "a.png", "a.bmp", "b.jpeg", "b.jpg"):
        touch(tmp_path / name)
    folder = find_images(tmp_path)
    assert {key: file.name for key, file in folder.images.items()} == {"a": "a.png", "b": "b.jpg"}
    assert len(folder.warnings) == 2
    assert "a.bmp, a.jpg" in folder.warnings[0]


@pytest.mark.parametrize("name", ["run[1]", "a{b,c}", "*", "?", "with space", "-rf"])
def test_folder_names_are_not_patterns(tmp_path, name):
    touch(tmp_path / name / "a.png")
    assert list(find_images(tmp_path / name).images) == ["a"]


def test_nested_folders_give_the_name_and_ignore_intermediates(tmp_path):
    touch(tmp_path / "gen_images_cat" / "1.jpg")
    touch(tmp_path / "gen_images_cat" / "2.jpg")
    touch(tmp_path / "gen_images_cat" / "summed_codes" / "1.png")
    touch(tmp_path / "gen_images_dog_2" / "1.png")
    touch(tmp_path / "other" / "1.png")
    folder = find_images(tmp_path)
    assert folder.layout == "nested"
    assert list(folder.images) == ["cat", "dog_2"]
    assert find_images(tmp_path, "flat").images == {}


def test_images_in_the_folder_itself_make_it_flat(tmp_path):
    touch(tmp_path / "gen_images_cat" / "1.jpg")
    touch(tmp_path / "a.png")
    assert list(find_images(tmp_path).images) == ["a"]
    assert list(find_images(tmp_path, "nested").images) == ["cat"]


def test_links_out_of_the_folder_are_left_out_and_links_inside_are_not(tmp_path):
    secret = touch(tmp_path / "secret.png")
    inside = touch(tmp_path / "images" / "a.png")
    (tmp_path / "images" / "b.png").symlink_to(secret)
    (tmp_path / "images" / "c.png").symlink_to(inside)
    (tmp_path / "images" / "d.png").symlink_to(tmp_path / "nowhere.png")
    folder = find_images(tmp_path / "images")
    assert list(folder.images) == ["a", "c"]
    assert len(folder.warnings) == 1
    assert "b.png" in folder.warnings[0]


def test_names_that_are_no_utf8_can_be_written_down(tmp_path):
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    try:
        touch(tmp_path / name)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (key,) = find_images(tmp_path).images
    assert key.encode("utf-8").decode() == key == "caf\\udce9"


def test_what_is_no_folder_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="is not a folder"):
        find_images(tmp_path / "missing")
    with pytest.raises(ConfigError, match="is not a folder"):
        find_images(touch(tmp_path / "file"))
    with pytest.raises(ConfigError, match="layout is 'deep'"):
        find_images(tmp_path, "deep")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_an_error(tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(ConfigError, match="cannot be read"):
        find_images(tmp_path / "closed")


def test_printable_composes_and_escapes():
    assert printable("cafe\u0301") == "caf\u00e9"
    assert printable("\ud800x") == "\\ud800x"
