# `make export`, `make test` and `make firmware` set up what they need in .venv; firmware also installs Debian packages.

PYTHON ?= python3
VENV ?= .venv
OUT ?= build
# What boards still ship: its own environment, since it needs numpy 1, and on Linux alone up to Python 3.11.
DEVICE ?= .venv-device
# What builds TensorRT engines without a GPU (96 MB to fetch): $(VENV) and this, since other tests want it missing there.
RTX ?= .venv-rtx
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: export test lint firmware clean

export: $(VENV)/.export
	$(BIN)/lawder-edge export --model order --target all --precision all --out $(OUT)/order --report --overwrite
	$(BIN)/lawder-edge verify $(OUT)/order --all

test: $(VENV)/.test $(DEVICE)/.device $(RTX)/.rtx
	$(BIN)/python -m pytest
	if [ -f $(RTX)/.rtx ]; then $(RTX)/bin/python -m pytest -rs tests/targets/test_tensorrt_target.py::TestRtx; fi

firmware: $(VENV)/.export
	sh firmware_examples/install.sh
	$(MAKE) -C firmware_examples run PYTHON=$(abspath $(BIN)/python) OUT=$(abspath $(OUT))/firmware

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
	$(PIP) --editable '.[train,synth-sd,onnx,openvino,tflite,test]'
	$(PIP) --no-deps tflite-micro==0.dev20261023182759
	touch $@

$(DEVICE)/.device: Makefile
	@mkdir -p $(DEVICE)
	if $(PYTHON) -c 'import sys; sys.exit(sys.platform != "linux" or sys.version_info >= (3, 12))'; then \
	    $(PYTHON) -m venv $(DEVICE) && $(DEVICE)/bin/python -m pip --disable-pip-version-check install --quiet \
	        tflite-runtime==2.14.0 numpy==1.26.4 pillow==13.0.0; \
	else echo "no tflite-runtime for this Python: its tests skip"; fi
	touch $@

# NVIDIA gives wheels for some platforms. Nothing else hangs on it; where it is not to be had, it is tried again next time.
$(RTX)/.rtx: $(VENV)/.test
	$(BIN)/python -m venv $(RTX)
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	    > "$$($(RTX)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/main.pth"
	if $(RTX)/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt tensorrt-rtx-cu13 \
	    && $(RTX)/bin/python -c 'import tensorrt_rtx'; \
	then touch $@; \
	else echo "no tensorrt-rtx-cu13 for this machine: the tests that build TensorRT engines are left out"; fi

$(VENV)/.lint: $(VENV)/.test
	$(PIP) --editable '.[train,synth-sd,onnx,openvino,tflite,test,lint]'
	touch $@

clean:
	rm -rf $(VENV) $(DEVICE) $(RTX) $(OUT)
