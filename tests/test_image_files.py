"""Folders of image files: one's own and ImageNet's, their classes, ids and links, and what is wrong with some."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from conftest import REPOSITORY
from paretoboard import taskfile
from paretoboard.datasets import listing, read_subset
from paretoboard.datasets.folder import Folder
from paretoboard.datasets.imagenet import ImageNet
from paretoboard.errors import DataError, TaskFileError, UnknownNameError
from paretoboard.plan import expand
from paretoboard.spec import DatasetUse, Preprocess, Subset
from paretoboard.taskfile.subsets import ids_digest, read_ids
from pictures import bomb, encoded, folder_of, pixels, written

SMALL = Preprocess(resize=32, squash=True)
pytestmark = pytest.mark.usefixtures("own_cache")


# A folder of one's own


def use(root: Path, subset: Subset) -> DatasetUse:
    return DatasetUse(name="folder", subset=subset, train=Subset(name="train"), path=str(root))


def test_a_folder_of_classes_is_read_as_torchvisions_image_folder(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    root = folder_of(tmp_path / "photos", ("dog", "Ant", "cat"))
    expected = ImageFolder(str(root))
    folder = Folder(root)
    images = folder.read("all", SMALL)
    assert (folder.splits, folder.classes, list(folder.class_names)) == (("all",), 3, expected.classes)
    assert [str(root / name) for name in images.ids] == [path for path, _ in expected.samples]
    assert images.labels.tolist() == expected.targets
    assert images.classes == folder.class_names
    assert images.pixels.shape == (9, 3, 32, 32)


def test_images_can_be_read_by_id_in_any_order(tmp_path: Path) -> None:
    folder = Folder(folder_of(tmp_path / "photos"))
    everything = folder.read("all", SMALL)
    some = ("dog/2.png", "cat/0.png", "dog/0.png")
    images = folder.read_ids(some, SMALL)
    assert images.ids == some
    assert images.labels.tolist() == [1, 0, 1]
    assert (images.pixels == everything.select(some).pixels).all()


def test_splits_are_folders_of_classes_and_share_the_numbers_of_them(tmp_path: Path) -> None:
    folder_of(tmp_path / "train", ("cat", "dog"), each=4)
    folder_of(tmp_path / "val", ("cat", "dog"), each=2)
    folder = Folder(tmp_path)
    assert folder.splits == ("train", "val")
    assert (folder.count("train"), folder.count("val")) == (8, 4)
    assert folder.read("val", SMALL).ids[0] == "val/cat/0.png"
    assert folder.holds("val", "val/cat/0.png")
    assert not folder.holds("train", "val/cat/0.png")


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    folder = Folder(folder_of(tmp_path, ("bus", "train")))
    assert (folder.splits, folder.class_names) == (("all",), ("bus", "train"))


def test_splits_and_classes_side_by_side_are_refused(tmp_path: Path) -> None:
    folder_of(tmp_path / "train")
    folder_of(tmp_path, ("bus",))
    with pytest.raises(DataError, match="'bus' lies beside 'train'"):
        Folder(tmp_path)


def test_a_class_that_one_split_lacks_is_refused_since_it_would_number_the_others_anew(tmp_path: Path) -> None:
    folder_of(tmp_path / "train", ("ant", "cat", "dog"))
    folder_of(tmp_path / "val", ("cat", "dog"))
    with pytest.raises(DataError) as caught:
        Folder(tmp_path)
    assert str(tmp_path / "val" / "ant") in str(caught.value)
    (tmp_path / "classes.txt").write_text("ant\ncat\ndog\n")
    assert Folder(tmp_path).read("val", SMALL).labels.tolist() == [1, 1, 1, 2, 2, 2]


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos")
    (root / "emu").mkdir()
    with pytest.raises(DataError, match="1 classes without an image") as caught:
        Folder(root).read("all", SMALL)
    assert str(root / "emu") in str(caught.value)
    assert "classes.txt" in str(caught.value)


def test_a_file_of_classes_gives_their_order_and_allows_some_without_images(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos")
    (root / "emu").mkdir()
    (root / "classes.txt").write_text("dog\nemu\nfox\ncat\n")
    folder = Folder(root)
    assert (folder.classes, folder.class_names) == (4, ("dog", "emu", "fox", "cat"))
    assert folder.read_ids(("cat/0.png", "dog/0.png"), SMALL).labels.tolist() == [3, 0]
    (root / "classes.txt").write_text("dog\n")
    with pytest.raises(DataError, match=r"'cat', of image 'cat/0.png', is no class, as classes.txt says"):
        Folder(root).read("all", SMALL)
    (root / "classes.txt").write_text("dog\ncat\ndog\n")
    with pytest.raises(DataError, match="'dog' is given twice"):
        Folder(root)


@pytest.mark.parametrize("layout", ["nothing", "no folders", "not there"])
def test_a_folder_without_classes_is_refused(layout: str, tmp_path: Path) -> None:
    if layout == "no folders":
        written(tmp_path / "loose.png")
    with pytest.raises(DataError, match=r"holds no folders|there is no such folder"):
        Folder(tmp_path / "gone" if layout == "not there" else tmp_path)


def test_all_that_is_damaged_is_told_at_once_each_with_its_reason(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos")
    whole = encoded(pixels(), "JPEG")
    written(root / "cat" / "cut.jpg", whole[: len(whole) // 2])
    written(root / "dog" / "text.png", b"not a picture")
    written(root / "dog" / "empty.jpg", b"")
    written(root / "dog" / "huge.png", bomb())
    with pytest.raises(DataError, match="4 of 10 images can't be used") as caught:
        Folder(root).read("all", SMALL)
    for name in ("cat/cut.jpg", "dog/text.png", "dog/empty.jpg", "dog/huge.png: too large a picture"):
        assert str(root / name) in str(caught.value)


def test_after_an_error_nothing_half_done_is_kept(tmp_path: Path, own_cache: Path) -> None:
    root = folder_of(tmp_path / "photos")
    bad = written(root / "cat" / "bad.png", b"not a picture")
    with pytest.raises(DataError):
        Folder(root).read("all", SMALL)
    assert not list(own_cache.rglob("*.pixels"))
    assert not list(own_cache.rglob("*.partial"))
    bad.unlink()
    assert len(Folder(root).read("all", SMALL)) == 6


def test_files_that_are_no_images_by_their_names_are_left_out_and_counted(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos")
    for name in ("cat/notes.txt", "cat/.hidden.png", "cat/Thumbs.db", "dog/._1.jpg"):
        written(root / name, b"?")
    (root / ".git").mkdir()
    (root / "__MACOSX").mkdir()
    folder = Folder(root)
    assert len(folder.read("all", SMALL)) == 6
    [holding] = folder.holdings()
    assert (holding.images, holding.classes, holding.others, holding.expected) == (6, 2, 4, None)


def test_images_in_folders_of_a_class_belong_to_it(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos")
    written(root / "cat" / "garden" / "deep.JPG", encoded(pixels(), "JPEG"))
    assert Folder(root).labels("all")["cat/garden/deep.JPG"] == 0


def test_names_with_odd_characters_are_read_and_listed(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos", ("a class", "ünï", "-rf"))
    odd = b"b\xffd \n%20.png"
    shutil.copyfile(root / "ünï" / "0.png", root / "a class" / os.fsdecode(odd))
    folder = Folder(root)
    images = folder.read("all", SMALL)
    assert "a%20class/b%FFd%20%0A%2520.png" in images.ids
    assert len(images) == 10
    some = tuple(reversed(images.ids))
    assert (folder.read_ids(some, SMALL).pixels == images.pixels[::-1]).all()


# Links


def test_a_link_within_the_folder_is_followed(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos")
    (root / "cat" / "same.png").symlink_to(root / "dog" / "0.png")
    (root / "wolf").symlink_to(root / "dog")
    images = Folder(root).read("all", SMALL)
    assert images.ids[3] == "cat/same.png"
    assert images.ids[-3:] == ("wolf/0.png", "wolf/1.png", "wolf/2.png")


@pytest.mark.parametrize("what", ["file", "class", "nothing", "circle", "folder"])
def test_a_link_that_leads_out_or_to_nothing_is_refused_and_named(what: str, tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos")
    elsewhere = folder_of(tmp_path / "elsewhere")
    if what == "class":
        link = root / "fox"
        link.symlink_to(elsewhere / "dog")
    else:
        link = root / "cat" / "link.png"
        targets = {"file": elsewhere / "cat" / "0.png", "nothing": tmp_path / "gone", "circle": link}
        link.symlink_to(targets.get(what, root / "dog"))
    with pytest.raises(DataError, match="1 links can't be followed") as caught:
        Folder(root).read("all", SMALL)
    assert str(link) in str(caught.value)
    reason = {"file": "leads out of", "class": "leads out of", "folder": "a link to a folder"}
    assert reason.get(what, "leads to nothing") in str(caught.value)


def test_a_split_that_lies_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "val").symlink_to(folder_of(tmp_path / "elsewhere"))
    with pytest.raises(DataError, match="leads out of"):
        Folder(tmp_path / "photos").read("val", SMALL)


def test_an_id_can_lead_to_nothing_outside(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos")
    (root / "cat" / "link.png").symlink_to(folder_of(tmp_path / "elsewhere") / "dog" / "1.png")
    (root / "fox").symlink_to(tmp_path / "elsewhere" / "dog")
    for name in ("cat/link.png", "fox/0.png"):
        with pytest.raises(DataError, match="leads out of"):
            Folder(root).read_ids((name,), SMALL)


def test_ids_that_lead_to_no_file_are_counted_and_named(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos")
    names = ("cat/0.png", "cat/gone.png", "dog/gone.png", f"dog/{'x' * 300}.png")
    with pytest.raises(DataError, match="3 of 4 images are not there") as caught:
        Folder(root).read_ids(names, SMALL)
    assert f"{root / 'cat' / 'gone.png'}: there is no such file" in str(caught.value)


@pytest.mark.parametrize("name", ["cat", "fox/0.png", "../photos/cat/0.png"])
def test_ids_that_are_none_are_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no image|is no class|is no image's id"):
        Folder(folder_of(tmp_path / "photos")).read_ids((name,), SMALL)


# What identifies the images of a folder


def test_a_splits_digest_changes_with_its_images_and_not_with_the_place(tmp_path: Path) -> None:
    first, second = folder_of(tmp_path / "first"), folder_of(tmp_path / "second")
    before = Folder(first).digest("all")
    assert Folder(second).digest("all") == before
    written(second / "cat" / "new.png", seed=9)
    assert Folder(second).digest("all") != before
    (first / "cat" / "0.png").rename(first / "cat" / "renamed.png")
    assert Folder(first).digest("all") != before


def test_images_that_changed_since_the_task_was_read_are_refused(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos")
    subset = Subset(name="all", digest=Folder(root).digest("all"))
    assert len(read_subset(use(root, subset), subset, tmp_path, SMALL)) == 6
    written(root / "cat" / "new.png", seed=9)
    with pytest.raises(DataError, match="have changed since the task was read"):
        read_subset(use(root, subset), subset, tmp_path, SMALL)


# Task files

TASK = """
version = 1
title = "Mine"
quality = { metric = "top1" }
profiles = ["cpu-1"]
[dataset]
name = "folder"
path = "photos"
subset = "all"
[model]
name = "cifar-resnet8"
train = { epochs = 1, lr = 0.1 }
[preprocess]
resize = 32
squash = true
"""


def task_in(folder: Path, old: str = "", new: str = "") -> Path:
    path = folder / "mine.toml"
    path.write_text(TASK.replace(old, new) if old else TASK)
    return path


def test_a_task_file_names_a_folder_beside_it(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos")
    task = taskfile.load(task_in(tmp_path))
    assert task.dataset.path == str(root)
    assert task.dataset.subset == Subset(name="all", digest=Folder(root).digest("all"))
    assert task.preprocess == Preprocess(resize=32, squash=True)


def test_a_run_is_the_same_wherever_its_folder_lies_and_another_with_other_images(tmp_path: Path) -> None:
    def run_id(place: Path) -> str:
        [run] = expand([taskfile.load(task_in(place))])
        return run.run_id

    for name in ("here", "there"):
        folder_of(tmp_path / name / "photos")
    before = run_id(tmp_path / "here")
    assert run_id(tmp_path / "there") == before
    written(tmp_path / "there" / "photos" / "dog" / "new.png", seed=9)
    assert run_id(tmp_path / "there") != before


def test_a_list_makes_another_run_once_its_images_or_the_classes_change(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos")
    written(tmp_path / "val.txt", b"cat/0.png\ndog/0.png\n")
    path = task_in(tmp_path, 'subset = "all"', 'subset = "val"')

    def run_id() -> str:
        [run] = expand([taskfile.load(path)])
        return run.run_id

    before = run_id()
    written(root / "dog" / "new.png", seed=9)  # in no list
    assert run_id() == before
    dataset = taskfile.load(path).dataset
    assert read_subset(dataset, dataset.subset, tmp_path, SMALL).ids == ("cat/0.png", "dog/0.png")
    written(root / "dog" / "0.png", encoded(pixels(50, 70)))
    after = run_id()
    assert after != before
    with pytest.raises(DataError, match="the list has changed, or images in it"):
        read_subset(dataset, dataset.subset, tmp_path, SMALL)
    written(root / "emu" / "0.png")
    assert run_id() != after
    (root / "cat" / "0.png").unlink()
    with pytest.raises(TaskFileError, match=r"mine.toml:9: dataset.subset: 1 of 2 images are not there"):
        taskfile.load(path)


def test_an_artifact_is_built_anew_for_another_number_of_classes(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "photos")
    weights = f'weights = {{ file = "w.pth", sha256 = "{"0" * 64}" }}'
    path = task_in(tmp_path, "train = { epochs = 1, lr = 0.1 }", weights)

    def built() -> tuple[str, ...]:
        [run] = expand([taskfile.load(path)])
        return run.build_ids

    before = built()
    written(root / "dog" / "new.png", seed=9)
    assert built() == before
    written(root / "emu" / "0.png")
    assert built() != before


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ('path = "photos"\n', "", 6, "'folder' needs the path of a folder"),
        ('"photos"', '"fotos"', 8, "there is no such folder"),
        ('"photos"', '"\\u0000"', 8, "'folder' needs the path of a folder"),
        ('"photos"', f'"{"x" * 5000}"', 8, "File name too long"),
        ('name = "folder"', 'name = "digits"', 8, "'digits' lies below the data root: leave this out"),
        ('subset = "all"', 'subset = "val"', 9, "no split 'val' in dataset 'folder'"),
        ("squash = true\n", "", 13, "images have sizes of their own"),
        ("resize = 32\nsquash = true", "crop = 0", 14, "more than 0"),
        ("squash = true", "crop = 48", 13, "'crop' is 48 and 'resize' 32: at most as large would be right"),
        ("resize = 32\nsquash = true", 'crop = 32\ninterpolation = "bicubic"', 13, "give 'resize', such as 256"),
        ("squash = true", 'crop = 32\ninterpolation = "cubic"', 16, "'bilinear' or 'bicubic' would be right"),
        ("resize = 32", "resize = 100000", 14, "at most 4096 would be right"),
    ],
)
def test_mistakes_about_folders_and_sizes_are_told_with_their_line(
    old: str, new: str, line: int, message: str, tmp_path: Path
) -> None:
    folder_of(tmp_path / "photos")
    assert old in TASK
    with pytest.raises(TaskFileError) as caught:
        taskfile.load(task_in(tmp_path, old, new))
    problems = [str(problem) for problem in caught.value.problems if problem.line == line]
    assert any(message in problem for problem in problems), caught.value


def test_an_empty_class_is_a_mistake_of_the_task_before_anything_runs(tmp_path: Path) -> None:
    (folder_of(tmp_path / "photos") / "emu").mkdir()
    with pytest.raises(TaskFileError, match=r"mine.toml:9: dataset.subset: 1 classes without an image"):
        taskfile.load(task_in(tmp_path))


def test_images_that_are_stored_in_one_size_can_be_cropped_to_no_larger_one(tmp_path: Path) -> None:
    path = task_in(tmp_path, 'name = "folder"\npath = "photos"', 'name = "digits"')
    path.write_text(path.read_text().replace("resize = 32\nsquash = true", "crop = 40"))
    with pytest.raises(TaskFileError, match=r"preprocess: 32 x 32 pixels can't be cropped to 40 x 40"):
        taskfile.load(path)


# ImageNet


@pytest.mark.slow
def test_imagenets_committed_images_are_those_of_the_manifest(imagenet_root: Path) -> None:
    file = REPOSITORY / "tasks" / "imagenet" / "val-610.txt"
    ids = read_ids(file)
    subset = Subset(name=file.stem, file=file, digest=ids_digest(ids))
    images = read_subset("imagenet", subset, imagenet_root, Preprocess(resize=256, interpolation="bicubic", crop=224))
    assert images.pixels.shape == (610, 3, 224, 224)
    assert (len(images.classes), len(set(images.labels.tolist()))) == (1000, 464)
    assert images.classes[0] == "tench"
    label = images.labels[images.ids.index("val/n01514668/ILSVRC2012_val_00012484.JPEG")]
    assert (label, images.classes[label]) == (7, "cock")


def test_classes_are_numbered_by_all_thousand_ids_and_not_by_the_folders_there(imagenet_root: Path) -> None:
    source = ImageNet(imagenet_root)
    wnids = [line.split()[0] for line in (imagenet_root / "imagenet" / "synset_words.txt").read_text().splitlines()]
    labels = source.labels("val")
    assert len(labels) == 610
    assert all(sorted(wnids)[label] == name.split("/")[1] for name, label in labels.items())
    assert len(set(source.class_names)) == 1000
    assert "crane (n02012849)" in source.class_names


def test_calibration_images_of_imagenet_are_training_images(imagenet_root: Path) -> None:
    calibration = read_ids(REPOSITORY / "tasks" / "imagenet" / "train-256.txt")
    assert len(calibration) == 256
    source = ImageNet(imagenet_root)
    assert all(source.holds("train", name) and not source.holds("val", name) for name in calibration)
    listing.locate(source.root, calibration)
    judged = read_ids(REPOSITORY / "tasks" / "imagenet" / "val-610.txt")
    contents = [{(source.root / name).read_bytes() for name in names} for names in (calibration, judged)]
    assert not contents[0] & contents[1]  # nor under another name


def test_a_part_of_imagenet_is_never_taken_for_the_split(imagenet_root: Path) -> None:
    with pytest.raises(DataError, match="610 images found, 'val' of ImageNet has 50,000") as caught:
        ImageNet(imagenet_root).read("val", SMALL)
    assert "paretoboard data subset imagenet val --rule all" in str(caught.value)


@pytest.fixture
def little_imagenet(tmp_path: Path) -> Path:
    """All 1,000 classes by name, and images of two of them."""
    wnids = [f"n{number:08d}" for number in range(1_000_000, 1_001_000)]
    lines = [f"{wnid} some {number}, thing" for number, wnid in enumerate(wnids)]
    written(tmp_path / "imagenet" / "synset_words.txt", "\n".join(reversed(lines)).encode())
    for number in (3, 999):
        written(tmp_path / "imagenet" / "val" / wnids[number] / "x.JPEG", encoded(pixels(seed=number), "JPEG"))
    return tmp_path


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_of_imagenet_without_images_says_where_they_go(split: str, little_imagenet: Path) -> None:
    shutil.rmtree(little_imagenet / "imagenet" / "val")
    (little_imagenet / "imagenet" / "val").mkdir()
    with pytest.raises(DataError, match=r"there is no such folder|holds no images") as caught:
        ImageNet(little_imagenet).read(split, SMALL)
    assert str(little_imagenet / "imagenet" / split) in str(caught.value)
    assert "a folder of images for each WordNet id" in str(caught.value)


def test_ids_in_any_order_number_the_classes_by_their_sorted_ids(little_imagenet: Path) -> None:
    source = ImageNet(little_imagenet)
    assert source.labels("val") == {"val/n01000003/x.JPEG": 3, "val/n01000999/x.JPEG": 999}
    assert source.class_names[3] == "some 3"


def test_torchvisions_layout_is_read_by_its_meta_file(little_imagenet: Path) -> None:
    import torch

    root = little_imagenet / "imagenet"
    names = {line.split(" ")[0]: ("some", "thing") for line in (root / "synset_words.txt").read_text().splitlines()}
    (root / "synset_words.txt").unlink()
    torch.save((names, sorted(names)), root / "meta.bin")
    source = ImageNet(little_imagenet)
    assert source.labels("val") == {"val/n01000003/x.JPEG": 3, "val/n01000999/x.JPEG": 999}
    assert source.class_names[3] == "some (n01000003)"


def test_a_meta_file_that_is_a_malicious_pickle_is_refused(little_imagenet: Path, tmp_path: Path) -> None:
    import torch

    from pickles import FileMaker

    root = little_imagenet / "imagenet"
    (root / "synset_words.txt").unlink()
    torch.save((FileMaker(tmp_path / "trace"), []), root / "meta.bin")
    with pytest.raises(DataError, match="names what it should not, and is not loaded"):
        ImageNet(little_imagenet).labels("val")
    assert not (tmp_path / "trace").exists()


def test_without_names_a_split_with_all_folders_gives_the_ids(little_imagenet: Path) -> None:
    root = little_imagenet / "imagenet"
    wnids = [line.split(" ")[0] for line in (root / "synset_words.txt").read_text().splitlines()]
    (root / "synset_words.txt").unlink()
    with pytest.raises(DataError, match="which names all 1,000 ids"):
        ImageNet(little_imagenet).labels("val")
    for wnid in wnids:
        (root / "train" / wnid).mkdir(parents=True)
    assert ImageNet(little_imagenet).labels("val") == {"val/n01000003/x.JPEG": 3, "val/n01000999/x.JPEG": 999}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("val/n01000003/gone.JPEG", "1 of 1 images are not there"),
        ("val/n09999999/x.JPEG", "no class of ImageNet-1k"),
        ("test/n01000003/x.JPEG", "imagenet has no image"),
        ("val/../x.JPEG", "imagenet has no image"),
        ("val/n01000003/../../../x.JPEG", "is no image's id"),
    ],
)
def test_ids_that_imagenet_does_not_have_are_named(name: str, message: str, little_imagenet: Path) -> None:
    with pytest.raises(DataError, match=message):
        ImageNet(little_imagenet).read_ids((name,), SMALL)


def test_names_that_are_not_a_thousand_are_refused(little_imagenet: Path) -> None:
    path = little_imagenet / "imagenet" / "synset_words.txt"
    path.write_text(path.read_text().replace("n01000005", "cat"))
    with pytest.raises(DataError, match="1,000 ids found, 'cat' among them"):
        ImageNet(little_imagenet).labels("val")


def test_an_unknown_split_of_imagenet_gets_the_nearest_known_one(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'val'"):
        ImageNet(tmp_path).read("vall", SMALL)
