"""The parts of an input pipeline that leave the model as it is."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from annotated_types import Ge, Le

from paretoboard.artifact import InputPipeline
from paretoboard.errors import InputError, NotApplicableError
from paretoboard.techniques import Applied, Technique

if TYPE_CHECKING:
    from paretoboard.artifact import Candidate
    from paretoboard.techniques import Workbench

_CHANNELS: Final = (1, 3)  # of what both decoders know as grey and as colours


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImages(Technique):
    """Begin each call with stored images: a file of each, or CIFAR-10's records of a batch in one file.

    Images are written before the call, from the pixels that the model is scored on; that they are in the system's page
    cache is a part of what is measured. JPEG changes them, and so does resizing: quality says what that costs.
    """

    source = "Murray et al. 2021, tf.data, arXiv:2101.12127, section 2; Mohan et al. 2021, arXiv:2007.06775"
    takes = ("torch", "onnx")

    form: Literal["png", "jpeg", "records"] = "png"
    side: Annotated[int, Ge(1)] | None = None  # pixels of a stored image's side; None: as the model takes it
    quality: Annotated[int, Ge(1), Le(95)] = 95  # of JPEG; Pillow advises against more

    def __post_init__(self) -> None:
        if self.form == "records" and self.side is not None:
            raise InputError("records hold images as the model takes them: leave 'side' out, or store PNG or JPEG")

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Note the form.

        Raises: NotApplicableError for a model that takes no grey or coloured images, or none of equal sides where
            `side` is given.
        """
        after = with_input(candidate, bench, stored=self.form, side=self.side, quality=self.quality)
        height, width = candidate.input_shape[1:]
        if self.side is not None and height != width:
            raise NotApplicableError(f"images of equal sides are stored, and the model takes {width}x{height}")
        size = f"{self.side}x{self.side}" if self.side else f"{width}x{height}"
        note = f"calls begin with stored images of {size} ({self.form}), which are in the page cache"
        return Applied(candidate=after, notes=(note,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding(Technique):
    """Make pixels of stored images by another library, with another filter, or with less work.

    Images that are stored in another size are resized, antialiased by all filters but "nearest".
    """

    source = (
        "Pillow documentation, Image.draft and filters; torchvision documentation, torchvision.io.decode_image; on "
        "what filters do to answers: Parmar et al. 2022, arXiv:2104.11222, section 3.1"
    )
    takes = ("torch", "onnx")

    decoder: Literal["pillow", "torchvision"] = "pillow"
    filter: Literal["bilinear", "bicubic", "nearest"] = "bilinear"
    draft: bool = False  # a JPEG at 1/2, 1/4 or 1/8 of its size, whatever is nearest above what the model takes

    def __post_init__(self) -> None:
        if self.draft and self.decoder != "pillow":
            raise InputError("draft is Pillow's: torchvision's decoder has no such mode")

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Note decoder and filter.

        Raises: NotApplicableError where there is nothing to decode or to resize, or no JPEG that is large enough to
            draft.
        """
        after = with_input(candidate, bench, decoder=self.decoder, filter=self.filter, draft=self.draft)
        return Applied(candidate=after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache(Technique):
    """Keep decoded images in memory, by a digest of their file: each call reads its files and decodes none again.

    The first pass over the images, which fills the cache, is not in the timed calls, and its memory is.
    """

    source = "Murray et al. 2021, tf.data, arXiv:2101.12127, section 3.1 (cache); Mohan et al. 2021, arXiv:2007.06775"
    takes = ("torch", "onnx")

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Note it.

        Raises: NotApplicableError for records, which are not decoded, and for processes, each of which would have a
            cache of its own.
        """
        after = with_input(candidate, bench, cached=True)
        return Applied(candidate=after, notes=("the pass over the images that fills the cache is not timed",))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPool(Technique):
    """Read and decode the images of a batch in workers that share it; the model waits until all are there.

    What a pipeline gains that works ahead on the next batch is not in this: a call ends with its own answers.
    """

    source = "PyTorch documentation 'torch.utils.data', multi-process data loading; Python's concurrent.futures"
    takes = ("torch", "onnx")

    count: Annotated[int, Ge(1)]
    kind: Literal["threads", "processes"] = "threads"

    def apply(self, candidate: Candidate, bench: Workbench) -> Applied:
        """Note them; a profile of one core refuses to run them.

        Raises: NotApplicableError for records, which are one file, and for processes beside a cache.
        """
        return Applied(candidate=with_input(candidate, bench, workers=self.count, worker_kind=self.kind))


def with_input(candidate: Candidate, bench: Workbench, **settings: Any) -> Candidate:
    """`candidate` with other settings of its input pipeline, which begins here where there was none.

    Raises: NotApplicableError for settings that don't go together, and for a model that takes no images.
    """
    if len(candidate.input_shape) != len(("channels", "height", "width")) or candidate.input_shape[0] not in _CHANNELS:
        raise NotApplicableError(
            f"an input pipeline reads grey or coloured images, and the model takes {candidate.input_shape}"
        )
    given = candidate.execution.input or InputPipeline(preprocess=bench.preprocess)
    pipeline = dataclasses.replace(given, **settings)
    reason = _contradiction(pipeline, candidate.input_shape[-1])
    if reason:
        raise NotApplicableError(reason)
    return dataclasses.replace(candidate, execution=dataclasses.replace(candidate.execution, input=pipeline))


def _contradiction(pipeline: InputPipeline, side: int) -> str:
    """What does not go together, "" where all does."""
    if pipeline.stored == "records":
        given = {
            "decoder": pipeline.decoder != "pillow",
            "draft": pipeline.draft,
            "cache": pipeline.cached,
            "workers": pipeline.workers > 0,
        }
        asked = [name for name, is_given in given.items() if is_given]
        if asked:
            return f"records are read in one piece and not decoded: {', '.join(asked)} does nothing there"
    if pipeline.draft and (pipeline.stored != "jpeg" or pipeline.side is None or pipeline.side < 2 * side):
        return (
            "draft decodes large JPEGs to smaller images: put data.stored before it with form = 'jpeg' and a 'side' of "
            f"{2 * side} or more"
        )
    if pipeline.filter != "bilinear" and pipeline.side in (None, side):
        return "images are stored as large as the model takes them: put data.stored with another 'side' before"
    if pipeline.cached and pipeline.workers and pipeline.worker_kind == "processes":
        return "a cache is kept in the memory of one process: use threads as workers, or leave one of the two out"
    return ""
