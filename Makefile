# make demo     sets up everything, makes a small spoken corpus, trains, scores, transcribes a clip
# make test     sets up everything and runs the tests; TORCH=newest: with the newest torch
# make quick    the tests that are not marked slow, and some cases of those that have many
# make test-browser   installs Chromium from the system's packages, and tests the pages in it
# make fuzz     tests of damaged input, with 10,000 cases each
# make lint     style, form and types of the code
# make wheel    a package to install, in dist/

PYTHON ?= python3
TORCH  ?=
VENV   := .venv$(if $(TORCH),-$(TORCH))
READY  := $(VENV)/ready
BIN    := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
RUN    := $(BIN)/python
COMPILED := acoustic.gru_steps acoustic.normalise_steps decoding.beam_compiled decoding.viterbi
AS_ROOT = $(if $(filter 0,$(shell id -u)),,sudo)
NEEDED := $(if $(TORCH),$(VENV)/)requirements.txt

ifneq ($(filter-out newest,$(TORCH)),)
$(error TORCH=$(TORCH): only TORCH=newest is known)
endif

.PHONY: setup demo test quick test-browser fuzz lint wheel clean

setup: $(READY)

$(READY): requirements.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
ifeq ($(TORCH),newest)
	sed -e '/^torchaudio/d' -e 's/^torch==.*/torch/' requirements.txt > $(NEEDED)
endif
	$(RUN) -m pip install --quiet --disable-pip-version-check -r $(NEEDED) -r requirements-dev.txt
	$(RUN) -c "$(addprefix import asr_ctc.,$(addsuffix ;,$(COMPILED)))"  # compiles them
	$(RUN) -c "from asr_ctc.acoustic import bfloat16_product as b; b.is_supported() and __import__('asr_ctc.acoustic.gru_loops')"
	touch $(READY)

demo: $(READY)
	PATH="$(CURDIR)/$(BIN):$$PATH" tools/demo.sh

test: $(READY)
	$(RUN) -m pytest -n auto --dist worksteal

quick: $(READY)
	$(RUN) -m pytest -n auto --dist worksteal -m "not slow"

test-browser: $(READY)
	command -v chromium || command -v chromium-browser || command -v google-chrome || \
	    { $(AS_ROOT) apt-get update && $(AS_ROOT) apt-get install --yes --no-install-recommends chromium; }
	$(RUN) -m pytest tests/inspection/test_browser.py tests/check/test_page.py tests/scoring/test_page.py -rs

fuzz: $(READY)
	ASR_CTC_FUZZ=10000 $(RUN) -m pytest -n auto -m fuzz

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy asr_ctc

wheel: $(READY)
	$(RUN) -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf .venv .venv-newest build dist
