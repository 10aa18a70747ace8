# The network of an example: BUNDLE, a C bundle of SIZE, and FRAMES, pictures with the CRCs of their masks.
# MODEL: other weights than those that the package carries for the size, a quantised checkpoint by its whole path. RAM: a
# budget for the plan, such as 256K. KEY stands for all three in the names of what is made of them, so that two networks
# never share a folder.

.DEFAULT_GOAL := run

PYTHON ?= python3
SIZE ?= 128
MODEL ?=
RAM ?=
HERE := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
ROOT := $(abspath $(HERE)/..)
OUT ?= $(ROOT)/build/firmware
export PYTHONPATH := $(ROOT)$(if $(PYTHONPATH),:$(PYTHONPATH))

# Many folders have a best.safetensors, so that the key is the sum of the path beside the name. A target's name cannot hold
# the signs of package.module:Class=FILE.
MODEL_KEY = $(subst :,-,$(subst =,-,$(notdir $(MODEL))))-$(firstword $(shell printf %s '$(MODEL)' | cksum))
KEY := $(SIZE)$(if $(RAM),-ram-$(RAM))$(if $(MODEL),-$(MODEL_KEY))
BUNDLE := $(OUT)/bundle-$(KEY)
FRAMES := $(OUT)/frames-$(KEY)

# All that a bundle is made of: code, the package's weights, and the file that MODEL names.
ROOMS := $(addprefix $(ROOT)/lawder_edge/,models quantization graph targets bundle exporting) $(ROOT)/export/c
SOURCES := $(shell find $(ROOMS) -name '*.py' -o -name '*.[ch]' -o -name '*.safetensors') \
    $(wildcard $(lastword $(subst =, ,$(MODEL))))

# Of a size: weights that were trained and quantised for it, where the package carries them.
CARRIED := $(ROOT)/lawder_edge/models/weights
WEIGHTS := $(or $(MODEL),$(if $(wildcard $(CARRIED)/order_$(SIZE)_int8.safetensors),order_$(SIZE),order))

$(BUNDLE)/manifest.json: $(SOURCES)
	mkdir -p $(OUT)
	$(PYTHON) -m lawder_edge export --target c --model $(WEIGHTS) --size $(SIZE) $(SIZE) $(if $(RAM),--ram $(RAM)) \
	    --limit 2 --out $(BUNDLE) --overwrite

$(FRAMES)/frames.h: $(BUNDLE)/manifest.json $(HERE)/frames.py
	$(PYTHON) $(HERE)/frames.py $(BUNDLE) --model $(WEIGHTS) --out $(FRAMES)
