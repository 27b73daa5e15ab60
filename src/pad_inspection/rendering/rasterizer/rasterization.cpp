// Blending ellipses front to back, and the derivatives.
//
// A tile is done by one thread. For each ellipse a word tells which cells of the tile it touches
// (bit column * 16 + first row), so that only those are looked at. The backward goes front to
// back as well: with the light R that is still to come behind, one number for each pixel, the
// derivative by alpha is T c.v - R / (1 - alpha).
#include <omp.h>

#include <cmath>
#include <cstring>

#include "rasterizer.h"
#include "simd.h"
#include "tile_lists.h"

namespace {

// How far ahead records are fetched into the cache, and how often cells that are done are found.
constexpr uint32_t kPrefetch = 6, kCheckEvery = 8;

// One tile: where it is, and its entries.
struct Tile {
    int x, y;            // in tiles
    float left, top;     // centre of its first pixel, px
    uint32_t begin, end;

    Tile(const TileLists& lists, int index)
        : x(index % lists.columns),
          y(index / lists.columns),
          left(x * kTile + 0.5f),
          top(y * kTile + 0.5f),
          begin(lists.begins[index]),
          end(lists.begins[index + 1]) {}

    // Pixel of a lane of a cell, cells counted by column, then row.
    int pixel_x(int cell, int lane) const {
        return x * kTile + cell / kCellRows * kCellWidth + lane % kCellWidth;
    }
    int pixel_y(int cell, int lane) const {
        return y * kTile + cell % kCellRows * kCellHeight + lane / kCellWidth;
    }
};

// Offsets of pixels in their tile: of the cells in a column and in a row, and of the rows.
struct Offsets {
    Cell x[kCellColumns], y[kCellRows];
    Rows row;

    Offsets() {
        for (int lane = 0; lane < kLanes; lane++) {
            for (int column = 0; column < kCellColumns; column++)
                x[column][lane] = (float)(column * kCellWidth + lane % kCellWidth);
            for (int row = 0; row < kCellRows; row++)
                y[row][lane] = (float)(row * kCellHeight + lane / kCellWidth);
        }
        for (int i = 0; i < kTile; i++) row[i] = (float)i;
    }
};

// Bit of a cell in the words that say which cells are touched or alive.
inline uint64_t cell_bit(int cell) {
    return 1ull << (cell / kCellRows * kTile + cell % kCellRows * kCellHeight);
}

// Cells of a tile that an ellipse touches: row by row, is its nearest pixel within the width.
inline uint64_t touched_cells(const Ellipse& e, const Tile& tile, const Offsets& offsets) {
    const Rows dy = e.y - (tile.top + offsets.row);
    const Rows width_squared = e.width_at_center - e.width_falloff * dy * dy;
    const Rows middle = e.x + e.slope * dy - tile.left;
    uint64_t touched = 0;
    for (int column = 0; column < kCellColumns; column++) {
        // a hundredth of a pixel wider than the cell, for rounding
        const float first = column * kCellWidth - 0.01f;
        const float last = column * kCellWidth + (kCellWidth - 1) + 0.01f;
        const Rows distance = clamp(middle, first, last) - middle;
        uint32_t rows = rows_less_equal(distance * distance, width_squared);
        if (kCellHeight == 2) {
            rows |= rows >> 1;
            rows &= 0x5555u;
        } else if (kCellHeight == 4) {
            rows |= rows >> 1;
            rows |= rows >> 2;
            rows &= 0x1111u;
        }
        touched |= (uint64_t)rows << (column * kTile);
    }
    return touched;
}

// Cells with a pixel that still lets light through; the sign of T says it.
inline uint64_t cells_alive(uint64_t alive, const Cell* transmittance) {
    uint64_t result = 0;
    for (uint64_t left = alive; left; left &= left - 1) {
        const int bit = __builtin_ctzll(left);
        if (any_positive(transmittance[bit / kCellHeight])) result |= 1ull << bit;
    }
    return result;
}

// One ellipse at the pixels of one cell.
struct Blend {
    Cell alpha;
    Cell weight;         // alpha T, 0 where nothing is drawn
    Cell falloff;        // -d alpha / d sigma, 0 where alpha is at its limit or nothing is drawn
    Cell transmittance;  // after it; negative: this pixel is done, |T| is its last value

    // scaled_dx: half_xx dx
    ALWAYS_INLINE Blend(const Ellipse& e, Cell dx, Cell scaled_dx, Cell dy, Cell before) {
        const Cell exponent =
            dx * (scaled_dx + e.xy * dy) + ((e.half_yy * dy) * dy + e.fading);
        const Cell gaussian = exp_negative(exponent);
        alpha = minimum(gaussian, splat(kMostAlpha));
        const Cell after = before - before * alpha;
        const CellMask visible = less_equal(exponent, splat(kMostExponent));
        const CellMask drawn = visible & less(splat(kLeastTransmittance), after);
        falloff = only_where(drawn & less_equal(gaussian, splat(kMostAlpha)), gaussian);
        weight = only_where(drawn, alpha * before);
        transmittance = negate_where(visible ^ drawn, choose(drawn, after, before));
    }
};

// Calls visit(cell, dx, half_xx dx, dy) for the cells of a word, in order.
template <class Visit>
ALWAYS_INLINE void for_each_cell(uint64_t cells, const Ellipse& e, const Tile& tile,
                          const Offsets& offsets, Visit visit) {
    Cell dx[kCellColumns], scaled_dx[kCellColumns];
    for (int column = 0; column < kCellColumns; column++) {
        dx[column] = (e.x - tile.left) - offsets.x[column];
        scaled_dx[column] = e.half_xx * dx[column];
    }
    const Cell from_top = splat(e.y - tile.top);
    do {
        const int bit = __builtin_ctzll(cells);
        cells &= cells - 1;
        const Cell dy = from_top - offsets.y[bit % kTile / kCellHeight];
        visit(bit / kCellHeight, dx[bit / kTile], scaled_dx[bit / kTile], dy);
    } while (cells);
}

template <int kChannels>
void forward_tile(TileLists& lists, int index, const Offsets& offsets, const float* background,
                  float* image, float* transmittance) {
    const Tile tile(lists, index);
    alignas(64) Cell passing[kCells], light[kChannels][kCells];
    uint64_t alive = 0;
    for (int cell = 0; cell < kCells; cell++) {
        passing[cell] = splat(1.f);
        for (int c = 0; c < kChannels; c++) light[c][cell] = splat(0.f);
        if (tile.pixel_x(cell, 0) < lists.width && tile.pixel_y(cell, 0) < lists.height)
            alive |= cell_bit(cell);
    }
    uint32_t j = tile.begin;
    while (j < tile.end && alive) {
        const Ellipse& e = lists.ellipses[lists.entries[j]];
        if (j + kPrefetch < tile.end)
            __builtin_prefetch(&lists.ellipses[lists.entries[j + kPrefetch]]);
        const uint64_t cells = touched_cells(e, tile, offsets) & alive;
        if (cells)
            for_each_cell(cells, e, tile, offsets,
                          [&](int cell, Cell dx, Cell scaled_dx, Cell dy) ALWAYS_INLINE_LAMBDA {
                const Blend blend(e, dx, scaled_dx, dy, passing[cell]);
                for (int c = 0; c < kChannels; c++) light[c][cell] += blend.weight * e.values[c];
                passing[cell] = blend.transmittance;
            });
        j++;
        if ((j - tile.begin) % kCheckEvery == 0) alive = cells_alive(alive, passing);
    }
    lists.num_blended[index] = (int)(j - tile.begin);
    for (int cell = 0; cell < kCells; cell++)
        for (int lane = 0; lane < kLanes; lane++) {
            const int px = tile.pixel_x(cell, lane), py = tile.pixel_y(cell, lane);
            if (px >= lists.width || py >= lists.height) continue;
            const size_t at = (size_t)py * lists.width + px;
            const float left = std::fabs(passing[cell][lane]);
            transmittance[at] = left;
            for (int c = 0; c < kChannels; c++)
                image[at * kChannels + c] = light[c][cell][lane] + left * background[c];
        }
}

// Gradients of one ellipse from one tile.
struct SlotGradient {
    // sums over pixels of v_sigma, and of its products with dx, dy, dx^2, dx dy, dy^2
    float one, x, y, xx, xy, yy;
    float values[4];
    float absolute_x, absolute_y;
};
constexpr int kSlotFloats = sizeof(SlotGradient) / sizeof(float);

inline SlotGradient& slot_of(const TileLists& lists, SlotGradient* slots, uint32_t rank,
                             const Tile& tile) {
    const Ellipse& e = lists.ellipses[rank];
    return slots[e.first_slot + (tile.y - e.tile_y0) * lists.tiles_wide[rank] +
                 (tile.x - e.tile_x0)];
}

template <int kChannels, bool kAbsolute>
void backward_tile(TileLists& lists, int index, const Offsets& offsets, const float* image,
                   const float* transmittance, const float* v_image, const float* v_alpha,
                   SlotGradient* slots) {
    const Tile tile(lists, index);
    if (tile.begin == tile.end) return;
    // remaining: light behind, times the derivatives, that is still to come at each pixel
    alignas(64) Cell passing[kCells], remaining[kCells], pull[kChannels][kCells];
    uint64_t alive = 0;
    bool any_pull = false;
    for (int cell = 0; cell < kCells; cell++)
        for (int lane = 0; lane < kLanes; lane++) {
            const int px = tile.pixel_x(cell, lane), py = tile.pixel_y(cell, lane);
            float passes = -1.f, rest = 0.f, v[kChannels] = {0};
            if (px < lists.width && py < lists.height) {
                const size_t at = (size_t)py * lists.width + px;
                passes = 1.f;
                alive |= cell_bit(cell);
                if (v_alpha) {
                    rest = -v_alpha[at] * transmittance[at];
                    any_pull |= v_alpha[at] != 0;
                }
                for (int c = 0; c < kChannels; c++) {
                    v[c] = v_image[at * kChannels + c];
                    rest += v[c] * image[at * kChannels + c];
                    any_pull |= v[c] != 0;
                }
            }
            passing[cell][lane] = passes;
            remaining[cell][lane] = rest;
            for (int c = 0; c < kChannels; c++) pull[c][cell][lane] = v[c];
        }
    const uint32_t last = any_pull ? tile.begin + lists.num_blended[index] : tile.begin;
    for (uint32_t j = tile.begin; j < tile.end; j++) {
        const uint32_t rank = lists.entries[j];
        SlotGradient& slot = slot_of(lists, slots, rank, tile);
        memset(&slot, 0, sizeof slot);
        if (j >= last) continue;
        const Ellipse& e = lists.ellipses[rank];
        if (j + kPrefetch < tile.end)
            __builtin_prefetch(&lists.ellipses[lists.entries[j + kPrefetch]]);
        const uint64_t cells = touched_cells(e, tile, offsets) & alive;
        if (cells) {
            Cell one = {}, x = {}, y = {}, xx = {}, xy = {}, yy = {}, ax = {}, ay = {};
            Cell values[kChannels] = {};
            for_each_cell(cells, e, tile, offsets,
                          [&](int cell, Cell dx, Cell scaled_dx, Cell dy) ALWAYS_INLINE_LAMBDA {
                const Cell before = passing[cell];
                const Blend blend(e, dx, scaled_dx, dy, before);
                Cell seen = pull[0][cell] * e.values[0];
                values[0] += blend.weight * pull[0][cell];
                for (int c = 1; c < kChannels; c++) {
                    seen += pull[c][cell] * e.values[c];
                    values[c] += blend.weight * pull[c][cell];
                }
                const Cell behind = remaining[cell] - seen * blend.weight;
                remaining[cell] = behind;
                const Cell v_alpha_here =
                    before * seen - behind * reciprocal(1.f - blend.alpha);
                const Cell v_sigma = -blend.falloff * v_alpha_here;
                const Cell by_x = v_sigma * dx, by_y = v_sigma * dy;
                one += v_sigma;
                x += by_x;
                y += by_y;
                xx += by_x * dx;
                xy += by_x * dy;
                yy += by_y * dy;
                if (kAbsolute) {
                    const Cell v_x = 2.f * e.half_xx * by_x + e.xy * by_y;
                    const Cell v_y = e.xy * by_x + 2.f * e.half_yy * by_y;
                    ax += v_x < 0 ? -v_x : v_x;
                    ay += v_y < 0 ? -v_y : v_y;
                }
                passing[cell] = blend.transmittance;
            });
            const Cell first[8] = {one, x, y, xx, xy, yy, values[0], values[1]};
            const Float8 sums = sum_cells(first);
            memcpy(&slot, &sums, sizeof sums);
            if (kChannels > 3 || kAbsolute) {
                const Cell rest[8] = {values[2], kChannels > 3 ? values[kChannels - 1] : Cell{},
                                      ax, ay};
                const Float8 others = sum_cells(rest);
                memcpy(&slot.values[2], &others, 4 * sizeof(float));
            } else {
                const Cell rest[8] = {values[2]};
                slot.values[2] = sum_cells(rest)[0];
            }
        }
        if ((j + 1 - tile.begin) % kCheckEvery == 0) alive = cells_alive(alive, passing);
    }
}

template <int kChannels>
void forward(TileLists& lists, const float* background, float* image, float* transmittance,
             int threads) {
    const Offsets offsets;
    const int num_tiles = lists.columns * lists.rows;
    lists.num_blended.resize(num_tiles);
#pragma omp parallel for schedule(dynamic, 4) num_threads(threads)
    for (int index = 0; index < num_tiles; index++)
        forward_tile<kChannels>(lists, index, offsets, background, image, transmittance);
}

template <int kChannels, bool kAbsolute>
void backward(TileLists& lists, const float* image, const float* transmittance,
              const float* v_image, const float* v_alpha, SlotGradient* slots, int threads) {
    const Offsets offsets;
    const int num_tiles = lists.columns * lists.rows;
#pragma omp parallel for schedule(dynamic, 4) num_threads(threads)
    for (int index = 0; index < num_tiles; index++)
        backward_tile<kChannels, kAbsolute>(lists, index, offsets, image, transmittance, v_image,
                                            v_alpha, slots);
}

// Adds up the slots of Gaussian i, always in the same order.
SlotGradient gather(const TileLists& lists, const SlotGradient* slots, uint32_t rank) {
    float total[kSlotFloats] = {0};
    const uint32_t first = lists.ellipses[rank].first_slot;
    const uint32_t count = (uint32_t)lists.tiles_wide[rank] * lists.tiles_high[rank];
    for (uint32_t k = first; k < first + count; k++) {
        const float* slot = reinterpret_cast<const float*>(slots + k);
        for (int q = 0; q < kSlotFloats; q++) total[q] += slot[q];
    }
    SlotGradient result;
    memcpy(&result, total, sizeof result);
    return result;
}

}  // namespace

extern "C" void pad_rasterize_forward(TileLists* lists, int channels, const float* background,
                                      float* image, float* transmittance, int threads) {
    auto* run = channels == 3 ? forward<3> : forward<4>;
    run(*lists, background, image, transmittance, threads);
}

extern "C" void pad_rasterize_backward(TileLists* lists, int channels, const float* image,
                                       const float* transmittance, const float* v_image,
                                       const float* v_alpha, const EllipseArrays* v,
                                       float* v_absolute, int threads) {
    const size_t floats = lists->num_entries * kSlotFloats;
    if (lists->slot_gradients.size() < floats) lists->slot_gradients.resize(floats + floats / 4);
    auto* slots = reinterpret_cast<SlotGradient*>(lists->slot_gradients.data());
    auto* run = channels == 3 ? (v_absolute ? backward<3, true> : backward<3, false>)
                              : (v_absolute ? backward<4, true> : backward<4, false>);
    run(*lists, image, transmittance, v_image, v_alpha, slots, threads);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int i = 0; i < lists->count; i++) {
        const uint32_t rank = lists->rank[i];
        SlotGradient total = {};
        Ellipse e = {};
        e.opacity = 1.f;
        if (rank != TileLists::kNotDrawn) {
            total = gather(*lists, slots, rank);
            e = lists->ellipses[rank];
        }
        v->means2d[2 * i] = 2 * e.half_xx * total.x + e.xy * total.y;
        v->means2d[2 * i + 1] = e.xy * total.x + 2 * e.half_yy * total.y;
        v->conics[3 * i] = 0.5f * total.xx;
        v->conics[3 * i + 1] = total.xy;
        v->conics[3 * i + 2] = 0.5f * total.yy;
        for (int c = 0; c < 3; c++) v->colors[3 * i + c] = total.values[c];
        v->depths[i] = channels == 4 ? total.values[3] : 0.f;
        v->opacities[i] = -total.one / e.opacity;
        if (v_absolute) {
            v_absolute[2 * i] = total.absolute_x;
            v_absolute[2 * i + 1] = total.absolute_y;
        }
    }
}
