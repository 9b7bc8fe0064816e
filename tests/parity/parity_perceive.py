"""Perceivers of the extra [perceive], on small random networks, against transformers itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from contracts import check_detector
from reference_perceive import WORDS, clip, grounding_dino, picture, sam2

from alchemint_jax.errors import ConfigError
from alchemint_jax.perceive.clip import ClipEmbedder
from alchemint_jax.perceive.grounding_dino import GroundingDinoDetector
from alchemint_jax.perceive.pixels import on_square
from alchemint_jax.perceive.sam2 import _MEAN, _STD, Sam2Segmenter


@pytest.fixture(scope="module")
def dino(tmp_path_factory):
    return grounding_dino(tmp_path_factory.mktemp("dino"))


def test_grounding_dino_finds_what_the_library_finds(dino):
    from transformers import GroundingDinoProcessor

    detector = GroundingDinoDetector.load(str(dino), threshold=0.0, overlap=1.0)
    frame = picture(40, 60)
    words = ["Cat", "dog"]  # one token each
    (found,) = detector.detect(frame[None], words)
    assert len(found.scores) == 20 and set(found.words) <= {0, 1}

    processor = GroundingDinoProcessor(detector.processor, detector.tokenizer)
    inputs = processor(images=frame, text=[["cat", "dog"]], return_tensors="pt")
    assert inputs.input_ids[0].tolist() == detector.tokenizer("cat. dog.")["input_ids"]
    with torch.inference_mode():
        outputs = detector.model(**inputs)
    (theirs,) = processor.post_process_grounded_object_detection(
        outputs, threshold=0.0, target_sizes=[(40, 60)]
    )
    boxes = theirs["boxes"].numpy().clip(0, [60, 40, 60, 40])
    shares = outputs.logits.sigmoid()[0].numpy()[:, [1, 3]]  # [CLS] cat . dog . [SEP]
    order = np.lexsort(found.boxes.T), np.lexsort(boxes.T)
    np.testing.assert_allclose(found.boxes[order[0]], boxes[order[1]], atol=1e-3)
    np.testing.assert_allclose(found.scores[order[0]], shares.max(1)[order[1]], atol=1e-5)
    np.testing.assert_array_equal(found.words[order[0]], shares.argmax(1)[order[1]])


def test_a_word_of_several_tokens_is_scored_by_all_of_them(dino):
    detector = GroundingDinoDetector.load(str(dino))
    ((text, tokens),) = detector._texts(["red car", "", "a hot dog", "cats", "\u200b"])
    assert text == "red car. a hot dog. cats."
    assert tokens == {0: [1, 2], 2: [4, 5, 6], 3: [8, 9]}
    frame = picture(40, 60)
    ((_, scores, numbers),) = detector._look(frame[None], text, tokens)
    with torch.inference_mode():
        images = detector.processor(images=[frame], return_tensors="pt")
        asked = detector.tokenizer([text], return_tensors="pt")
        shares = detector.model(**images, **asked).logits.sigmoid()[0].numpy()
    for score, number, share in zip(scores, numbers, shares, strict=True):
        mine = share[tokens[number]]
        assert np.isclose(score, (mine.max() + mine.mean()) / 2)


def test_many_words_take_several_texts(dino):
    detector = GroundingDinoDetector.load(str(dino), threshold=0.0, overlap=1.0)
    words = ["cat", "red car", "dog"] * 60
    texts = detector._texts(words)
    assert len(texts) > 1
    assert [number for _, tokens in texts for number in tokens] == list(range(180))
    (found,) = detector.detect(picture(40, 60)[None], words)
    assert len(found.scores) == 20 * len(texts)


def test_grounding_dino_keeps_the_contract(dino):
    video = np.stack([picture(40, 60, seed) for seed in range(3)])
    check_detector(GroundingDinoDetector.load(str(dino), threshold=0.3, batch=2), video, WORDS)


def test_clip_is_the_library(tmp_path):
    embedder = ClipEmbedder.load(str(clip(tmp_path)), batch=2)
    images = [picture(30, 50), picture(64, 40, 1), picture(20, 20, 2)]
    texts = ["a cat", "red car", "dog"]
    inputs = embedder.processor(images=[on_square(i) for i in images], return_tensors="pt")
    asked = embedder.tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        theirs = embedder.model(**inputs, **asked)
    np.testing.assert_allclose(embedder.embed(images), theirs.image_embeds, atol=1e-5)
    np.testing.assert_allclose(embedder.embed_texts(texts), theirs.text_embeds, atol=1e-5)
    assert embedder.embed([]).shape == embedder.embed_texts([]).shape == (0, 16)


def test_a_checkpoint_that_is_none_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=f"{tmp_path}: no CLIPModel can be loaded"):
        ClipEmbedder.load(str(tmp_path))


def of_the_library(model, video, anchor, box):
    """Masks of the frames from `anchor` on, and of those before it, by what the library has."""
    from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession
    from transformers.models.sam2_video.processing_sam2_video import Sam2VideoProcessor
    from transformers.models.sam2_video.video_processing_sam2_video import Sam2VideoVideoProcessor

    # Both cannot be made without torchvision, which their methods do without.
    processor, sizes = (
        object.__new__(kind) for kind in (Sam2VideoProcessor, Sam2VideoVideoProcessor)
    )
    processor.target_size, processor.point_pad_value = 64, -10
    sizes.size = {"height": 64, "width": 64}
    frames = torch.tensor((video / 255 - np.array(_MEAN)) / np.array(_STD), dtype=torch.float32)
    masks = {}
    for reverse in (False, True):
        session = Sam2VideoInferenceSession(frames.permute(0, 3, 1, 2), 64, 64, dtype=torch.float32)
        processor.process_new_points_or_boxes_for_video_frame(
            session, anchor, [1], input_boxes=[[box.tolist()]]
        )
        for seen in model.propagate_in_video_iterator(session, anchor, reverse=reverse):
            (mask,) = sizes.post_process_masks([seen.pred_masks], [(64, 64)], [(64, 64)])
            masks[seen.frame_idx] = mask[0, 0].numpy()
    return np.stack([masks[frame] for frame in range(len(video))])


def test_sam2_is_the_library(tmp_path):
    segmenter = Sam2Segmenter.load(str(sam2(tmp_path)))
    video = np.stack([picture(64, 64, seed) for seed in range(5)])  # as large as its input
    boxes = np.full((5, 4), np.nan, np.float32)
    boxes[0], boxes[2] = (0, 0, 4, 4), (10, 8, 40, 30)  # the larger one is shown to it
    with torch.inference_mode():
        theirs = of_the_library(segmenter.model, video, 2, boxes[2])
    ours = segmenter.segment(video, boxes)
    assert 0.05 < theirs.mean() < 0.95
    assert (ours != theirs).mean() < 1e-3
    assert not segmenter.segment(video, np.full_like(boxes, np.nan)).any()


def test_sam2_takes_frames_of_any_size(tmp_path):
    segmenter = Sam2Segmenter.load(str(sam2(tmp_path)))
    video = np.stack([picture(64, 64, seed) for seed in range(3)])
    boxes = np.array([[10, 8, 40, 30]] * 3, np.float32)
    expected = segmenter.segment(video, boxes)
    large = segmenter.segment(video.repeat(3, 1).repeat(2, 2), boxes * np.float32([2, 3, 2, 3]))
    assert large.shape == (3, 192, 128)
    assert (large[:, 1::3, ::2] != expected).mean() < 0.1
