#!/usr/bin/env bash
# Surprise: one scheduler_config.json of Wan2.1 (UniPC, flow_shift 3) is sampled on other levels of
#   noise by diffusers 0.35 than by 0.42: the same model, seed and steps give another video. Every
#   level is another one, the first and the last included.
# Guess: the levels are fixed by the file, as all of its fields are the same.
# Versions: diffusers 0.35.2 and 0.42.1, torch 2.13.0, Python 3.11.
# Source: the branch for use_flow_sigmas of UniPCMultistepScheduler.set_timesteps
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/levels.py" <<'PY'
import diffusers
from diffusers import UniPCMultistepScheduler

scheduler = UniPCMultistepScheduler(
    prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
)
scheduler.set_timesteps(5)
print(diffusers.__version__, " ".join(f"{level:.4f}" for level in scheduler.sigmas))
PY
"${PYTHON:-python3}" -m venv "$folder/venv"
python=$folder/venv/bin/python
for version in 0.35.2 0.42.1; do
  "$python" -m pip install --quiet "diffusers==$version" torch==2.13.0 scipy 'transformers<5' 'huggingface-hub<2'
  "$python" "$folder/levels.py" 2>/dev/null | tee -a "$folder/found"
done
read -r _ old < <(sed -n 1p "$folder/found")
read -r _ new < <(sed -n 2p "$folder/found")
[ -n "$new" ] && [ "$old" != "$new" ] || { echo "this has changed" >&2; exit 1; }
