# Everything happens in .venv; nothing outside this folder is touched.
# Another interpreter: make demo PYTHON=python3.12
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

# MediaPipe's pins (protobuf below 5) cannot live beside those of the project: it has .venv-sign. Of its
# 990 MB of dependencies seven packages suffice, hence --no-deps. Another wheel of it, such as a file:
# make setup-sign MEDIAPIPE=wheels/mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl
MEDIAPIPE ?= mediapipe==0.10.21
SIGN_PYTHON ?= $(PYTHON)
SIGN_VENV := .venv-sign
SIGN_STAMP := $(SIGN_VENV)/.ready

.PHONY: demo test setup setup-sign lint format clean

demo: $(STAMP)
	$(BIN)/prunegym demo

test: $(STAMP) lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"prunegym needs Python 3.11 or newer; {sys.executable} is {v[0]}.{v[1]}. Say which one to use: make setup PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

setup-sign: $(SIGN_STAMP)

$(SIGN_STAMP): constraints-sign.txt
	$(SIGN_PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 13) else f"MediaPipe 0.10.21 and its pins need Python 3.11 or 3.12; {sys.executable} is {v[0]}.{v[1]}. Say which one to use: make setup-sign SIGN_PYTHON=python3.12")'
	$(SIGN_PYTHON) -m venv --clear $(SIGN_VENV)
	$(SIGN_VENV)/bin/pip install --quiet --disable-pip-version-check --constraint constraints-sign.txt numpy protobuf absl-py flatbuffers attrs matplotlib opencv-python-headless
	$(SIGN_VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps $(MEDIAPIPE)
	$(SIGN_VENV)/bin/python -c 'import mediapipe, cv2; mediapipe.solutions.holistic'
	touch $(SIGN_STAMP)

clean:
	rm -rf $(VENV) $(SIGN_VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
