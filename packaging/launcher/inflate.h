/* Decompresses raw DEFLATE (RFC 1951) from one buffer into another. */
#ifndef SLUICE_INFLATE_H
#define SLUICE_INFLATE_H

#include <stddef.h>
#include <stdint.h>

/* True when `in` is one complete stream that gives exactly `out_bytes`. Reads and writes within the
 * two buffers only, whatever the input. */
int inflate_raw(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes);

/* The CRC-32 that ZIP keeps of each member. */
uint32_t crc32_of(const uint8_t *bytes, size_t count);

#endif
