"""``python -m alchemint_jax`` is ``alchemint``."""

import sys

from alchemint_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
