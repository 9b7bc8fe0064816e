"""An autoencoder, or a small decoder, in a single file without a config.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flax.traverse_util import flatten_dict
from jaxtyping import PyTree

from alchemint_jax.errors import WeightsError
from alchemint_jax.models.vae import TinyDecoderConfig, VAEConfig
from alchemint_jax.weights import files, signs
from alchemint_jax.weights.directories import TINY_DECODER
from alchemint_jax.weights.layouts import vae_original
from alchemint_jax.weights.layouts.moves import Entry
from alchemint_jax.weights.tensors import Tensor, in_memory
from alchemint_jax.weights.wan import from_ours


def guess(
    found: Mapping[str, Tensor], file: Path
) -> tuple[VAEConfig | TinyDecoderConfig, list[Entry], dict[str, Tensor]]:
    """What the shapes of a file's tensors say: the configuration, the entries, what is read.

    Raises:
        WeightsError: it is none that is known.
    """
    shapes = {name: tensor.shape for name, tensor in found.items()}
    try:
        if vae_original.is_tiny(shapes):
            tiny = vae_original.guess_tiny(shapes)
            ignored = vae_original.TINY_IGNORED
            read = {name: x for name, x in found.items() if not name.startswith(ignored)}
            return tiny, vae_original.tiny_entries(tiny), read
        config = vae_original.guess(shapes)
        return config, vae_original.entries(config), dict(found)
    except (KeyError, ValueError, IndexError, ZeroDivisionError) as e:
        why = f"{e} is missing" if isinstance(e, KeyError) else f"its shapes are others: {e}"
        advice = signs.hint({}, found)
        if any(name.startswith("encoder.down_blocks.") for name in found):
            advice = (
                "It has the names of diffusers, whose config.json says what it is: give the folder "
                "of the model, which holds vae/."
            )
        raise WeightsError(
            f"{file} holds neither an autoencoder in Wan's own names nor a small decoder in "
            f"TAEHV's ({why}). {advice}".rstrip()
        ) from e


def write_tiny(folder: Path, config: TinyDecoderConfig, params: PyTree) -> Path:
    """Writes a small decoder into a folder, in TAEHV's names and in float16; gives the file.

    Args:
        folder: made if absent; other files in it stay.
        config: of the decoder.
        params: its parameters.

    Raises:
        WeightsError: they cannot be stored like that, or writing failed.
    """
    ours = {path: in_memory(leaf) for path, leaf in flatten_dict(params, sep=".").items()}
    tensors = from_ours(vae_original.tiny_entries(config), ours)
    files.write(folder, Path(TINY_DECODER).stem, tensors, {}, dtype="F16")
    return folder / TINY_DECODER
