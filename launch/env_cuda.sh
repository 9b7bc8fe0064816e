# shellcheck shell=bash
# Settings of a training job on NVIDIA GPUs; sourced on every host, before `alchemint train`.
#
# A flag that XLA does not know ends the process at once: tests/test_launch.py starts with these.
# They were compared on programs that jaxlib 0.10.2 compiled for 8 H100s from a training step that
# scans over layers with split weights; no such machine was there to time them on.

# Compiled programs, and the kernels that XLA chose by timing them, kept between runs. Only the first
# process writes the programs, so that a host can only find them again where all hosts share the
# folder: launch/*.sh give one beside the checkpoints.
# https://docs.jax.dev/en/latest/persistent_compilation_cache.html
export JAX_COMPILATION_CACHE_DIR=${ALCHEMINT_CACHE:-${HOME:-/tmp}/.cache/alchemint_jax}

# Where the GPU or its driver does not answer, fail. Without this JAX warns and goes on, on the CPU.
# "cpu" stays in the list since data and checkpoints pass through host arrays.
# https://docs.jax.dev/en/latest/config_options.html
export JAX_PLATFORMS=cuda,cpu

# JAX takes this share of the memory at its start (0.75 by default). What is left is for NCCL and the
# CUDA context, which allocate for themselves; NVIDIA advises 0.8 to 0.9.
# https://docs.jax.dev/en/latest/gpu_memory_allocation.html
export XLA_PYTHON_CLIENT_MEM_FRACTION=${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.9}

# pipelined_all_gather: in the loop over layers the weights of the next layer are gathered while this
# one is computed; otherwise each layer waits for its weights.
# while_loop_double_buffering: two layers in one pass of that loop, so that what is gathered for the
# next need not be copied before it is used.
# Both change the compiled program: it has more and earlier all-gathers, and hardly a higher peak.
# https://docs.nvidia.com/jax-toolbox/performance-profiling/gpu-performance
export XLA_FLAGS="--xla_gpu_enable_pipelined_all_gather=true\
 --xla_gpu_enable_while_loop_double_buffering=true${XLA_FLAGS:+ $XLA_FLAGS}"

# Left out, since the program was the same with it, without it, and by default:
# --xla_gpu_enable_latency_hiding_scheduler. Left out, since the peak was clearly higher with it:
# --xla_gpu_enable_pipelined_all_reduce.
