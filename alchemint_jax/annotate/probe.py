"""Looks at files in a process of its own: a decoder that crashes takes nothing else with it.

    with Probe(timeout=60) as probe:
        probe("clip.mp4")     # {"fps": ..., "frames": ..., ...}

`python -m alchemint_jax.annotate.probe` is that process: a path in JSON on each line of standard
input, an answer on each line of standard output.
"""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
from typing import Any

from alchemint_jax.errors import AlchemintError, DataError


class Probe:
    """The process, started when it is first needed, and again after it died."""

    def __init__(self, timeout: float | int = 120.0):
        self._timeout = timeout
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __call__(self, path: str) -> dict[str, Any]:
        """What is known of a file.

        Raises:
            DataError: it is no video that can be decoded, or the decoder crashed or hung.
        """
        process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(path) + "\n")
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], self._timeout)
            line = process.stdout.readline() if ready else None
        except OSError:
            line = ""
        if line is None:
            self.close()
            raise DataError(f"the decoder did not finish in {self._timeout:g} seconds")
        if not line:
            status = process.wait()
            self.close()
            raise DataError(f"the decoder crashed ({_status(status)})")
        answer = json.loads(line)
        if "error" in answer:
            raise DataError(answer["error"])
        return answer

    def _start(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # decoders complain at length
            text=True,
        )
        return self._process

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.communicate()


def _status(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


def describe(path: str) -> dict[str, Any]:
    """What is known of a video; raises DataError as `timeline` does."""
    from alchemint_jax.annotate.timeline import frames, timeline

    line = timeline(path)
    last = len(line.stamps) - 1
    for _ in frames(path, [last], 64):  # the end, where files are cut
        pass
    return {
        "fps": line.fps,
        "frames": len(line.stamps),
        "size": list(line.size),
        "codec": line.codec,
        "pixels": line.pixels,
        "turned": line.turned,
        "even": line.even,
        "remarks": list(line.remarks),
    }


def main() -> None:
    """Answers until standard input ends."""
    for text in sys.stdin:
        try:
            answer = describe(json.loads(text))
        except AlchemintError as error:
            answer = {"error": str(error)}
        except Exception as error:  # whatever a decoder raises is about this file alone
            answer = {"error": f"cannot be decoded: {type(error).__name__}: {error}"[:300]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
