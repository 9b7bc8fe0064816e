"""SAM 2, through transformers: cuts a subject out, and follows it where nobody says where it is.

Source: N. Ravi et al., "SAM 2: Segment Anything in Images and Videos", arXiv:2408.00714.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from alchemint_jax.perceive.pretrained import load

CHECKPOINT = "facebook/sam2.1-hiera-tiny"
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True, eq=False)
class Sam2Segmenter:
    """A `Segmenter` that is shown the largest of the boxes, and follows the subject from there.

    First it goes to the end of the video, then to the beginning. It looks at the whole frame, so
    the other boxes are not needed. Frames are made ready one at a time; what it remembers of those
    that it has seen grows with the video, by some megabytes a frame.

    Attributes:
        model: a Sam2VideoModel.
    """

    model: Any = dataclasses.field(repr=False)

    @classmethod
    def load(cls, checkpoint: str = CHECKPOINT) -> Sam2Segmenter:
        """One with published weights."""
        return cls(*load(checkpoint, "Sam2VideoModel"))

    def segment(
        self, video: UInt8[np.ndarray, "f h w 3"], boxes: Float32[np.ndarray, "f 4"]
    ) -> Bool[np.ndarray, "f h w"]:
        """See `Segmenter.segment`."""
        import torch

        masks = np.zeros(video.shape[:3], bool)
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        if not np.isfinite(areas).any():
            return masks
        anchor = int(np.nanargmax(areas))
        session = self._session(video)
        for reverse in (False, True):
            session.reset_inference_session()  # what was seen on the way to the end is forgotten
            with torch.inference_mode():
                self._point(session, anchor, boxes[anchor])
                for seen in self.model.propagate_in_video_iterator(
                    session, start_frame_idx=anchor, reverse=reverse
                ):
                    masks[seen.frame_idx] = self._mask(seen.pred_masks, *video.shape[1:3])
        return masks

    def _session(self, video: UInt8[np.ndarray, "f h w 3"]) -> Any:
        from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

        session = Sam2VideoInferenceSession(
            None, *video.shape[1:3], inference_device=self.model.device, dtype=self.model.dtype
        )
        session.processed_frames = _Frames(video, self._side, self.model.dtype)
        return session

    @property
    def _side(self) -> int:
        """Of the square that the network sees, whatever the aspect ratio of a video."""
        side = self.model.config.image_size
        return side if isinstance(side, int) else side[0]

    def _point(self, session: Any, frame: int, box: np.ndarray) -> None:
        """Tells the network of a box: two points, of the kinds 2 and 3."""
        import torch

        scale = self._side / np.array([session.video_width, session.video_height] * 2, np.float32)
        corners = torch.tensor(box * scale).reshape(1, 1, 2, 2)
        session.add_point_inputs(
            session.obj_id_to_idx(1),
            frame,
            {
                "point_coords": corners,
                "point_labels": torch.tensor([[[2, 3]]], dtype=torch.int32),
            },
        )
        session.obj_with_new_inputs = [1]

    def _mask(self, low: Any, height: int, width: int) -> Bool[np.ndarray, "h w"]:
        """By way of the size of the network's input, as the library does."""
        from torch.nn.functional import interpolate

        large = interpolate(low.float(), (self._side, self._side), mode="bilinear")
        return (interpolate(large, (height, width), mode="bilinear")[0, 0] > 0).cpu().numpy()


class _Frames(Mapping):
    """Frames as the network takes them, made when they are asked for."""

    def __init__(self, video: UInt8[np.ndarray, "f h w 3"], side: int, dtype: Any) -> None:
        self.video, self.side, self.dtype = video, side, dtype

    def __len__(self) -> int:
        return len(self.video)

    def __iter__(self) -> Any:
        return iter(range(len(self)))

    def __getitem__(self, frame: int) -> Any:
        import torch
        from torch.nn.functional import interpolate

        image = torch.from_numpy(np.array(self.video[frame])).permute(2, 0, 1)[None] / 255
        image = interpolate(image, (self.side, self.side), mode="bilinear", antialias=True)[0]
        mean, std = torch.tensor([_MEAN, _STD])[..., None, None]
        return ((image - mean) / std).to(self.dtype)
