"""What every test runs under: eight devices, no silent broadcasting, warnings as errors.

Sharded code is tested on eight CPU devices wherever the tests run, so a missing axis or a wrong
partition fails on a laptop. JAX_PLATFORMS chooses another backend.
"""

from __future__ import annotations

import atexit
import functools
import gc
import inspect
import json
import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import fake_gcs
import jax
import pytest
from absl import flags
from jax.experimental.compilation_cache.compilation_cache import reset_cache
from jax.interpreters import mlir
from pool_encoder import CLIPS, VALIDATION, PoolEncoder

# XLA's older way to compile for the CPU takes less time, and so does a program in one piece, where
# other tests have the other cores. All processes of the tests inherit it. JAX starts no backend for
# flags that it does not know: so they are tried first.
FLAGS = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
if FLAGS not in os.environ.get("XLA_FLAGS", ""):
    wanted = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}".strip()
    trial = [sys.executable, "-c", "import jax; jax.devices('cpu')"]
    environment = os.environ | {"XLA_FLAGS": wanted, "JAX_PLATFORMS": "cpu"}
    if subprocess.run(trial, env=environment, capture_output=True).returncode == 0:
        os.environ["XLA_FLAGS"] = wanted

os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # tests compile for TPUs side by side
# Most programs here run for less time than it takes to optimise them; so do those of processes that
# tests start. See the fixture `optimised`.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
FEW = os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1"
jax.config.update("jax_disable_most_optimizations", FEW)
KEPT = 500  # programs, before a module's end makes a process forget them
# What a process that tests start has written down, no other of this run compiles again: they
# inherit the folder. The tests' own processes meet most programs once, and to write one takes
# longer than is saved: see the fixture `shared_programs`.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    compiled = tempfile.mkdtemp(prefix="compiled-")
    atexit.register(shutil.rmtree, compiled, ignore_errors=True)
    least = "0.2"  # seconds that a program takes to compile before it is written down
    os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = least
    jax.config.update("jax_compilation_cache_dir", compiled)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", float(least))
jax.config.update("jax_enable_compilation_cache", False)
if "JAX_PLATFORMS" not in os.environ:
    jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)  # takes effect because no backend has started yet
jax.config.update("jax_numpy_rank_promotion", "raise")
# Where each operation stands in a file: nobody reads it here, and it takes a twentieth of the time.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")
jax.config.update("jax_traceback_in_locations_limit", 0)


@functools.cache
def context() -> object:
    """One of MLIR's, in which all programs are lowered: to make it takes longer than most do."""
    return mlir.make_ir_context()


def _in_one_context(init: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(init)
    def started(self: object, *args: object, **given: object) -> None:
        init(self, *args, **given | {"context": given.get("context") or context()})

    return started


if "context" in inspect.signature(mlir.ModuleContext.__init__).parameters:
    mlir.ModuleContext.__init__ = _in_one_context(mlir.ModuleContext.__init__)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kill-seed", type=int, help="repeats what a test that kills has printed")


def pytest_configure(config: pytest.Config) -> None:
    flags.FLAGS.mark_as_parsed()  # Grain reads absl flags, which nobody parses under pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests go first: in the end no process waits for one that has just begun."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish() -> None:
    """Modules and tests live until the end: no collection needs to look at them again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)  # tracing makes many objects, and most of them stay
    # Grain looks through thousands of places for that of one of a few records, which takes
    # milliseconds. Tests read the same few records, in the same order, many times.
    shuffle = sys.modules.get("grain._src.python.dataset.transformations.shuffle")
    places = getattr(shuffle, "index_shuffle", None)
    if hasattr(places, "index_shuffle"):
        shuffle.index_shuffle = SimpleNamespace(index_shuffle=functools.cache(places.index_shuffle))


def pytest_sessionfinish() -> None:
    """One collection finds all that there is; pytest makes five after this one."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def lowered() -> list[str]:
    """Grows by each program that this process lowers."""
    found: list[str] = []

    def listen(event: str, _: float, **__: object) -> None:
        if event.endswith("jaxpr_to_mlir_module_duration"):
            found.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return found


@pytest.fixture(scope="module", autouse=True)
def few_programs(lowered: list[str]) -> Iterator[None]:
    """JAX keeps what it has compiled, and the more it keeps, the longer the next program takes."""
    yield
    if len(lowered) > KEPT:
        jax.clear_caches()
        context.cache_clear()  # it holds the constants of all of them
        lowered.clear()


@pytest.fixture(scope="module")
def shared_programs() -> Iterator[None]:
    """For modules that compile a program many times, or have it compiled by other processes.

    And for those that test how programs are kept: with it, this process keeps them as users' do.
    """
    jax.config.update("jax_enable_compilation_cache", True)
    reset_cache()  # JAX looks at its settings once
    yield
    jax.config.update("jax_enable_compilation_cache", False)
    reset_cache()


@pytest.fixture(scope="module")
def optimised() -> Iterator[None]:
    """For modules whose programs run for long, or are those of other hardware.

    The latter could be kept, but not read.
    """
    from alchemint_jax.compilation import fresh_compilations

    jax.config.update("jax_disable_most_optimizations", False)
    with fresh_compilations():
        yield
    jax.config.update("jax_disable_most_optimizations", FEW)


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> random.Random:
    """Draws when to kill what, by a seed that a failing test shows and `--kill-seed` repeats."""
    given = request.config.getoption("--kill-seed")
    seed = random.randrange(10**6) if given is None else given
    print(f"these kills again: --kill-seed {seed}")
    return random.Random(seed)


@pytest.fixture(scope="session")
def bucket_server() -> Iterator[str]:
    """A process that plays Google's storage, which all libraries are told of."""
    with fake_gcs.running() as address, pytest.MonkeyPatch.context() as patch:
        for name, value in fake_gcs.environment(address).items():
            patch.setenv(name, value)
        yield address


@pytest.fixture
def bucket(bucket_server: str) -> str:
    """The address of an empty folder."""
    return f"gs://bucket/{secrets.token_hex(6)}"


@pytest.fixture
def faults(bucket_server: str) -> Iterator[Callable[..., None]]:
    """Has the bucket answer with a status where a path holds a text; 0 ends it."""

    def change(status: int, part: str = "") -> None:
        content = {"status": status, "part": part} if status else {}
        data = json.dumps(content).encode()
        urllib.request.urlopen(f"{bucket_server}/faults", data).close()

    yield change
    change(0)


@pytest.fixture(scope="session")
def sprites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset of the sprites world."""
    from alchemint_jax.worlds.sprites import write_sprites

    return write_sprites(tmp_path_factory.mktemp("sprites") / "set", CLIPS, 5, VALIDATION)


@pytest.fixture(scope="session")
def encoded(sprites: Path) -> Path:
    """Its latents, by an encoder without weights."""
    from alchemint_jax.data.encode import encode_with

    return encode_with(PoolEncoder(), "pool", sprites, sprites.parent / "encoded", batch=4, shard=8)
