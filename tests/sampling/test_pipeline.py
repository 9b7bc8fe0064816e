"""The pipeline on a tiny model of random weights: what decides a video, and what is refused."""

from __future__ import annotations

import dataclasses
import inspect
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from alchemint_jax import weights
from alchemint_jax.errors import ConfigError, StoryboardError, WeightsError
from alchemint_jax.flow import GRIDS
from alchemint_jax.images import fit_references
from alchemint_jax.models.dit import DiT, DiTConfig
from alchemint_jax.models.dit.conditioning import model_inputs
from alchemint_jax.models.umt5 import UMT5Config, UMT5Encoder
from alchemint_jax.models.vae import VAE, VAEConfig
from alchemint_jax.sampling import Guidance, Pipeline, pipeline, settings, solve
from alchemint_jax.sampling.control import Steered
from alchemint_jax.sampling.sample import encode_references, sample_latents
from alchemint_jax.sampling.settings import Plan, Settings
from alchemint_jax.scene import Clock, Event, Scene, Spans, Storyboard, Subject

pytestmark = pytest.mark.slow

SETTINGS = Settings(
    size=(16, 16),
    max_frames=9,
    text_length=24,
    tag_length=6,
    steps=2,
    shift=3.0,
    guidance=Guidance(text=0.5, image=0.5, both=2.0),
)
VAE_CONFIG = VAEConfig(
    base_dim=4,
    dim_mult=(1, 2, 2),
    num_res_blocks=1,
    z_dim=2,
    temporal_downsample=(True, True),
    latents_mean=(0.1, -0.1),
    latents_std=(0.8, 1.2),
)
DIT_CONFIG = DiTConfig(
    dim=24,
    n_heads=2,
    n_layers=1,
    ffn_dim=16,
    in_channels=2,
    out_channels=2,
    text_dim=8,
    freq_dim=8,
    slots=2,
)
TEXT_CONFIG = UMT5Config(dim=8, n_heads=2, head_dim=4, ffn_dim=8, n_layers=1)


def _random(abstract, seed):
    rng = np.random.default_rng(seed)

    def leaf(x):
        if len(x.shape) < 2:
            return jax.device_put(np.float32(0.5 + 0.3 * rng.standard_normal(x.shape)))
        return jax.device_put(
            np.float32(rng.standard_normal(x.shape) / math.sqrt(math.prod(x.shape[:-1])))
        )

    return jax.tree.map(leaf, abstract)


def _write(directory, dit=DIT_CONFIG):
    components = {
        "vae": VAE(VAE_CONFIG),
        "transformer": DiT(dit),
        "text_encoder": UMT5Encoder(TEXT_CONFIG),
    }
    for seed, (name, module) in enumerate(components.items()):
        params = _random(module.abstract_params(), seed)
        weights.save(directory, name, module.config, params)
    settings.save(directory, SETTINGS)
    return directory


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return _write(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def pipe(directory):
    return Pipeline.load(directory)


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "disc.png"
    pixels = np.full((20, 30, 3), 255, np.uint8)
    pixels[5:15, 8:22] = (200, 30, 30)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def board(picture):
    def board(count=1, **changes):
        subject = {"word": "disc", "image": picture, "appears": [[0.25, 0.75]]}
        fields = {"prompt": "a red disc", "duration": 1.0, "subjects": [subject] * count}
        return Storyboard.from_dict(fields | changes)

    return board


# Two videos of one batch, alike in everything but the noise.
REFERENCES = np.random.default_rng(0).integers(0, 256, (2, 2, 16, 16, 3), np.uint8)
REFERENCES[1] = REFERENCES[0]
TIMES = ([(0, 5)], [(4, 9)])


def _scene(prompt="a disc", words=("disc", "star"), times=TIMES, pictures=REFERENCES[0], events=()):
    subjects = (
        Subject(word, Spans(rows), picture[None])
        for word, rows, picture in zip(words, times, pictures, strict=False)
    )
    said = tuple(Event(text, Spans([span])) for text, span in events)
    return Scene("clip", prompt, Clock(8.0, 9, 4), tuple(subjects), said)


BATCH = [_scene(), _scene()]


def _render(pipe, batch=BATCH, **options):
    return pipe.render(batch, **{"guidance": Guidance(0, 0, 1)} | options).astype(int)


def test_same_seed_same_video(pipe, board):
    video = pipe.generate(board(), seed=0)
    assert video.shape == (9, 16, 16, 3) and video.dtype == np.uint8
    assert np.mean((video > 0) & (video < 255)) > 0.5, "clipped: nothing could differ"
    np.testing.assert_array_equal(pipe.generate(board(), seed=0), video)
    other = pipe.generate(board(), seed=1)
    assert np.mean(other != video) > 0.5
    # The board's seed counts where none is given; 0 is a seed, too.
    np.testing.assert_array_equal(pipe.generate(board(seed=1)), other)
    np.testing.assert_array_equal(pipe.generate(board(seed=1), seed=0), video)
    np.testing.assert_array_equal(pipe.generate(board()), video)


def test_everything_on_the_board_matters(pipe, board, tmp_path):
    video = pipe.generate(board(), seed=0)
    Image.fromarray(np.uint8([[[0, 0, 255]]])).save(tmp_path / "blue.png")
    subject = {"word": "disc", "image": board().subjects[0].image, "appears": [[0.25, 0.75]]}
    changes = {
        "prompt": {"prompt": "a blue star"},
        "negative": {"negative_prompt": "blurred"},
        "image": {"subjects": [subject | {"image": tmp_path / "blue.png"}]},
        "word": {"subjects": [subject | {"word": "star"}]},
        "appears": {"subjects": [subject | {"appears": [[0.0, 0.3], [0.8, 1.0]]}]},
        "none": {"subjects": []},
    }
    for name, change in changes.items():
        other = pipe.generate(board(**change), seed=0)
        assert other.shape == video.shape and (other != video).any(), name
    assert pipe.generate(board(0, duration=0.5)).shape == (5, 16, 16, 3)


def test_guidance_and_steps_of_the_caller_replace_the_models(pipe, board):
    video = pipe.generate(board(), seed=0)
    np.testing.assert_array_equal(
        pipe.generate(board(), seed=0, steps=2, guidance=SETTINGS.guidance), video
    )
    alone = pipe.generate(board(), seed=0, guidance=Guidance(text=0, image=0, both=1))
    assert (alone != video).any()
    # The conditional model by itself has no use for a negative prompt.
    unread = board(negative_prompt="blurred")
    again = pipe.generate(unread, seed=0, guidance=Guidance(text=0, image=0, both=1))
    np.testing.assert_array_equal(again, alone)
    assert (pipe.generate(board(), seed=0, steps=1) != video).any()


def test_a_video_of_a_batch_depends_on_its_index_and_itself_alone(pipe):
    videos = _render(pipe)
    assert np.mean(videos[0] != videos[1]) > 0.5  # the index chooses the noise
    assert np.abs(_render(pipe, BATCH[:1])[0] - videos[0]).max() <= 1
    changed = _render(pipe, [_scene("a star", ("box", "star")), _scene()])
    np.testing.assert_array_equal(changed[1], videos[1])
    assert (changed[0] != videos[0]).any()


def test_slots_without_a_subject_are_empty(pipe):
    one = _render(pipe, [_scene(words=["disc"])] * 2)
    other = REFERENCES[0].copy()
    other[1] = 0
    unseen = _scene(times=([(0, 5)], []), pictures=other)
    # Slots that no scene needs are left out; with them sums are of other lengths.
    assert pipe.conditions([_scene(words=["disc"])]).references.shape[1] == 1
    assert pipe.conditions([unseen]).references.shape[1] == 2
    assert pipe.conditions([_scene(words=["disc"])], slots=2).used.tolist() == [[True, False]]
    assert np.abs(_render(pipe, [unseen] * 2).astype(int) - one).max() <= 1
    assert np.abs(_render(pipe, [_scene(pictures=other)] * 2).astype(int) - one).max() > 1


def test_scenes_of_a_batch_are_of_one_size_and_length(pipe):
    short = dataclasses.replace(_scene(), id="short", clock=Clock(8.0, 5, 4))
    with pytest.raises(StoryboardError, match="short: has another size or length than clip"):
        _render(pipe, [_scene(), short])
    with pytest.raises(StoryboardError, match=r"clip: duration: 0.75 s .* must be 4k\+1"):
        _render(pipe, [dataclasses.replace(_scene(), clock=Clock(8.0, 7, 2))])


def test_more_intervals_than_in_training(pipe):
    """Any number: they are padded to the most that a subject of the batch has."""
    runs = [(0, 1), (2, 3), (4, 5), (6, 7)]
    videos = _render(pipe, [_scene(times=(runs, [(4, 9)])), _scene()])
    assert (videos[0] != _render(pipe)[0]).any()
    assert np.abs(videos[1] - _render(pipe)[1]).max() <= 1


def test_the_control_of_a_storyboard_reaches_the_loop(pipe, board, monkeypatch):
    given = []

    def loop(*args):
        given.append(inspect.signature(sample_latents).bind(*args).arguments)
        return args[2]

    monkeypatch.setattr(pipeline, "sample_latents", loop)
    frames = np.zeros((1, 9, 16, 16, 3), np.uint8)
    monkeypatch.setattr(pipeline, "decode", lambda models, latents: frames)
    control = Steered  # anything that can be called
    pipe.generate(board(), control=control)
    pipe.generate(board())
    assert [one["control"] for one in given] == [control, None]


@pytest.mark.parametrize(("solver", "grid"), [("euler", "linear"), ("unipc", "wan")])
def test_a_grid_solved_in_pieces_is_the_whole_grid(pipe, solver, grid):
    conditions = pipe.conditions(BATCH)
    noise = jax.random.normal(jax.random.key(3), (2, 3, 4, 4, 2))
    plan, done = Plan(12, 3.0, Guidance(0, 0, 1), solver, grid), []
    latents = sample_latents(pipe.models, conditions, noise, plan, done.append)
    assert done == [6, 12]

    @jax.jit
    def whole(noise):
        def velocity(z, t):
            text, inputs = model_inputs(conditions, jnp.ones(2, bool), jnp.ones(2, bool))
            time = jnp.broadcast_to(t, (2,))
            dit = pipe.models.dit
            return dit.apply({"params": pipe.models.dit_params}, z, time, text, **inputs)

        return solve(velocity, noise, GRIDS[grid](12, 3.0), solver)

    np.testing.assert_allclose(latents, whole(noise), atol=1e-5)
    assert np.abs(latents - noise).max() > 0.1


def test_the_solver_can_be_chosen(pipe):
    # Two steps of the two differ by less than what a pixel is rounded to.
    own, unipc = (_render(pipe, steps=6, **solver) for solver in ({}, {"solver": "unipc"}))
    np.testing.assert_array_equal(_render(pipe, steps=6, solver="euler"), own)
    assert np.mean(unipc != own) > 0.05
    with pytest.raises(ConfigError, match="solver is 'heun'; it must be one of euler, unipc"):
        _render(pipe, solver="heun")


def test_a_reference_is_encoded_as_a_video_of_one_frame(pipe):
    latents = encode_references(
        pipe.models.vae_params, jnp.asarray(REFERENCES), vae=pipe.models.vae
    )
    assert latents.shape == (2, 2, 4, 4, 2)
    video = REFERENCES[None, None, 0, 1].astype(np.float32) / np.float32(127.5) - 1

    @jax.jit
    def encode(params, video):
        return pipe.models.vae.apply({"params": params}, video, method="encode")

    expected = encode(pipe.models.vae_params, video)
    np.testing.assert_allclose(latents[0, 1], expected[0, 0], atol=1e-5)


def test_references_have_the_size_that_the_model_takes_them_in(pipe, board):
    small = dataclasses.replace(pipe.settings, reference_size=(8, 8))
    pipe = dataclasses.replace(pipe, settings=small)
    large = REFERENCES[0]
    conditions = pipe.conditions([_scene(pictures=large)])
    assert conditions.references.shape[2] * 2 == pipe.settings.size[0] // 4
    video = _render(pipe, [_scene(pictures=large)])
    assert video.shape == (1, 9, 16, 16, 3)
    np.testing.assert_array_equal(
        video, _render(pipe, [_scene(pictures=fit_references(large, (8, 8)))])
    )
    assert pipe.generate(board(2), seed=0).shape == (9, 16, 16, 3)


def test_a_model_without_slots_renders_text_alone(tmp_path, board):
    pipe = Pipeline.load(_write(tmp_path, dataclasses.replace(DIT_CONFIG, slots=0)))
    video = pipe.generate(board(0), seed=0)
    assert video.shape == (9, 16, 16, 3)
    assert (pipe.generate(board(0, prompt="a star"), seed=0) != video).any()
    with pytest.raises(StoryboardError, match="subjects"):
        pipe.generate(board(1))


def test_what_the_model_cannot_read_or_do_is_refused(pipe, board):
    exact = "x" * 23  # with the end token, the 24 tokens of the model
    assert pipe.generate(board(prompt=exact)).shape == (9, 16, 16, 3)
    with pytest.raises(StoryboardError, match="prompt: 24 bytes long; this model reads 23"):
        pipe.generate(board(prompt=exact + "x"))
    with pytest.raises(StoryboardError, match="prompt: 24 bytes"):
        pipe.generate(board(prompt="é" * 12))
    with pytest.raises(StoryboardError, match="negative_prompt: 30 bytes"):
        pipe.generate(board(negative_prompt="x" * 30))
    subject = {"image": board().subjects[0].image, "appears": [[0, 1]]}
    words = [subject | {"word": "disc"}, subject | {"word": "dodecahedron"}]
    with pytest.raises(StoryboardError, match=r"subjects\[1\]\.word: 12 bytes.*reads 5"):
        pipe.generate(board(subjects=words))
    with pytest.raises(StoryboardError, match="3 subjects are too many.*up to 2 subjects"):
        pipe.generate(board(3))
    with pytest.raises(StoryboardError, match="duration.*5 to 9 frames"):
        pipe.generate(board(duration=2.0))
    with pytest.raises(StoryboardError, match="events"):
        pipe.generate(board(events=[{"text": "it stops", "during": [0, 0.5]}]))


def test_texts_of_a_batch_are_not_cut_off_either(pipe):
    long = dataclasses.replace(_scene("x" * 24), id="other")
    with pytest.raises(StoryboardError, match="other: prompt: 24 bytes long; this model reads 23"):
        _render(pipe, [_scene(), long])
    with pytest.raises(StoryboardError, match=r"subjects\[1\].word: 8 bytes long; this .* reads 5"):
        _render(pipe, [_scene(words=("disc", "red star")), _scene()])
    with pytest.raises(StoryboardError, match="negative_prompt: 24 bytes"):
        _render(pipe, negative_prompt="x" * 24)
    # Counted as they are read: entities undone, white space collapsed.
    assert _render(pipe, negative_prompt="  " * 20 + "&amp;" * 10).shape[0] == 2


@pytest.fixture(scope="module")
def eventful(tmp_path_factory):
    """A model with events; its settings let their texts have 15 bytes."""
    folder = _write(
        tmp_path_factory.mktemp("eventful"), dataclasses.replace(DIT_CONFIG, events=True)
    )
    settings.save(folder, dataclasses.replace(SETTINGS, event_length=16))
    return Pipeline.load(folder)


def test_what_is_said_of_events_and_when_decides_the_video(eventful, board):
    def render(*events):
        said = [{"text": text, "during": list(during)} for text, during in events]
        return eventful.generate(board(events=said), seed=0).astype(int)

    none = render()
    one = render(("it turns red", (0.0, 0.5)))
    assert (one != none).any()
    assert (render(("it turns blue", (0.0, 0.5))) != one).any()
    assert (render(("it turns red", (0.5, 1.0))) != one).any()
    two = ("it turns red", (0.0, 0.5)), ("it stops", (0.5, 1.0))
    np.testing.assert_array_equal(render(*two), render(*two[::-1]))
    # What is outside of text guidance does not hear of them.
    silent = Guidance(text=0, image=1, both=0)
    said = board(events=[{"text": "it turns red", "during": [0, 1]}])
    np.testing.assert_array_equal(
        eventful.generate(said, seed=0, guidance=silent),
        eventful.generate(board(events=[{"text": "it stops", "during": [0, 1]}]), 0, None, silent),
    )


def test_events_of_a_batch_are_padded_together(eventful):
    said = [("it stops", (0, 5)), ("it turns red", (5, 9))]
    videos = _render(eventful, [_scene(events=said), _scene()])
    swapped = _render(eventful, [_scene(), _scene(events=said)])
    nothing = _render(eventful)
    np.testing.assert_array_equal(videos[1], nothing[1])
    np.testing.assert_array_equal(swapped[0], nothing[0])
    assert (videos[0] != nothing[0]).any() and (swapped[1] != nothing[1]).any()


def test_events_that_cannot_be_heard_are_refused(pipe, eventful, board):
    said = board(events=[{"text": "x" * 16, "during": [0, 1]}])
    with pytest.raises(StoryboardError, match=r"events\[0\]\.text: 16 bytes long.*reads 15"):
        eventful.generate(said)
    with pytest.raises(StoryboardError, match=r"events\[0\].text: 16 bytes long"):
        _render(eventful, [_scene(), _scene(events=[("x" * 16, (0, 9))])])
    with pytest.raises(StoryboardError, match="clip: events: dense captions are not possible"):
        _render(pipe, [_scene(), _scene(events=[("it stops", (0, 9))])])
    assert eventful.limits.events and not pipe.limits.events


@pytest.mark.parametrize("missing", ["pipeline.json", "transformer", "vae", "text_encoder"])
def test_an_incomplete_directory_names_what_is_missing(directory, tmp_path, missing):
    for path in directory.iterdir():
        if path.name != missing:
            (tmp_path / path.name).symlink_to(path)
    with pytest.raises(WeightsError, match=missing.replace(".", r"\.")):
        Pipeline.load(tmp_path)
    with pytest.raises(WeightsError, match="nowhere"):
        Pipeline.load(tmp_path / "nowhere")


def test_limits_and_fps_are_those_of_the_directory(pipe):
    assert pipe.fps == 8.0
    assert (pipe.limits.max_subjects, pipe.limits.max_frames, pipe.limits.events) == (2, 9, False)
