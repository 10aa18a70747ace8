"""The text around a network's constants and calls: its source, its header, and the header of all networks."""

from __future__ import annotations

import numpy as np

from lawder_edge.graph.ir import Tensor
from lawder_edge.targets.c.names import comment
from lawder_edge.targets.c.plan import Plan
from lawder_edge.targets.c.probability import probability_table

# LW_KERNELS_VERSION in lawder_kernels.h.
KERNELS_VERSION = 1
_SIGNATURE = "const uint8_t *rgb, {}, void *arena, size_t arena_bytes"


def network_source(stem: str, declarations: str, body: str, *, memory: Plan, logits: Tensor) -> str:
    _, height, width, classes = logits.shape
    pixels = height * width
    if classes == 1:
        # The logits take the memory of the probabilities, byte for byte.
        finish = f"""        network(rgb, (int8_t *)arena, (int8_t *)prob);
        lw_probability(probability, {pixels}u, (const int8_t *)prob, prob);"""
    else:
        finish = f"""        int8_t *logits = (int8_t *)arena + {memory.offsets[logits.name]};
        network(rgb, (int8_t *)arena, logits);
        lw_argmax({pixels}u, {classes}u, logits, prob);"""
    return f"""#include "{stem}.h"

#if LW_KERNELS_VERSION != {KERNELS_VERSION}
#error "lawder_kernels.h is of another release than this network; take the one that was exported with it"
#endif

/* Called with each operator's number, output and its bytes; define it to look at them, or to time them. */
#ifndef LW_AFTER_OPERATOR
#define LW_AFTER_OPERATOR(number, output, bytes) ((void)0)
#endif

{declarations}

static void network(const uint8_t *rgb, int8_t *memory, int8_t *logits)
{{
    (void)memory;
{body}
}}

static lw_status check(const void *rgb, const void *out, const void *arena, size_t arena_bytes)
{{
    if (rgb == NULL || out == NULL || arena == NULL) {{
        return LW_ERROR_NULL;
    }}
    if ((uintptr_t)arena % LW_ARENA_ALIGNMENT != 0) {{
        return LW_ERROR_ALIGNMENT;
    }}
    return arena_bytes < lw_{stem}_arena_bytes() ? LW_ERROR_ARENA_SIZE : LW_OK;
}}

lw_status lw_{stem}_run({_SIGNATURE.format("uint8_t *prob")})
{{
    const lw_status status = check(rgb, prob, arena, arena_bytes);
    if (status == LW_OK) {{
{finish}
    }}
    return status;
}}

lw_status lw_{stem}_logits({_SIGNATURE.format("int8_t *logits")})
{{
    const lw_status status = check(rgb, logits, arena, arena_bytes);
    if (status == LW_OK) {{
        network(rgb, (int8_t *)arena, logits);
    }}
    return status;
}}

size_t lw_{stem}_arena_bytes(void)
{{
    return {memory.arena_bytes}u;
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


def network_header(
    stem: str, image: Tensor, logits: Tensor, *, arena_bytes: int, version: str, sha256: str, threshold: float
) -> str:
    """What a program includes. sha256: of the source."""
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
#define LW_{upper}_ARENA_BYTES {arena_bytes}{cut}
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

/** As lw_{stem}_run, giving the network's int8 logits (OUT_HEIGHT, OUT_WIDTH, CLASSES). */
lw_status lw_{stem}_logits({_SIGNATURE.format("int8_t *logits")});

/** Bytes of arena that are needed. */
size_t lw_{stem}_arena_bytes(void);

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
    macros = ["HEIGHT", "WIDTH", "CHANNELS", "OUT_HEIGHT", "OUT_WIDTH", "CLASSES", "ARENA_BYTES"]
    macros += ["THRESHOLD"] if classes == 1 else []
    lines = [f"#define LW_NETWORK_{m} LW_{stem.upper()}_{m}" for m in macros]
    lines += [f"#define lw_network_{f} lw_{stem}_{f}" for f in ("run", "logits", "arena_bytes", "version", "sha256")]
    return f"""/** @file network.h The network of this folder under names that are the same for all networks. */
#ifndef LW_NETWORK_H
#define LW_NETWORK_H

#include "{stem}.h"

{chr(10).join(lines)}

#endif
"""
