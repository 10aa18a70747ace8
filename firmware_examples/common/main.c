/**
 * @file main.c
 * Segment the frames that frames.py wrote and hold the CRC of each mask against the integer reference's. With ROWS defined
 * picture and mask are handed over row by row, and neither is in RAM.
 *
 * Exit codes: 0 every mask is right, 1 one is not, 2 a status of the network, 3 more stack than was set aside.
 */
#include "board.h"
#include "frames.h"
#include "network.h"
#include "number.h"

#define ROW_BYTES (LW_NETWORK_WIDTH * LW_NETWORK_CHANNELS)
#define PAINT 0xA5A5A5A5u

#ifndef ARENA_BYTES
#ifdef ROWS
#define ARENA_BYTES LW_NETWORK_ROWS_ARENA_BYTES
#else
#define ARENA_BYTES LW_NETWORK_ARENA_BYTES
#endif
#endif

static uint8_t arena[ARENA_BYTES] __attribute__((section(".arena"), aligned(LW_ARENA_ALIGNMENT)));
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
    board_write(name);
    write_digits(value);
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

#ifdef ROWS

#define FRAME_BYTES 0u

/** What the network's functions work on. crc: of the rows of the mask so far. */
typedef struct {
    const uint8_t *rgb;
    uint32_t crc;
} camera;

static int read_row(void *context, uint32_t row, uint8_t *rgb)
{
    const uint8_t *from = ((const camera *)context)->rgb + row * ROW_BYTES;
    for (uint32_t i = 0; i < ROW_BYTES; i++) {
        rgb[i] = from[i];
    }
    return 0;
}

static int write_row(void *context, uint32_t row, const uint8_t *mask)
{
    camera *to = (camera *)context;
    (void)row;
    to->crc = crc32_of(to->crc, mask, LW_NETWORK_OUT_WIDTH);
    return 0;
}

static lw_status segment(uint32_t number, uint32_t *crc, uint64_t *instructions)
{
    camera at = {frames[number], 0};
    const uint64_t before = board_instructions();
    const lw_status status = lw_network_run_rows(read_row, write_row, &at, arena, sizeof arena);
    *instructions = board_instructions() - before;
    *crc = at.crc;
    return status;
}

#else

#define FRAME_BYTES (sizeof picture + sizeof mask)

/* In RAM as from a camera, so that the memory that is told is a device's. */
static uint8_t picture[LW_NETWORK_HEIGHT * ROW_BYTES], mask[LW_NETWORK_OUT_HEIGHT * LW_NETWORK_OUT_WIDTH];

static lw_status segment(uint32_t number, uint32_t *crc, uint64_t *instructions)
{
    for (uint32_t i = 0; i < sizeof picture; i++) {
        picture[i] = frames[number][i];
    }
    const uint64_t before = board_instructions();
    const lw_status status = lw_network_run(picture, mask, arena, sizeof arena);
    *instructions = board_instructions() - before;
    *crc = crc32_of(0, mask, sizeof mask);
    return status;
}

#endif

static int run_frame(uint32_t number)
{
    uint32_t crc = 0;
    uint64_t instructions = 0;
    const lw_status status = segment(number, &crc, &instructions);
    if (status != LW_OK) {
        write_number("the network returned status ", (uint64_t)status);
        return 2;
    }
    write_number("frame ", number);
    write_crc("  crc ", crc);
    write_crc("  reference ", frame_crc[number]);
    write_number("  instructions ", instructions);
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
    write_number("picture and mask bytes ", FRAME_BYTES);
    write_number("other static bytes ", (uint32_t)(__ram_end - __ram_start) - (uint32_t)FRAME_BYTES);
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
