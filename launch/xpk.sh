#!/usr/bin/env bash
# A training job on TPU slices of a GKE cluster, by way of XPK.
#
#   launch/xpk.sh --cluster CLUSTER --zone ZONE --type TYPE --name NAME --image IMAGE
#                 --config configs/C.py --workdir DIR [--project PROJECT] [--slices N]
#                 [--storage NAME] [--max-restarts N] [--priority LEVEL] [--dry-run]
#                 [-- --config.FIELD=VALUE ...]
#
# TYPE is an accelerator type such as v5p-64 or v6e-256; IMAGE was built from launch/Dockerfile.tpu
# and pushed; DIR is gs://BUCKET/PATH, which the service account of the pods may write, or lies in a
# storage that the cluster mounts (--storage, or mounted for all jobs).
# --dry-run prints the command and runs nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
. launch/common.sh
buckets=1

cluster='' zone='' type='' name='' image='' project='' storage='' priority=''
slices=1 max_restarts=50
values='cluster zone type name image config workdir project slices storage max-restarts priority'
parse_options "$values" '' "$@"
require cluster zone type name image
[[ $type =~ ^(v4|v5litepod|v5p|v6e|tpu7x)-[0-9x]+$ ]] || die "--type $type: not a TPU type such as v5p-64"
whole slices
whole max_restarts
case $priority in
  '' | very-low | low | medium | high | very-high) ;;
  *) die "--priority $priority: use very-low, low, medium, high or very-high" ;;
esac

# exec: the signal that ends a pod is to reach the program.
train_command --distributed auto
inside="cd /opt/alchemint && export ALCHEMINT_CACHE=$workdir/jax_cache \
&& . launch/env_tpu.sh && exec $(quoted "${TRAIN[@]}")"

job=(--cluster "$cluster" --zone "$zone" --workload "$name" --tpu-type "$type"
  --num-slices "$slices" --docker-image "$image" --max-restarts "$max_restarts")
[[ -z $project ]] || job+=(--project "$project")
[[ -z $storage ]] || job+=(--storage "$storage")
[[ -z $priority ]] || job+=(--priority "$priority")
run xpk workload create "${job[@]}" --command "$inside"
