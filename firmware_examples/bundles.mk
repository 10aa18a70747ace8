# The network of every example: a C bundle a size, and the frames with their CRCs. OUT/bundle-SIZE and OUT/frames-SIZE.
# MODEL: other weights than those that the package carries for the size, a quantised checkpoint. RAM: a budget for the
# plan, such as 256K. Either wants an OUT of its own.

PYTHON ?= python3
MODEL ?=
RAM ?=
HERE := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
OUT ?= $(abspath $(HERE)/../build/firmware)
export PYTHONPATH := $(abspath $(HERE)/..)$(if $(PYTHONPATH),:$(PYTHONPATH))
CODE := $(shell find $(HERE)/../lawder_edge/targets/c $(HERE)/../lawder_edge/graph $(HERE)/../export/c -name '*.[ch]' -o -name '*.py')

# Of a size: weights that were trained and quantised for it, where the package carries them.
CARRIED := $(HERE)/../lawder_edge/models/weights
model = $(or $(MODEL),$(if $(wildcard $(CARRIED)/order_$(1)_int8.safetensors),order_$(1),order))

.PRECIOUS: $(OUT)/bundle-%/manifest.json $(OUT)/frames-%/frames.h

$(OUT)/bundle-%/manifest.json: $(CODE)
	mkdir -p $(OUT)
	$(PYTHON) -m lawder_edge export --target c --model $(call model,$*) --size $* $* $(if $(RAM),--ram $(RAM)) --limit 2 \
	    --out $(OUT)/bundle-$* --overwrite

$(OUT)/frames-%/frames.h: $(OUT)/bundle-%/manifest.json $(HERE)/frames.py
	$(PYTHON) $(HERE)/frames.py $(OUT)/bundle-$* --model $(call model,$*) --out $(OUT)/frames-$*
