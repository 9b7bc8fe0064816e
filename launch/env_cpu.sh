# shellcheck shell=sh
# Settings of long work on CPUs under Linux; sourced before `alchemint train`, `evaluate` or `bench`.
#
# XLA takes buffers of a gigabyte at every step and gives them back after it. The C library returns
# them to the kernel, which clears them page by page when they are taken again: a third of the time of
# a training step of configs/sprites.py, or more. With these settings they are kept, in huge pages.
# Nothing that is computed changes; docs/results has `alchemint bench` with and without.

# jemalloc, where it is installed (Debian and Ubuntu: libjemalloc2), keeps the most;
# ALCHEMINT_ALLOCATOR=glibc does without it. Half a minute is longer than a step of the sprites model,
# and what a process is done with goes back: kept for ever, the trainings of one process add up.
# Without a threshold of 0 this holds for small buffers alone: those of 8 MiB or more would go back at
# once, whatever the decay. https://jemalloc.net/jemalloc.3.html#opt.dirty_decay_ms
_jemalloc=
for _library in /usr/lib/*/libjemalloc.so.2 /usr/lib64/libjemalloc.so.2; do
  if [ -f "$_library" ]; then _jemalloc=$_library; fi
done
if [ -n "$_jemalloc" ] && [ "${ALCHEMINT_ALLOCATOR:-jemalloc}" = jemalloc ]; then
  export LD_PRELOAD="$_jemalloc${LD_PRELOAD:+:$LD_PRELOAD}"
  MALLOC_CONF=dirty_decay_ms:30000,muzzy_decay_ms:-1,oversize_threshold:0
  export MALLOC_CONF="$MALLOC_CONF,thp:always,metadata_thp:always"
else
  # glibc 2.35 and later; others ignore it. It keeps what small programs keep for themselves, too.
  # https://sourceware.org/glibc/manual/latest/html_node/Memory-Allocation-Tunables.html
  GLIBC_TUNABLES=${GLIBC_TUNABLES:+$GLIBC_TUNABLES:}glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0
  export GLIBC_TUNABLES="$GLIBC_TUNABLES:glibc.malloc.trim_threshold=100000000000"
fi
