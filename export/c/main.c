/**
 * @file main.c
 * Segment one picture of the network's own size: reads a binary PNM, writes its mask as PGM.
 *
 *     segment picture.ppm mask.pgm
 *
 * The picture is a P6 (or, for a network of grey pictures, P5) of 8 bits a sample. The mask holds the probability of
 * foreground, 0..255, or with several classes the class of each pixel. Exit codes: 0 ok, 1 a status of the network,
 * 2 bad input.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "network.h"

/* Static memory: the network itself allocates none. The extra bytes are for alignment. */
static uint8_t picture[LW_NETWORK_HEIGHT * LW_NETWORK_WIDTH * LW_NETWORK_CHANNELS];
static uint8_t mask[LW_NETWORK_OUT_HEIGHT * LW_NETWORK_OUT_WIDTH];
static uint8_t memory[LW_NETWORK_ARENA_BYTES + LW_ARENA_ALIGNMENT];

static int fail(const char *path, const char *what)
{
    fprintf(stderr, "error: %s: %s\n", path, what);
    return 2;
}

/** The next number of a PNM header, past white space and comments; -1 where there is none. */
static long read_number(FILE *file)
{
    int c = fgetc(file);
    long number = 0;
    while (c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '#') {
        if (c == '#') {
            while (c != '\n' && c != EOF) {
                c = fgetc(file);
            }
        }
        c = fgetc(file);
    }
    if (c < '0' || c > '9') {
        return -1;
    }
    for (; c >= '0' && c <= '9' && number < 1000000; c = fgetc(file)) {
        number = 10 * number + (c - '0');
    }
    /* One white space ends the last number; what it was does not matter. */
    return number;
}

static int read_picture(const char *path)
{
    FILE *file = fopen(path, "rb");
    char magic[2] = {0, 0};
    int problem = 0;
    if (file == NULL) {
        return fail(path, "cannot be opened");
    }
    if (fread(magic, 1, 2, file) != 2 || memcmp(magic, LW_NETWORK_CHANNELS == 3 ? "P6" : "P5", 2) != 0) {
        problem = fail(path, LW_NETWORK_CHANNELS == 3 ? "no binary PPM (P6)" : "no binary PGM (P5)");
    } else if (read_number(file) != LW_NETWORK_WIDTH || read_number(file) != LW_NETWORK_HEIGHT) {
        problem = fail(path, "not of the network's size, which network.h gives");
    } else if (read_number(file) != 255) {
        problem = fail(path, "not of 8 bits a sample");
    } else if (fread(picture, 1, sizeof picture, file) != sizeof picture) {
        problem = fail(path, "ends too early");
    }
    fclose(file);
    return problem;
}

static int write_mask(const char *path)
{
    FILE *file = fopen(path, "wb");
    int good;
    if (file == NULL) {
        return fail(path, "cannot be written");
    }
    good = fprintf(file, "P5\n%d %d\n255\n", LW_NETWORK_OUT_WIDTH, LW_NETWORK_OUT_HEIGHT) > 0;
    good = fwrite(mask, 1, sizeof mask, file) == sizeof mask && good;
    good = fclose(file) == 0 && good;
    return good ? 0 : fail(path, "cannot be written");
}

int main(int count, char **arguments)
{
    uint8_t *arena = memory + (LW_ARENA_ALIGNMENT - (uintptr_t)memory % LW_ARENA_ALIGNMENT) % LW_ARENA_ALIGNMENT;
    lw_status status;
    if (count != 3) {
        fprintf(stderr, "usage: %s PICTURE MASK.pgm\n", arguments[0]);
        return 2;
    }
    if (read_picture(arguments[1]) != 0) {
        return 2;
    }
    status = lw_network_run(picture, mask, arena, lw_network_arena_bytes());
    if (status != LW_OK) {
        fprintf(stderr, "error: the network returned status %d\n", (int)status);
        return 1;
    }
    return write_mask(arguments[2]);
}
