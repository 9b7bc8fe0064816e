"""Commands do without a place to keep things, and without a TPU."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import jax
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from alchemint_jax import compilation
from alchemint_jax.caches import cache_root, can_keep
from alchemint_jax.models.dit import DiTConfig
from alchemint_jax.sampling.text_cache import TextCache
from alchemint_jax.weights import locate
from alchemint_jax.weights.lora import load_lora

pytestmark = pytest.mark.usefixtures("shared_programs")


@pytest.fixture
def restored_config():
    names = (
        "jax_platforms",
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
    )
    before = {name: getattr(jax.config, name) for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_fresh_compilations_go_around_a_cache_in_use(tmp_path, restored_config):
    """JAX asks only once whether it has a cache; what is compiled afterwards is not to be kept."""
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    reset_cache()

    def kept(number):
        jax.jit(lambda x: x * number).lower(1.0).compile()
        return len([path for path in tmp_path.iterdir() if path.name.endswith("-cache")])

    assert kept(2) == 1  # or this test would show nothing
    with compilation.fresh_compilations():
        assert kept(3) == 1
        assert kept(2) == 1
    assert kept(4) == 2
    reset_cache()


OF_HOME = "Library/Caches" if sys.platform == "darwin" else ".cache"


@pytest.mark.parametrize(
    ("variables", "where"),
    [
        ({"XDG_CACHE_HOME": "{tmp}/cache"}, "{tmp}/cache/alchemint_jax"),
        ({"XDG_CACHE_HOME": "", "HOME": "{tmp}"}, "{tmp}/" + OF_HOME + "/alchemint_jax"),
        ({"JAX_COMPILATION_CACHE_DIR": "{tmp}/mine"}, None),  # which JAX itself reads
    ],
)
def test_compiled_programs_are_kept(variables, where, tmp_path, monkeypatch, restored_config):
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(tmp=tmp_path))
    jax.config.update("jax_compilation_cache_dir", None)
    compilation.prepare_jax()
    found = jax.config.jax_compilation_cache_dir
    assert found == (None if where is None else where.format(tmp=tmp_path))
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 0.0


@pytest.fixture
def homeless(monkeypatch):
    def nowhere(cls=None):
        raise RuntimeError("Could not determine home directory.")

    for name in ("XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # what it does then


def test_without_a_home_nothing_is_kept(homeless, restored_config, monkeypatch):
    assert cache_root() is None
    assert TextCache("e").directory is None
    jax.config.update("jax_compilation_cache_dir", None)
    compilation.prepare_jax()
    assert jax.config.jax_compilation_cache_dir is None
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_root() == Path("/somewhere/alchemint_jax")


def test_the_home_of_a_user_that_is_not_known_is_a_missing_folder():
    with pytest.raises(ValueError, match=r"no model at '~nobody-of-that-name/model'"):
        locate("~nobody-of-that-name/model")
    with pytest.raises(ValueError, match=r"~nobody-of-that-name/l\.safetensors: "):
        load_lora("~nobody-of-that-name/l.safetensors", DiTConfig(), {})


def test_a_place_that_cannot_be_written_is_done_without(tmp_path, monkeypatch, restored_config):
    assert can_keep(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []
    (tmp_path / "file").write_text("")
    assert not can_keep(tmp_path / "file")
    assert not can_keep(tmp_path / "file" / "below")

    def full(self, data):
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert not can_keep(tmp_path / "new")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["folder"]
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    jax.config.update("jax_compilation_cache_dir", None)
    compilation.prepare_jax()
    assert jax.config.jax_compilation_cache_dir is None


def test_hints_at_a_tpu(tmp_path):
    def found(**environment):
        return compilation.may_have_tpu(tmp_path, environment)

    bus = tmp_path / "sys/bus/pci/devices/0000:00:04.0"
    bus.mkdir(parents=True)
    (bus / "vendor").write_text("0x8086\n")
    (tmp_path / "dev/vfio").mkdir(parents=True)
    (tmp_path / "dev/vfio/vfio").touch()  # the driver alone
    assert not found(TPU_LIBRARY_PATH="/libtpu.so", TPU_NAME="")
    assert found(TPU_NAME="local") and found(TPU_WORKER_ID="0") and found(PJRT_DEVICE="TPU")
    (bus / "vendor").write_text("0x1ae0\n")
    assert found()
    (bus / "vendor").unlink()
    assert not found()
    for device in ("accel0", "vfio/0"):
        (tmp_path / "dev" / device).touch()
        assert found()
        (tmp_path / "dev" / device).unlink()


@pytest.mark.parametrize(
    ("variable", "tpu", "plugins", "platforms", "quiet"),
    [
        (None, False, False, "cpu", False),
        (None, True, False, None, False),
        (None, False, True, None, True),
        ("tpu,cpu", False, False, None, False),
    ],
)
def test_libtpu_is_spared(variable, tpu, plugins, platforms, quiet, monkeypatch, restored_config):
    names = ("TPU_ACCELERATOR_TYPE", "TPU_WORKER_HOSTNAMES", "TPU_SKIP_MDS_QUERY")
    for name in (*names, "ALLOW_MULTIPLE_LIBTPU_LOAD"):
        monkeypatch.setenv(name, "to be restored")
        monkeypatch.delenv(name)
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    if variable:
        monkeypatch.setenv("JAX_PLATFORMS", variable)
    monkeypatch.setattr(compilation, "may_have_tpu", lambda: tpu)
    monkeypatch.setattr(compilation, "_has_plugins", lambda: plugins)
    jax.config.update("jax_platforms", None)
    compilation.spare_libtpu()
    assert jax.config.jax_platforms == platforms
    assert ("TPU_ACCELERATOR_TYPE" in os.environ) == quiet


def test_processes_that_work_side_by_side_share_the_cores(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")  # as it is set where it is not there
    monkeypatch.setattr(compilation, "_cores", lambda: 4)

    def threads(workers):
        monkeypatch.setenv("PJRT_NPROC", "")  # is then forgotten again
        monkeypatch.delenv("PJRT_NPROC")
        compilation.work_beside(workers)
        return os.environ.get("PJRT_NPROC")

    assert [threads(n) for n in (1, 2, 3, 4, 9)] == [None, "2", "1", "1", "1"]
    monkeypatch.setenv("PJRT_NPROC", "8")
    compilation.work_beside(4)
    assert os.environ["PJRT_NPROC"] == "8"
