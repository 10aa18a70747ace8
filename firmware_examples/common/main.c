/**
 * @file main.c
 * Segment the frames that frames.py wrote and hold the CRC of each mask against the integer reference's.
 *
 * Exit codes: 0 every mask is right, 1 one is not, 2 a status of the network, 3 more stack than was set aside.
 */
#include "board.h"
#include "frames.h"
#include "network.h"

#define PIXELS (LW_NETWORK_OUT_HEIGHT * LW_NETWORK_OUT_WIDTH)
#define PICTURE_BYTES (LW_NETWORK_HEIGHT * LW_NETWORK_WIDTH * LW_NETWORK_CHANNELS)
#define PAINT 0xA5A5A5A5u

#ifndef ARENA_BYTES
#define ARENA_BYTES LW_NETWORK_ARENA_BYTES
#endif

static uint8_t arena[ARENA_BYTES] __attribute__((section(".arena"), aligned(LW_ARENA_ALIGNMENT)));
/* In RAM as from a camera, so that the memory that is told is a device's. */
static uint8_t picture[PICTURE_BYTES], mask[PIXELS];

/** As zlib's crc32. crc: of what came before, 0 at the start. */
static uint32_t crc32_of(uint32_t crc, const uint8_t *data, uint32_t count)
{
    crc = ~crc;
    for (uint32_t i = 0; i < count; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1u)));
        }
    }
    return ~crc;
}

static void write_number(const char *name, uint64_t value)
{
    char text[21];
    int at = 20;
    text[at] = 0;
    do {
        text[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    board_write(name);
    board_write(text + at);
    board_write("\n");
}

static void write_crc(const char *name, uint32_t value)
{
    char text[9];
    for (int i = 0; i < 8; i++) {
        text[i] = "0123456789abcdef"[value >> (28 - 4 * i) & 15];
    }
    text[8] = 0;
    board_write(name);
    board_write(text);
    board_write("\n");
}

/** Fill the stack below the caller, all but what a function that is called from here needs. */
static __attribute__((noinline)) void paint_stack(void)
{
    uint32_t here;
    const uintptr_t end = (uintptr_t)&here - 64;
    for (uint32_t *word = __stack_limit; (uintptr_t)word < end; word++) {
        *(volatile uint32_t *)word = PAINT;
    }
}

/** Bytes of stack that were ever used, all of it where the last word was. */
static uint32_t stack_used(void)
{
    const uint32_t *word = __stack_limit;
    while (word < __stack_top && *word == PAINT) {
        word++;
    }
    return (uint32_t)((uintptr_t)__stack_top - (uintptr_t)word);
}

static int run_frame(uint32_t number)
{
    for (uint32_t i = 0; i < PICTURE_BYTES; i++) {
        picture[i] = frames[number][i];
    }
    const uint64_t before = board_instructions();
    const lw_status status = lw_network_run(picture, mask, arena, sizeof arena);
    const uint64_t after = board_instructions();
    if (status != LW_OK) {
        write_number("the network returned status ", (uint64_t)status);
        return 2;
    }
    const uint32_t crc = crc32_of(0, mask, PIXELS);
    write_number("frame ", number);
    write_crc("  crc ", crc);
    write_crc("  reference ", frame_crc[number]);
    write_number("  instructions ", after - before);
    return crc == frame_crc[number] ? 0 : 1;
}

int main(void)
{
    int code = 0;
    paint_stack();
    for (uint32_t number = 0; number < FRAMES && code != 2; number++) {
        const int found = run_frame(number);
        code = found > code ? found : code;
    }
    const uint32_t stack_bytes = (uint32_t)((uintptr_t)__stack_top - (uintptr_t)__stack_limit);
    const uint32_t used = stack_used();
    write_number("arena bytes ", sizeof arena);
    write_number("picture and mask bytes ", sizeof picture + sizeof mask);
    write_number("other static bytes ", (uint32_t)(__ram_end - __ram_start) - (uint32_t)(sizeof picture + sizeof mask));
    write_number("stack bytes ", stack_bytes);
    write_number("stack used bytes ", used);
    write_number("flash bytes ", (uint64_t)(__flash_end - __flash_start) +
                                     (uint64_t)((uintptr_t)__data_end - (uintptr_t)__data_start));
    if (code == 0 && used >= stack_bytes) {
        code = 3;
    }
    board_write(code == 0 ? "every mask is the integer reference's\n" : "FAILED\n");
    return code;
}
