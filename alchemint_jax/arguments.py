"""Values on the command line: what they may be, and what is said where they are not."""

from __future__ import annotations

import argparse
import contextlib
import functools
import math
from collections.abc import Callable

from alchemint_jax import shipped


@functools.cache  # every parser has many of these
def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """Whole numbers of at least `low` and, unless it is None, at most `high`."""

    def parse(text: str) -> int:
        with contextlib.suppress(ValueError):
            if low <= int(text) and (high is None or int(text) <= high):
                return int(text)
        wanted = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise argparse.ArgumentTypeError(f"must be a whole number {wanted}, got {text!r}")

    return parse


seed = whole(0, 2**32 - 1)
"""What NumPy and JAX both take."""


def size(text: str) -> tuple[int, int]:
    """HEIGHTxWIDTH, in pixels."""
    with contextlib.suppress(ValueError):
        height, width = (int(side) for side in text.split("x"))
        if min(height, width) > 0:
            return height, width
    raise argparse.ArgumentTypeError(f"write HEIGHTxWIDTH, for example 480x832, not {text!r}")


def _number(fits: Callable[[float], bool], wanted: str) -> Callable[[str], float]:
    """Numbers that fit; others must be what is `wanted`."""

    def parse(text: str) -> float:
        with contextlib.suppress(ValueError):
            if fits(value := float(text)):
                return value
        raise argparse.ArgumentTypeError(f"must be {wanted}, got {text!r}")

    return parse


_OR_NOTHING = "or nothing (then write it last)"
guidance_weight = _number(lambda x: 0 <= x <= 100, "a number from 0 to 100")
"""The weight of a branch of guidance."""
threshold = _number(lambda x: 0 <= x < math.inf, "a number of at least 0")
"""A finite number of at least 0."""
share = _number(lambda x: 0 <= x <= 1, "a share from 0 to 1")
"""A part of a whole."""
gating_strength = _number(lambda x: 0 <= x <= 1024, f"a number from 0 to 1024, {_OR_NOTHING}")
"""How deep a gate is."""
relay_tail = _number(
    lambda x: 0 < x <= 1000,
    f"a number of latent frames above 0, at most 1000, {_OR_NOTHING}",
)
"""Over how many latent frames events fade."""


def window(text: str) -> tuple[float, float]:
    """START:END, two shares of a whole."""
    with contextlib.suppress(ValueError):
        start, end = (float(share) for share in text.split(":"))
        if 0 <= start < end <= 1:
            return start, end
    raise argparse.ArgumentTypeError(f"write START:END, two shares from 0 to 1, not {text!r}")


def add_cache(command: argparse.ArgumentParser) -> None:
    """Adds --cache: a file of step caches, or "auto"."""
    command.add_argument(
        "--cache",
        metavar="FILE|auto",
        help="skip passes of the model as a step cache says (see `alchemint step-cache`); auto is "
        "the one beside the weights",
    )


def add_guidance(command: argparse.ArgumentParser) -> None:
    """Adds the weights of the branches of guidance, and where they hold."""
    branches = {"text": "the prompt", "image": "the pictures", "both": "both at once"}
    for branch, of in branches.items():
        command.add_argument(
            f"--guidance-{branch}",
            type=guidance_weight,
            metavar="G",
            help=f"weight of {of} (0 turns off)",
        )
    command.add_argument(
        "--guidance-low",
        type=guidance_weight,
        metavar="G",
        help="of models of two experts: weight of both at once in the steps of the second one",
    )
    command.add_argument(
        "--guidance-interval",
        type=window,
        metavar="START:END",
        help="guide in this share of the steps alone, such as 0:0.6 (default: in all)",
    )


def add_gating(command: argparse.ArgumentParser) -> None:
    """Adds --gating: its strength, or True where it is given without one."""
    command.add_argument(
        "--gating",
        type=gating_strength,
        nargs="?",
        const=True,
        metavar="STRENGTH",
        help="attention sees subjects only while they are on screen (30 by default; 0 is off)",
    )


MODEL_KINDS = ("phantom", "kaleido", "magref", "plain")
"""Published models of subjects, see `sampling.kinds`, which takes long to import."""


def add_kind(command: argparse.ArgumentParser) -> None:
    """Adds --model-kind."""
    command.add_argument(
        "--model-kind",
        choices=MODEL_KINDS,
        help="how a published model takes pictures; default: as its file or folder is called",
    )


def add_parts(command: argparse.ArgumentParser) -> None:
    """Adds what else may be read from other places than the model."""
    command.add_argument(
        "--vae",
        metavar="FILE|DIR",
        help="read the autoencoder from here: a model's folder, a file in Wan's own names, or a "
        "small decoder in TAEHV's, for previews; 'tiny' is the one beside the model's weights",
    )
    command.add_argument(
        "--transformer-2",
        metavar="FILE|DIR",
        help="the same of the second of two experts (Wan2.2's A14B)",
    )
    command.add_argument(
        "--lora-2",
        type=lora,
        action="append",
        default=[],
        metavar="FILE[:STRENGTH]",
        help="merge a LoRA into the second of two experts; may be repeated",
    )


def add_relay(command: argparse.ArgumentParser) -> None:
    """Adds --relay: its tail, or True where it is given without one; and --contrast."""
    command.add_argument(
        "--relay",
        type=relay_tail,
        nargs="?",
        const=True,
        metavar="FRAMES",
        help="tell events to a model without an event branch, in its prompt; they fade over so "
        "many latent frames (2 by default)",
    )
    command.add_argument(
        "--contrast",
        action="store_const",
        const=True,
        help="with --relay: while an event lasts, guidance leads away from the prompt without it, "
        "in place of the negative prompt",
    )


def add_ts_attn(command: argparse.ArgumentParser) -> None:
    """Adds --ts-attn: a list of words, or of True where it is given without."""
    command.add_argument(
        "--ts-attn",
        nargs="?",
        const=True,
        action="append",
        metavar="WORD",
        help="tell events to a model without an event branch, in its prompt, where this word of it "
        "is seen (by default, the words of the subjects); may be repeated",
    )


def add_inbetween(command: argparse.ArgumentParser) -> None:
    """Adds --inbetween, which is None where it is not given."""
    command.add_argument(
        "--inbetween",
        action="store_true",
        default=None,
        help="frames between two keyframes attend to prompt and pictures as these do",
    )


def add_clean_keyframes(command: argparse.ArgumentParser) -> None:
    """Adds --clean-keyframes, which is None where it is not given."""
    command.add_argument(
        "--clean-keyframes",
        action="store_true",
        default=None,
        help="give keyframes as clean latents, to a model without channels for them that was "
        "trained so",
    )


def add_tempo(command: argparse.ArgumentParser) -> None:
    """Adds --tempo: a list of words with their times, or of True where it is given without.

    And beside it --tempo-layers and --tempo-signal, which are None where they are not given.
    """
    command.add_argument(
        "--tempo",
        nargs="?",
        const=True,
        action="append",
        metavar="WORD=WHEN",
        help="move the latents until attention to words follows their times: those of the "
        "subjects, or of a word of the prompt, in seconds (star=0.5-2,3-4), as a curve "
        "(star=0:0,1.5:1) or as the onsets of a sound file (star=beat.wav); may be repeated",
    )
    command.add_argument(
        "--tempo-layers",
        type=window,
        metavar="START:END",
        help="with --tempo: whose attention is read, as shares of the layers; default: all, 0:1",
    )
    command.add_argument(
        "--tempo-signal",
        choices=("mean", "spread"),
        help="with --tempo: what follows the times, how much a frame attends to the word (default) "
        "or how far its places differ in that",
    )


def perceivers(text: str) -> dict[str, str]:
    """KIND=NAME, and more of them behind commas; names may hold colons and slashes."""
    kinds = ("detector", "segmenter", "embedder")
    found: dict[str, str] = {}
    for part in text.split(","):
        kind, equals, name = (one.strip() for one in part.partition("="))
        if not equals or not name or kind not in kinds:
            raise argparse.ArgumentTypeError(
                f"write KIND=NAME, with {', '.join(kinds)} as kinds and commas between them, "
                f"for example detector=grounding-dino,embedder=clip; got {text!r}"
            )
        if kind in found:
            raise argparse.ArgumentTypeError(f"{kind} is given twice in {text!r}")
        found[kind] = name
    return found


def lora(text: str) -> tuple[str, float]:
    """FILE or FILE:STRENGTH; the strength is 1 by default."""
    name, colon, strength = text.rpartition(":")
    try:
        value = float(strength) if colon else None
    except ValueError:  # the colon is one of the file's name
        value = None
    if value is None:
        name, value = text, 1.0
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"the strength must be a finite number, got {text!r}")
    if not name:
        raise argparse.ArgumentTypeError(f"write FILE or FILE:STRENGTH, got {text!r}")
    return name, value


def config(text: str) -> str:
    """FILE.py or FILE.py:ARGUMENT; FILE.py may be one that comes with the package."""
    name, colon, argument = text.rpartition(":")
    if not (colon and name.endswith(".py")):
        return str(shipped.find(text))
    return f"{shipped.find(name)}:{argument}"
