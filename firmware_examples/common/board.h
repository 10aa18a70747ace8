/** @file board.h What main.c needs of a board. A new board is these functions and a memory map: see PORTING.md. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

/** Write a text that ends with a zero. */
void board_write(const char *text);

/** End the program; the emulator ends with this code. */
void board_exit(int code) __attribute__((noreturn));

/** Instructions since reset, as `qemu -icount shift=0` counts them: never cycles, and nothing without that option. */
uint64_t board_instructions(void);

/** The lowest byte of the stack and the byte after its highest, from the linker script. */
extern uint32_t __stack_limit[], __stack_top[];
/** The first and the byte after the last of what a device keeps in flash, the test's frames left out. */
extern uint8_t __flash_start[], __flash_end[];
/** What start-up copies to RAM, also kept in flash, and what it clears. */
extern uint32_t __data_load[], __data_start[], __data_end[], __bss_start[], __bss_end[];
/** All that is static but arena and stack. */
extern uint8_t __ram_start[], __ram_end[];

#endif
