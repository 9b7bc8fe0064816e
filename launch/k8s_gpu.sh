#!/usr/bin/env bash
# A training job on GPU nodes of a Kubernetes cluster (GKE or another); one pod for each node.
#
#   launch/k8s_gpu.sh --nodes N --name NAME --image IMAGE --claim CLAIM --config configs/C.py
#                     --workdir DIR [--gpus N] [--dry-run] [-- --config.FIELD=VALUE ...]
#
# --gpus are those of a node (default 8); IMAGE was built from launch/Dockerfile.cuda13 and pushed;
# CLAIM is a PersistentVolumeClaim that many nodes can write (ReadWriteMany), mounted at /mnt/runs,
# and DIR lies in it. --dry-run prints the manifest and the command, and runs nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
. launch/common.sh

nodes='' name='' image='' claim='' gpus=8
parse_options 'nodes name image claim config workdir gpus' '' "$@"
require nodes name image claim
whole nodes
whole gpus
[[ $name =~ ^[a-z]([-a-z0-9]*[a-z0-9])?$ ]] || die "--name $name: use small letters, digits and -"
[[ $image$claim != *[[:space:]\"]* ]] || die "--image and --claim must not have spaces or quotes"
[[ $workdir == /mnt/runs/* ]] || die "--workdir $workdir: give a path in /mnt/runs"

# Pod 0 has the name NAME-0.NAME by the service. exec: the signal that ends a pod is to reach the
# program, which saves, and ends with a status at which the job starts the pod again.
train_command --coordinator "$name-0.$name:8476" --processes "$nodes"
inside="export ALCHEMINT_CACHE=$workdir/jax_cache && . launch/env_cuda.sh \
&& exec $(quoted "${TRAIN[@]}") --process \"\$JOB_COMPLETION_INDEX\""

manifest=$(
  cat << END
apiVersion: v1
kind: Service
metadata: {name: $name}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector: {job-name: $name}
---
apiVersion: batch/v1
kind: Job
metadata: {name: $name}
spec:
  completionMode: Indexed
  completions: $nodes
  parallelism: $nodes
  backoffLimit: 1000
  template:
    spec:
      subdomain: $name
      restartPolicy: OnFailure
      terminationGracePeriodSeconds: 600
      containers:
        - name: train
          image: "$image"
          workingDir: /opt/alchemint
          command: [bash, -c]
          args:
            - |
              $inside
          resources: {limits: {nvidia.com/gpu: $gpus}}
          volumeMounts:
            - {name: runs, mountPath: /mnt/runs}
            - {name: shm, mountPath: /dev/shm}
      volumes:
        - {name: runs, persistentVolumeClaim: {claimName: $claim}}
        - {name: shm, emptyDir: {medium: Memory}}
END
)
if [[ $dry_run == 1 ]]; then
  printf '%s\n' "$manifest"
  echo '# kubectl apply -f -'
else
  run kubectl apply -f - <<< "$manifest"
fi
