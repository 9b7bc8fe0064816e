"""What a render is made of: previews, times, strips, and what is measured and attended."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as tried
from hypothesis import strategies as st
from PIL import Image
from studio_kit import board_of, png

from alchemint_jax import rotary, weights
from alchemint_jax.errors import DataError, WeightsError
from alchemint_jax.evaluate.tracker import Sighting
from alchemint_jax.models.dit import DiT, DiTConfig
from alchemint_jax.models.umt5 import UMT5Config, UMT5Encoder
from alchemint_jax.models.vae import VAE, TinyDecoder, TinyDecoderConfig, VAEConfig
from alchemint_jax.sampling import Guidance, Pipeline, settings
from alchemint_jax.sampling.parts import Origin
from alchemint_jax.sampling.sample import Watch
from alchemint_jax.scene import Clock, Scene, Spans, Subject
from alchemint_jax.studio import preview
from alchemint_jax.studio.answers import Refused
from alchemint_jax.studio.asking import SCHEMES, Ask
from alchemint_jax.studio.checking import storyboard
from alchemint_jax.studio.decoded import Decoded
from alchemint_jax.studio.measuring import measured
from alchemint_jax.studio.pictures import keep
from alchemint_jax.studio.rendering import Renderer, identity
from alchemint_jax.studio.rulers import rulers
from alchemint_jax.studio.sameness import key_of, scheme_of
from alchemint_jax.studio.schemes import with_scheme
from alchemint_jax.studio.strips import as_png, strip_of
from alchemint_jax.studio.worker import Cancelled
from alchemint_jax.weights.autoencoders import write_tiny

pytestmark = pytest.mark.slow

STRIDE, SPACE = 4, 4


# ------------------------------------------------------------------------------------ previews


def encode(video):
    """An autoencoder that the map can undo: latents are means of pixels, in other colours."""
    b, f, h, w, _ = video.shape
    mixed = np.asarray(video) @ np.array([[0.7, -0.2, 0.1], [0.1, 0.9, -0.4], [-0.3, 0.2, 0.8]])
    cells = mixed.reshape(b, f, h // SPACE, SPACE, w // SPACE, SPACE, 3).mean((3, 5))
    first, rest = cells[:, :1], cells[:, 1:]
    rest = rest.reshape(b, -1, STRIDE, *rest.shape[2:]).mean(2)
    return np.concatenate([first, rest], axis=1).astype(np.float32)


def test_previews_show_what_latents_stand_for():
    fitted = preview.fit(encode, STRIDE, SPACE, (64, 64))
    assert fitted.cell == SPACE
    still = np.zeros((1, 9, 64, 64, 3), np.float32) + (0.5, -0.5, 0.0)
    still[:, :, 20:40, 24:44] = (-0.8, 0.6, 0.9)
    frames = fitted.frames(encode(still)[0])
    wanted = (still[0] + 1) * 127.5
    assert frames.shape == (9, 64, 64, 3)
    error = np.abs(frames - wanted).mean()
    blank = np.abs(wanted - wanted.mean((0, 1, 2))).mean()
    assert error < 12 < blank  # near, where nothing is sharper than a cell
    assert np.abs(frames[:, 28:32, 32:36] - wanted[:, 28:32, 32:36]).max() < 25
    small = preview.fit(encode, STRIDE, SPACE, (480, 832))
    assert small.cell == 1 and small.frames(encode(still)[0]).shape == (9, 16, 16, 3)


@tried(max_examples=30, deadline=None)
@given(st.floats(0.05, 0.9), st.floats(0.05, 0.9), st.integers(0, 99))
def test_flow_that_is_straight_is_followed_to_its_end(one, two, seed):
    rng = np.random.default_rng(seed)
    data, noise = rng.standard_normal((2, 3, 2))
    high, low = max(one, two) + 0.05, min(one, two)
    at = [(1 - sigma) * data + sigma * noise for sigma in (high, low)]
    found = preview.clean_sample(at[0], at[1], (high, low))
    np.testing.assert_allclose(found, data, atol=1e-9)
    assert np.abs(at[1] - data).max() > 1e-3


# ------------------------------------------------------------------------------ times and strips


@tried(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.sampled_from([6, 8, 16, 29.97]), st.data())
def test_bars_on_ticks_hold_the_frames_between_them(latents, fps, data):
    clock = Clock(fps, 4 * latents + 1, 4)
    found = rulers(clock)
    assert len(found["ticks"]) == clock.frames + 1 and found["latents"][:2] == [0, 1]
    assert len(found["latents"]) == clock.latent_frames + 1
    start = data.draw(st.integers(0, clock.frames - 1))
    end = data.draw(st.integers(start + 1, clock.frames))
    seconds = (found["ticks"][start], found["ticks"][end])
    spans = clock.spans([seconds], found["ticks"][-1])  # which is what a board says that it takes
    assert spans == ((start, end),)
    assert found["ticks"] == sorted(found["ticks"]) and found["ticks"][-1] <= clock.duration


def test_clips_of_any_length_have_rulers():
    assert rulers(Clock(240, 24001, 4))["ticks"] == []
    assert rulers(Clock.for_duration(0.06, 8, 4), 0.06)["ticks"] == [0, 0.06]
    late = rulers(Clock.for_duration(4.2, 8, 4), 4.2)
    assert late["frames"] == 33 and late["ticks"][-1] == 4.2


def test_every_frame_is_found_on_a_strip():
    frames = (
        np.arange(7, dtype=np.uint8)[:, None, None, None].repeat(4, 1).repeat(6, 2).repeat(3, 3)
    )
    sheet, layout = strip_of(frames)
    assert layout == {"columns": 3, "height": 4, "width": 6, "frames": 7}
    for i in range(7):
        y, x = 4 * (i // 3), 6 * (i % 3)
        assert (sheet[y : y + 4, x : x + 6] == i).all()
    with Image.open(io.BytesIO(as_png(sheet))) as file:
        np.testing.assert_array_equal(file, sheet)
    large, layout = strip_of(np.zeros((40, 480, 832, 3), np.uint8))
    assert large.shape[0] * large.shape[1] < 8 * 2**20 and layout["width"] < 832


# --------------------------------------------------------------------------------- measurements


class Seeing:
    """A tracker that sees what it was told, whoever asks."""

    measures, notes = {}, {}

    def __init__(self, *spans, error=None):
        self.spans, self.error = spans, error

    def check(self, image):
        pass

    def track(self, video, case):
        assert all(not subject.spans for subject in case.subjects)  # the times are not told
        if self.error:
            raise self.error
        found = []
        for spans in self.spans:
            there = np.zeros(len(video), bool)
            for start, end in spans:
                there[start:end] = True
            found.append(Sighting(there, "disc", "disc" if there.any() else None))
        return found


def test_errors_are_frames_with_a_sign():
    spans = (Spans([(4, 10), (14, 20)]), Spans([(0, 20)]))
    picture = np.zeros((1, 8, 8, 3), np.uint8)
    subjects = tuple(Subject("disc", one, picture) for one in spans)
    scene = Scene("x", "a disc", Clock(8.0, 21, 4), subjects)
    video = np.zeros((21, 8, 8, 3), np.uint8)
    first, second = measured(Seeing([(6, 9), (14, 20)], []), video, scene)
    assert (first["starts"], first["ends"], first["error"]) == ([2.0, 0.0], [-1.0, 0.0], 0.75)
    assert first["seen"] == ((6, 9), (14, 20)) and first["identity"] is True
    assert (second["seen"], second["error"], second["iou"]) == ((), None, 0.0)
    rows = measured(Seeing(error=DataError("shows no subject")), video, scene)
    assert [row["seen"] for row in rows] == [None, None] and rows[0]["remark"] == "shows no subject"


def test_pictures_without_tokens_have_no_attention(renderer, tmp_path, monkeypatch):
    """As of a model whose pictures are on a canvas: the rows of a result are there all the same."""
    from alchemint_jax.studio import rendering
    from alchemint_jax.studio.attention import reference_attention

    draft = board_of(keep(tmp_path, png()).name, duration=1.0)
    draft["subjects"][0]["appears"] = [[0.25, 1.0]]
    pipe = renderer.pipe
    dit = DiT(DiTConfig(dim=24, n_heads=2, n_layers=1, ffn_dim=8, slots=0))
    bare = Pipeline(pipe.models._replace(dit=dit), pipe.texts, pipe.settings)
    scene, latents = pipe.scene(storyboard(draft, tmp_path)), np.zeros((1, 3, 4, 4, 2), np.float32)
    assert reference_attention(bare, scene, latents) is None
    monkeypatch.setattr(rendering, "reference_attention", lambda *_: None)
    renderer.draw(tmp_path, Ask(draft, 3, 8, None, {}, None), tmp_path, lambda kind, what: None)
    (row,) = json.loads((tmp_path / "result.json").read_text())["subjects"]
    assert row["attention"] is None and row["image"] and row["asked"] == [[2, 9]]


# ------------------------------------------------------------------------------------ a render


@pytest.fixture(scope="module")
def renderer(tmp_path_factory):
    """Of a tiny model of random weights."""
    folder = tmp_path_factory.mktemp("tiny")
    vae = VAEConfig(
        base_dim=4, dim_mult=(1, 1, 1), num_res_blocks=1, z_dim=2,
        temporal_downsample=(True, True), latents_mean=(0.0, 0.0), latents_std=(1.0, 1.0),
    )  # fmt: skip
    dit = DiTConfig(
        dim=24, n_heads=2, n_layers=1, ffn_dim=8, in_channels=2, out_channels=2, text_dim=8,
        freq_dim=8, slots=2,
    )  # fmt: skip
    text = UMT5Config(dim=8, n_heads=2, head_dim=4, ffn_dim=8, n_layers=1)
    rng = np.random.default_rng(0)
    parts = {"vae": VAE(vae), "transformer": DiT(dit), "text_encoder": UMT5Encoder(text)}
    for name, module in parts.items():
        params = jax.tree.map(
            lambda x: (0.3 * rng.standard_normal(x.shape)).astype(np.float32),
            module.abstract_params(),
        )
        weights.save(folder, name, module.config, params)
    guidance = Guidance(text=0, image=0, both=1)
    own = settings.Settings(size=(16, 16), max_frames=9, text_length=24, guidance=guidance)
    settings.save(folder, own)
    pipe = Pipeline.load(folder)
    shown = preview.Preview(*(np.zeros((19, n * 16 * 3), np.float32) for n in (1, 4)), 4, 4)
    return Renderer(pipe, Seeing([(4, 9)]), shown, 4, identity(pipe))


def test_a_small_decoder_beside_the_weights_shows_previews(renderer, tmp_path):
    pipe = dataclasses.replace(renderer.pipe, origin=Origin.of(tmp_path, None))
    assert Decoded.of(pipe) is None and Decoded.of(dataclasses.replace(pipe, origin=None)) is None
    rng = np.random.default_rng(0)

    def write(channels):
        module = TinyDecoder(TinyDecoderConfig(channels, (4, 4, 4), (2, 2), 1))
        params = jax.tree.map(lambda x: 0.3 * rng.normal(size=x.shape), module.abstract_params())
        return module, weights.load(write_tiny(tmp_path, module.config, params), "vae")[1]

    module, params = write(2)
    latents = rng.normal(size=(3, 4, 4, 2)).astype(np.float32)
    frames = Decoded.of(pipe).frames(latents)
    decode = jax.jit(lambda z: module.apply({"params": params}, z, method="decode"))
    video = decode(latents[None])[0]
    assert frames.shape == (9, 16, 16, 3) and frames.std() > 5
    np.testing.assert_allclose(frames, np.asarray(video) * 127.5 + 127.5, atol=1)
    large = dataclasses.replace(pipe.settings, size=(480, 832))
    assert Decoded.of(dataclasses.replace(pipe, settings=large)) is None
    write(3)
    with pytest.raises(WeightsError, match="small decoder z_dim is 3, but vae z_dim is 2"):
        Decoded.of(pipe)


def test_a_render_is_what_the_pipeline_gives_and_what_was_measured(renderer, tmp_path):
    draft = board_of(keep(tmp_path, png()).name, duration=1.0)
    draft["subjects"][0] |= {"word": "disc", "appears": [[0.25, 1.0]]}
    ask = Ask(draft, 3, 8, None, {}, None)
    told = []
    out = tmp_path / "out"
    out.mkdir()
    renderer.draw(tmp_path, ask, out, lambda kind, what: told.append((kind, what)))
    steps = [what for kind, what in told if kind == "step"]
    assert steps == [(0, 8), (4, 8), (8, 8)]
    previews = [what for kind, what in told if kind == "preview"]
    assert previews[0]["step"] == 4 and previews[0]["strip"]["frames"] == 9
    result = json.loads((out / "result.json").read_text())
    (row,) = result["subjects"]
    assert row["asked"] == [[2, 9]] and row["seen_seconds"] == [[0.5, 1.0]] and row["error"] == 1.0
    assert len(row["attention"]) == 3 and all(0 < share < 1 for share in row["attention"])
    assert result["frames"] == 9 and (out / "clip.mp4").stat().st_size > 500

    # A watch changes nothing, and the server checks with the very rules of the model.
    board, seen = storyboard(draft, tmp_path), []
    plain = renderer.pipe.generate(board, seed=3, steps=8)
    watch = Watch(lambda number, latents: seen.append(latents.shape), 5)
    watched = renderer.pipe.generate(board, seed=3, steps=8, watch=watch)
    assert seen == [(1, 3, 4, 4, 2)] * 3  # every fourth step, for 5 does not divide 8
    np.testing.assert_allclose(watched.astype(int), plain.astype(int), atol=1)
    number, partly = [], Guidance(text=0, image=0, both=2, interval=(0.0, 0.5))
    watch = Watch(lambda done, latents: number.append(done), 4)
    renderer.pipe.generate(board, seed=3, steps=8, guidance=partly, watch=watch)
    assert number == [0, 4, 8]  # also where steps do not all make the same passes
    about = pickle.loads(pickle.dumps(renderer.about()))
    assert about.scene(board).subjects[0].spans == ((2, 9),)
    assert not about.models.dit_params

    # It knows the very key that the render has, however the same is asked for.
    key = result["key"]
    assert key == key_of(renderer.identity, about, board, ask)
    asked = Ask(draft, 3, 8, "euler", {"both": 1.0}, 0.0, "WeRope")
    assert key == key_of(renderer.identity, about, board, asked)
    for change in ({"steps": 7}, {"solver": "unipc"}, {"guidance": {"both": 2.0}}, {"gating": 3.0}):
        other = dataclasses.replace(ask, **change)
        assert key_of(renderer.identity, about, board, other) != key
    assert key_of("another model", about, board, ask) != key

    def stop(kind, what):
        if what == (4, 8):
            raise Cancelled

    with pytest.raises(Cancelled):
        renderer.draw(tmp_path, ask, out, stop)


def test_another_scheme_times_by_the_same_weights(renderer, tmp_path):
    assert tuple(rotary.SCHEMES) == SCHEMES
    pipe = renderer.pipe
    assert with_scheme(pipe, "WeRope") is pipe  # its own
    found = []
    for scheme in (None, "FittedRope"):
        draft = board_of(keep(tmp_path, png()).name, duration=1.0)
        draft["subjects"][0] |= {"word": "disc", "appears": [[0.25, 0.5]]}
        out = tmp_path / str(scheme)
        out.mkdir()
        ask = Ask(draft, 3, 8, None, {}, None, scheme)
        renderer.draw(tmp_path, ask, out, lambda kind, what: None)
        found.append(json.loads((out / "result.json").read_text()))
    own, other = found
    assert (own["scheme"], other["scheme"]) == ("WeRope", "FittedRope")
    assert own["key"] != other["key"]
    assert own["subjects"][0]["attention"] != other["subjects"][0]["attention"]
    changed = with_scheme(pipe, "FittedRope")
    assert changed.models.dit_params is pipe.models.dit_params
    assert changed.models.dit.config.scheme == rotary.FittedRope(stride=STRIDE)
    blind = dataclasses.replace(pipe.models.dit.config, slots=0)
    blind = pipe.models._replace(dit=pipe.models.dit.clone(config=blind))
    asked = Ask({}, 3, 8, None, {}, None, "MidRope")
    with pytest.raises(Refused, match="takes no subjects"):
        scheme_of(dataclasses.replace(pipe, models=blind), asked)
