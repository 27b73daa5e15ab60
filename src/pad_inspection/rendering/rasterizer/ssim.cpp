// Structural similarity and its derivative in two passes over bands of rows, 11 x 11 Gaussian
// window of sigma 1.5, zeros outside of the image.
//
// A row of W pixels with C channels is W C floats whose horizontal neighbours are C apart, so both
// directions are loops over contiguous floats. With the windowed means mx, my and moments
// exx, eyy, exy, the derivative by the first image is
// window * d/dmx + 2 x (window * d/dexx) + y (window * d/dexy).
//
// Source: Wang et al. (2004), Image quality assessment: from error visibility to structural
// similarity, eq. 13.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "rasterizer.h"

namespace {

constexpr int kRadius = 5, kTaps = 2 * kRadius + 1, kBand = 16, kWidth = 16;
constexpr float kSigma = 1.5f, kC1 = 0.01f * 0.01f, kC2 = 0.03f * 0.03f;

typedef float Floats __attribute__((vector_size(kWidth * 4)));
typedef float FloatsUnaligned __attribute__((vector_size(kWidth * 4), aligned(4)));

inline Floats load(const float* p) { return (Floats) * (const FloatsUnaligned*)p; }
inline void store(float* p, Floats v) { *(FloatsUnaligned*)p = v; }

struct Window {
    float tap[kTaps];

    Window() {
        float total = 0;
        for (int k = 0; k < kTaps; k++) {
            const float offset = (float)(k - kRadius);
            tap[k] = std::exp(-offset * offset / (2 * kSigma * kSigma));
            total += tap[k];
        }
        for (float& t : tap) t /= total;
    }
};

struct Shape {
    int height, channels;
    int row;     // floats in a row of the images
    int padded;  // the same, rounded up to whole vectors
};

// Windowed values of some maps over the rows of a band and kRadius rows above and below, first in
// the horizontal direction; `vertical` then gives them for one row.
struct BandSums {
    const Shape& shape;
    const Window& window;
    int maps;
    std::vector<float> rows;

    BandSums(const Shape& shape, const Window& window, int maps)
        : shape(shape),
          window(window),
          maps(maps),
          rows((size_t)(kBand + 2 * kRadius) * maps * shape.padded) {}

    float* row(int r, int first_row) {
        return rows.data() + (size_t)(r - first_row + kRadius) * maps * shape.padded;
    }

    // Sums of map `map` down the window about row r, at floats i to i + kWidth - 1.
    Floats vertical(int r, int first_row, int map, int i) {
        Floats total = {};
        const float* p = row(r - kRadius, first_row) + (size_t)map * shape.padded + i;
        for (int k = 0; k < kTaps; k++)
            total += window.tap[k] * load(p + (size_t)k * maps * shape.padded);
        return total;
    }
};

// A copy of a row with zeros on both sides.
struct PaddedRow {
    int margin;
    std::vector<float> values;

    explicit PaddedRow(const Shape& shape)
        : margin(kRadius * shape.channels), values(2 * margin + shape.padded + 2 * kWidth, 0.f) {}

    void set(const float* from, int count) {
        memcpy(values.data() + margin, from, sizeof(float) * count);
    }
    Floats tap(int i, int k, int channels) const {
        return load(values.data() + i + k * channels);
    }
};

// Derivatives of the similarity by mx, exx and exy at each pixel.
struct DerivativeMaps {
    std::vector<float> mean, square, product;

    explicit DerivativeMaps(const Shape& shape)
        : mean((size_t)shape.height * shape.padded), square(mean.size()), product(mean.size()) {}
};

// Similarity of the rows of a band; fills the maps.
double measure_band(const Shape& shape, const Window& window, int first, int last, const float* x,
                    const float* y, BandSums& sums, PaddedRow& px, PaddedRow& py,
                    DerivativeMaps& maps) {
    for (int r = first - kRadius; r < last + kRadius; r++) {
        float* to = sums.row(r, first);
        if (r < 0 || r >= shape.height) {
            std::fill_n(to, (size_t)5 * shape.padded, 0.f);
            continue;
        }
        px.set(x + (size_t)r * shape.row, shape.row);
        py.set(y + (size_t)r * shape.row, shape.row);
        for (int i = 0; i < shape.padded; i += kWidth) {
            Floats mx = {}, my = {}, exx = {}, eyy = {}, exy = {};
            for (int k = 0; k < kTaps; k++) {
                const Floats u = px.tap(i, k, shape.channels), v = py.tap(i, k, shape.channels);
                const Floats wu = window.tap[k] * u, wv = window.tap[k] * v;
                mx += wu;
                my += wv;
                exx += wu * u;
                eyy += wv * v;
                exy += wu * v;
            }
            const Floats all[5] = {mx, my, exx, eyy, exy};
            for (int map = 0; map < 5; map++) store(to + (size_t)map * shape.padded + i, all[map]);
        }
    }
    double total = 0;
    for (int r = first; r < last; r++) {
        const size_t at = (size_t)r * shape.padded;
        Floats similarity_sum = {};
        for (int i = 0; i < shape.padded; i += kWidth) {
            Floats moments[5];
            for (int map = 0; map < 5; map++) moments[map] = sums.vertical(r, first, map, i);
            const auto& [mx, my, exx, eyy, exy] = moments;
            const Floats a = 2 * mx * my + kC1, b = 2 * (exy - mx * my) + kC2;
            const Floats c = mx * mx + my * my + kC1;
            const Floats d = (exx - mx * mx) + (eyy - my * my) + kC2;
            const Floats inverse_c = 1.f / c, inverse_d = 1.f / d;
            const Floats similarity = a * b * inverse_c * inverse_d;
            const Floats by_a = b * inverse_c * inverse_d, by_b = a * inverse_c * inverse_d;
            const Floats by_c = -similarity * inverse_c;
            Floats by_d = -similarity * inverse_d;
            Floats by_mean = 2 * (my * (by_a - by_b) + mx * (by_c - by_d));
            Floats by_product = 2 * by_b;
            const int inside = std::min(kWidth, shape.row - i);
            if (inside == kWidth) {
                similarity_sum += similarity;
            } else {
                for (int lane = 0; lane < kWidth; lane++)
                    if (lane < inside)
                        similarity_sum[0] += similarity[lane];
                    else
                        by_mean[lane] = by_d[lane] = by_product[lane] = 0;
            }
            store(maps.mean.data() + at + i, by_mean);
            store(maps.square.data() + at + i, by_d);
            store(maps.product.data() + at + i, by_product);
        }
        for (int lane = 0; lane < kWidth; lane++) total += similarity_sum[lane];
    }
    return total;
}

// Derivative by the first image in the rows of a band.
void derive_band(const Shape& shape, const Window& window, int first, int last, const float* x,
                 const float* y, const DerivativeMaps& maps, BandSums& sums, PaddedRow& padded,
                 float* v_x) {
    const float* from[3] = {maps.mean.data(), maps.square.data(), maps.product.data()};
    for (int r = first - kRadius; r < last + kRadius; r++)
        for (int map = 0; map < 3; map++) {
            float* to = sums.row(r, first) + (size_t)map * shape.padded;
            if (r < 0 || r >= shape.height) {
                std::fill_n(to, shape.padded, 0.f);
                continue;
            }
            padded.set(from[map] + (size_t)r * shape.padded, shape.padded);
            for (int i = 0; i < shape.padded; i += kWidth) {
                Floats total = {};
                for (int k = 0; k < kTaps; k++)
                    total += window.tap[k] * padded.tap(i, k, shape.channels);
                store(to + i, total);
            }
        }
    const float scale = 1.f / ((float)shape.height * shape.row);
    for (int r = first; r < last; r++) {
        const size_t at = (size_t)r * shape.row;
        for (int i = 0; i < shape.padded; i += kWidth) {
            Floats windowed[3];
            for (int map = 0; map < 3; map++) windowed[map] = sums.vertical(r, first, map, i);
            const int inside = std::min(kWidth, shape.row - i);
            for (int lane = 0; lane < inside; lane++)
                v_x[at + i + lane] =
                    scale * (windowed[0][lane] + 2 * x[at + i + lane] * windowed[1][lane] +
                             y[at + i + lane] * windowed[2][lane]);
        }
    }
}

}  // namespace

extern "C" double pad_ssim(int height, int width, int channels, const float* first,
                           const float* second, float* v_first, int threads) {
    const int row = width * channels;
    const Shape shape = {height, channels, row, (row + kWidth - 1) / kWidth * kWidth};
    const Window window;
    DerivativeMaps maps(shape);
    const int num_bands = (height + kBand - 1) / kBand;
    std::vector<double> totals(num_bands);
#pragma omp parallel num_threads(threads)
    {
        BandSums sums(shape, window, 5);
        PaddedRow px(shape), py(shape);
#pragma omp for schedule(dynamic, 1)
        for (int band = 0; band < num_bands; band++) {
            const int begin = band * kBand, end = std::min(begin + kBand, height);
            totals[band] =
                measure_band(shape, window, begin, end, first, second, sums, px, py, maps);
        }
        if (v_first) {
            BandSums windowed(shape, window, 3);
            PaddedRow padded(shape);
#pragma omp for schedule(dynamic, 1)
            for (int band = 0; band < num_bands; band++) {
                const int begin = band * kBand, end = std::min(begin + kBand, height);
                derive_band(shape, window, begin, end, first, second, maps, windowed, padded,
                            v_first);
            }
        }
    }
    double total = 0;
    for (double part : totals) total += part;
    return total / ((double)height * row);
}
