"""Which layer of the transformer a tensor of a LoRA file is for, and which part of its change."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

from alchemint_jax.models.dit import DiTConfig
from alchemint_jax.weights.layouts import dit
from alchemint_jax.weights.layouts.moves import Entry

# Endings of names, and what they mean; longer ones first where one ends like another.
_ENDINGS = {
    ".lora_A.weight": "a",
    ".lora_down.weight": "a",
    ".lora.down.weight": "a",
    "_lora.down.weight": "a",
    ".lora_linear_layer.down.weight": "a",
    ".lora_A": "a",
    ".lora_B.weight": "b",
    ".lora_up.weight": "b",
    ".lora.up.weight": "b",
    "_lora.up.weight": "b",
    ".lora_linear_layer.up.weight": "b",
    ".lora_B": "b",
    ".lora_B.bias": "bias of b",
    ".alpha": "alpha",
    ".dora_scale": "magnitude",
    ".lora_magnitude_vector.weight": "magnitude",
    ".lora_magnitude_vector": "magnitude",
    ".diff": "diff",
    ".diff_b": "diff of bias",
    ".diff_m": "diff of modulation",
    ".w_norm": "diff",
    ".b_norm": "diff of bias",
    **{f".hada_w{i}_{x}": f"h{i}_{x}" for i in (1, 2) for x in "ab"},
    **{f".lokr_w{i}{x}": f"w{i}{x}" for i in (1, 2) for x in ("", "_a", "_b")},
}
# Peft's name of the adapter, which some scripts leave in.
_ADAPTER = re.compile(r"\.(lora_A|lora_B|lora_magnitude_vector)\.[^.]+(?=\.(?:weight|bias)$)")
_ADAPTER_ALONE = re.compile(r"\.(lora_magnitude_vector)\.(?!weight$)[^.]+$")
_WRAPPERS = re.compile(r"\b(?:_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module)\.")
_PREFIXES = re.compile(
    r"^(?:base_model\.model\.|diffusion_model\.|transformer\.|model\.|module\.|pipe\.|dit\.|unet\.)+"
)
_KOHYA = re.compile(r"^(?:lora_unet|lora_transformer|lycoris)_+(?:orig_mod_)?")


@dataclasses.dataclass(frozen=True)
class Site:
    """A layer: the parameters that tensors with its name may change.

    Attributes:
        weight: its matrix, or whatever else has this name.
        bias: None where it has none.
        modulation: of a block, or of the head.
    """

    weight: Entry | None = None
    bias: Entry | None = None
    modulation: Entry | None = None

    @property
    def key(self) -> tuple[str, int | None]:
        """The same for every spelling of a layer."""
        entry = self.weight or self.modulation
        assert entry is not None
        return entry.path, entry.layer

    def __or__(self, other: Site) -> Site:
        """All that either of two spellings has."""
        return Site(
            self.weight or other.weight,
            self.bias or other.bias,
            self.modulation or other.modulation,
        )


def split(name: str) -> tuple[str, str]:
    """A tensor's name as that of its layer, without prefixes, and its part; "" if it has none."""
    name = _ADAPTER_ALONE.sub(r".\1", _ADAPTER.sub(r".\1", name))
    ending = max((e for e in _ENDINGS if name.endswith(e)), key=len, default="")
    layer = _WRAPPERS.sub("", name.removesuffix(ending))
    return _KOHYA.sub("", _PREFIXES.sub("", layer)), _ENDINGS.get(ending, "")


def is_kohya(names: Iterable[str]) -> bool:
    """Whether these are names as kohya's scripts (sd-scripts, musubi-tuner) write them."""
    return any(_KOHYA.match(name) for name in names)


def sites(config: DiTConfig) -> dict[str, Site]:
    """The layers of the transformer by every name that files are known to give them."""
    found: dict[str, Site] = {}

    def put(name: str, **entry: Entry) -> None:
        for spelling in (name, name.replace(".", "_")):
            found[spelling] = dataclasses.replace(found.get(spelling, Site()), **entry)

    for entries in (dit.entries(config), dit.original_entries(config)):
        for entry in entries:
            stem, _, last = entry.name.rpartition(".")
            if last in ("weight", "bias"):
                put(stem, **{last: entry})
                continue
            put(entry.name, weight=entry)
            if stem and last in ("modulation", "scale_shift_table"):
                put(stem, modulation=entry)
    return found
