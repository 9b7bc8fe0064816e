"""One arm of the study of interval schemes: the sprites model on a small budget, one thing changed.

Hardware: 2 CPU cores. Command, for one arm, after `alchemint data encode` as in configs/sprites.py:

    alchemint train --config configs/sprites_schemes.py:FittedRope \
        --workdir runs/schemes/FittedRope-0

All arms, several seeds, and their comparison, resumable at any point:

    python -m alchemint_jax.evaluate.study --workdir runs/schemes \
        --out docs/results/schemes.json

Arms with one seed start from the same parameters and see the same data in the same order.
"""

from pathlib import Path

from ml_collections import ConfigDict

from alchemint_jax.train.config import load_config

ARMS = {
    "NoInterval": dict(scheme=dict(name="NoInterval")),
    "MidRope": dict(scheme=dict(name="MidRope")),
    "WeRope": dict(scheme=dict(name="WeRope")),
    "WeRope-printed": dict(scheme=dict(name="WeRope", right="printed")),
    "WeRope-keys": dict(scheme=dict(name="WeRope"), mix_queries=False),
    "WeRope-shifted": dict(
        scheme=dict(name="WeRope"), layout=dict(name="ReferenceLayout", shift_hw=True)
    ),
    "SincRope": dict(scheme=dict(name="SincRope")),
    "FittedRope": dict(scheme=dict(name="FittedRope")),
    "FittedRope-no-tags": dict(scheme=dict(name="FittedRope"), tags=False),
    "FittedRope-no-index": dict(scheme=dict(name="FittedRope"), index=False),
}


def get_config(arm: str = "WeRope") -> ConfigDict:
    if arm not in ARMS:
        raise ValueError(f"no arm {arm!r}; there are {', '.join(ARMS)}")
    config = load_config(Path(__file__).with_name("sprites.py")).unlock()
    for field, value in ARMS[arm].items():
        config.model[field] = ConfigDict(value) if isinstance(value, dict) else value
    config.train.total_steps = config.train.optimizer.total_steps = 1200
    config.train.validate_every = 400
    config.train.sample_every = 0
    config.train.checkpoint_every = 400
    return config.lock()
