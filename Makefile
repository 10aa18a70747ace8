# Two commands do everything: `make export` and `make test`. Both set up what they need in .venv.

PYTHON ?= python3
VENV ?= .venv
OUT ?= build
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: export test lint clean

export: $(VENV)/.export
	$(BIN)/lawder-edge export --model order --target all --precision all --out $(OUT)/order --report --overwrite
	$(BIN)/lawder-edge verify $(OUT)/order --all

test: $(VENV)/.test
	$(BIN)/python -m pytest

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/.venv:
	$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 2; }
	touch $@

$(VENV)/.export: $(VENV)/.venv pyproject.toml constraints.txt
	$(PIP) --editable '.[train,onnx,openvino,tflite]'
	touch $@

$(VENV)/.test: $(VENV)/.export
	$(PIP) --editable '.[train,synth,onnx,openvino,tflite,test]'
	$(PIP) --no-deps tflite-micro==0.dev20261023182759
	touch $@

$(VENV)/.lint: $(VENV)/.test
	$(PIP) --editable '.[train,synth,onnx,openvino,tflite,test,lint]'
	touch $@

clean:
	rm -rf $(VENV) $(OUT)
