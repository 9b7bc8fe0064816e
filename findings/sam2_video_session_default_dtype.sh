#!/usr/bin/env bash
# Surprise: Sam2VideoInferenceSession of transformers cannot be made of a video, nor be given a frame,
#   with its own default dtype. That is the name "float32", which is documented and annotated but
#   goes to Tensor.to as it is: TypeError. torch.float32 works. The sessions of SAM 3, of its
#   tracker and of EdgeTAM do the same; init_video_session of the processors hides it.
# Guess: a class that transformers exports works with the defaults of its arguments.
# Versions: transformers 5.24.0, torch 2.13.0, Python 3.11.
# Source: Sam2VideoInferenceSession.__init__ and add_new_frame in
#   transformers/models/sam2_video/modeling_sam2_video.py
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet transformers==5.24.0 torch==2.13.0
"$folder/venv/bin/python" - <<'PY'
import inspect

import torch
import transformers
from transformers.models.edgetam_video import EdgeTamVideoInferenceSession
from transformers.models.sam2_video import Sam2VideoInferenceSession
from transformers.models.sam3_tracker_video import Sam3TrackerVideoInferenceSession
from transformers.models.sam3_video import Sam3VideoInferenceSession

print("transformers", transformers.__version__, "torch", torch.__version__)
video = torch.zeros(2, 3, 8, 8)


def said(make):
    try:
        return make().num_frames
    except TypeError as error:
        return f"TypeError: {str(error).partition(', but')[0]}"


def streamed(session, **dtype):
    """A session that is given its frames one by one."""
    made = session(video_height=8, video_width=8, **dtype)
    for frame in video:
        made.add_new_frame(frame)
    return made


for session in (
    Sam2VideoInferenceSession,
    Sam3VideoInferenceSession,
    Sam3TrackerVideoInferenceSession,
    EdgeTamVideoInferenceSession,
):
    print(session.__name__, inspect.signature(session).parameters["dtype"])
    for dtype in ({}, {"dtype": torch.float32}):
        whole = said(lambda: session(video=video, video_height=8, video_width=8, **dtype))
        frames = said(lambda: streamed(session, **dtype))
        print(f"  {dtype or 'default'}\n    video: {whole}\n    frames: {frames}")
        if dtype:
            assert whole == frames == 2, "this has changed"
        else:
            assert "dtype=str" in str(whole) and "dtype=str" in str(frames), "this has changed"
PY
