#!/usr/bin/env bash
# A training job on GPU nodes of a SLURM cluster; one process for each GPU.
#
#   launch/slurm.sh --nodes N --config configs/C.py --workdir DIR [--gpus N] [--venv DIR]
#                   [--name NAME] [--time LIMIT] [--partition P] [--account A] [--grace SECONDS]
#                   [--dry-run] [-- --config.FIELD=VALUE ...]
#
# --gpus are those of a node (default 8), --venv has alchemint installed (default: .venv here), and
# DIR is on storage that all nodes share. --grace seconds (default 600) before the time limit the
# run saves itself and is queued again. --dry-run prints the command and submits nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
. launch/common.sh

nodes='' gpus=8 venv=$PWD/.venv name=alchemint time=24:00:00 partition=''
account='' grace=600
parse_options 'nodes gpus config workdir venv name time partition account grace' '' "$@"
require nodes
whole nodes
whole gpus
whole grace
[[ $time =~ ^([0-9]+-)?[0-9]+(:[0-9]+){0,2}$ ]] || die "--time $time: not a time limit such as 24:00:00"
plain_path venv
train_command --distributed auto

job=(--job-name "$name" --nodes "$nodes" --time "$time")
# All GPUs of a node are seen by each of its tasks: JAX takes the one of the task's local number,
# which --gpus-per-task would hide from it.
job+=(--gpus-per-node "$gpus" --ntasks-per-node "$gpus" --exclusive --mem 0)
# TERM goes to the tasks, not to the script, which then asks to be queued again.
job+=(--signal "TERM@$grace" --requeue --open-mode append --output "$workdir/slurm-%j.log")
[[ -z $partition ]] || job+=(--partition "$partition")
[[ -z $account ]] || job+=(--account "$account")
run mkdir -p "$workdir"
run sbatch "${job[@]}" --export "ALL,ALCHEMINT_VENV=$venv,ALCHEMINT_CACHE=$workdir/jax_cache" \
  launch/slurm.sbatch "${TRAIN[@]}"
