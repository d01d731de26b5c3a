/* Reads cases from standard input: u32 input size, u32 output size, input. Answers each with one
 * byte, whether it was taken, and the CRC of what came out; the sanitisers judge the rest. */
#include <stdio.h>
#include <stdlib.h>

#include "inflate.h"

int main(void) {
    uint32_t sizes[2];
    while (fread(sizes, sizeof sizes, 1, stdin) == 1) {
        uint8_t *in = malloc(sizes[0] + !sizes[0]), *out = malloc(sizes[1] + !sizes[1]);
        if (!in || !out || fread(in, 1, sizes[0], stdin) != sizes[0]) return 2;
        uint8_t taken = (uint8_t)inflate_raw(in, sizes[0], out, sizes[1]);
        uint32_t crc = taken ? crc32_of(out, sizes[1]) : 0;
        fwrite(&taken, 1, 1, stdout);
        fwrite(&crc, sizeof crc, 1, stdout);
        free(in), free(out);
    }
    return 0;
}
