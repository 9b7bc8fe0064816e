"""Files of all kinds: each ends as a row with a reason, or as the right spans."""

from __future__ import annotations

import sys
from fractions import Fraction

import av
import blobs
import numpy as np
import pytest

from alchemint_jax.annotate import load_settings
from alchemint_jax.annotate import timeline as lines
from alchemint_jax.annotate.engine import run_shard
from alchemint_jax.annotate.probe import Probe
from alchemint_jax.annotate.rows import read_shard
from alchemint_jax.annotate.sources import find_sources
from alchemint_jax.annotate.timeline import frames, timeline
from alchemint_jax.annotate.tools import Tools, all_stages
from alchemint_jax.errors import AlchemintError, DataError
from alchemint_jax.reading import read_video

pytestmark = pytest.mark.slow


def encode(path, video, times, pixels="yuv420p", rate=10, codec="libx264", turned=0, gop=12):
    """Frames at times in seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options={"crf": "10"})
        stream.height, stream.width = video.shape[1:3]
        stream.pix_fmt, stream.gop_size = pixels, gop
        stream.codec_context.time_base = Fraction(1, 1000)
        for image, time in zip(video, times, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    if turned:
        rotate(path)
    return path


def rotate(path):
    """Asks in the file for a turn by 90 degrees."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    matrix = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]
    data[at : at + 36] = np.array(matrix, ">i4").tobytes()
    path.write_bytes(data)


def moving(count, size=(48, 80)):
    return blobs.draw(count, [("dog", [(2 * f, 10, 16, 16) for f in range(count)])], size)


def even(count):
    return np.arange(count) / 10


def annotate(folder, out, until="spans"):
    """Rows after a stage, of each video of a folder."""
    settings = load_settings()
    base, rows = find_sources(folder)
    tools = Tools(settings, blobs.perceivers())
    stages = all_stages(settings, base, out, tools)
    names = [stage.name for stage in stages]
    stages = stages[: names.index(until) + 1]
    try:
        run_shard(stages, out, 0, ("all", rows))
    finally:
        tools.close()
    found = read_shard(out / until / "part-00000.jsonl")
    return {f"{row['source']}{row.get('start_frame') or ''}": row for row in found}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    video = blobs.draw(30, [("dog", blobs.still(30, [(6, 21)]))])
    good = encode(folder / "good.mp4", video, even(30))
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("this is no video\n" * 40)
    (folder / "cut.mp4").write_bytes(good.read_bytes()[: len(good.read_bytes()) // 2])
    encode(folder / "one.mp4", video[:1], even(1))
    encode(folder / "cut.mkv", video, even(30))
    whole = (folder / "cut.mkv").read_bytes()
    (folder / "cut.mkv").write_bytes(whole[: len(whole) * 4 // 5])
    slow = np.concatenate([even(15), 1.5 + np.arange(15) / 5])  # the second half at half the rate
    encode(folder / "slow.mkv", video, slow)
    encode(folder / "deep.mp4", video, even(30), "yuv420p10le")
    encode(folder / "turned.mp4", video, even(30), turned=90)
    odd = blobs.draw(30, [("dog", blobs.still(30, [(6, 21)]))], (47, 81))
    encode(folder / "odd.mp4", odd, even(30), "yuv444p")
    long = blobs.draw(1800, [("dog", blobs.still(1800, [(250, 420), (1490, 1800)]))])
    encode(folder / "half_an_hour.mp4", long, np.arange(1800), rate=1, gop=60)
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 4096), np.int16), format="s16", layout="mono"
        )
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return annotate(folder, tmp_path_factory.mktemp("out"))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("empty.mp4", "empty file"),
        ("text.mp4", "cannot be decoded"),
        ("cut.mp4", "cannot be decoded"),
        ("sound.mp4", "holds no video"),
    ],
)
def test_what_is_no_video_says_so(rows, name, why):
    assert rows[name]["status"] == "failed" and why in rows[name]["error"]


def test_one_frame_is_too_short(rows):
    assert rows["one.mp4"]["status"] == "dropped" and "shorter" in rows["one.mp4"]["error"]


@pytest.mark.parametrize("name", ["good.mp4", "deep.mp4", "turned.mp4", "odd.mp4"])
def test_spans_are_right(rows, name):
    row = rows[name]
    assert row["status"] == "ok", row["error"]
    assert [s["frames"] for s in row["subjects"]] == [[[6, 21]]]
    assert row["size"] == {"turned.mp4": [80, 48], "odd.mp4": [47, 81]}.get(name, [48, 80])


def test_a_changing_rate_becomes_a_constant_one(rows):
    row = rows["slow.mkv"]
    assert "changing rate" in " ".join(row["remarks"])
    ((start, end),) = row["subjects"][0]["frames"]
    # On screen from 0.6 s to 2.7 s, whatever the rate.
    assert abs(start / row["fps"] - 0.6) < 0.15 and abs(end / row["fps"] - 2.7) < 0.15


def test_half_an_hour_is_cut_into_scenes_and_spans_go_on_in_the_next_one(rows):
    parts = [row for name, row in rows.items() if name.startswith("half")]
    assert [row["status"] for row in parts] == ["ok"] * 6
    assert [row["start_frame"] for row in parts] == [0, 300, 600, 900, 1200, 1500]
    found = [[s["frames"] for s in row["subjects"]] for row in parts]
    assert found == [[[[250, 300]]], [[[0, 120]]], [], [], [[[290, 300]]], [[[0, 300]]]]


def test_what_is_cut_short_is_read_as_far_as_it_goes(rows):
    row = rows["cut.mkv"]
    assert row["status"] == "ok" and 12 <= row["frames"] < 30
    assert row["subjects"][0]["frames"] == [[6, min(21, row["frames"])]]


def test_any_frames_are_those_of_a_whole_read(tmp_path):
    path = encode(tmp_path / "a.mp4", moving(40), even(40), gop=7)
    video, fps = read_video(path)
    line = timeline(path)
    assert line.fps == fps and len(line.stamps) == len(video) and len(line.keys) > 3
    for wanted in ([0, 1, 2], [39], [13, 14, 30], [6, 7, 8, 21, 22], range(40)):
        found = dict(frames(path, wanted))
        assert list(found) == sorted(wanted)
        assert all(np.array_equal(image, video[i]) for i, image in found.items())
    assert next(iter(frames(path, [3], side=40)))[1].shape == (24, 40, 3)
    assert list(frames(path, [])) == []
    with pytest.raises(DataError, match="of 40"):
        list(frames(path, [40]))


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg4", "libvpx-vp9"])
def test_frames_that_nobody_needs_are_not_decoded(tmp_path, monkeypatch, codec):
    path = encode(tmp_path / "a.mkv", moving(32), even(32), codec=codec, gop=32)
    every = dict(frames(path, range(32)))
    monkeypatch.setattr(lines, "_KEPT", 0)
    lines._kept.cache_clear()
    count, decoded = [], lines._decoded

    def counted(*args):
        for frame in decoded(*args):
            count.append(frame.pts)
            yield frame

    monkeypatch.setattr(lines, "_decoded", counted)
    for wanted in ([30], [3, 4, 18], [1, 7, 13, 19, 25, 31]):
        count.clear()
        found = dict(frames(path, wanted))
        assert list(found) == wanted and all(np.array_equal(found[i], every[i]) for i in wanted)
        if codec == "libx264" and len(wanted) == 6:  # the others refer to all frames, or to most
            assert len(count) < 24


def test_a_short_video_is_decoded_once(tmp_path, monkeypatch):
    path = encode(tmp_path / "a.mp4", moving(20), even(20))
    other = encode(tmp_path / "b.mp4", moving(20)[::-1], even(20))
    every = dict(frames(path, range(20)))
    count, shown = [], lines._shown
    monkeypatch.setattr(lines, "_shown", lambda *args: count.append(args) or shown(*args))
    assert np.array_equal(dict(frames(path, [7]))[7], every[7]) and not count
    assert not np.array_equal(dict(frames(other, [7]))[7], every[7]) and len(count) == 1
    assert np.array_equal(dict(frames(path, [7]))[7], every[7]) and len(count) == 2
    monkeypatch.setattr(lines, "_KEPT", 48 * 80 * 20)  # now it is too long
    dict(frames(other, range(20)))
    assert np.array_equal(dict(frames(path, [7]))[7], every[7])
    assert np.array_equal(dict(frames(path, [7]))[7], every[7]) and len(count) == 5


def test_a_file_without_times_is_counted(tmp_path):
    path = encode(tmp_path / "a.h264", moving(12), even(12))
    line = timeline(path)
    assert line.counted and len(line.stamps) == 12
    video, _ = read_video(path)
    assert np.array_equal(dict(frames(path, [9]))[9], video[9])


def test_a_crashing_decoder_is_a_reason(monkeypatch, tmp_path):
    good = blobs.write(tmp_path / "good.mp4", moving(6))
    code = "import sys, os; line = sys.stdin.readline(); os.kill(os.getpid(), 11)"
    with Probe(30) as probe:
        assert probe(str(good))["frames"] == 6
        probe.close()
        real = sys.executable
        crash = tmp_path / "python"
        crash.write_text(f"#!{real}\n{code}\n")
        crash.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(crash))
        with pytest.raises(DataError, match="SIGSEGV"):
            probe(str(good))
        crash.write_text(f"#!{real}\nimport time; time.sleep(60)\n")
        probe._timeout = 0.5
        with pytest.raises(DataError, match="did not finish in 0.5 seconds"):
            probe(str(good))
        monkeypatch.setattr(sys, "executable", real)
        probe._timeout = 30
        assert probe(str(good))["frames"] == 6


def test_sources(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("b/x.mp4", "a.MKV", "b/note.txt", ".hidden.mp4"):
        (tmp_path / name).write_bytes(b"x")
    _, found = find_sources(tmp_path)
    assert [row["id"] for row in found] == ["a.MKV", "b/x.mp4"]
    listed = tmp_path / "list.jsonl"
    listed.write_text('{"path": "b/x.mp4", "id": "x", "caption": " a dog "}\n\n{"path": "a.MKV"}\n')
    base, found = find_sources(listed)
    assert base == tmp_path and [row["id"] for row in found] == ["x", "a.MKV"]
    assert found[0]["caption"] == "a dog"
    for text, why in (
        ("{}", "line 1: expected an object with a path"),
        ('{"path": "a"}\nno', "line 2: is not JSON"),
        ("[" * 100_000, "line 1: is not JSON"),
        ('{"path": "a"}\n{"path": "a"}', "is that of line 1"),
        ('{"path": "a", "events": [{"text": "x", "during": [2, 1]}]}', "0 <= start < end"),
        ("\n", "lists no videos"),
    ):
        listed.write_text(text)
        with pytest.raises(AlchemintError, match=why):
            find_sources(listed)
    for missing in (tmp_path / "no.mp4", tmp_path / "b" / "none"):
        with pytest.raises(AlchemintError, match="no such"):
            find_sources(missing)
