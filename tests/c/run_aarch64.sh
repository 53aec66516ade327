#!/usr/bin/env bash
# Runs the C tests for aarch64 in an emulator, on a machine of any other kind, and checks that they
# print the same bytes as on this machine. For Debian and Ubuntu:
#
#     apt install qemu-user gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross
#     tests/c/run_aarch64.sh [GAME ...]
#
# GAME is a header; without one, all of ocean/ and some of tests/game_headers/ are played.
# CC and CROSS_CC select the compilers, EMULATOR the program that runs aarch64 programs.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
read -ra here <<<"${CC:-cc}"
read -ra cross <<<"${CROSS_CC:-aarch64-linux-gnu-gcc}"
read -ra emulator <<<"${EMULATOR:-qemu-aarch64}"
for program in "${here[0]}" "${cross[0]}" "${emulator[0]}"; do
    command -v "$program" >/dev/null || { echo "there is no $program; see $0" >&2; exit 1; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

flags=(-std=c17 -O2 -ffp-contract=off -fno-math-errno -I. -DPUF_DEBUG -pthread -static -Wno-psabi)
engine=(pufferenv/engine/*.c pufferenv/external/*.c)

# compare NAME INPUT SOURCE... -- ARGUMENT...: build and run for both, and compare the output.
compare() {
    local name=$1 input=$2 sources=()
    shift 2
    while [ "$1" != -- ]; do sources+=("$1") && shift; done
    shift
    "${here[@]}" "${flags[@]}" "${sources[@]}" -lm -o "$work/here"
    "${cross[@]}" "${flags[@]}" "${sources[@]}" -lm -o "$work/there"
    "$work/here" "$@" <"$input" >"$work/here.out"
    "${emulator[@]}" "$work/there" "$@" <"$input" >"$work/there.out"
    cmp "$work/here.out" "$work/there.out"
    echo "$name: the same on both"
}

compare worker_channel /dev/null tests/c/worker_channel.c pufferenv/external/worker_channel.c --

# More numbers than the kernels read: rows, horizon and units are 3, 4 and 23.
python3 -c 'import array, random, sys
random.seed(1)
array.array("f", (random.uniform(-2, 2) for _ in range(20000))).tofile(sys.stdout.buffer)
' >"$work/numbers"
compare recurrent_kernels "$work/numbers" -DPUF_LANES=4 tests/c/recurrent.c -- 3 4 23

python3 -c 'import sys, zlib
sys.stdout.buffer.write(zlib.decompress(open("pufferenv/drawing/font.bin", "rb").read()))
' >"$work/font"
compare rasterizer "$work/font" tests/c/raster.c pufferenv/drawing/*.c -- 1000 1

games=("$@")
if [ ${#games[@]} = 0 ]; then
    games=(ocean/*.h tests/game_headers/{script,continuous,multihead,masked,endless,loaded}.h)
fi
for game in "${games[@]}"; do
    compare "$game" /dev/null "-DPUF_GAME=\"$game\"" tests/c/fuzz.c pufferenv/contract/game.c \
        "${engine[@]}" -- 150
    grep -q '^#define PUF_VIEW' "$game" || continue
    compare "$game, drawn" /dev/null "-DPUF_GAME=\"$game\"" tests/c/draw.c \
        tests/c/drawing_object.c pufferenv/contract/game.c pufferenv/drawing/*.c "${engine[@]}" -- 10
done
