#!/usr/bin/env bash
# What `make demo` runs: a small spoken corpus is made, a model trained on it, scored, and used.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() { say "\$ $*"; "$@"; }

corpus=data/demo-1.0/fr
run python tools/make_demo_corpus.py --out data
run python main_ctc.py train --config configs/demo.yaml --datasetroot data --datasetversion demo-1.0
run python main_ctc.py test --datasetroot data --datasetversion demo-1.0 --split test
clip=$(sed -n 2p $corpus/test.tsv | cut -f2)
say "The clip says: $(sed -n 2p $corpus/test.tsv | cut -f4)"
run python main_ctc.py test --audiofile "$corpus/clips/$clip" --beamsearch
