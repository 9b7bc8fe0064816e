"""The options of `alchemint data encode`."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
from typing import TYPE_CHECKING, Any

from alchemint_jax import arguments
from alchemint_jax.errors import ConfigError

if TYPE_CHECKING:
    from alchemint_jax.data.buckets import Bucket
    from alchemint_jax.data.encoding import Encoding
    from alchemint_jax.data.references import Variation

_ENCODING = (
    *("buckets", "fps", "windows", "seed", "slots", "views", "events", "cuts"),
    *("reference_size", "kinds", "outside_only", "cross", "context", "variation"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds all but `--data`, `--vae` and `--out`."""
    many, some = arguments.whole(1), arguments.whole(0)
    parser.add_argument(
        "--text", metavar="DIR", help="write states of texts too, of this model's text encoder"
    )
    parser.add_argument("--int8-text", action="store_true", help="run it in 8 bits")
    parser.add_argument(
        "--buckets",
        type=buckets,
        metavar="FxHxW,...",
        help="shapes of clips: 81x480x832,1x480x832; each clip goes where it fits best",
    )
    parser.add_argument("--fps", type=rate, metavar="N", help="default: that of the first clip")
    parser.add_argument("--windows", type=many, metavar="N", help="of a clip at most, default 4")
    parser.add_argument("--seed", type=arguments.seed, metavar="N", help="default 0")
    parser.add_argument("--slots", type=many, metavar="N", help="subjects of a window, default 3")
    parser.add_argument("--views", type=many, metavar="N", help="pictures of each, default 3")
    parser.add_argument("--events", type=some, metavar="N", help="events of a window, default 0")
    parser.add_argument("--cuts", type=some, metavar="N", help="cuts of a window, default 0")
    parser.add_argument(
        "--reference-size",
        type=arguments.size,
        metavar="HxW",
        help="of pictures; default: that of the clips",
    )
    parser.add_argument(
        "--kinds",
        type=weights_by_name,
        metavar="K=W,...",
        help="how often kinds of pictures are drawn, default crop=1,segment=5,inpaint=3,redux=1",
    )
    parser.add_argument(
        "--outside-only",
        action="store_true",
        help="leave out subjects that have pictures of their window alone, and never use these",
    )
    parser.add_argument(
        "--cross", type=share, metavar="S", help="share of pictures from other scenes, default 0.3"
    )
    parser.add_argument(
        "--context",
        type=share,
        metavar="S",
        help="share of pictures of a subject alone that stand before a frame of another video, "
        "default 0",
    )
    parser.add_argument(
        "--variation",
        type=variation,
        metavar="K=V,...",
        help="how far pictures are varied, default flip=0.5,zoom=0.5:1,rotate=10,blur=0.004,"
        "light=0.2,hue=0.03",
    )
    parser.add_argument("--plain", action="store_true", help="take pictures as they are")
    parser.add_argument("--batch", type=many, metavar="N", help="clips at a time, default 8")
    parser.add_argument(
        "--tiles", type=many, metavar="N", help="tiles of a large frame at a time, default 1"
    )


def encoding(args: argparse.Namespace) -> tuple[Encoding, dict[str, Any]]:
    """What was asked for, and further arguments of `encode_dataset`.

    Raises:
        ConfigError: it makes no sense.
    """
    from alchemint_jax.data.encoding import Encoding

    fields = _given(args, _ENCODING)
    if args.plain:
        fields["vary"] = False
    return Encoding(**fields), _given(args, ("text", "int8_text", "batch", "tiles"))


def _given(args: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    found = {name: getattr(args, name) for name in names}
    return {n: value for n, value in found.items() if value is not None and value is not False}


def buckets(text: str) -> tuple[Bucket, ...]:
    """Shapes of clips, FRAMESxHEIGHTxWIDTH, with commas between them."""
    from alchemint_jax.data.buckets import Bucket

    try:
        return tuple(Bucket.parse(part.strip()) for part in text.split(","))
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def weights_by_name(text: str) -> tuple[tuple[str, float], ...]:
    """Kinds of pictures and their weights, KIND=WEIGHT with commas between them."""
    from alchemint_jax.data.timed_clips import KINDS

    pairs = [part.strip().partition("=") for part in text.split(",")]
    with contextlib.suppress(ValueError):
        found = tuple((name, float(value)) for name, _, value in pairs)
        if all(name in KINDS and math.isfinite(value) and value >= 0 for name, value in found):
            return found
    raise argparse.ArgumentTypeError(
        f"write KIND=WEIGHT,KIND=WEIGHT with kinds of {', '.join(KINDS)}, not {text!r}"
    )


def variation(text: str) -> Variation:
    """How far pictures are varied, NAME=VALUE with commas between them; zoom is LOWEST:HIGHEST."""
    from alchemint_jax.data.references import Variation

    amounts: dict[str, Any] = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        numbers: list[float] = []
        with contextlib.suppress(ValueError):
            numbers = [float(one) for one in value.split(":")]
        if len(numbers) != 1 + (name == "zoom") or not all(map(math.isfinite, numbers)):
            raise argparse.ArgumentTypeError(
                f"write NAME=NUMBER,NAME=NUMBER, and zoom=LOWEST:HIGHEST, not {part.strip()!r}"
            )
        amounts[name] = tuple(numbers) if name == "zoom" else numbers[0]
    known = [field.name for field in dataclasses.fields(Variation)]
    if unknown := [name for name in amounts if name not in known]:
        raise argparse.ArgumentTypeError(f"no {unknown[0]}; there are {', '.join(known)}")
    try:
        return Variation(**amounts)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def share(text: str) -> float:
    """A number from 0 to 1."""
    with contextlib.suppress(ValueError):
        if 0 <= (value := float(text)) <= 1:
            return value
    raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, got {text!r}")


def rate(text: str) -> float:
    """A positive number."""
    with contextlib.suppress(ValueError):
        if math.isfinite(value := float(text)) and value > 0:
            return value
    raise argparse.ArgumentTypeError(f"must be a positive number, got {text!r}")
