#!/usr/bin/env bash
# Parity, benchmark and demo on a machine with an NVIDIA GPU, from a program that `cargo xtask cuda` packed elsewhere: in one command,
# within ten minutes, without Rust and without a network. Needs python3 with NumPy; for the benchmark also PyTorch, transformers and
# Pillow.
#
#   tests/gpu/run.sh blip2-cuda.tar.xz [OUT]     everything; a report in OUT (default: gpu-report)
#   tests/gpu/run.sh --dry blip2-cuda.tar.xz     the same steps on the processor, at a hundredth of the work: is all in place?
#
# BLIP2_HOME, where it is set, is a cache folder with the demo's assets (`cargo xtask assets`); without them the demo is left out, which
# is said. PYTHON names the interpreter.
set -uo pipefail

dry=false
if [ "${1:-}" = --dry ]; then
    dry=true
    shift
fi
packed=${1:?"usage: tests/gpu/run.sh [--dry] blip2-cuda.tar.xz [OUT]"}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
out=$(mkdir -p "${2:-gpu-report}" && cd "${2:-gpu-report}" && pwd)
python=$(command -v "${PYTHON:-python3}")
programs=$out/programs
home=${BLIP2_HOME:-$out/home}
device=cuda
if $dry; then device=flex; fi
failed=0

# Runs a step for at most so many seconds, keeps what it says, and goes on whatever comes of it.
step() {
    local name=$1 limit=$2 start=$SECONDS
    shift 2
    echo "== $name"
    timeout "$limit" "$@" 2>&1 | tee "$out/$name.txt"
    local code=${PIPESTATUS[0]}
    if [ "$code" -ne 0 ]; then failed=$((failed + 1)); fi
    echo "== $name: exit code $code after $((SECONDS - start)) s"
}

unpack() {
    mkdir -p "$programs" && tar --extract --xz --file "$packed" --directory "$programs" && ls -l "$programs"
}

# The program says whether it found a GPU. Without the demo's assets it also says that those are missing.
doctor() {
    local said
    said=$("$programs/blip2" doctor --device "$device")
    echo "$said"
    grep -q '^ok *device' <<<"$said"
}

parity() {
    "$python" "$root/tests/gpu/check.py" "$programs/blip2" "$device"
}

# What both sides read, made here: a picture, BERT's words, a model of the size of OPT-2.7B with random weights (7.5 GB).
peer_files() {
    mkdir -p "$home/peer" "$home/assets/bert"
    if [ ! -e "$home/assets/bert/vocab.txt" ]; then
        "$python" "$root/tests/gpu/words.py" "$root/benches/captions.txt" "$home/assets/bert/vocab.txt"
    fi
    "$python" "$root/benches/peer/make_picture.py" || return
    if ! $dry; then "$python" "$root/benches/peer/make_opt_2_7b.py"; fi
}

bench() {
    local rows=()
    if $dry; then rows=(ops/gelu-bert-base); fi
    "$programs/xtask" bench "${rows[@]}" --device "$device" --programs "$programs" --python "$python" --home "$home"
}

table() {
    "$programs/xtask" bench --markdown --home "$home"
}

demo() {
    if [ ! -e "$home/assets/smollm2" ]; then
        echo "SKIPPED: the demo's assets (0.4 GB) are not in $home: name a cache folder that has them by BLIP2_HOME"
        return
    fi
    local less=()
    if $dry; then less=(--set stage1.steps=2 --set stage2.steps=2 --set data.training_scenes=64 --set ablation=false); fi
    cd "$root" && "$programs/blip2" pretrain --recipe recipes/mini/demo.toml --run "$out/demo" --device "$device" "${less[@]}"
}

# Libraries that come with PyTorch, in place of a CUDA toolkit: cuBLASLt for products.
libraries() {
    "$python" -c 'import nvidia, pathlib; print(*{file.parent for root in nvidia.__path__ for file in pathlib.Path(root).glob("**/lib*.so*")}, sep=":")' \
        2>/dev/null
}

# The one file of a CUDA toolkit that compiled kernels need, out of Triton where there is no toolkit.
toolkit() {
    local file
    if [ -n "${CUDA_PATH:-}" ] || [ -d /usr/local/cuda/nvvm ]; then return; fi
    file=$("$python" -c 'import pathlib, triton; print(next(pathlib.Path(triton.__path__[0]).glob("**/libdevice.10.bc")))' 2>/dev/null)
    if [ -n "$file" ]; then
        mkdir -p "$out/toolkit/nvvm/libdevice" && cp "$file" "$out/toolkit/nvvm/libdevice/" && export CUDA_PATH=$out/toolkit
    fi
}

export BLIP2_HOME=$home BLIP2_ROOT=$root
if ! $dry; then
    toolkit
    export BLIP2_PEER_DEVICE=cuda LD_LIBRARY_PATH=$(libraries):${LD_LIBRARY_PATH:-}
fi
export -f unpack doctor parity peer_files bench table demo
export programs packed device python root home out dry
if ! $dry; then step card 20 nvidia-smi; fi
step unpack 60 bash -c unpack
step doctor 60 bash -c doctor
step parity 180 bash -c parity
step peer-files 120 bash -c peer_files
step bench 400 bash -c bench
step table 20 bash -c table
step demo 240 bash -c demo
echo "$failed steps failed; what they said is in $out"
[ "$failed" -eq 0 ]
