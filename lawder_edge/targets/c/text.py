"""The text around a network's constants and calls: its source, its header, and the header of all networks."""

from __future__ import annotations

import numpy as np

from lawder_edge.graph.ir import Tensor
from lawder_edge.targets.c.names import comment
from lawder_edge.targets.c.plan import FrameRows, Plan
from lawder_edge.targets.c.probability import probability_table

# LW_KERNELS_VERSION in lawder_kernels.h.
KERNELS_VERSION = 4
_SIGNATURE = "const uint8_t *rgb, {}, void *arena, size_t arena_bytes"


def network_source(
    stem: str, declarations: str, body: str, *, memory: Plan, rows: FrameRows, image: Tensor, logits: Tensor
) -> str:
    """NAME.c. stem: NAME in the functions' names. declarations, body: C of the constants, and of the calls in order.
    memory, rows: where tensors lie when the picture is whole and when it comes row by row. image: (1, H, W, C) int8.
    logits: (1, H, W, classes) int8.
    """
    _, height, width, classes = logits.shape
    pixels = height * width
    if classes == 1:
        # The logits take the memory of the probabilities, byte for byte.
        whole, finish = "(int8_t *)prob", f"lw_probability(probability, {pixels}u, (const int8_t *)prob, prob);"
        finish_row = f"lw_probability(probability, {width}u, logits, (uint8_t *)logits);"
    else:
        whole = f"(int8_t *)arena + {memory.offsets[logits.name]}"
        finish = f"lw_argmax({pixels}u, {classes}u, frame.logits, prob);"
        finish_row = f"lw_argmax({width}u, {classes}u, logits, (uint8_t *)logits);"
    return f"""#include "{stem}.h"

#if LW_KERNELS_VERSION != {KERNELS_VERSION}
#error "lawder_kernels.h is of another release than this network; take the one that was exported with it"
#endif

/* Called with an operator's number, output and its bytes; define it to look at them, or to time them. Of operators that
   are computed row by row only those whose output is whole in memory are told, all after the last of them; an export
   with plenty of --ram computes none row by row. */
#ifndef LW_AFTER_OPERATOR
#define LW_AFTER_OPERATOR(number, output, bytes) ((void)0)
#endif

{declarations}

static lw_status network(const lw_frame *frame, int8_t *memory)
{{
    const uint8_t *rgb = frame->picture;
    int8_t *logits = frame->logits;
    (void)rgb;
    (void)logits;
    (void)memory;
{body}
    return LW_OK;
}}

static int give_row(const lw_frame *frame, uint32_t row, int8_t *logits)
{{
    {finish_row}
    return frame->write_row(frame->context, row, (const uint8_t *)logits);
}}

static lw_status check(int has_both, const void *arena, size_t arena_bytes, size_t needed_bytes)
{{
    if (!has_both || arena == NULL) {{
        return LW_ERROR_NULL;
    }}
    if ((uintptr_t)arena % LW_ARENA_ALIGNMENT != 0) {{
        return LW_ERROR_ALIGNMENT;
    }}
    return arena_bytes < needed_bytes ? LW_ERROR_ARENA_SIZE : LW_OK;
}}

lw_status lw_{stem}_run({_SIGNATURE.format("uint8_t *prob")})
{{
    lw_frame frame = {{rgb, NULL, NULL, NULL, NULL, NULL}};
    lw_status status = check(rgb != NULL && prob != NULL, arena, arena_bytes, lw_{stem}_arena_bytes());
    if (status == LW_OK) {{
        frame.logits = {whole};
        status = network(&frame, (int8_t *)arena);
        {finish}
    }}
    return status;
}}

lw_status lw_{stem}_run_rows(lw_read_row read_row, lw_write_row write_row, void *context, void *arena,
    size_t arena_bytes)
{{
    lw_frame frame = {{NULL, NULL, give_row, read_row, write_row, context}};
    lw_status status = check(read_row != NULL && write_row != NULL, arena, arena_bytes, lw_{stem}_rows_arena_bytes());
    if (status != LW_OK) {{
        return status;
    }}
{_read_whole(image, rows)}{_logits_whole(logits, rows)}    status = network(&frame, (int8_t *)arena);
{_write_whole(logits, rows)}    return status;
}}

lw_status lw_{stem}_logits({_SIGNATURE.format("int8_t *logits")})
{{
    const lw_frame frame = {{rgb, logits, NULL, NULL, NULL, NULL}};
    const lw_status status = check(rgb != NULL && logits != NULL, arena, arena_bytes, lw_{stem}_arena_bytes());
    return status == LW_OK ? network(&frame, (int8_t *)arena) : status;
}}

size_t lw_{stem}_arena_bytes(void)
{{
    return {memory.arena_bytes}u;
}}

size_t lw_{stem}_rows_arena_bytes(void)
{{
    return {rows.arena_bytes}u;
}}

const char *lw_{stem}_version(void)
{{
    return LW_{stem.upper()}_VERSION;
}}

const char *lw_{stem}_sha256(void)
{{
    return LW_{stem.upper()}_SHA256;
}}
"""


def _read_whole(image: Tensor, rows: FrameRows) -> str:
    """A picture that no stream reads alone is read before the network runs."""
    if rows.picture_rows < image.shape[1]:
        return ""
    return f"""    frame.picture = (const uint8_t *)arena + {rows.picture_offset};
    for (uint32_t row = 0; row < {image.shape[1]}; row++) {{
        uint8_t *to = (uint8_t *)arena + {rows.picture_offset} + row * {image.size // image.shape[1]};
        if (read_row(context, row, to) != 0) {{
            return LW_ERROR_ROW;
        }}
    }}
"""


def _logits_whole(logits: Tensor, rows: FrameRows) -> str:
    return "" if rows.logits_rows == 1 else f"    frame.logits = (int8_t *)arena + {rows.logits_offset};\n"


def _write_whole(logits: Tensor, rows: FrameRows) -> str:
    """Logits that no stream makes are given away after the network has run."""
    _, height, width, classes = logits.shape
    if rows.logits_rows == 1:
        return ""
    return f"""    for (uint32_t row = 0; status == LW_OK && row < {height}; row++) {{
        status = give_row(&frame, row, frame.logits + row * {width * classes}) == 0 ? LW_OK : LW_ERROR_ROW;
    }}
"""


def network_header(
    stem: str,
    image: Tensor,
    logits: Tensor,
    *,
    arena_bytes: tuple[int, int],
    version: str,
    sha256: str,
    threshold: float,
) -> str:
    """What a program includes. arena_bytes: of a whole frame, and row by row. sha256: of the source."""
    _, height, width, channels = image.shape
    _, out_height, out_width, classes = logits.shape
    upper = stem.upper()
    what = "RGB, a byte each" if channels == 3 else "grey values" if channels == 1 else "samples, a byte each"
    if classes == 1:
        prob = f"""foreground probability of each pixel, 0..255; LW_{upper}_THRESHOLD and above
 *              exactly where the probability reaches {threshold}"""
        cut = f"\n#define LW_{upper}_THRESHOLD {probability_table(logits, threshold)[1]}"
    else:
        prob, cut = "class of each pixel, 0 for background", ""
    return f"""/** @file {stem}.h A segmentation network, by lawder-edge {comment(version)}. Not to be edited. */
#ifndef LW_{upper}_H
#define LW_{upper}_H

#include "lawder_kernels.h"

/** Release of lawder-edge, as in manifest.json. */
#define LW_{upper}_VERSION "{comment(version)}"
/** Of {stem}.c, as in manifest.json. */
#define LW_{upper}_SHA256 "{sha256}"

#define LW_{upper}_HEIGHT {height}
#define LW_{upper}_WIDTH {width}
#define LW_{upper}_CHANNELS {channels}
#define LW_{upper}_OUT_HEIGHT {out_height}
#define LW_{upper}_OUT_WIDTH {out_width}
#define LW_{upper}_CLASSES {classes}
#define LW_{upper}_ARENA_BYTES {arena_bytes[0]}
#define LW_{upper}_ROWS_ARENA_BYTES {arena_bytes[1]}{cut}
/** A logit is LOGIT_SCALE * (q - LOGIT_ZERO_POINT). */
#define LW_{upper}_LOGIT_SCALE {np.float32(logits.scale)!s}f
#define LW_{upper}_LOGIT_ZERO_POINT {logits.zero_point}

#ifdef __cplusplus
extern "C" {{
#endif

/**
 * Segment a picture of the network's size.
 *
 * rgb:         (HEIGHT, WIDTH, CHANNELS) {what}
 * prob:        (OUT_HEIGHT, OUT_WIDTH) {prob}
 * arena:       scratch memory, aligned to LW_ARENA_ALIGNMENT; nothing in it has to be kept between two calls
 * arena_bytes: its size, at least lw_{stem}_arena_bytes()
 *
 * The three must not overlap. Returns LW_OK; otherwise nothing was written.
 */
lw_status lw_{stem}_run({_SIGNATURE.format("uint8_t *prob")});

/**
 * As lw_{stem}_run, taking the picture and giving the mask row by row, so that neither need be in memory.
 *
 * read_row:    called at most once for each row of the picture, from the top, when it is needed
 * write_row:   called once for each row of the mask, from the top, when it is made, maybe before all rows are read
 * context:     handed to both
 * arena_bytes: its size, at least lw_{stem}_rows_arena_bytes()
 *
 * Returns LW_OK, LW_ERROR_ROW as soon as one of them returns anything but 0, or as lw_{stem}_run does.
 */
lw_status lw_{stem}_run_rows(lw_read_row read_row, lw_write_row write_row, void *context, void *arena,
    size_t arena_bytes);

/** As lw_{stem}_run, giving the network's int8 logits (OUT_HEIGHT, OUT_WIDTH, CLASSES). */
lw_status lw_{stem}_logits({_SIGNATURE.format("int8_t *logits")});

/** Bytes of arena that are needed: by lw_{stem}_run and _logits, and by lw_{stem}_run_rows. */
size_t lw_{stem}_arena_bytes(void);
size_t lw_{stem}_rows_arena_bytes(void);

/** LW_{upper}_VERSION and LW_{upper}_SHA256 as they were compiled. */
const char *lw_{stem}_version(void);
const char *lw_{stem}_sha256(void);

#ifdef __cplusplus
}}
#endif

#endif
"""


def generic_header(stem: str, classes: int) -> str:
    """Names that are the same for every network, for programs that take any."""
    macros = ["HEIGHT", "WIDTH", "CHANNELS", "OUT_HEIGHT", "OUT_WIDTH", "CLASSES", "ARENA_BYTES", "ROWS_ARENA_BYTES"]
    macros += ["THRESHOLD"] if classes == 1 else []
    lines = [f"#define LW_NETWORK_{m} LW_{stem.upper()}_{m}" for m in macros]
    functions = ("run", "run_rows", "logits", "arena_bytes", "rows_arena_bytes", "version", "sha256")
    lines += [f"#define lw_network_{f} lw_{stem}_{f}" for f in functions]
    return f"""/** @file network.h The network of this folder under names that are the same for all networks. */
#ifndef LW_NETWORK_H
#define LW_NETWORK_H

#include "{stem}.h"

{chr(10).join(lines)}

#endif
"""
