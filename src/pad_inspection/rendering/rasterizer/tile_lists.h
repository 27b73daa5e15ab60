// Which ellipses touch which tile of the image, front to back.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

// What blending needs of one ellipse, in one cache line. With d = centre - pixel,
// sigma = half_xx dx^2 + xy dx dy + half_yy dy^2 and alpha = opacity exp(-sigma), that is
// exp(-(sigma + fading)).
struct alignas(64) Ellipse {
    float x, y;
    float half_xx, xy, half_yy;
    float opacity;
    float fading;  // -log(opacity)
    // In a row at distance dy, the pixels with alpha >= 1/255 are within
    // sqrt(width_at_center - width_falloff dy^2) of x + slope dy.
    float slope;
    float values[4];  // red, green, blue, depth
    float width_at_center, width_falloff;
    uint32_t first_slot;  // where its gradients are kept: one slot for each tile of its box
    uint16_t tile_x0, tile_y0;
};
static_assert(sizeof(Ellipse) == 64, "an ellipse is one cache line");

struct TileLists {
    static constexpr uint32_t kNotDrawn = ~0u;

    int count = 0, width = 0, height = 0, columns = 0, rows = 0;
    size_t num_entries = 0;
    // By rank, that is in the order of depth:
    std::vector<Ellipse> ellipses;
    std::vector<uint16_t> tiles_wide, tiles_high;
    std::vector<uint32_t> rank;  // of each Gaussian, or kNotDrawn
    // The ranks in tile t are entries[begins[t]] to entries[begins[t + 1] - 1].
    std::vector<uint32_t> begins, entries;
    std::vector<int> num_blended;  // of each tile: how many entries the forward looked at
    std::vector<float> slot_gradients;
    // Scratch of sorting, kept so that memory is not asked for again for each image:
    std::vector<uint32_t> keys, keys_other, order, order_other, tile_counts;
};
