/** @file startup.c From reset to main on Armv7-M and Armv8-M, and the board's functions by semihosting and SysTick. */
#include "board.h"

int main(void);
void reset_handler(void) __attribute__((noreturn));

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define SYSTICK_CONTROL REGISTER(0xE000E010u)
#define SYSTICK_RELOAD REGISTER(0xE000E014u)
#define SYSTICK_VALUE REGISTER(0xE000E018u)
#define CONFIGURATION REGISTER(0xE000ED14u)
#define COPROCESSORS REGISTER(0xE000ED88u)

#define SYSTICK_RANGE ((uint32_t)1 << 24)
#define CALIBRATION_LOOPS 500000u

static volatile uint32_t rounds;
/* Timer ticks in which the calibration's million instructions ran. */
static uint32_t ticks_a_million;

static uint32_t semihosting(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
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

static void systick_handler(void)
{
    rounds++;
}

static __attribute__((used)) void report_fault(void)
{
    board_write("FAULT\n");
    board_exit(99);
}

/* What ran over the stack has left none: the report starts a new one. */
static __attribute__((naked)) void fault_handler(void)
{
    __asm__ volatile("ldr r0, =__stack_top\n\tmov sp, r0\n\tb report_fault");
}

static uint64_t ticks(void)
{
    uint32_t before, value;
    do {
        before = rounds;
        value = SYSTICK_VALUE;
    } while (before != rounds);
    /* It counts down from SYSTICK_RANGE - 1 and interrupts at 0, where it also starts. */
    return (uint64_t)before * SYSTICK_RANGE + (SYSTICK_RANGE - value) % SYSTICK_RANGE;
}

/* With -icount shift=0 an instruction takes 1 ns of the emulator's time, which SysTick divides by its clock: how many
   instructions a tick has is measured, so that no clock has to be known. */
static void calibrate(void)
{
    SYSTICK_RELOAD = SYSTICK_RANGE - 1;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 7; /* processor clock, interrupt, enable */
    uint32_t count = CALIBRATION_LOOPS;
    const uint64_t start = ticks();
    __asm__ volatile("1: subs %0, %0, #1\n\tbne 1b" : "+r"(count) : : "cc");
    ticks_a_million = (uint32_t)(ticks() - start);
}

uint64_t board_instructions(void)
{
    return ticks() * (2u * CALIBRATION_LOOPS) / ticks_a_million;
}

void reset_handler(void)
{
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    COPROCESSORS |= 0xFu << 20; /* CP10 and CP11: floating point and MVE */
    __asm__ volatile("dsb\n\tisb" : : : "memory");
#endif
#if defined(__ARM_ARCH_8_1M_MAIN__)
    CONFIGURATION |= (1u << 18) | (1u << 19); /* branch prediction and low-overhead loops */
    __asm__ volatile("dsb\n\tisb" : : : "memory");
#endif
    const uint32_t *from = __data_load;
    for (uint32_t *to = __data_start; to < __data_end; to++) {
        *to = *from++;
    }
    for (uint32_t *to = __bss_start; to < __bss_end; to++) {
        *to = 0;
    }
    calibrate();
    board_exit(main());
}

typedef void (*handler)(void);

/* Stack, reset, the faults, and the system exceptions; peripherals stay off. */
__attribute__((section(".vectors"), used)) static const handler vectors[16] = {
    (handler)__stack_top, reset_handler, fault_handler, fault_handler, fault_handler, fault_handler,
    fault_handler, fault_handler, 0, 0, 0, fault_handler, fault_handler, 0, fault_handler, systick_handler,
};
