# Compiler and flags of BOARD.
CC := arm-none-eabi-gcc
CPU_netduinoplus2 := -mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16
CPU_mps2-an386 := -mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16
CPU_mps2-an500 := -mcpu=cortex-m7 -mfloat-abi=hard -mfpu=fpv5-d16
CPU_mps3-an547 := -mcpu=cortex-m55 -mfloat-abi=hard
CPU := $(CPU_$(BOARD))
ifeq ($(CPU),)
$(error BOARD=$(BOARD): wanted netduinoplus2, mps2-an386, mps2-an500 or mps3-an547)
endif
