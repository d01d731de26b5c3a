/* DEFLATE (RFC 1951) and CRC-32, so that the launcher needs no library on the building machine.
 *
 * Whole buffers, no streaming: one file of the tree is decompressed at a time. Codes are looked up
 * in one table of as many bits as the longest code has (15 at most), which costs a few microseconds
 * per block and makes the inner loop three table reads. The bit buffer is filled to at least 56
 * bits once per symbol: a length and its distance take 48 at most (15 + 5 + 15 + 13).
 *
 * The input is not trusted: it may have been damaged on its way here. */

#include "inflate.h"

#include <string.h>

enum { LITERALS = 288, DISTANCES = 32, LONGEST = 15, END_OF_BLOCK = 256 };

typedef struct {
    const uint8_t *next, *end;
    uint64_t bits;
    unsigned count;
} Input;

/* An entry is symbol << 4 | code length; 0 marks bits that no code starts with. */
typedef struct {
    unsigned bits;
    uint16_t entries[1 << LONGEST];
} Table;

typedef struct {
    uint8_t *start, *next, *end;
} Output;

static const uint16_t LENGTH_BASE[] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                       31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
static const uint8_t LENGTH_EXTRA[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                       2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
static const uint16_t DISTANCE_BASE[] = {1,   2,   3,   4,   5,   7,    9,    13,   17,   25,
                                         33,  49,  65,  97,  129, 193,  257,  385,  513,  769,
                                         1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};

static void fill(Input *input) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (input->end - input->next >= 8) {
        /* Bits above `count` may already be those of the next byte: the same ones are added again. */
        uint64_t word;
        memcpy(&word, input->next, 8);
        input->bits |= word << input->count;
        input->next += (63 - input->count) >> 3;
        input->count |= 56;
        return;
    }
#endif
    while (input->count <= 56 && input->next < input->end) {
        input->bits |= (uint64_t)*input->next++ << input->count;
        input->count += 8;
    }
}

/* The next `count` bits (16 at most), or -1 when the input ends before them. */
static int take(Input *input, unsigned count) {
    fill(input);
    if (input->count < count) return -1;
    int value = (int)(input->bits & ((1u << count) - 1));
    input->bits >>= count;
    input->count -= count;
    return value;
}

/* False for lengths that are no prefix code. An incomplete one is fine: unused bits give 0. */
static int build(Table *table, const uint8_t *lengths, int symbols) {
    unsigned counts[LONGEST + 1] = {0}, code = 0, first[LONGEST + 2] = {0};
    for (int i = 0; i < symbols; i++) counts[lengths[i]]++;
    counts[0] = 0;
    table->bits = 1;
    for (unsigned length = 1; length <= LONGEST; length++) {
        code = (code + counts[length - 1]) << 1;
        first[length] = code;
        if (counts[length]) table->bits = length;
        if (code + counts[length] > 1u << length) return 0;
    }
    memset(table->entries, 0, sizeof(uint16_t) << table->bits);
    for (int i = 0; i < symbols; i++) {
        unsigned length = lengths[i], reversed = 0;
        if (!length) continue;
        unsigned forward = first[length]++;
        for (unsigned bit = 0; bit < length; bit++) reversed |= ((forward >> bit) & 1) << (length - 1 - bit);
        uint16_t entry = (uint16_t)((unsigned)i << 4 | length);
        for (unsigned at = reversed; at < 1u << table->bits; at += 1u << length) table->entries[at] = entry;
    }
    return 1;
}

/* The next symbol, or -1. The caller has filled the input. */
static inline int symbol(Input *input, const Table *table) {
    uint16_t entry = table->entries[input->bits & ((1u << table->bits) - 1)];
    unsigned length = entry & 15;
    if (!length || length > input->count) return -1;
    input->bits >>= length;
    input->count -= length;
    return entry >> 4;
}

static int fixed_codes(Table *literals, Table *distances) {
    uint8_t lengths[LITERALS];
    memset(lengths, 8, 144);
    memset(lengths + 144, 9, 112);
    memset(lengths + 256, 7, 24);
    memset(lengths + 280, 8, 8);
    if (!build(literals, lengths, LITERALS)) return 0;
    memset(lengths, 5, DISTANCES);
    return build(distances, lengths, DISTANCES);
}

static int dynamic_codes(Input *input, Table *literals, Table *distances) {
    static const uint8_t ORDER[] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    uint8_t lengths[LITERALS + DISTANCES] = {0}, code_lengths[19] = {0};
    int literal_count = take(input, 5), distance_count = take(input, 5), code_count = take(input, 4);
    if (literal_count < 0 || distance_count < 0 || code_count < 0) return 0;
    literal_count += 257, distance_count += 1, code_count += 4;
    if (literal_count > 286) return 0;
    for (int i = 0; i < code_count; i++) {
        int length = take(input, 3);
        if (length < 0) return 0;
        code_lengths[ORDER[i]] = (uint8_t)length;
    }
    if (!build(literals, code_lengths, 19)) return 0;
    for (int at = 0; at < literal_count + distance_count;) {
        fill(input);
        int found = symbol(input, literals), repeat, value = 0;
        if (found < 0) return 0;
        if (found < 16) {
            lengths[at++] = (uint8_t)found;
            continue;
        }
        if (found == 16) {
            if (!at) return 0;
            value = lengths[at - 1];
        }
        repeat = found == 16 ? take(input, 2) + 3 : found == 17 ? take(input, 3) + 3 : take(input, 7) + 11;
        if (repeat < (found == 18 ? 11 : 3)) return 0; /* the input ended */
        if (at + repeat > literal_count + distance_count) return 0;
        memset(lengths + at, value, (size_t)repeat);
        at += repeat;
    }
    return lengths[END_OF_BLOCK] && build(literals, lengths, literal_count) &&
           build(distances, lengths + literal_count, distance_count);
}

static int compressed_block(Input *input, const Table *literals, const Table *distances, Output *output) {
    for (;;) {
        fill(input);
        int found = symbol(input, literals);
        if (found < 0) return 0;
        if (found < END_OF_BLOCK) {
            if (output->next == output->end) return 0;
            *output->next++ = (uint8_t)found;
            continue;
        }
        if (found == END_OF_BLOCK) return 1;
        found -= END_OF_BLOCK + 1;
        if (found >= 29) return 0;
        int more = take(input, LENGTH_EXTRA[found]);
        int far = symbol(input, distances);
        if (more < 0 || far < 0 || far >= 30) return 0;
        int extra = take(input, far < 4 ? 0 : (unsigned)far / 2 - 1);
        if (extra < 0) return 0;
        size_t length = LENGTH_BASE[found] + (size_t)more, distance = DISTANCE_BASE[far] + (size_t)extra;
        if (distance > (size_t)(output->next - output->start)) return 0;
        if (length > (size_t)(output->end - output->next)) return 0;
        const uint8_t *from = output->next - distance;
        if (distance >= length) {
            memcpy(output->next, from, length);
        } else {
            for (size_t i = 0; i < length; i++) output->next[i] = from[i];
        }
        output->next += length;
    }
}

static int stored_block(Input *input, Output *output) {
    /* Whole bytes that were read ahead are given back. */
    unsigned ahead = input->count / 8;
    input->next -= ahead;
    input->bits = 0, input->count = 0;
    if (input->end - input->next < 4) return 0;
    unsigned size = input->next[0] | (unsigned)input->next[1] << 8;
    unsigned inverse = input->next[2] | (unsigned)input->next[3] << 8;
    input->next += 4;
    if (size != (inverse ^ 0xffff) || (size_t)(input->end - input->next) < size) return 0;
    if ((size_t)(output->end - output->next) < size) return 0;
    memcpy(output->next, input->next, size);
    output->next += size, input->next += size;
    return 1;
}

int inflate_raw(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes) {
    static Table literals, distances; /* 128 KB: too much for a small stack; one thread per process */
    Input input = {in, in + in_bytes, 0, 0};
    Output output = {out, out, out + out_bytes};
    int last = 0;
    while (!last) {
        int kind;
        if ((last = take(&input, 1)) < 0 || (kind = take(&input, 2)) < 0) return 0;
        if (kind == 0) {
            if (!stored_block(&input, &output)) return 0;
            continue;
        }
        if (kind == 3) return 0;
        if (!(kind == 1 ? fixed_codes(&literals, &distances) : dynamic_codes(&input, &literals, &distances)))
            return 0;
        if (!compressed_block(&input, &literals, &distances, &output)) return 0;
    }
    return output.next == output.end;
}

uint32_t crc32_of(const uint8_t *bytes, size_t count) {
    static uint32_t table[8][256]; /* eight bytes per step: the checksum stays cheaper than the disk */
    if (!table[0][1]) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t value = i;
            for (int bit = 0; bit < 8; bit++) value = value >> 1 ^ (value & 1 ? 0xedb88320u : 0);
            table[0][i] = value;
        }
        for (int row = 1; row < 8; row++)
            for (int i = 0; i < 256; i++)
                table[row][i] = table[row - 1][i] >> 8 ^ table[0][table[row - 1][i] & 255];
    }
    uint32_t crc = ~0u;
    for (; count >= 8; bytes += 8, count -= 8) {
        crc ^= bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
        crc = table[7][crc & 255] ^ table[6][crc >> 8 & 255] ^ table[5][crc >> 16 & 255] ^
              table[4][crc >> 24] ^ table[3][bytes[4]] ^ table[2][bytes[5]] ^ table[1][bytes[6]] ^
              table[0][bytes[7]];
    }
    while (count--) crc = crc >> 8 ^ table[0][(crc ^ *bytes++) & 255];
    return ~crc;
}
