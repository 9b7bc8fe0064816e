"""Launch scripts: what they would run, what they refuse, and whether compilers know their flags.

Nothing here needs a cluster or its programs; SLURM's are played by stand-ins.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow

TOP = Path(__file__).parents[1]
LAUNCH = TOP / "launch"
JOB = ["--config", "configs/wan_14b.py:lora", "--workdir", "/mnt/runs/wan"]
VM = ["--name", "wan", "--zone", "z"]
XPK = ["--cluster", "c", "--zone", "z", "--type", "v6e-256", "--name", "n", "--image", "i"]
TRAIN = (
    "alchemint train --config configs/wan_14b.py:lora --workdir /mnt/runs/wan "
    "--config.mesh.fsdp=16 --interrupted-status 75 --distributed auto"
)


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
    """Runs a script where there is what it needs of a shell, and nothing that starts machines."""
    folder = tmp_path_factory.mktemp("bin")
    for name in ("awk", "bash", "cat", "dirname", "sh"):
        (folder / name).symlink_to(shutil.which(name))

    def run(script, *arguments, **more):
        command = [str(LAUNCH / script), *map(str, arguments)]
        env = {"PATH": str(folder), "HOME": "/", **more}
        return subprocess.run(command, cwd=TOP, env=env, capture_output=True, text=True, timeout=60)

    return run


@pytest.fixture(scope="module")
def printed(launch):
    """The commands of a dry run, in words."""

    def run(script, *arguments):
        result = launch(script, *arguments)
        assert (result.returncode, result.stderr) == (0, "")
        return [shlex.split(line) for line in result.stdout.splitlines()]

    return run


def _option(words, name):
    return words[words.index(name) + 1]


# ---------------------------------------------------------------------------------- scripts


def test_scripts_are_free_of_known_mistakes():
    found = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if not found:
        pytest.skip("shellcheck comes with the test extra")
    scripts = [*LAUNCH.glob("*.sh"), *LAUNCH.glob("*.sbatch")]
    assert len(scripts) == 9
    result = subprocess.run([found, *scripts], cwd=TOP, capture_output=True, text=True)
    assert result.stdout == ""


def test_a_slice_is_asked_for(printed):
    (words,) = printed("tpu_vm.sh", "create", *VM, "--type", "v5p-64", "--spot", "--dry-run")
    assert words[:5] == ["gcloud", "compute", "tpus", "queued-resources", "create"]
    assert words[5] == _option(words, "--node-id") == "wan"
    assert _option(words, "--accelerator-type") == "v5p-64" and words[-1] == "--spot"
    assert _option(words, "--runtime-version") == "v2-alpha-tpuv5"


def test_several_slices_are_one_request_and_several_nodes(printed):
    slices = ["--slices", "2", "--dry-run", "--project", "p"]
    (words,) = printed("tpu_vm.sh", "create", *VM, "--type", "v6e-8", *slices)
    assert _option(words, "--node-count") == "2" and _option(words, "--node-prefix") == "wan"
    assert "--node-id" not in words and "--spot" not in words
    started = printed("tpu_vm.sh", "train", *VM, *slices, *JOB)
    assert [words[5] for words in started] == ["wan-0", "wan-1"]
    assert {_option(words, "--project") for words in started} == {"p"}
    assert {_option(words, "--worker") for words in _worker_options(started)} == {"all"}


def _worker_options(commands):
    return [[part for word in words for part in word.split("=", 1)] for words in commands]


def test_hosts_of_a_slice_train_in_the_background(printed):
    (words,) = printed("tpu_vm.sh", "train", *VM, *JOB, "--dry-run", "--", "--config.mesh.fsdp=16")
    there = _option(words, "--command")
    assert f"nohup {TRAIN} > train.log" in there
    assert there.index("jax_cache") < there.index(". launch/env_tpu.sh") < there.index("nohup")


def test_installing_copies_what_is_committed_to_every_host(printed):
    archive, copy, there = printed("tpu_vm.sh", "install", *VM, "--dry-run")
    assert archive[:2] == ["git", "archive"] and copy[4] == "scp"
    assert archive[3] == f"--output={copy[5]}"
    assert "--python 3.12" in _option(there, "--command")


def test_a_gke_job_is_xpks(printed):
    (words,) = printed("xpk.sh", *XPK, *JOB, "--dry-run", "--", "--config.mesh.fsdp=16")
    assert words[:3] == ["xpk", "workload", "create"]
    assert _option(words, "--tpu-type") == "v6e-256" and _option(words, "--max-restarts") == "50"
    assert _option(words, "--command").endswith(f". launch/env_tpu.sh && exec {TRAIN}")


def test_a_run_in_a_bucket_is_passed_on(printed):
    job = [*JOB[:2], "--workdir", "gs://bucket/run", "--dry-run"]
    for words in (["xpk.sh", *XPK], ["tpu_vm.sh", "train", *VM]):
        (line,) = printed(*words, *job)
        there = _option(line, "--command")
        assert "--workdir gs://bucket/run" in there and "=gs://bucket/run/jax_cache" in there


def test_a_slurm_job_has_a_task_for_each_gpu(printed):
    overrides = ["--", "--config.mesh.fsdp=16"]
    arguments = ["--nodes", 4, "--gpus", 2, "--venv", "/v", "--grace", 30, *JOB, "--dry-run"]
    folder, words = printed("slurm.sh", *arguments, *overrides)
    assert folder == ["mkdir", "-p", "/mnt/runs/wan"]
    assert _option(words, "--gpus-per-node") == _option(words, "--ntasks-per-node") == "2"
    assert _option(words, "--nodes") == "4" and _option(words, "--signal") == "TERM@30"
    assert shlex.join(words[words.index("launch/slurm.sbatch") + 1 :]) == TRAIN
    assert "ALCHEMINT_VENV=/v" in _option(words, "--export")


@pytest.mark.parametrize("status", [0, 1, 75])
def test_a_slurm_job_that_was_stopped_queues_itself_again(launch, tmp_path, status):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "activate").write_text(f"export PATH={tmp_path}:$PATH\n")
    for name, body in (
        ("srun", f'echo "$XLA_FLAGS $@"; exit {status}'),
        ("scontrol", f'echo "$@" > {tmp_path}/asked'),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    env = {"ALCHEMINT_VENV": str(tmp_path), "SLURM_JOB_ID": "7"}
    result = launch("slurm.sbatch", "a", "b c", **env)
    assert result.returncode == status
    assert result.stdout.startswith("--xla_gpu") and result.stdout.endswith(" a b c\n")
    asked = tmp_path / "asked"
    assert (asked.read_text() == "requeue 7\n") if status == 75 else not asked.exists()


def test_a_kubernetes_job_has_a_pod_for_each_node(launch):
    arguments = ["--nodes", 3, "--name", "wan", "--image", "r/i:1", "--claim", "runs", *JOB]
    result = launch("k8s_gpu.sh", *arguments, "--dry-run", "--", "--config.mesh.fsdp=16")
    assert result.returncode == 0
    service, job = yaml.safe_load_all(result.stdout)
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == 3
    (container,) = job["spec"]["template"]["spec"]["containers"]
    there = TRAIN.replace("--distributed auto", "--coordinator wan-0.wan:8476 --processes 3")
    assert container["args"][0].strip().endswith(f'{there} --process "$JOB_COMPLETION_INDEX"')
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 8}


@pytest.mark.parametrize(
    "script, arguments, message",
    [
        ("tpu_vm.sh", [], "say what to do"),
        ("tpu_vm.sh", ["fly"], "unknown action fly"),
        ("tpu_vm.sh", ["create", "--zone", "z", "--type", "v5p-8"], "--name is required"),
        ("tpu_vm.sh", ["create", *VM, "--type", "h100"], "--type h100: not a v4-"),
        ("tpu_vm.sh", ["status", *VM, "--slices", "2"], "unknown option --slices"),
        ("tpu_vm.sh", ["stop", *VM, "--", "--config.a=1"], "only train takes"),
        ("xpk.sh", [*XPK, *JOB, "--slices", "two"], "--slices must be a whole number"),
        ("xpk.sh", [*XPK, *JOB, "--priority", "now"], "--priority now: use very-low"),
        ("xpk.sh", XPK[2:], "--cluster is required"),
        ("slurm.sh", ["--nodes", "0", *JOB], "--nodes must be a whole number of at least 1"),
        ("slurm.sh", ["--nodes", "1", *JOB, "--time", "soon"], "--time soon"),
        ("slurm.sh", ["--nodes", "1", *JOB[:2], "--workdir", "gs://b/r"], "not gs://"),
        ("xpk.sh", [*XPK, *JOB[:2], "--workdir", "s3://b/r"], "or gs://BUCKET/PATH"),
        ("xpk.sh", [*XPK, *JOB[:2], "--workdir", "gs://b/$r"], "or gs://BUCKET/PATH"),
        ("slurm.sh", ["--nodes", "1", *JOB[:2], "--workdir", "runs"], "absolute path"),
        ("slurm.sh", ["--nodes", "1", "--config", "no.py", "--workdir", "/r"], "no such file"),
        ("slurm.sh", ["--nodes", "1", *JOB, "--", "--lr=1"], "only --config.FIELD=VALUE"),
        ("slurm.sh", ["--nodes", "1", *JOB, "more"], "unexpected argument: more"),
        ("slurm.sh", ["--nodes"], "--nodes needs a value"),
        ("k8s_gpu.sh", ["--nodes", "1", "--name", "A_b", "--image", "i", "--claim", "c"], "A_b"),
    ],
)
def test_mistakes_are_told_before_anything_runs(launch, script, arguments, message):
    result = launch(script, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr and "--help" in result.stderr


def test_without_a_dry_run_what_is_missing_is_named(launch):
    result = launch("tpu_vm.sh", "status", *VM)
    assert (result.returncode, result.stdout) == (2, "")
    assert "gcloud is not installed" in result.stderr


def test_the_commands_of_the_readme_are_accepted(launch):
    lines = (LAUNCH / "README.md").read_text().splitlines()
    commands = [shlex.split(line) for line in lines if line.startswith("    launch/")]
    assert len(commands) == 10
    for script, *words in commands:
        place = words.index("--") if "--" in words else len(words)
        result = launch(Path(script).name, *words[:place], "--dry-run", *words[place:])
        assert (result.returncode, result.stderr) == (0, ""), script


@pytest.mark.parametrize("kind, extras", [("tpu", ["tpu", "cloud"]), ("cuda13", ["cuda"])])
def test_images_install_extras_that_there_are(kind, extras):
    text = (LAUNCH / f"Dockerfile.{kind}").read_text()
    assert f"'.[{','.join(extras)}]'" in text
    assert all(f'"{extra}": [' in (TOP / "setup.py").read_text() for extra in extras)
    ignored = (LAUNCH / f"Dockerfile.{kind}.dockerignore").read_text().splitlines()
    kept = [line[1:] for line in ignored if line.startswith("!")]
    assert ignored[1] == "*" and all((TOP / name).exists() for name in kept)


# ------------------------------------------------------------------------------------ flags


def _sourced(env_file, program, more=""):
    """Runs Python under one of the environments, without the accelerator that it is for."""
    flags = "LIBTPU_INIT_ARGS" if "tpu" in env_file else "XLA_FLAGS"
    script = f'. launch/{env_file}; export JAX_PLATFORMS=cpu; exec "$0" -c "$1"'
    env = {"PATH": os.environ["PATH"], "HOME": "/", flags: more, "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
    env |= {"TPU_ACCELERATOR_TYPE": "v5e-4", "TPU_WORKER_HOSTNAMES": "localhost"}
    command = ["sh", "-c", script, sys.executable, program]
    return subprocess.run(command, cwd=TOP, env=env, capture_output=True, text=True, timeout=120)


START = "import os, jax; print(os.environ['XLA_FLAGS'], len(jax.devices()))"
COMPILE = """
import os, jax
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding
print(os.environ["LIBTPU_INIT_ARGS"])
device = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2").devices[0]
x = jax.ShapeDtypeStruct((8, 128), "float32", sharding=SingleDeviceSharding(device))
print("tpu" in jax.jit(lambda x: x + 1).lower(x).compile().as_text())
"""


@pytest.mark.parametrize("unknown", [False, True])
def test_gpu_flags_are_known_to_xla(unknown):
    result = _sourced("env_cuda.sh", START, "--xla_gpu_unknown=true" if unknown else "")
    assert ("Unknown flag" in result.stderr) == unknown == (result.returncode != 0)
    assert unknown or result.stdout.split()[-2:] == [
        "--xla_gpu_enable_while_loop_double_buffering=true",
        "1",
    ]


@pytest.mark.skipif(not find_spec("libtpu"), reason="libtpu comes with the test extra")
@pytest.mark.parametrize("unknown", [False, True])
def test_tpu_flags_are_known_to_libtpu(unknown):
    result = _sourced("env_tpu.sh", COMPILE, "--xla_tpu_unknown=true" if unknown else "")
    assert (result.returncode != 0) == unknown, result.stderr
    assert unknown or "fuse_all_gather=true" in result.stdout and "True" in result.stdout


CHURN = """
import os, resource
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
b"x" * 2**27
before = faults()
for _ in range(10): b"x" * 2**27
print(os.environ.get("LD_PRELOAD"), os.environ.get("MALLOC_CONF"), (faults() - before) // 10)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it is for Linux")
@pytest.mark.parametrize("allocator", ["jemalloc", "glibc", "none"])
def test_large_buffers_are_kept_on_a_cpu(allocator):
    """128 MiB are 32,768 pages of 4 KiB, or 64 huge ones; what is kept is not asked for again."""
    script = ("" if allocator == "none" else ". launch/env_cpu.sh; ") + 'exec "$0" -c "$1"'
    env = {"PATH": os.environ["PATH"], "ALCHEMINT_ALLOCATOR": allocator}
    command = ["sh", "-c", script, sys.executable, CHURN]
    done = subprocess.run(command, cwd=TOP, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and not done.stderr
    preloaded, settings, faults = done.stdout.split()
    assert (preloaded == "None") or allocator == "jemalloc"
    # For ever would be: until what all trainings of one process have used fills the memory.
    assert "dirty_decay_ms:-1" not in settings
    assert int(faults) < 16 or (allocator == "none" and int(faults) > 1000)
