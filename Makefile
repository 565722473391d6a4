# make demo   set up, then label the emotions in the clip in samples/
# make demo-web   set up, then open the same in a page of the browser
# make test   set up, then run the tests
# make test-fast   the same without the tests that train or export a network
# make test-browser   set up, then click through that page in Chromium
# make test-all   both of these in one go, as CI runs them
# make test-thorough   set up, then all of make test-all and, with every design, what repeats it: before a release
# make test-documents   set up, then run every command of the documents, twenty minutes
# make docs   set up, then build the documentation into site/
# make lint   check style
# make test-reference   set up PyTorch and transformers, then hold the encoders against theirs at full size
# make audit   look up the locked releases in the list of known vulnerabilities; needs a network
# make lock   choose the releases, and write their hashes into requirements.lock
# make release   set up, then build the wheel and the source archive into dist/, list what they are made of, and check
#     the files that describe them to other programs; needs a network
# make fuzz N=1000 SEED=1   set up, then damage files at random and ask for an answer or one clear line
# make flood SECONDS=120   set up, then flood the web page with requests while one user labels clips
# make load MINUTES=3   set up, then ask the service for good and bad things by eight clients, and check its answers
# make crash N=100 SEED=1   set up, then kill the program at random moments, go on, and compare
# Needs Python 3.11, 3.12 or 3.13. Another interpreter: make demo PYTHON=/path/to/python3.12

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
# Of all that lies in the packages little is imported, and Python compiles that when it is.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
TEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo demo-web docs test test-fast test-all test-thorough test-browser test-documents test-reference fuzz crash flood load audit lock release lint format setup chromium clean

demo: $(VENV)/ready
	$(BIN)/python run_inference.py --video_path samples/astronaut.mp4 --overwrite

demo-web: $(VENV)/ready-web
	$(BIN)/python -m emotion.web_demo --open

setup: $(VENV)/ready

test: $(VENV)/ready-dev
	$(TEST)

test-fast: $(VENV)/ready-dev
	$(TEST) -m "not trains"

test-all: $(VENV)/ready-dev chromium
	$(TEST) --override-ini "norecursedirs=.* reference documents"

test-thorough: $(VENV)/ready-dev chromium
	$(TEST) --thorough --override-ini "norecursedirs=.* reference"

test-browser: $(VENV)/ready-dev chromium
	$(BIN)/python -m pytest tests/browser

# The browser is the system's own: Playwright's download of one is not needed.
chromium:
	@command -v chromium >/dev/null || { echo "Chromium is needed. On Debian: sudo apt install chromium"; exit 2; }

test-documents: $(VENV)/ready-dev
	$(BIN)/python -m pytest tests/documents

docs: $(VENV)/ready-docs
	$(BIN)/python docs/make_reference.py
	$(BIN)/python -m mkdocs build --strict --quiet

test-reference: $(VENV)/ready-reference
	$(BIN)/python -m pytest tests/reference

N ?= 100
SEED ?= 1
SECONDS ?= 120
MINUTES ?= 3

fuzz: $(VENV)/ready-dev
	$(BIN)/python tests/fuzz/fuzz.py --n $(N) --seed $(SEED)

crash: $(VENV)/ready-dev
	$(BIN)/python tests/fuzz/crash.py --n $(N) --seed $(SEED)

load: $(VENV)/ready-dev
	$(BIN)/python tests/load/load.py --minutes $(MINUTES) --seed $(SEED)

flood: $(VENV)/ready-dev chromium
	$(BIN)/python tests/fuzz/flood.py --seconds $(SECONDS) --seed $(SEED)

# --strict: a release that cannot be looked up is a failure, too.
audit: $(VENV)/ready-audit
	$(BIN)/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r requirements.lock

# For Python 3.11 to 3.13; no address of a package index is written. Left alone, uv takes an older TensorFlow than pip.
lock: $(VENV)/ready-audit
	echo "tensorboard>=2.21" | $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
		--generate-hashes --no-annotate --no-emit-index-url --custom-compile-command "make lock" --constraints - \
		requirements.txt requirements-web.txt -o requirements.lock

release: $(VENV)/ready-audit
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python release/make_sbom.py dist/sbom.cdx.json
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	$(BIN)/python -c "import rattler_build as r; print(*r.Stage0Recipe.from_file('conda/recipe.yaml').render(r.VariantConfig()))"

lint: $(VENV)/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy

format: $(VENV)/ready-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/ready: requirements.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed and none was found. Install one, or name it:" \
		"make demo PYTHON=/path/to/python3.12"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "This Python cannot make virtual environments." \
		"On Debian and Ubuntu: sudo apt install python3-venv"; exit 2; }
	$(INSTALL) -r requirements.txt
	touch $@

$(VENV)/ready-web: $(VENV)/ready requirements-web.txt
	$(INSTALL) -r requirements-web.txt
	touch $@

$(VENV)/ready-docs: $(VENV)/ready requirements-docs.txt
	$(INSTALL) -r requirements-docs.txt
	touch $@

$(VENV)/ready-dev: $(VENV)/ready requirements-dev.txt
	$(INSTALL) -r requirements-dev.txt
	touch $@

$(VENV)/ready-audit: $(VENV)/ready requirements-audit.txt
	$(INSTALL) -r requirements-audit.txt
	touch $@

$(VENV)/ready-reference: $(VENV)/ready-dev requirements-reference.txt
	$(INSTALL) -r requirements-reference.txt
	touch $@

clean:
	rm -rf $(VENV) site dist .cache .pytest_cache .ruff_cache .hypothesis
