// Products of quantized weights with F32 activations on x86, eight rows of weights at a time.
//
// Part of repack.cpp. Of every 32 values of eight rows, a vector of 256 bits holds four of each row. It
// is multiplied by the same four activations for all rows: no sums across a vector, no signs to move
// from one factor to the other, and a block's bits are unpacked once for all columns. Activations are
// quantized to eight bits by 32 values. A sum is made in the same order whatever the number of columns.
#pragma once

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include <immintrin.h>

#define GGML_ROWS8

#if defined(__GNUC__) && !defined(__clang__)
#define EACH _Pragma("GCC unroll 8")
#else
#define EACH
#endif

namespace ggml::cpu::repack {
namespace rows8 {

constexpr int ROWS   = 8;
constexpr int COLS   = 4;   // of a tile: what the registers hold
constexpr int GROUPS = 2;   // of eight rows, that the activations are read for at a time
constexpr int PIECE  = 32;  // blocks of 32 values, unpacked at a time: what the nearest cache holds

// 32 values of a column.
struct activations {
    float   d;
    float   sum;      // of the values, not of qs
    int16_t sums[2];  // of the first and second 16 of qs
    int8_t  qs[32];
};

// The bits of 32 values of each row. Value 4*g + i of row r has its lower four bits in byte
// 32*(g % 4) + 4*r + i, upper half if g > 3, and its fifth one in byte 4*r + i, bit g.
using nibbles = uint8_t[4 * 32];
using fifths  = uint8_t[32];

struct q4_0 {
    ggml_half d[ROWS];
    nibbles   qs;
};

struct q5_0 {
    ggml_half d[ROWS];
    fifths    qh;
    nibbles   qs;
};

struct q8_0 {
    ggml_half d[ROWS];
    int8_t    qs[8 * 32];  // byte 32*g + 4*r + i: row r's value 4*g + i
};

// Scales and minima of eight blocks of 32 values: block b's of row r is in byte 8*(b % 4) + r.
struct factors {
    ggml_half d[ROWS];
    ggml_half dmin[ROWS];
    uint8_t   scales[32];  // the lower four bits, upper half if b > 3
    uint8_t   minima[32];
    uint8_t   upper[32];   // from bit 0 on two bits of each: scales of b < 4, of b > 3, minima of both
};

struct q4_K {
    factors f;
    nibbles qs[8];
};

struct q5_K {
    factors f;
    fifths  qh[8];
    nibbles qs[8];
};

struct q6_K {
    ggml_half d[ROWS];
    int8_t    scales[16][ROWS];
    uint8_t   qh[8][2 * 32];  // of 32 values each: byte 32*h + 4*r + i, from bit 2*g on: value 16*h + 4*g + i
    nibbles   qs[8];
};

static_assert(sizeof(q4_0) == ROWS * sizeof(block_q4_0), "wrong size of q4_0");
static_assert(sizeof(q5_0) == ROWS * sizeof(block_q5_0), "wrong size of q5_0");
static_assert(sizeof(q8_0) == ROWS * sizeof(block_q8_0), "wrong size of q8_0");
static_assert(sizeof(q4_K) == ROWS * sizeof(block_q4_K), "wrong size of q4_K");
static_assert(sizeof(q5_K) == ROWS * sizeof(block_q5_K), "wrong size of q5_K");
static_assert(sizeof(q6_K) == ROWS * sizeof(block_q6_K), "wrong size of q6_K");
static_assert(sizeof(activations) == 44, "wrong size of activations");

// 32 values of eight rows, a byte for each: q[g] has in byte 4*r + i row r's value 4*g + i.
struct unpacked {
    __m256i q[8];
    __m256  d;
};

// ... of which `low` is taken: values are d * q - low.
struct unpacked_above {
    __m256i q[8];
    __m256  d;
    __m256  low;
};

struct unpacked_halves {
    __m256i q[8];
    __m256  d;
    __m256i scales[2];  // of the first and second 16 values: row r's scale, twice
    __m256i both;       // row r's first and second scale
};

static inline __m256i four(const int8_t * qs) {
    int32_t bytes;
    memcpy(&bytes, qs, sizeof(bytes));
    return _mm256_set1_epi32(bytes);
}

#if (defined(__AVX512VNNI__) && defined(__AVX512VL__)) || defined(__AVXVNNI__)
#define GGML_ROWS8_VNNI
#endif

// sum + the products of unsigned and signed bytes, by fours
static inline __m256i add_products(__m256i sum, __m256i u, __m256i s) {
#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
    return _mm256_dpbusd_epi32(sum, u, s);
#elif defined(__AVXVNNI__)
    return _mm256_dpbusd_avx_epi32(sum, u, s);
#else
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(u, s), _mm256_set1_epi16(1)));
#endif
}

static inline __m256i sums_of(const activations & x) {
    int32_t both;
    memcpy(&both, x.sums, sizeof(both));
    return _mm256_set1_epi32(both);
}

static void quantize(const float * GGML_RESTRICT x, activations * GGML_RESTRICT y, int64_t blocks) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    for (int64_t i = 0; i < blocks; i++, x += 32) {
        __m256 v[4];
        __m256 largest = _mm256_setzero_ps();
        for (int j = 0; j < 4; j++) {
            v[j]    = _mm256_loadu_ps(x + 8 * j);
            largest = _mm256_max_ps(largest, _mm256_andnot_ps(sign, v[j]));
        }
        __m128 most = _mm_max_ps(_mm256_extractf128_ps(largest, 1), _mm256_castps256_ps128(largest));
        most        = _mm_max_ps(most, _mm_movehl_ps(most, most));
        most        = _mm_max_ss(most, _mm_movehdup_ps(most));
        const float amax = _mm_cvtss_f32(most);

        const __m256 factor = _mm256_set1_ps(amax != 0.0f ? 127.0f / amax : 0.0f);
        __m256i      n[4];
        for (int j = 0; j < 4; j++) {
            n[j] = _mm256_cvtps_epi32(_mm256_mul_ps(v[j], factor));  // to the nearest
        }
        __m256i q = _mm256_packs_epi16(_mm256_packs_epi32(n[0], n[1]), _mm256_packs_epi32(n[2], n[3]));
        q         = _mm256_permutevar8x32_epi32(q, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        _mm256_storeu_si256((__m256i *) y[i].qs, q);

        const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), q);
        __m256i       sum   = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
        sum                 = _mm256_hadd_epi32(sum, sum);
        sum                 = _mm256_hadd_epi32(sum, sum);
        y[i].d              = amax / 127.0f;
        y[i].sums[0]        = (int16_t) _mm256_extract_epi32(sum, 0);
        y[i].sums[1]        = (int16_t) _mm256_extract_epi32(sum, 4);
        y[i].sum            = y[i].d * (y[i].sums[0] + y[i].sums[1]);
    }
}

static inline __m256 scales_of(const ggml_half * d) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *) d));
}

// Packing goes by words of four bytes: values 4*g to 4*g + 3 of one row.
static inline uint32_t word(const void * from) {
    uint32_t w;
    memcpy(&w, from, sizeof(w));
    return w;
}

static inline void put(void * to, uint32_t w) {
    memcpy(to, &w, sizeof(w));
}

// byte k: value k and, in the upper half, value 16 + k
static inline void pack_nibbles(int r, const uint8_t * pairs, nibbles & out) {
    for (int p = 0; p < 4; p++) {
        put(out + 32 * p + 4 * r, word(pairs + 4 * p));
    }
}

// the lower or the upper halves of 32 bytes
static inline void pack_half(int r, const uint8_t * bytes, bool upper, nibbles & out) {
    for (int p = 0; p < 4; p++) {
        const uint32_t first = word(bytes + 4 * p), second = word(bytes + 16 + 4 * p);
        put(out + 32 * p + 4 * r, upper ? (first >> 4 & 0x0F0F0F0F) | (second & 0xF0F0F0F0)
                                        : (first & 0x0F0F0F0F) | (second << 4 & 0xF0F0F0F0));
    }
}

// bit k is the one of value k; four neighbours go to four bytes
static inline void pack_fifths(int r, uint32_t bits, fifths & out) {
    uint32_t packed = 0;
    for (int g = 0; g < 8; g++) {
        const uint32_t four = bits >> (4 * g) & 15;
        packed |= (four * 0x00204081 & 0x01010101) << g;
    }
    put(out + 4 * r, packed);
}

static inline void unpack_nibbles(const nibbles & in, __m256i * q) {
    const __m256i low = _mm256_set1_epi8(15);
    for (int p = 0; p < 4; p++) {
        const __m256i both = _mm256_loadu_si256((const __m256i *) (in + 32 * p));
        q[p]     = _mm256_and_si256(both, low);
        q[p + 4] = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
    }
}

template <int LEFT> static inline __m256i some_bits(__m256i bytes, int mask) {
    if constexpr (LEFT > 0) {
        bytes = _mm256_slli_epi16(bytes, LEFT);
    } else if constexpr (LEFT < 0) {
        bytes = _mm256_srli_epi16(bytes, -LEFT);
    }
    return _mm256_and_si256(bytes, _mm256_set1_epi8((char) mask));
}

static inline void unpack_fifths(const fifths & in, __m256i * q) {
    const __m256i bits = _mm256_loadu_si256((const __m256i *) in);
    q[0] = _mm256_or_si256(q[0], some_bits<4>(bits, 16));
    q[1] = _mm256_or_si256(q[1], some_bits<3>(bits, 16));
    q[2] = _mm256_or_si256(q[2], some_bits<2>(bits, 16));
    q[3] = _mm256_or_si256(q[3], some_bits<1>(bits, 16));
    q[4] = _mm256_or_si256(q[4], some_bits<0>(bits, 16));
    q[5] = _mm256_or_si256(q[5], some_bits<-1>(bits, 16));
    q[6] = _mm256_or_si256(q[6], some_bits<-2>(bits, 16));
    q[7] = _mm256_or_si256(q[7], some_bits<-3>(bits, 16));
}

// The sum of the products of unsigned values with as many activations. RUN products of pairs fit 16 bits.
template <int RUN, int N>
static inline void products(const __m256i * q, const activations * const * x, int64_t b, __m256i * sum) {
#if defined(GGML_ROWS8_VNNI)
    __m256i part[2][N];
    EACH for (int n = 0; n < N; n++) {
        part[0][n] = part[1][n] = _mm256_setzero_si256();
    }
    EACH for (int g = 0; g < 8; g++) {
        EACH for (int n = 0; n < N; n++) {
            part[g % 2][n] = add_products(part[g % 2][n], q[g], four(x[n][b].qs + 4 * g));
        }
    }
    EACH for (int n = 0; n < N; n++) {
        sum[n] = _mm256_add_epi32(part[0][n], part[1][n]);
    }
#else
    const __m256i ones = _mm256_set1_epi16(1);
    EACH for (int start = 0; start < 8; start += RUN) {
        __m256i part[N];
        EACH for (int n = 0; n < N; n++) {
            part[n] = _mm256_maddubs_epi16(q[start], four(x[n][b].qs + 4 * start));
        }
        EACH for (int g = start + 1; g < start + RUN; g++) {
            EACH for (int n = 0; n < N; n++) {
                part[n] = _mm256_add_epi16(part[n], _mm256_maddubs_epi16(q[g], four(x[n][b].qs + 4 * g)));
            }
        }
        EACH for (int n = 0; n < N; n++) {
            const __m256i wide = _mm256_madd_epi16(part[n], ones);
            sum[n]             = start ? _mm256_add_epi32(sum[n], wide) : wide;
        }
    }
#endif
}

static inline __m256 scaled(__m256 acc, __m256i sum, __m256 d, const activations & x) {
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), _mm256_mul_ps(d, _mm256_set1_ps(x.d)), acc);
}

// Unsigned values above a minimum, RUN products of pairs of which fit 16 bits.
template <int RUN> struct above {
    using wide = unpacked_above;

    template <int N> static inline void add(const wide & w, const activations * const * x, int64_t b, __m256 * acc) {
        __m256i sum[N];
        products<RUN, N>(w.q, x, b, sum);
        EACH for (int n = 0; n < N; n++) {
            acc[n] = _mm256_fnmadd_ps(w.low, _mm256_set1_ps(x[n][b].sum), scaled(acc[n], sum[n], w.d, x[n][b]));
        }
    }
};

struct Q4_0 : above<8> {
    using source = block_q4_0;
    using packed = q4_0;
    static constexpr int BLOCKS = 1;  // of 32 values, in a packed one

    static void pack(const source * const * in, packed & out) {
        for (int r = 0; r < ROWS; r++) {
            out.d[r] = in[r]->d;
            pack_nibbles(r, in[r]->qs, out.qs);
        }
    }

    static inline void unpack(const packed & in, wide * out) {
        unpack_nibbles(in.qs, out->q);
        out->d   = scales_of(in.d);
        out->low = _mm256_mul_ps(out->d, _mm256_set1_ps(8));
    }
};

struct Q5_0 : above<4> {
    using source = block_q5_0;
    using packed = q5_0;
    static constexpr int BLOCKS = 1;

    static void pack(const source * const * in, packed & out) {
        for (int r = 0; r < ROWS; r++) {
            out.d[r] = in[r]->d;
            pack_nibbles(r, in[r]->qs, out.qs);
            pack_fifths(r, word(in[r]->qh), out.qh);
        }
    }

    static inline void unpack(const packed & in, wide * out) {
        unpack_nibbles(in.qs, out->q);
        unpack_fifths(in.qh, out->q);
        out->d   = scales_of(in.d);
        out->low = _mm256_mul_ps(out->d, _mm256_set1_ps(16));
    }
};

// Row r's factors, of block_q4_K and block_q5_K.
template <typename SOURCE> static void pack_factors(int r, const SOURCE & in, factors & out) {
    out.d[r]    = in.GGML_COMMON_AGGR_U.GGML_COMMON_AGGR_S.d;
    out.dmin[r] = in.GGML_COMMON_AGGR_U.GGML_COMMON_AGGR_S.dmin;
    for (int b = 0; b < 4; b++) {
        const uint8_t * s     = in.scales;
        const int       scale = s[b] & 63, later_scale = (s[b + 8] & 15) | (s[b] >> 6) << 4;
        const int       low = s[b + 4] & 63, later_low = (s[b + 8] >> 4) | (s[b + 4] >> 6) << 4;
        out.scales[8 * b + r] = (scale & 15) | (later_scale & 15) << 4;
        out.minima[8 * b + r] = (low & 15) | (later_low & 15) << 4;
        out.upper[8 * b + r]  = scale >> 4 | later_scale >> 4 << 2 | low >> 4 << 4 | later_low >> 4 << 6;
    }
}

static inline __m256 floats_of(const uint8_t * eight) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *) eight)));
}

static inline void unpack_factors(const factors & in, unpacked_above * out) {
    uint8_t       scales[8][ROWS], minima[8][ROWS];
    const __m256i s     = _mm256_loadu_si256((const __m256i *) in.scales);
    const __m256i m     = _mm256_loadu_si256((const __m256i *) in.minima);
    const __m256i upper = _mm256_loadu_si256((const __m256i *) in.upper);
    _mm256_storeu_si256((__m256i *) scales[0], _mm256_or_si256(some_bits<0>(s, 15), some_bits<4>(upper, 48)));
    _mm256_storeu_si256((__m256i *) scales[4], _mm256_or_si256(some_bits<-4>(s, 15), some_bits<2>(upper, 48)));
    _mm256_storeu_si256((__m256i *) minima[0], _mm256_or_si256(some_bits<0>(m, 15), some_bits<0>(upper, 48)));
    _mm256_storeu_si256((__m256i *) minima[4], _mm256_or_si256(some_bits<-4>(m, 15), some_bits<-2>(upper, 48)));
    const __m256 d = scales_of(in.d), dmin = scales_of(in.dmin);
    for (int b = 0; b < 8; b++) {
        out[b].d   = _mm256_mul_ps(d, floats_of(scales[b]));
        out[b].low = _mm256_mul_ps(dmin, floats_of(minima[b]));
    }
}

struct Q4_K : above<8> {
    using source = block_q4_K;
    using packed = q4_K;
    static constexpr int BLOCKS = 8;

    static void pack(const source * const * in, packed & out) {
        for (int r = 0; r < ROWS; r++) {
            pack_factors(r, *in[r], out.f);
            for (int b = 0; b < BLOCKS; b++) {
                pack_half(r, in[r]->qs + 32 * (b / 2), b % 2, out.qs[b]);
            }
        }
    }

    static inline void unpack(const packed & in, wide * out) {
        unpack_factors(in.f, out);
        for (int b = 0; b < BLOCKS; b++) {
            unpack_nibbles(in.qs[b], out[b].q);
        }
    }
};

struct Q5_K : above<4> {
    using source = block_q5_K;
    using packed = q5_K;
    static constexpr int BLOCKS = 8;

    static void pack(const source * const * in, packed & out) {
        for (int r = 0; r < ROWS; r++) {
            pack_factors(r, *in[r], out.f);
            const __m256i high = _mm256_loadu_si256((const __m256i *) in[r]->qh);
            for (int b = 0; b < BLOCKS; b++) {
                const __m256i top = _mm256_sll_epi16(high, _mm_cvtsi32_si128(7 - b));
                pack_half(r, in[r]->qs + 32 * (b / 2), b % 2, out.qs[b]);
                pack_fifths(r, (uint32_t) _mm256_movemask_epi8(top), out.qh[b]);
            }
        }
    }

    static inline void unpack(const packed & in, wide * out) {
        unpack_factors(in.f, out);
        for (int b = 0; b < BLOCKS; b++) {
            unpack_nibbles(in.qs[b], out[b].q);
            unpack_fifths(in.qh[b], out[b].q);
        }
    }
};

struct Q8_0 {
    using source = block_q8_0;
    using packed = q8_0;
    using wide   = unpacked;
    static constexpr int BLOCKS = 1;

    static void pack(const source * const * in, packed & out) {
        for (int r = 0; r < ROWS; r++) {
            out.d[r] = in[r]->d;
            for (int g = 0; g < 8; g++) {
                put(out.qs + 32 * g + 4 * r, word(in[r]->qs + 4 * g));
            }
        }
    }

    static inline void unpack(const packed & in, wide * out) {
        for (int g = 0; g < 8; g++) {
            out->q[g] = _mm256_loadu_si256((const __m256i *) (in.qs + 32 * g));
        }
        out->d = scales_of(in.d);
    }

    template <int N> static inline void add(const wide & w, const activations * const * x, int64_t b, __m256 * acc) {
        __m256i sum[N];
        EACH for (int n = 0; n < N; n++) {
            sum[n] = _mm256_setzero_si256();
        }
        EACH for (int g = 0; g < 8; g++) {
            const __m256i size = _mm256_abs_epi8(w.q[g]);
            EACH for (int n = 0; n < N; n++) {
                sum[n] = add_products(sum[n], size, _mm256_sign_epi8(four(x[n][b].qs + 4 * g), w.q[g]));
            }
        }
        EACH for (int n = 0; n < N; n++) {
            acc[n] = scaled(acc[n], sum[n], w.d, x[n][b]);
        }
    }
};

struct Q6_K {
    using source = block_q6_K;
    using packed = q6_K;
    using wide   = unpacked_halves;
    static constexpr int BLOCKS = 8;

    static void pack(const source * const * in, packed & out) {
        for (int r = 0; r < ROWS; r++) {
            out.d[r] = in[r]->d;
            for (int j = 0; j < 16; j++) {
                out.scales[j][r] = in[r]->scales[j];
            }
            for (int b = 0; b < BLOCKS; b++) {  // two halves of four quarters
                const int half = b / 4, quarter = b % 4;
                pack_half(r, in[r]->ql + 64 * half + 32 * (quarter % 2), quarter / 2, out.qs[b]);
                for (int h = 0; h < 2; h++) {
                    uint32_t packed = 0;
                    for (int g = 0; g < 4; g++) {
                        const uint32_t high = word(in[r]->qh + 32 * half + 16 * h + 4 * g);
                        packed |= (high >> (2 * quarter) & 0x03030303) << (2 * g);
                    }
                    put(out.qh[b] + 32 * h + 4 * r, packed);
                }
            }
        }
    }

    static inline void unpack(const packed & in, wide * out) {
        const __m256 d = scales_of(in.d);
        for (int b = 0; b < BLOCKS; b++, out++) {
            unpack_nibbles(in.qs[b], out->q);
            for (int h = 0; h < 2; h++) {
                const __m256i bits = _mm256_loadu_si256((const __m256i *) (in.qh[b] + 32 * h));
                __m256i *     q    = out->q + 4 * h;
                q[0] = _mm256_or_si256(q[0], some_bits<4>(bits, 48));
                q[1] = _mm256_or_si256(q[1], some_bits<2>(bits, 48));
                q[2] = _mm256_or_si256(q[2], some_bits<0>(bits, 48));
                q[3] = _mm256_or_si256(q[3], some_bits<-2>(bits, 48));
            }
            const __m256i first  = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *) in.scales[2 * b]));
            const __m256i second = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *) in.scales[2 * b + 1]));
            out->d         = d;
            out->both      = _mm256_blend_epi16(first, _mm256_slli_epi32(second, 16), 0xAA);
            out->scales[0] = _mm256_blend_epi16(first, _mm256_slli_epi32(first, 16), 0xAA);
            out->scales[1] = _mm256_blend_epi16(second, _mm256_slli_epi32(second, 16), 0xAA);
        }
    }

    // values are 0 to 63 and stand for -32 to 31: two products of pairs fit 16 bits
    template <int N> static inline void add(const wide & w, const activations * const * x, int64_t b, __m256 * acc) {
        __m256i sum[N];
        EACH for (int n = 0; n < N; n++) {
            const __m256i below = _mm256_madd_epi16(sums_of(x[n][b]), w.both);
            sum[n]              = _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_slli_epi32(below, 5));
        }
        EACH for (int g = 0; g < 8; g += 2) {
            EACH for (int n = 0; n < N; n++) {
                const __m256i one   = _mm256_maddubs_epi16(w.q[g], four(x[n][b].qs + 4 * g));
                const __m256i other = _mm256_maddubs_epi16(w.q[g + 1], four(x[n][b].qs + 4 * g + 4));
                const __m256i part  = _mm256_madd_epi16(_mm256_add_epi16(one, other), w.scales[g / 4]);
                sum[n]              = _mm256_add_epi32(sum[n], part);
            }
        }
        EACH for (int n = 0; n < N; n++) {
            acc[n] = scaled(acc[n], sum[n], w.d, x[n][b]);
        }
    }
};

// Adds to eight rows of N columns what their next blocks contribute.
template <typename TYPE, int N>
static inline void tile(const typename TYPE::wide * w, int64_t blocks, const activations * const * x, bool more,
                        float * const * out) {
    __m256 acc[N];
    EACH for (int n = 0; n < N; n++) {
        acc[n] = more ? _mm256_loadu_ps(out[n]) : _mm256_setzero_ps();
    }
    for (int64_t b = 0; b < blocks; b++) {
        TYPE::template add<N>(w[b], x, b, acc);
    }
    for (int n = 0; n < N; n++) {
        _mm256_storeu_ps(out[n], acc[n]);
    }
}

// a tile of n columns, at most N
template <typename TYPE, int N>
static inline void tiles(int n, const typename TYPE::wide * w, int64_t blocks, const activations * const * x,
                         bool more, float * const * out) {
    if (n == N) {
        tile<TYPE, N>(w, blocks, x, more, out);
    } else if constexpr (N > 1) {
        tiles<TYPE, N - 1>(n, w, blocks, x, more, out);
    }
}

template <typename TYPE> class traits : public tensor_traits_base {
    using packed = typename TYPE::packed;

    bool work_size(int /* n_threads */, const ggml_tensor * op, size_t & size) override {
        size = ggml_nelements(op->src[1]) / 32 * sizeof(activations);
        return op->op == GGML_OP_MUL_MAT;
    }

    bool compute_forward(ggml_compute_params * params, ggml_tensor * op) override {
        if (op->op != GGML_OP_MUL_MAT) {
            return false;
        }
        forward_mul_mat(params, op);
        return true;
    }

    // Some groups of rows, all columns.
    static void rows(const packed * w, int groups, int64_t blocks, const activations * x, int64_t columns,
                     const ggml_tensor * dst, int64_t row) {
        typename TYPE::wide piece[GROUPS][PIECE];
        for (int64_t start = 0; start < blocks; start += PIECE) {
            const int64_t here = MIN(PIECE, blocks - start);
            for (int group = 0; group < groups; group++) {
                for (int64_t b = 0; b < here; b += TYPE::BLOCKS) {
                    TYPE::unpack(w[(group * blocks + start + b) / TYPE::BLOCKS], piece[group] + b);
                }
            }
            for (int64_t column = 0; column < columns; column += COLS) {
                const activations * from[COLS];
                float *             to[COLS];
                const int           n = (int) MIN(COLS, columns - column);
                for (int i = 0; i < n; i++) {
                    const int64_t plane = (column + i) / dst->ne[1], within = (column + i) % dst->ne[1];
                    from[i] = x + (column + i) * blocks + start;
                    to[i]   = (float *) ((char *) dst->data + plane * dst->nb[2] + within * dst->nb[1]) + row;
                }
                for (int group = 0; group < groups; group++) {
                    tiles<TYPE, COLS>(n, piece[group], here, from, start > 0, to);
                    for (int i = 0; i < n; i++) {
                        to[i] += ROWS;
                    }
                }
            }
        }
    }

    void forward_mul_mat(ggml_compute_params * params, ggml_tensor * op) {
        const ggml_tensor * src0 = op->src[0];
        const ggml_tensor * src1 = op->src[1];
        const int64_t       blocks  = src0->ne[0] / 32;
        const int64_t       columns = src1->ne[1] * src1->ne[2];
        activations *       x       = (activations *) params->wdata;

        GGML_ASSERT(src1->type == GGML_TYPE_F32 && src1->nb[0] == sizeof(float) && op->nb[0] == sizeof(float));
        GGML_ASSERT(src0->ne[2] == 1 && src0->ne[3] == 1 && src1->ne[3] == 1);
        GGML_ASSERT(params->wsize >= columns * blocks * sizeof(activations));

        // threads share the blocks of all columns
        const int64_t all = columns * blocks;
        for (int64_t b = all * params->ith / params->nth, end = all * (params->ith + 1) / params->nth; b < end;) {
            const int64_t column = b / blocks, first = b % blocks, count = MIN(blocks - first, end - b);
            const char *  data   = (const char *) src1->data + column / src1->ne[1] * src1->nb[2] +
                                   column % src1->ne[1] * src1->nb[1];
            quantize((const float *) data + 32 * first, x + b, count);
            b += count;
        }

        const int64_t groups = src0->ne[1] / ROWS;
        const int64_t chunk  = MAX(MIN(GROUPS, groups / params->nth), MAX(1, groups / (params->nth * 8)));
        if (params->ith == 0) {
            ggml_threadpool_chunk_set(params->threadpool, params->nth);
        }
        ggml_barrier(params->threadpool);

        for (int64_t c = params->ith; c * chunk < groups; c = ggml_threadpool_chunk_add(params->threadpool, 1)) {
            for (int64_t group = c * chunk, end = MIN(groups, group + chunk); group < end; group += GROUPS) {
                const packed * w = (const packed *) src0->data + group * (blocks / TYPE::BLOCKS);
                rows(w, (int) MIN(GROUPS, end - group), blocks, x, columns, op, group * ROWS);
            }
        }
    }

    int repack(ggml_tensor * t, const void * data, size_t size) override {
        using source = typename TYPE::source;
        const int64_t  blocks = t->ne[0] / (32 * TYPE::BLOCKS);
        const source * from   = (const source *) data;
        packed *       to     = (packed *) t->data;
        if (size != t->ne[1] * blocks * sizeof(source)) {
            return -1;
        }
        for (int64_t row = 0; row < t->ne[1]; row += ROWS, from += ROWS * blocks) {
            for (int64_t b = 0; b < blocks; b++) {
                const source * in[ROWS];
                for (int r = 0; r < ROWS; r++) {
                    in[r] = from + r * blocks + b;
                }
                TYPE::pack(in, *to++);
            }
        }
        return 0;
    }
};

static const ggml::cpu::tensor_traits * traits_of(const ggml_tensor * t) {
    static const traits<Q4_0> q4_0_traits;
    static const traits<Q5_0> q5_0_traits;
    static const traits<Q8_0> q8_0_traits;
    static const traits<Q4_K> q4_K_traits;
    static const traits<Q5_K> q5_K_traits;
    static const traits<Q6_K> q6_K_traits;
    if (t->ne[1] % ROWS != 0 || t->ne[2] != 1 || t->ne[3] != 1) {
        return nullptr;
    }
    switch (t->type) {
        case GGML_TYPE_Q5_0: return &q5_0_traits;
        case GGML_TYPE_Q8_0: return &q8_0_traits;
        case GGML_TYPE_Q5_K: return &q5_K_traits;
        case GGML_TYPE_Q6_K: return &q6_K_traits;
#if !defined(__AVX512F__)  // for which these have other products
        case GGML_TYPE_Q4_0: return &q4_0_traits;
        case GGML_TYPE_Q4_K: return &q4_K_traits;
#endif
        default: return nullptr;
    }
}

}  // namespace rows8
}  // namespace ggml::cpu::repack

#endif
