// Sort by depth once for the image, then deal the ellipses to the tiles in that order: no list of
// (tile, depth) pairs has to be sorted.
#include "tile_lists.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "rasterizer.h"
#include "simd.h"

namespace {

constexpr int kDigitBits = 11, kDigits = 3, kBuckets = 1 << kDigitBits;

// Gaussians that are in the image, by growing depth; stable, so that equal depths keep their order.
// Returns how many, and leaves their indices in lists.order.
int sort_by_depth(TileLists& lists, const float* depths, const int32_t* radii) {
    std::vector<uint32_t> histogram(kDigits * kBuckets, 0);
    int n = 0;
    for (int i = 0; i < lists.count; i++) {
        lists.rank[i] = TileLists::kNotDrawn;
        if (radii[2 * i] <= 0) continue;
        uint32_t key;  // the bits of positive floats are ordered as the floats
        memcpy(&key, depths + i, sizeof key);
        lists.keys[n] = key;
        lists.order[n] = i;
        n++;
        for (int digit = 0; digit < kDigits; digit++)
            histogram[digit * kBuckets + ((key >> (digit * kDigitBits)) & (kBuckets - 1))]++;
    }
    if (n == 0) return 0;
    for (int digit = 0; digit < kDigits; digit++) {
        uint32_t* counts = histogram.data() + digit * kBuckets;
        const int shift = digit * kDigitBits;
        if (counts[(lists.keys[0] >> shift) & (kBuckets - 1)] == (uint32_t)n) continue;
        uint32_t begin = 0;
        for (int bucket = 0; bucket < kBuckets; bucket++) {
            uint32_t size = counts[bucket];
            counts[bucket] = begin;
            begin += size;
        }
        for (int j = 0; j < n; j++) {
            uint32_t to = counts[(lists.keys[j] >> shift) & (kBuckets - 1)]++;
            lists.keys_other[to] = lists.keys[j];
            lists.order_other[to] = lists.order[j];
        }
        std::swap(lists.keys, lists.keys_other);
        std::swap(lists.order, lists.order_other);
    }
    return n;
}

// First and one past the last tile, of `num_tiles`, that an interval of pixel centres touches.
void tile_range(float center, float extent, int num_tiles, int& first, int& last) {
    first = (int)std::floor((center - extent - 0.5f) / kTile);
    last = (int)std::floor((center + extent - 0.5f) / kTile) + 1;
    first = std::min(std::max(first, 0), num_tiles);
    last = std::min(std::max(last, first), num_tiles);
}

// The record of Gaussian i, at rank r.
void fill_ellipse(TileLists& lists, int r, int i, const EllipseArrays& from) {
    Ellipse& e = lists.ellipses[r];
    const float xx = from.conics[3 * i], xy = from.conics[3 * i + 1], yy = from.conics[3 * i + 2];
    e.x = from.means2d[2 * i];
    e.y = from.means2d[2 * i + 1];
    e.half_xx = 0.5f * xx;
    e.xy = xy;
    e.half_yy = 0.5f * yy;
    e.opacity = from.opacities[i];
    e.fading = -std::log(e.opacity);
    const float largest_sigma = kMostExponent - e.fading;
    for (int c = 0; c < 3; c++) e.values[c] = from.colors[3 * i + c];
    e.values[3] = from.depths[i];
    const float determinant = xx * yy - xy * xy, inverse = 1.f / xx;
    e.slope = xy * inverse;
    e.width_at_center = 2 * largest_sigma * inverse;
    e.width_falloff = determinant * inverse * inverse;
    // exact extent of the ellipse alpha = 1/255, not of a multiple of the standard deviation
    const float extent_x = std::sqrt(2 * largest_sigma * yy / determinant);
    const float extent_y = std::sqrt(2 * largest_sigma * xx / determinant);
    int x0, x1, y0, y1;
    tile_range(e.x, extent_x, lists.columns, x0, x1);
    tile_range(e.y, extent_y, lists.rows, y0, y1);
    e.tile_x0 = (uint16_t)x0;
    e.tile_y0 = (uint16_t)y0;
    lists.tiles_wide[r] = (uint16_t)(x1 - x0);
    lists.tiles_high[r] = (uint16_t)(y1 - y0);
}

// Calls visit(tile) for each tile of an ellipse's box.
template <class Visit>
void for_each_tile(const TileLists& lists, int r, Visit visit) {
    const Ellipse& e = lists.ellipses[r];
    for (int ty = e.tile_y0; ty < e.tile_y0 + lists.tiles_high[r]; ty++)
        for (int tx = e.tile_x0; tx < e.tile_x0 + lists.tiles_wide[r]; tx++)
            visit(ty * lists.columns + tx);
}

}  // namespace

extern "C" TileLists* pad_tile_lists_new() { return new TileLists(); }

extern "C" void pad_tile_lists_free(TileLists* lists) { delete lists; }

extern "C" void pad_tile_lists_fill(TileLists* lists_pointer, int count, int width, int height,
                                    const EllipseArrays* ellipses, int threads) {
    TileLists& lists = *lists_pointer;
    lists.count = count;
    lists.width = width;
    lists.height = height;
    lists.columns = (width + kTile - 1) / kTile;
    lists.rows = (height + kTile - 1) / kTile;
    const int num_tiles = lists.columns * lists.rows;
    if ((int)lists.rank.size() < count) {
        for (auto* buffer : {&lists.keys, &lists.keys_other, &lists.order, &lists.order_other,
                             &lists.rank})
            buffer->resize(count);
        lists.ellipses.resize(count);
        lists.tiles_wide.resize(count);
        lists.tiles_high.resize(count);
    }
    const int n = sort_by_depth(lists, ellipses->depths, ellipses->radii);

    // Counting sort into tiles. Each thread takes a stretch of ranks and has its own counts, so
    // the entries of a tile are in the order of rank whatever the number of threads.
    lists.tile_counts.assign((size_t)threads * num_tiles, 0);
    auto stretch = [&](int thread) { return (int)((int64_t)n * thread / threads); };
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int thread = 0; thread < threads; thread++) {
        uint32_t* counts = lists.tile_counts.data() + (size_t)thread * num_tiles;
        for (int r = stretch(thread); r < stretch(thread + 1); r++) {
            lists.rank[lists.order[r]] = r;
            fill_ellipse(lists, r, lists.order[r], *ellipses);
            for_each_tile(lists, r, [&](int tile) { counts[tile]++; });
        }
    }
    lists.begins.resize(num_tiles + 1);
    uint32_t total = 0;
    for (int tile = 0; tile < num_tiles; tile++) {
        lists.begins[tile] = total;
        for (int thread = 0; thread < threads; thread++) {
            uint32_t& begin = lists.tile_counts[(size_t)thread * num_tiles + tile];
            uint32_t size = begin;
            begin = total;
            total += size;
        }
    }
    lists.begins[num_tiles] = total;
    lists.num_entries = total;
    if (lists.entries.size() < total) lists.entries.resize(total + total / 4);
    uint32_t slot = 0;
    for (int r = 0; r < n; r++) {
        lists.ellipses[r].first_slot = slot;
        slot += (uint32_t)lists.tiles_wide[r] * lists.tiles_high[r];
    }
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int thread = 0; thread < threads; thread++) {
        uint32_t* next = lists.tile_counts.data() + (size_t)thread * num_tiles;
        for (int r = stretch(thread); r < stretch(thread + 1); r++)
            for_each_tile(lists, r, [&](int tile) { lists.entries[next[tile]++] = r; });
    }
}
