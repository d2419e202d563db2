import os

import pytest

from keras_split.datasets.layout import find_photos
from keras_split.errors import DataError


def lay(root, *names):
    """Makes files; a name that ends in a slash is an empty folder."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir()
        else:
            path.write_bytes(b"")
    return root


def find(root, names=()):
    said = []
    layout = find_photos(root, names, said.append)
    parts = [
        part and {name: [f.name for f in part[name]] for name in part}
        for part in layout
    ]
    return (*parts, "\n".join(said))


def test_files_are_found_by_class_in_the_order_of_names(tmp_path):
    lay(tmp_path, "b/2.JPG", "b/10.png", "a/x.HEIC", "README.txt")

    train, validation, said = find(tmp_path)

    assert train == {"a": ["x.HEIC"], "b": ["10.png", "2.JPG"]}
    assert list(train) == ["a", "b"] and validation is None and not said


@pytest.mark.parametrize("name", ["val", "valid", "Validation"])
def test_train_and_val_have_the_same_classes(tmp_path, name):
    lay(tmp_path, "train/cat/1.png", "train/dog/2.png")
    lay(tmp_path, f"{name}/cat/3.png", f"{name}/ant/4.png")

    train, validation, said = find(tmp_path)

    assert train == {"ant": [], "cat": ["1.png"], "dog": ["2.png"]}
    assert validation == {"ant": ["4.png"], "cat": ["3.png"], "dog": []}
    assert f"No images of ant in {tmp_path / 'train'}" in said
    assert f"No images of dog in {tmp_path / name}" in said


def test_train_alone_holds_back_a_share(tmp_path):
    lay(tmp_path, "train/cat/1.png", "test/cat/2.png", "notes/1.txt")

    train, validation, said = find(tmp_path)

    assert train == {"cat": ["1.png"]} and validation is None
    assert f"Left alone: {tmp_path / 'test'}; evaluate" in said
    assert f"Left alone: {tmp_path / 'notes'}, for it is neither" in said


@pytest.mark.parametrize("names", [(), ("bus", "train")])
def test_trains_may_be_a_class(tmp_path, names):
    lay(tmp_path, "train/1.png", "bus/2.png", "train/old/3.png")

    train, validation, _ = find(tmp_path, names)

    assert train == {"bus": ["2.png"], "train": ["1.png"]}
    assert validation is None


def test_two_folders_of_validation_are_refused(tmp_path):
    lay(tmp_path, "train/cat/1.png", "val/cat/2.png", "valid/cat/3.png")

    with pytest.raises(DataError, match="one of val, valid"):
        find(tmp_path)


def test_both_parts_are_numbered_by_given_names(tmp_path):
    lay(tmp_path, "train/cat/1.png", "val/dog/2.png")

    train, validation, _ = find(tmp_path, ("dog", "cat"))

    assert list(train) == list(validation) == ["dog", "cat"]
    with pytest.raises(DataError, match=r"val\. Received: 'dog'"):
        find(tmp_path, ("cat", "dig"))


def test_what_is_no_image_is_counted_by_kind(tmp_path):
    lay(tmp_path, "a/1.png", "a/1.cr2", "b/2.CR2", "b/2.png", "b/notes")
    lay(tmp_path, "a/more/3.png", "4.png")

    _, _, said = find(tmp_path)

    assert ".cr2 (2)" in said and "no suffix (1)" in said
    assert "folders inside classes (1)" in said
    assert "images outside classes (1)" in said


def test_what_systems_leave_behind_is_not_told(tmp_path):
    lay(tmp_path, "a/1.png", "a/.DS_Store", "a/Thumbs.db", "a/._1.png")
    lay(tmp_path, "__MACOSX/a/._1.png", ".git/x/1.png", "@eaDir/a/1.png")

    train, _, said = find(tmp_path)

    assert train == {"a": ["1.png"]} and not said


def test_links_are_followed_and_one_to_itself_is_a_file(tmp_path):
    lay(tmp_path, "root/cat/1.png", "elsewhere/2.png")
    os.symlink(tmp_path / "elsewhere", tmp_path / "root" / "dog")
    os.symlink("loop.png", tmp_path / "root" / "cat" / "loop.png")
    os.symlink("..", tmp_path / "root" / "cat" / "up")

    train, _, said = find(tmp_path / "root")

    assert train == {"cat": ["1.png", "loop.png"], "dog": ["2.png"]}
    assert "folders inside classes (1)" in said


@pytest.mark.parametrize("target", ["not-mounted", "dog"])
def test_a_class_behind_a_broken_link_is_refused(tmp_path, target):
    lay(tmp_path, "cat/1.png")
    os.symlink(target, tmp_path / "dog")

    with pytest.raises(DataError, match="link 'dog', which leads nowhere"):
        find(tmp_path)


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    lay(tmp_path, "cat/1.png")
    scan = os.scandir

    def forbidden(path):
        if os.path.basename(path) == "cat":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    with monkeypatch.context() as patch, pytest.raises(DataError) as caught:
        patch.setattr(os, "scandir", forbidden)
        find(tmp_path)

    assert "cat" in str(caught.value) and "denied" in str(caught.value)


def test_one_class_in_two_spellings_is_refused(tmp_path):
    lay(tmp_path, "caf\u00e9/1.png", "cafe\u0301/2.png")

    with pytest.raises(DataError, match="how an accent is written"):
        find(tmp_path)
