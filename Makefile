# make demo   sets up everything, makes a small spoken corpus, trains, scores, transcribes a clip
# make test   sets up everything and runs the tests

PYTHON ?= python3
VENV   := .venv
READY  := $(VENV)/ready
RUN    := $(VENV)/bin/python

.PHONY: setup demo test clean

setup: $(READY)

$(READY): requirements.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-dev.txt
	$(RUN) -c "import asr_ctc.decoding.beam_compiled"  # compiles it
	touch $(READY)

demo: $(READY)
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" tools/demo.sh

test: $(READY)
	$(RUN) -m pytest -n auto --dist loadfile

clean:
	rm -rf $(VENV)
