// Vectors of pixels, written with the compiler's vector extensions; intrinsics only where the
// compiler does not find the instruction itself.
//
// A tile of 16 x 16 pixels is cut into cells of CELL_WIDTH x CELL_HEIGHT pixels; a cell is one
// SIMD register: 8 x 2 for AVX-512, 8 x 1 for AVX2, 4 x 1 for SSE. Cells are small in both
// directions because most Gaussians are a few pixels wide.
#pragma once
#include <cstdint>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

// Values stay in registers only when all that uses them is one function.
#define ALWAYS_INLINE_LAMBDA __attribute__((always_inline))
#define ALWAYS_INLINE inline ALWAYS_INLINE_LAMBDA

constexpr int kTile = 16;
constexpr int kCellWidth = CELL_WIDTH;
constexpr int kCellHeight = CELL_HEIGHT;
constexpr int kLanes = kCellWidth * kCellHeight;
constexpr int kCellColumns = kTile / kCellWidth;
constexpr int kCellRows = kTile / kCellHeight;
constexpr int kCells = kCellColumns * kCellRows;
static_assert(kLanes == 4 || kLanes == 8 || kLanes == 16, "a cell fills one register");
static_assert(kCellColumns * kTile <= 64, "cells of a tile are bits of one word");

typedef float Float4 __attribute__((vector_size(16)));
typedef float Float8 __attribute__((vector_size(32)));
typedef float Cell __attribute__((vector_size(kLanes * 4)));  // one float for each pixel of a cell
#if defined(__AVX512F__) && CELL_WIDTH * CELL_HEIGHT == 16
typedef __mmask16 CellMask;  // one bit for each pixel
#else
typedef int32_t CellMask __attribute__((vector_size(kLanes * 4)));  // 0 or -1
#endif
typedef float Rows __attribute__((vector_size(kTile * 4)));  // one float for each row of a tile

static inline Cell splat(float value) {
    Cell zeros = {};
    return zeros + value;
}

static inline float sum(Float4 v) {
    Float4 pairs = v + __builtin_shufflevector(v, v, 2, 3, 0, 1);
    return pairs[0] + pairs[1];
}

// Sums over the pixels of 8 cells, in an order that does not depend on anything.
static inline Float8 sum_cells(const Cell* v) {
#if defined(__AVX512F__) && CELL_WIDTH * CELL_HEIGHT == 16
    // Each step adds halves of two vectors into one, until all eight are in one: one by one
    // they would take three times as many shuffles.
    const auto* c = reinterpret_cast<const __m512*>(v);
    __m512 pairs[4], fours[2];
    for (int i = 0; i < 4; i++)
        pairs[i] = _mm512_add_ps(_mm512_shuffle_f32x4(c[2 * i], c[2 * i + 1], 0x44),
                                 _mm512_shuffle_f32x4(c[2 * i], c[2 * i + 1], 0xee));
    for (int i = 0; i < 2; i++)
        fours[i] = _mm512_add_ps(_mm512_shuffle_f32x4(pairs[2 * i], pairs[2 * i + 1], 0x88),
                                 _mm512_shuffle_f32x4(pairs[2 * i], pairs[2 * i + 1], 0xdd));
    const __m512 eight = _mm512_add_ps(_mm512_shuffle_ps(fours[0], fours[1], 0x44),
                                       _mm512_shuffle_ps(fours[0], fours[1], 0xee));
    const __m512 sums = _mm512_add_ps(eight, _mm512_permute_ps(eight, 0xb1));
    // the first four at lanes 0, 4, 8, 12, the others two lanes after each
    const __m512i lanes = _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 0, 0, 0, 0, 0, 0, 0, 0);
    return (Float8)_mm512_castps512_ps256(_mm512_permutexvar_ps(lanes, sums));
#else
    Float8 sums;
    for (int i = 0; i < 8; i++) {
#if CELL_WIDTH * CELL_HEIGHT == 8
        sums[i] = sum(__builtin_shufflevector(v[i], v[i], 0, 1, 2, 3) +
                      __builtin_shufflevector(v[i], v[i], 4, 5, 6, 7));
#else
        sums[i] = sum(v[i]);
#endif
    }
    return sums;
#endif
}

// 1 / x for x in (0.001, 1]: the hardware's estimate and one Newton step, 2^-23 relative.
static inline Cell reciprocal(Cell x) {
#if defined(__AVX512F__) && CELL_WIDTH * CELL_HEIGHT == 16
    Cell estimate = (Cell)_mm512_rcp14_ps((__m512)x);
    return estimate * (2.f - x * estimate);
#elif defined(__AVX__) && CELL_WIDTH * CELL_HEIGHT == 8
    Cell estimate = (Cell)_mm256_rcp_ps((__m256)x);
    return estimate * (2.f - x * estimate);
#else
    return 1.f / x;
#endif
}

static inline Cell minimum(Cell a, Cell b) {
#if defined(__AVX512F__) && CELL_WIDTH * CELL_HEIGHT == 16
    return (Cell)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX__) && CELL_WIDTH * CELL_HEIGHT == 8
    return (Cell)_mm256_min_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__) && CELL_WIDTH * CELL_HEIGHT == 4
    return (Cell)_mm_min_ps((__m128)a, (__m128)b);
#else
    return a < b ? a : b;
#endif
}

static inline bool any_positive(Cell v) {
#if defined(__AVX512F__) && CELL_WIDTH * CELL_HEIGHT == 16
    return _mm512_cmp_ps_mask((__m512)v, _mm512_setzero_ps(), _CMP_GT_OQ) != 0;
#elif defined(__AVX__) && CELL_WIDTH * CELL_HEIGHT == 8
    return _mm256_movemask_ps(_mm256_cmp_ps((__m256)v, _mm256_setzero_ps(), _CMP_GT_OQ)) != 0;
#else
    bool found = false;
    for (int lane = 0; lane < kLanes; lane++) found |= v[lane] > 0;
    return found;
#endif
}

#if defined(__AVX512F__) && CELL_WIDTH * CELL_HEIGHT == 16
static inline CellMask less_equal(Cell a, Cell b) {
    return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LE_OQ);
}
static inline CellMask less(Cell a, Cell b) {
    return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ);
}
static inline Cell choose(CellMask mask, Cell yes, Cell no) {
    return (Cell)_mm512_mask_blend_ps(mask, (__m512)no, (__m512)yes);
}
// v, 0 where the mask is not.
static inline Cell only_where(CellMask mask, Cell v) {
    return (Cell)_mm512_maskz_mov_ps(mask, (__m512)v);
}
// v with its sign bit set where the mask is.
static inline Cell negate_where(CellMask mask, Cell v) {
    return (Cell)_mm512_mask_or_ps((__m512)v, mask, (__m512)v, _mm512_set1_ps(-0.f));
}
#else
static inline CellMask less_equal(Cell a, Cell b) { return a <= b; }
static inline CellMask less(Cell a, Cell b) { return a < b; }
static inline Cell choose(CellMask mask, Cell yes, Cell no) { return mask ? yes : no; }
static inline Cell only_where(CellMask mask, Cell v) { return (Cell)(mask & (CellMask)v); }
static inline Cell negate_where(CellMask mask, Cell v) {
    return (Cell)((CellMask)v | (mask & (CellMask)splat(-0.f)));
}
#endif

static inline Rows clamp(Rows x, float low, float high) {
#if defined(__AVX512F__)
    return (Rows)_mm512_min_ps(_mm512_max_ps((__m512)x, _mm512_set1_ps(low)),
                               _mm512_set1_ps(high));
#elif defined(__AVX__)
    union {
        Rows rows;
        __m256 half[2];
    } u;
    u.rows = x;
    for (__m256& half : u.half)
        half = _mm256_min_ps(_mm256_max_ps(half, _mm256_set1_ps(low)), _mm256_set1_ps(high));
    return u.rows;
#else
    Rows zeros = {};
    x = x < low ? zeros + low : x;
    return x > high ? zeros + high : x;
#endif
}

// Bit r is set where a <= b in row r.
static inline uint32_t rows_less_equal(Rows a, Rows b) {
#if defined(__AVX512F__)
    return (uint32_t)_mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LE_OQ);
#elif defined(__AVX2__)
    union {
        decltype(a <= b) rows;
        __m256 half[2];
    } u;
    u.rows = a <= b;
    return (uint32_t)_mm256_movemask_ps(u.half[0]) |
           ((uint32_t)_mm256_movemask_ps(u.half[1]) << 8);
#else
    const auto mask = a <= b;
    uint32_t result = 0;
    for (int row = 0; row < kTile; row++) result |= (uint32_t)(mask[row] & 1) << row;
    return result;
#endif
}

// exp(-s) for s in [0, 5.6] (beyond, alpha is below 1/255): a polynomial of degree 5 for
// exp(-s / 8), fitted for the least relative error with value 1 at 0, to the eighth power.
// Relative error below 7e-7.
static inline Cell exp_negative(Cell s) {
    Cell p = splat(-1.79603604e-07f);
    p = p * s + 9.72859032e-06f;
    p = p * s + -0.000324274223f;
    p = p * s + 0.00781093403f;
    p = p * s + -0.124999345f;
    p = p * s + 1.0f;
    p = p * p;
    p = p * p;
    return p * p;
}
