#!/usr/bin/env bash
# A TPU slice as virtual machines, by way of queued resources.
#
#   launch/tpu_vm.sh create  --name NAME --zone ZONE --type TYPE [--slices N] [--spot]
#                            [--runtime VERSION]
#   launch/tpu_vm.sh status  --name NAME --zone ZONE
#   launch/tpu_vm.sh install --name NAME --zone ZONE [--slices N]
#   launch/tpu_vm.sh train   --name NAME --zone ZONE [--slices N] --config configs/C.py
#                            --workdir DIR [-- --config.FIELD=VALUE ...]
#   launch/tpu_vm.sh logs    --name NAME --zone ZONE [--slices N]
#   launch/tpu_vm.sh stop    --name NAME --zone ZONE [--slices N]
#   launch/tpu_vm.sh delete  --name NAME --zone ZONE
#
# TYPE is an accelerator type such as v5p-64 or v6e-256. Everywhere: --project PROJECT (default: that
# of gcloud), and --dry-run, which prints the commands and runs none. DIR is gs://BUCKET/PATH, which
# the service account of the hosts may write, or a folder that is mounted on every host.
set -euo pipefail
cd "$(dirname "$0")/.."
. launch/common.sh
buckets=1

action=${1:-}
name='' zone='' project='' type='' slices=1 spot=0 runtime=''
case $action in
  create) values='type slices runtime' flags='spot' needs='type' ;;
  train) values='slices config workdir' flags='' needs='' ;;
  install | logs | stop) values='slices' flags='' needs='' ;;
  status | delete) values='' flags='' needs='' ;;
  --help | -h) usage && exit 0 ;;
  '') die 'say what to do: create, status, install, train, logs, stop or delete' ;;
  *) die "unknown action $action" ;;
esac
shift
parse_options "name zone project $values" "$flags" "$@"
# shellcheck disable=SC2086  # a list of words
require name zone $needs
whole slices
[[ $action == train || ${#EXTRA[@]} == 0 ]] || die "only train takes arguments after --"

place=(--zone "$zone")
[[ -z $project ]] || place+=(--project "$project")
# Several slices are nodes of one request, called NAME-0, NAME-1, ...
nodes=("$name")
if ((slices > 1)); then
  nodes=()
  for ((i = 0; i < slices; i++)); do nodes+=("$name-$i"); done
fi

on_all_hosts() {
  local node
  for node in "${nodes[@]}"; do
    run gcloud compute tpus tpu-vm ssh "$node" "${place[@]}" --worker=all --command "$1"
  done
}

# The software of the machine: https://cloud.google.com/tpu/docs/runtimes
runtime_of() {
  case $1 in
    v6e-*) echo v2-alpha-tpuv6e ;;
    v5p-*) echo v2-alpha-tpuv5 ;;
    v5litepod-*) echo v2-alpha-tpuv5-lite ;;
    v4-*) echo tpu-ubuntu2204-base ;;
    *) die "--type $1: not a v4-, v5litepod-, v5p- or v6e- type; give --runtime too" ;;
  esac
}

case $action in
  create)
    [[ -n $runtime ]] || runtime=$(runtime_of "$type")
    request=(--accelerator-type "$type" --runtime-version "$runtime")
    if ((slices > 1)); then
      request+=(--node-count "$slices" --node-prefix "$name")
    else
      request+=(--node-id "$name")
    fi
    ((spot == 0)) || request+=(--spot)
    run gcloud compute tpus queued-resources create "$name" "${place[@]}" "${request[@]}"
    ;;
  status)
    run gcloud compute tpus queued-resources describe "$name" "${place[@]}"
    ;;
  install)
    # What is committed, and nothing else. The machines' own Python is older than we need.
    archive=${TMPDIR:-/tmp}/alchemint_jax.tar.gz
    run git archive --format=tar.gz --output="$archive" HEAD
    for node in "${nodes[@]}"; do
      run gcloud compute tpus tpu-vm scp "$archive" "$node:" "${place[@]}" --worker=all
    done
    on_all_hosts "rm -rf alchemint_jax && mkdir alchemint_jax \
&& tar -xzf alchemint_jax.tar.gz -C alchemint_jax && cd alchemint_jax \
&& pip3 install --user --quiet uv && python3 -m uv venv --quiet --python 3.12 .venv \
&& python3 -m uv pip install --quiet --python .venv/bin/python '.[tpu,cloud]'"
    ;;
  train)
    train_command --distributed auto
    # It goes on when this connection ends.
    on_all_hosts "cd alchemint_jax && . .venv/bin/activate \
&& export ALCHEMINT_CACHE=$workdir/jax_cache && . launch/env_tpu.sh \
&& { nohup $(quoted "${TRAIN[@]}") > train.log 2>&1 < /dev/null & echo \$! > train.pid; }"
    ;;
  logs)
    run gcloud compute tpus tpu-vm ssh "${nodes[0]}" "${place[@]}" --worker=0 \
      --command 'tail -n 100 -f alchemint_jax/train.log'
    ;;
  stop)
    # shellcheck disable=SC2016  # expanded over there
    on_all_hosts 'kill -TERM "$(cat alchemint_jax/train.pid)"'
    ;;
  delete)
    run gcloud compute tpus queued-resources delete "$name" "${place[@]}" --force --quiet
    ;;
esac
