"""The command line as a process of its own: what it imports, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import alchemint_jax as al


def environment(**changes):
    """This process's environment, with the package importable from any folder."""
    root = str(Path(al.__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    # Unbuffered output would fail inside argparse, which ignores it.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**kept, "PYTHONPATH": path, **changes}


def test_a_bad_storyboard_is_reported_without_importing_jax(tmp_path):
    (tmp_path / "board.yaml").write_text("prompt: x\nduration: -1\n")
    probe = (
        "import sys; from alchemint_jax import cli; status = cli.main(sys.argv[1:]);"
        "assert 'jax' not in sys.modules, 'jax was imported'; sys.exit(status)"
    )
    command = [sys.executable, "-c", probe, "generate", "board.yaml", "--out", "v.mp4"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("alchemint: error: ") and "duration" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_that_renders_does_not_import_the_modules_of_others(tmp_path):
    (tmp_path / "board.yaml").write_text("prompt: x\nduration: -1\n")
    probe = (
        "import sys; from alchemint_jax import cli; cli.main(sys.argv[1:]);"
        "print(*(name for name in sys.modules if name.startswith('alchemint_jax.')))"
    )
    command = [sys.executable, "-c", probe, "generate", "board.yaml", "--out", "v.mp4"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    rooms = {name.split(".")[1] for name in done.stdout.split()}
    assert "scene" in rooms and not rooms & {"annotate", "bench", "data", "endpoints", "plan"}


def test_help_and_version_are_quick_and_name_the_commands():
    def run(*arguments):
        command = [sys.executable, "-m", "alchemint_jax", *arguments]
        return subprocess.run(
            command, env=environment(), capture_output=True, text=True, check=True
        ).stdout

    assert run("--version") == f"alchemint {al.__version__}\n"
    helped = run("--help")
    assert all(name in helped for name in ("generate", "train", "evaluate", "data", "demo"))


@pytest.mark.parametrize(("stdout", "status"), [("closed", 141), ("/dev/full", 2)])
def test_an_unusable_standard_output_is_no_traceback(stdout, status):
    if stdout == "closed":
        reader, writer = os.pipe()
        os.close(reader)
    elif not os.path.exists(stdout):
        pytest.skip("this system has no /dev/full")
    else:
        writer = os.open(stdout, os.O_WRONLY)
    command = [sys.executable, "-m", "alchemint_jax", "--help"]
    try:
        done = subprocess.run(
            command, env=environment(), stdout=writer, stderr=subprocess.PIPE, text=True
        )
    finally:
        os.close(writer)
    assert done.returncode == status
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
