/** @file number.h Numbers on a board's console. */
#ifndef NUMBER_H
#define NUMBER_H

#include "board.h"

/** Write a number in decimal digits. */
static inline void write_digits(uint64_t value)
{
    char text[21];
    int at = 20;
    text[at] = 0;
    do {
        text[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    board_write(text + at);
}

#endif
