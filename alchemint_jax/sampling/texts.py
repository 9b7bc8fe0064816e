"""How a model reads: a tokenizer, and a text encoder that is loaded when a text is new.

The transformer reads the encoder's states, zero from the end of a text on.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from alchemint_jax import weights
from alchemint_jax.errors import ConfigError
from alchemint_jax.models.dit.conditioning import Tokens, encode_text
from alchemint_jax.models.umt5 import Int8UMT5Encoder, UMT5Encoder, quantize_leaf
from alchemint_jax.programs import kept
from alchemint_jax.sampling.finite import TEXT, require_finite
from alchemint_jax.sampling.text_cache import TextCache, fingerprint
from alchemint_jax.tokenizers import ByteTokenizer, Tokenizer, UMT5Tokenizer

_ALL = 2**16  # tokens; no text that is worth counting has more
STEP = 64
"""Texts are encoded at multiples of this length, so that few lengths are compiled."""


@dataclasses.dataclass(frozen=True)
class Texts:
    """How a model reads. Make one with `load`.

    Attributes:
        tokenizer: of any length.
        encoder: the text encoder.
        params: gives its parameters; called only if some text's states are not known yet.
        cache: of states on disk; None keeps none.
    """

    tokenizer: Tokenizer
    encoder: UMT5Encoder
    params: Callable[[], PyTree]
    cache: TextCache | None = None

    @classmethod
    def load(cls, directory: Path, int8: bool = False) -> Texts:
        """The text encoder of a model's directory.

        One with a `tokenizer/` is as large as Wan's: it is read only when a text is new, runs in
        host memory and is let go, and the states of texts are kept on disk. `int8` stores its
        matrices in 8 bits.

        Raises:
            WeightsError: naming what is missing or does not fit.
        """
        module, tensors = weights.open_component(directory, "text_encoder")
        assert isinstance(module, UMT5Encoder)
        folder = weights.tokenizer_folder(directory, module.config.vocab)
        if folder is None:
            small = weights.read_params(tensors, module.abstract_params())
            return cls(ByteTokenizer(1), module, lambda: small)
        tokenizer = UMT5Tokenizer.load(folder)
        cache = TextCache(fingerprint(directory / "text_encoder", "int8" if int8 else "float32"))

        def in_8_bits(path: tuple, _: jax.ShapeDtypeStruct) -> PyTree:
            # Layer by layer: scales are of one layer, and a whole stack would be four times as
            # large before it is rounded as afterwards.
            name = ".".join(str(entry.key) for entry in path)
            rows = [quantize_leaf(name, rows) for rows in tensors[name].rows()]
            return jax.tree.map(lambda *parts: np.concatenate(parts), *rows)

        def params() -> PyTree:
            # In the host's memory: an accelerator, where others go, may not have room for them.
            if int8:
                tree = jax.tree_util.tree_map_with_path(in_8_bits, module.abstract_params())
                return on_host(tree)
            place = jax.sharding.SingleDeviceSharding(host())
            target = jax.tree.map(
                lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
                module.abstract_params(),
            )
            return weights.read_params(tensors, target)

        encoder = Int8UMT5Encoder(module.config) if int8 else module
        return cls(tokenizer, encoder, params, cache)

    def states(
        self, *groups: tuple[Sequence[str], int]
    ) -> list[tuple[Float[Array, "n l d"], Bool[Array, "n l"]]]:
        """States and masks of groups of texts, each group cut and padded to its own length.

        States are zero where padded.

        Raises:
            NonFiniteError: weights of the encoder, or its states, are NaN or infinite somewhere.
        """
        params = functools.cache(self.params)  # read at most once, and dropped afterwards
        found = []
        for texts, length in groups:
            if not texts:
                empty = jnp.zeros((0, length, self.encoder.config.dim))
                found.append((empty, jnp.zeros((0, length), bool)))
                continue
            ids, mask = dataclasses.replace(self.tokenizer, length=length).encode(list(texts))
            encode = functools.partial(self._encoded, params)
            states = self.cache.states(ids, mask, encode) if self.cache else encode(ids, mask)
            found.append((jax.device_put(states), jax.device_put(mask)))
        return found

    def _encoded(
        self, params: Callable[[], PyTree], ids: np.ndarray, mask: np.ndarray
    ) -> jax.Array:
        found = encode_ids(self.encoder, params(), ids, mask)
        require_finite(found, TEXT)
        return found

    def words(
        self, texts: Sequence[str], words: Sequence[Sequence[str]], slots: int, length: int
    ) -> Bool[np.ndarray, "b r l"]:
        """Which tokens of each text are of each of its words, in so many slots."""
        tokenizer = dataclasses.replace(self.tokenizer, length=length)
        found = np.zeros((len(texts), slots, length), bool)
        for rows, text, own in zip(found, texts, words, strict=True):
            for row, word in zip(rows, own, strict=False):
                row[:] = tokenizer.tokens_of(text, word)
        return found

    def join(
        self, texts: Sequence[Sequence[str]], most: int, length: int
    ) -> tuple[list[str], Bool[np.ndarray, "b p l"]]:
        """Each row of texts as one, and which of its tokens are of each; `most` texts in a row."""
        tokenizer = dataclasses.replace(self.tokenizer, length=length)
        found = np.zeros((len(texts), most, length), bool)
        whole = []
        for rows, parts in zip(found, texts, strict=True):
            text, own = tokenizer.join(parts)
            rows[: len(parts)] = own
            whole.append(text)
        return whole, found

    def excess(self, text: str, length: int) -> str | None:
        """What is wrong with a text that would be cut off at `length` tokens; None if it is not."""
        mask = dataclasses.replace(self.tokenizer, length=_ALL).encode([text])[1]
        size = int(mask.sum()) - 1  # the last one says that the text ends
        if size < length:
            return None
        unit = "bytes" if isinstance(self.tokenizer, ByteTokenizer) else "tokens"
        return f"{size} {unit} long; this model reads {length - 1}; shorten it"


def encode_ids(
    encoder: UMT5Encoder,
    params: PyTree,
    ids: Int[Array | np.ndarray, "b l"],
    mask: Bool[Array | np.ndarray, "b l"],
) -> Float[Array, "b l d"]:
    """Text-encoder states of tokens, zero where padded.

    Runs where `params` are (see `on_host`). What lies beyond the longest text is not computed,
    since padding changes no state: most prompts have a quarter of the 512 tokens that Wan reads.

    Args:
        encoder: a `UMT5Encoder`, or an `Int8UMT5Encoder` with the parameters that belong to it.
        params: its parameters.
        ids: token ids.
        mask: true on tokens.
    """
    longest = int(np.max(np.flatnonzero(np.any(mask, axis=0)), initial=0)) + 1
    length = min(-(-longest // STEP) * STEP, ids.shape[1])
    cut = (params, ids[:, :length], mask[:, :length])
    return _encode(*cut, encoder=encoder, padding=ids.shape[1] - length)


def on_host(params: PyTree) -> PyTree:
    """`params` in host memory as arrays of the CPU, where the encoder then runs.

    Raises:
        ConfigError: JAX was started without its CPU platform.
    """
    return jax.device_put(params, host(), may_alias=True)  # what lies there already is not copied


def host() -> jax.Device:
    """The CPU, where a large encoder runs.

    The accelerator stays free for the transformer; states are small and move there.

    Raises:
        ConfigError: JAX was started without its CPU platform.
    """
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError as e:
        raise ConfigError(
            "the text encoder cannot run on the host, since JAX has no CPU platform here; add it, "
            f"e.g. JAX_PLATFORMS=cuda,cpu ({e})"
        ) from e


@kept
@functools.partial(jax.jit, static_argnames=("encoder", "padding"))
def _encode(
    params: PyTree, ids: Array, mask: Array, *, encoder: UMT5Encoder, padding: int
) -> Array:
    states = encode_text(encoder, params, Tokens(ids, mask))
    return jnp.pad(states, ((0, 0), (0, padding), (0, 0)))
