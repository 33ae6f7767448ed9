#!/bin/sh
# Everything that wants a GPU, in under eight minutes: tests, speed, determinism, failures.
#
#     benchmarks/gpu.sh OUT                 on a machine with a GPU, torch and torchaudio
#     benchmarks/gpu.sh OUT --device cpu    the dry run: the same, as small as it can be
#
# A GPU machine needs no network: tools/pack_for_gpu.py has made gpu_pack/ before, of clips and
# wheels. Each step has a time limit and needs none of the others. OUT gets a row of results.jsonl
# as soon as it is there, steps.jsonl, log.txt, machine.txt and in the end table.md. The exit status
# is 1 when a step failed or ran out of time. PYTHON names the interpreter, python3 by default.
set -u

usage() {
    echo "usage: benchmarks/gpu.sh OUT [--device cuda|cpu]" >&2
    exit 2
}

[ $# -eq 1 ] || { [ $# -eq 3 ] && [ "$2" = --device ]; } || usage
device=${3:-cuda}
[ "$device" = cuda ] || [ "$device" = cpu ] || usage
command -v timeout >/dev/null || { echo "error: timeout (coreutils) is missing" >&2; exit 2; }

mkdir -p "$1" || exit 2
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/.." || exit 2
if [ -e "$out/steps.jsonl" ]; then
    echo "error: $out holds results already: give another folder" >&2
    exit 2
fi
if [ "$device" = cuda ] && ! [ -d gpu_pack/corpora ]; then
    echo "error: gpu_pack/ is missing: run python tools/pack_for_gpu.py where there is a network" >&2
    exit 2
fi
python=${PYTHON:-python3}
scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
export XDG_CACHE_HOME="$scratch" PYTHONUNBUFFERED=1 ASR_CTC_TEST_DEVICE="$device"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
failed=0 patience=1
[ "$device" = cuda ] || patience=4  # a busy machine with two cores passes, too

# step NAME LIMIT_S COMMAND...
step() {
    name=$1 limit_s=$(($2 * patience))
    shift 2
    echo "== $name" >>"$out/log.txt"
    started=$(date +%s)
    timeout -k 5 "$limit_s" "$@" >>"$out/log.txt" 2>&1 </dev/null
    status=$?
    seconds=$(($(date +%s) - started))
    [ $status -eq 0 ] || failed=1
    echo "{\"step\": \"$name\", \"seconds\": $seconds, \"limit_s\": $limit_s, \"status\": $status}" \
        >>"$out/steps.jsonl"
    echo "$name: $seconds s, exit status $status"
}

# measure NAME LIMIT_S: benchmarks/gpu/NAME.py
measure() {
    step "$1" "$2" "$python" -m "benchmarks.gpu.$1" --device "$device" \
        --datasetroot "$corpora" --results "$out/results.jsonl"
}

if [ "$device" = cuda ]; then
    corpora=$PWD/gpu_pack/corpora
    export PYTHONPATH="$scratch/site:$PYTHONPATH"
    step wheels 10 "$python" -m pip install -q --no-index --no-deps --no-compile \
        --target "$scratch/site" gpu_pack/wheels/*.whl
else
    corpora=$scratch/corpora
    export OMP_NUM_THREADS=1
    step corpora 20 "$python" -c "
import sys
from tools.toy_corpus import make_toy_corpus
for version, lang in ('digits-1.0', 'en'), ('french-1.0', 'fr'):
    make_toy_corpus(sys.argv[1], (24, 6, 6), version, lang=lang)" "$corpora"
fi
"$python" -c "
import os, torch
from benchmarks.machine import processor_name
gpu = '$device' == 'cuda' and torch.cuda.get_device_name()
print(gpu or 'dry run, no GPU', processor_name(), f'{os.cpu_count()} cores',
      f'torch {torch.__version__}', sep=', ')" >"$out/machine.txt" 2>>"$out/log.txt"

step compilation 45 "$python" -c "import asr_ctc.acoustic.gru_steps, asr_ctc.decoding.beam_compiled, asr_ctc.decoding.viterbi"
# shellcheck disable=SC2046  # names of test files hold no spaces
step tests 70 "$python" -m pytest -q -m cuda -p no:cacheprovider -o addopts= \
    $(grep -rlF mark.cuda tests --include='test_*.py')
measure train_step 65
measure beam 35
measure resume 50
measure digits 95
measure loader 40
measure failures 20
measure compiled 45

"$python" benchmarks/gpu/table.py "$out" >"$out/table.md"
exit $failed
