/** @file startup.c From reset to main on rv32, and the board's functions by semihosting and the instruction counter. */
#include "board.h"

int main(void);
void start_c(void) __attribute__((noreturn, used));
void fault_handler(void) __attribute__((noreturn, used));

/* The first instruction: a stack, a handler of faults, then C. */
__asm__(".section .vectors, \"ax\"\n"
        ".option push\n"
        ".option arch, +zicsr\n"
        ".global _start\n"
        "_start:\n"
        "    la sp, __stack_top\n"
        "    la t0, trap\n"
        "    csrw mtvec, t0\n"
        "    tail start_c\n"
        "    .align 2\n"
        "trap:\n"
        "    la sp, __stack_top\n"
        "    tail fault_handler\n"
        ".option pop\n"
        ".text\n");

static uint32_t semihosting(uint32_t operation, const void *argument)
{
    register uint32_t a0 __asm__("a0") = operation;
    register const void *a1 __asm__("a1") = argument;
    /* Three instructions of four bytes on one page are the call. */
    __asm__ volatile(".balign 16\n\t"
                     ".option push\n\t"
                     ".option norvc\n\t"
                     "slli x0, x0, 0x1f\n\t"
                     "ebreak\n\t"
                     "srai x0, x0, 7\n\t"
                     ".option pop"
                     : "+r"(a0)
                     : "r"(a1)
                     : "memory");
    return a0;
}

void board_write(const char *text)
{
    semihosting(0x04 /* SYS_WRITE0 */, text);
}

void board_exit(int code)
{
    const uint32_t reason[2] = {0x20026u /* ADP_Stopped_ApplicationExit */, (uint32_t)code};
    semihosting(0x20 /* SYS_EXIT_EXTENDED */, reason);
    for (;;) {
    }
}

void fault_handler(void)
{
    board_write("FAULT\n");
    board_exit(99);
}

uint64_t board_instructions(void)
{
    uint32_t high, low, again;
    do {
        __asm__ volatile(".option push\n\t"
                         ".option arch, +zicsr\n\t"
                         "csrr %0, minstreth\n\t"
                         "csrr %1, minstret\n\t"
                         "csrr %2, minstreth\n\t"
                         ".option pop"
                         : "=r"(high), "=r"(low), "=r"(again));
    } while (high != again);
    return (uint64_t)high << 32 | low;
}

void start_c(void)
{
    const uint32_t *from = __data_load;
    for (uint32_t *to = __data_start; to < __data_end; to++) {
        *to = *from++;
    }
    for (uint32_t *to = __bss_start; to < __bss_end; to++) {
        *to = 0;
    }
    board_exit(main());
}
