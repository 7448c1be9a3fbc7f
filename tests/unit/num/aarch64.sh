#!/bin/sh
# Compiles the CPU kernels and their tests for 64-bit ARM and, where an emulator is there, runs them:
#     aarch64.sh SOURCE_DIR WORK_DIR
# Exit status 77 (skipped) where no cross compiler is installed.
set -eu
source=$1
work=$2/aarch64
compiler=aarch64-linux-gnu-gcc
if ! command -v $compiler >/dev/null; then
    echo "skipped: no aarch64-linux-gnu-gcc (Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross)"
    exit 77
fi
mkdir -p "$work"
cd "$source"
flags="-std=gnu11 -D_GNU_SOURCE -fno-strict-aliasing -O3 -fno-math-errno -fno-trapping-math -Wall -Wextra -Werror
       -Wno-missing-field-initializers -Icore/include -Iplugins -Itests -I. -DSHARED_DIR=\"shared\" -DTESTS_DIR=\"tests\""
kernels="plugins/num/cpu/kernels.c plugins/num/cpu/kernels_sse2.c plugins/num/cpu/linear.c plugins/num/cpu/arena.c"
for test in kernels linear; do
    # shellcheck disable=SC2086
    $compiler $flags -static tests/unit/num/$test.c $kernels plugins/num/pool.c plugins/num/err.c -lpthread -lm \
        -o "$work/test_$test"
done
if ! command -v qemu-aarch64-static >/dev/null; then
    echo "compiled; not run: no qemu-aarch64-static (Debian: qemu-user-static)"
    exit 0
fi
qemu-aarch64-static "$work/test_kernels" # those of layers take minutes
