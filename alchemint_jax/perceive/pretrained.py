"""Networks of others, run by PyTorch: the extra `[perceive]`, which is imported only when asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alchemint_jax.errors import ConfigError


def load(checkpoint: str, *kinds: str) -> tuple[Any, ...]:
    """What transformers makes of a checkpoint: one object for each of its classes named.

    Networks are put on a GPU if there is one, and set to be used, not trained. Only safetensors are
    read.

    Args:
        checkpoint: a folder, or a name on the Hugging Face hub, from which it is downloaded.
        kinds: names of classes of transformers, such as "CLIPModel".

    Raises:
        ConfigError: the extra is not installed, or there is no such checkpoint.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise ConfigError(
            f"{checkpoint}: needs PyTorch and transformers ({error}); install them with "
            "pip install 'alchemint-jax[perceive]'"
        ) from error
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded = []
    for kind in kinds:
        of = getattr(transformers, kind)
        network = isinstance(of, type) and issubclass(of, transformers.PreTrainedModel)
        try:
            made = of.from_pretrained(checkpoint, **({"use_safetensors": True} if network else {}))
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ConfigError(
                f"{checkpoint}: no {kind} can be loaded from it: {reason}; {_where(checkpoint)}"
            ) from error
        loaded.append(made.eval().to(device) if network else made)
    return tuple(loaded)


def _where(checkpoint: str) -> str:
    """What to fetch, and where to put it."""
    if Path(checkpoint).is_dir():
        return "the folder must hold config.json and safetensors of a checkpoint of transformers"
    return (
        "it is downloaded from the Hugging Face hub where that can be reached; elsewhere, fetch it "
        f"with 'hf download {checkpoint} --local-dir DIR' and write :DIR behind the name of the "
        "perceiver"
    )
