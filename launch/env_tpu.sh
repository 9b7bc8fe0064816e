# shellcheck shell=bash
# Settings of a training job on TPU; sourced on every host, before `alchemint train`.
#
# A flag that libtpu does not know ends the process at once: tests/test_launch.py compiles with these.
# They were compared on programs that libtpu 0.0.42 compiled from a training step with split weights
# (v5p:2x2x2, v6e:2x4, two slices of v5e:2x2); no TPU was there to time them on.

# Compiled programs, kept between runs. Only the first process writes them, so that a host can only
# find them again where all hosts share the folder: launch/*.sh give one beside the checkpoints.
# https://docs.jax.dev/en/latest/persistent_compilation_cache.html
export JAX_COMPILATION_CACHE_DIR=${ALCHEMINT_CACHE:-${HOME:-/tmp}/.cache/alchemint_jax}

# Where the TPU does not answer, fail. Without this JAX warns and goes on, on the CPU. "cpu" stays in
# the list since data and checkpoints pass through host arrays.
# https://docs.jax.dev/en/latest/config_options.html
export JAX_PLATFORMS=tpu,cpu

# Weights are gathered in parts, while the matrix products that need them are running: with `fsdp`
# in the mesh every layer waits for its weights otherwise. It is the default of this libtpu (the
# program is the same with it, and on v5e another with =false); stated lest another libtpu lose it.
# Named in MaxText's benchmarks/xla_flags_library.py (CF_FOR_ALL_GATHER).
export LIBTPU_INIT_ARGS="--xla_tpu_enable_async_collective_fusion=true\
 --xla_tpu_enable_async_collective_fusion_fuse_all_gather=true${LIBTPU_INIT_ARGS:+ $LIBTPU_INIT_ARGS}"

# Left out, since the program was the same with them: --xla_tpu_overlap_compute_collective_tc,
# --xla_enable_async_all_gather, --xla_tpu_enable_latency_hiding_scheduler, and for several slices
# --xla_tpu_enable_data_parallel_all_reduce_opt and --xla_tpu_data_parallel_opt_different_sized_ops.
# Left out, since it changes the program but only a TPU can say whether for the better:
# --xla_tpu_scoped_vmem_limit_kib=65536 (v5p) or 98304 (v6e). Set LIBTPU_INIT_ARGS to try it.
