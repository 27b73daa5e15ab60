// Interface of the CPU rasterizer of 3D Gaussians: plain C, called through ctypes.
//
// One image is drawn in three calls: project (Gaussians in space -> ellipses in the image),
// fill tile lists (which ellipses touch which tile, front to back), rasterize. Each of the first
// and the last has a backward. All arrays are row-major float32; N Gaussians, H x W pixels, the
// centre of the first pixel is at (0.5, 0.5). Results do not depend on the number of threads.
//
// Source: Kerbl et al. (2023), 3D Gaussian Splatting for Real-Time Radiance Field Rendering;
// Zwicker et al. (2001), EWA Volume Splatting; for the derivatives Ye et al. (2024), gsplat.
#pragma once
#include <cstdint>

// Blending leaves out what is fainter than this, and stops before so little light would pass.
constexpr float kLeastAlpha = 1.f / 255.f;
constexpr float kMostExponent = 5.54126355f;  // -log of it
constexpr float kMostAlpha = 0.999f;
constexpr float kLeastTransmittance = 1e-4f;

// Gaussians in space, after activation.
struct GaussianArrays {
    int32_t count;
    int32_t num_bases;  // K, spherical-harmonics bases that are stored
    const float* means;      // (N, 3)
    const float* quats;      // (N, 4) wxyz, any length
    const float* scales;     // (N, 3)
    const float* opacities;  // (N)
    const float* sh;         // (N, K, 3)
};

// A pinhole camera and how Gaussians are projected into it.
struct ViewSettings {
    const float* viewmat;  // (4, 4) camera from world
    const float* center;   // (3) the camera in the world
    float fx, fy, cx, cy;  // px
    int32_t width, height;
    float near_plane, far_plane;
    float dilation;        // px^2, added to the variance in the image
    int32_t antialiased;   // lower the opacity by what the dilation widens
    int32_t sh_degree;     // bases up to this degree are used
    int32_t threads;
};

// Ellipses in the image; read in the rasterizer, written by the projection.
struct EllipseArrays {
    float* means2d;    // (N, 2) px
    float* depths;     // (N)
    float* conics;     // (N, 3) inverse covariance xx, xy, yy
    float* colors;     // (N, 3)
    float* opacities;  // (N)
    int32_t* radii;    // (N, 2) px, 0 = not in the image; null for gradients
};

struct TileLists;

extern "C" {
// The digest of the sources that the library was compiled from.
const char* pad_source_digest();

void pad_project_forward(const GaussianArrays* gaussians, const ViewSettings* view,
                         const EllipseArrays* ellipses);

// v_x is the derivative of the loss by x. v_viewmat (4, 4) and v_center (3) may both be null.
void pad_project_backward(const GaussianArrays* gaussians, const ViewSettings* view,
                          const EllipseArrays* ellipses, const EllipseArrays* v_ellipses,
                          float* v_means, float* v_quats, float* v_scales, float* v_opacities,
                          float* v_sh, float* v_viewmat, float* v_center);

TileLists* pad_tile_lists_new();
void pad_tile_lists_free(TileLists* lists);
void pad_tile_lists_fill(TileLists* lists, int count, int width, int height,
                         const EllipseArrays* ellipses, int threads);

// channels: 3 = RGB, 4 = RGB and depth. background: (channels). image: (H, W, channels).
void pad_rasterize_forward(TileLists* lists, int channels, const float* background, float* image,
                           float* transmittance, int threads);

// image and transmittance are those of the forward. v_alpha (H, W) may be null. v_absolute (N, 2)
// may be null; it is the sum over pixels of the absolute derivative by the centre.
void pad_rasterize_backward(TileLists* lists, int channels, const float* image,
                            const float* transmittance, const float* v_image,
                            const float* v_alpha, const EllipseArrays* v_ellipses,
                            float* v_absolute, int threads);

// Mean structural similarity of two images (H, W, C) and its derivative by the first (or null).
double pad_ssim(int height, int width, int channels, const float* first, const float* second,
                float* v_first, int threads);
}
