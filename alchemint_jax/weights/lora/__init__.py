"""LoRA files: of training here, diffusers, peft, ComfyUI, kohya's tools and LyCORIS, and to some.

`names` says which tensor of a file belongs where, `settings` how strongly it counts, `changes` what
it does to a weight. `load_loras` reads and checks files, `merge` adds them to a transformer's
tensors on their way to the device, and `save_lora` writes one.
"""

from alchemint_jax.weights.lora.changes import Change
from alchemint_jax.weights.lora.chosen import Given, Loras, load_loras
from alchemint_jax.weights.lora.loading import Lora, load_lora
from alchemint_jax.weights.lora.merging import merge
from alchemint_jax.weights.lora.saving import save_lora

__all__ = ["Change", "Given", "Lora", "Loras", "load_lora", "load_loras", "merge", "save_lora"]
