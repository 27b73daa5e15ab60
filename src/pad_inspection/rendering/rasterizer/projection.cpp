// Gaussians in space -> ellipses in the image with their colours, and the derivatives.
//
// With M = R_view R(q) diag(s), J the derivative of the pinhole projection at the centre and
// P = J M (2 x 3), the covariance in the image is P P^T, to which the dilation is added.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "rasterizer.h"
#include "simd.h"

namespace {

// J is taken no farther than this share of the image's half size outside of the image: beyond it
// the linear approximation blows up.
constexpr float kGuardBand = 0.3f;
// Standard deviations within which a Gaussian can be brighter than 1/255.
constexpr float kMostExtent = 3.33f;

constexpr int kMostBases = 16;
// Real spherical harmonics; k<degree><index>, see basis().
constexpr float k00 = 0.2820947917738781f;
constexpr float k1 = 0.48860251190292f;
constexpr float k20 = 1.092548430592079f, k22 = 0.9461746957575601f, k22c = 0.3153915652525201f;
constexpr float k24 = 0.5462742152960396f;
constexpr float k30 = 0.5900435899266435f, k31 = 2.890611442640554f;
constexpr float k32 = 2.285228997322329f, k32c = 0.4570457994644658f;
constexpr float k33 = 1.865881662950577f, k33c = 1.119528997770346f, k35 = 1.445305721320277f;

struct Vec3 {
    float x, y, z;
};

// Values of the bases up to a degree for a unit vector, with the signs that 3DGS uses.
ALWAYS_INLINE void basis(int degree, Vec3 d, float* b) {
    const auto [x, y, z] = d;
    b[0] = k00;
    if (degree < 1) return;
    b[1] = -k1 * y;
    b[2] = k1 * z;
    b[3] = -k1 * x;
    if (degree < 2) return;
    const float xx = x * x, yy = y * y, zz = z * z;
    b[4] = k20 * x * y;
    b[5] = -k20 * y * z;
    b[6] = k22 * zz - k22c;
    b[7] = -k20 * x * z;
    b[8] = k24 * (xx - yy);
    if (degree < 3) return;
    const float c = k32c - k32 * zz;
    b[9] = -k30 * y * (3 * xx - yy);
    b[10] = k31 * x * y * z;
    b[11] = c * y;
    b[12] = z * (k33 * zz - k33c);
    b[13] = c * x;
    b[14] = k35 * z * (xx - yy);
    b[15] = -k30 * x * (xx - 3 * yy);
}

// Derivative of sum(e[k] * basis[k]) by the vector.
Vec3 basis_gradient(int degree, Vec3 d, const float* e) {
    Vec3 v = {0, 0, 0};
    if (degree < 1) return v;
    const auto [x, y, z] = d;
    v = {-k1 * e[3], -k1 * e[1], k1 * e[2]};
    if (degree < 2) return v;
    v.x += k20 * y * e[4] - k20 * z * e[7] + 2 * k24 * x * e[8];
    v.y += k20 * x * e[4] - k20 * z * e[5] - 2 * k24 * y * e[8];
    v.z += -k20 * y * e[5] + 2 * k22 * z * e[6] - k20 * x * e[7];
    if (degree < 3) return v;
    const float xx = x * x, yy = y * y, zz = z * z, c = k32c - k32 * zz;
    v.x += -6 * k30 * x * y * e[9] + k31 * y * z * e[10] + c * e[13] + 2 * k35 * x * z * e[14] -
           3 * k30 * (xx - yy) * e[15];
    v.y += -3 * k30 * (xx - yy) * e[9] + k31 * x * z * e[10] + c * e[11] -
           2 * k35 * y * z * e[14] + 6 * k30 * x * y * e[15];
    v.z += k31 * x * y * e[10] - 2 * k32 * z * (y * e[11] + x * e[13]) +
           (3 * k33 * zz - k33c) * e[12] + k35 * (xx - yy) * e[14];
    return v;
}

// Unit vector from a to b, and one over their distance.
Vec3 direction(const float* a, const float* b, float& inverse_length) {
    Vec3 d = {b[0] - a[0], b[1] - a[1], b[2] - a[2]};
    inverse_length = 1.f / std::sqrt(d.x * d.x + d.y * d.y + d.z * d.z);
    return {d.x * inverse_length, d.y * inverse_length, d.z * inverse_length};
}

// Ranges of x/z and y/z within which J follows the centre.
struct GuardBand {
    float low_x, high_x, low_y, high_y;

    explicit GuardBand(const ViewSettings& v) {
        const float beyond_x = kGuardBand * 0.5f * v.width / v.fx;
        const float beyond_y = kGuardBand * 0.5f * v.height / v.fy;
        low_x = -(v.cx / v.fx + beyond_x);
        high_x = (v.width - v.cx) / v.fx + beyond_x;
        low_y = -(v.cy / v.fy + beyond_y);
        high_y = (v.height - v.cy) / v.fy + beyond_y;
    }
};

// One Gaussian in the camera, with all that forward and backward share.
struct Projected {
    float x, y, z, inverse_z;                 // centre in the camera
    float slope_x, slope_y;                   // x/z and y/z, in the guard band
    float j00, j02, j11, j12;                 // J = [j00 0 j02; 0 j11 j12]
    float qw, qx, qy, qz, inverse_quat_norm;  // unit quaternion
    float rotation[9];                        // R(q)
    float axes[9];                            // R_view R(q)
    float p0[3], p1[3];                       // rows of P
    float xx, xy, yy;                         // P P^T, not dilated

    ALWAYS_INLINE Projected(const GaussianArrays& g, const ViewSettings& view,
                            const GuardBand& band, int i) {
        const float *m = g.means + 3 * i, *vm = view.viewmat;
        x = vm[0] * m[0] + vm[1] * m[1] + vm[2] * m[2] + vm[3];
        y = vm[4] * m[0] + vm[5] * m[1] + vm[6] * m[2] + vm[7];
        z = vm[8] * m[0] + vm[9] * m[1] + vm[10] * m[2] + vm[11];
        inverse_z = 1.f / z;
        slope_x = std::min(band.high_x, std::max(band.low_x, x * inverse_z));
        slope_y = std::min(band.high_y, std::max(band.low_y, y * inverse_z));
        j00 = view.fx * inverse_z;
        j02 = -j00 * slope_x;
        j11 = view.fy * inverse_z;
        j12 = -j11 * slope_y;

        const float* q = g.quats + 4 * i;
        inverse_quat_norm =
            1.f / std::sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
        qw = q[0] * inverse_quat_norm;
        qx = q[1] * inverse_quat_norm;
        qy = q[2] * inverse_quat_norm;
        qz = q[3] * inverse_quat_norm;
        const float r[9] = {
            1 - 2 * (qy * qy + qz * qz), 2 * (qx * qy - qw * qz),     2 * (qx * qz + qw * qy),
            2 * (qx * qy + qw * qz),     1 - 2 * (qx * qx + qz * qz), 2 * (qy * qz - qw * qx),
            2 * (qx * qz - qw * qy),     2 * (qy * qz + qw * qx),     1 - 2 * (qx * qx + qy * qy)};
        memcpy(rotation, r, sizeof r);
        const float* s = g.scales + 3 * i;
        for (int k = 0; k < 3; k++) {
            for (int row = 0; row < 3; row++)
                axes[3 * row + k] = vm[4 * row] * r[k] + vm[4 * row + 1] * r[3 + k] +
                                    vm[4 * row + 2] * r[6 + k];
            p0[k] = (j00 * axes[k] + j02 * axes[6 + k]) * s[k];
            p1[k] = (j11 * axes[3 + k] + j12 * axes[6 + k]) * s[k];
        }
        xx = p0[0] * p0[0] + p0[1] * p0[1] + p0[2] * p0[2];
        xy = p0[0] * p1[0] + p0[1] * p1[1] + p0[2] * p1[2];
        yy = p1[0] * p1[0] + p1[1] * p1[1] + p1[2] * p1[2];
    }
};

float depth_of(const GaussianArrays& g, const ViewSettings& view, int i) {
    const float *m = g.means + 3 * i, *vm = view.viewmat;
    return vm[8] * m[0] + vm[9] * m[1] + vm[10] * m[2] + vm[11];
}

// Writes ellipse i; false when it is not in the image.
bool project_one(const GaussianArrays& g, const ViewSettings& view, const GuardBand& band, int i,
                 const EllipseArrays& to) {
    const float z = depth_of(g, view, i);
    to.depths[i] = z;
    // written so that NaN is not drawn either
    if (!(z >= view.near_plane && z <= view.far_plane)) return false;
    float opacity = g.opacities[i];
    if (!(opacity >= kLeastAlpha)) return false;
    const Projected p(g, view, band, i);
    const float xx = p.xx + view.dilation, yy = p.yy + view.dilation;
    const float determinant = xx * yy - p.xy * p.xy;
    if (!(determinant > 0)) return false;
    if (view.antialiased) {
        opacity *= std::sqrt(std::max(0.f, p.xx * p.yy - p.xy * p.xy) / determinant);
        to.opacities[i] = opacity;
        if (!(opacity >= kLeastAlpha)) return false;
    }
    const float u = view.fx * p.x * p.inverse_z + view.cx;
    const float v = view.fy * p.y * p.inverse_z + view.cy;
    const float extent = std::min(kMostExtent, std::sqrt(2.f * std::log(opacity / kLeastAlpha)));
    const float radius_x = std::ceil(extent * std::sqrt(xx));
    const float radius_y = std::ceil(extent * std::sqrt(yy));
    if (radius_x <= 0 && radius_y <= 0) return false;
    if (u + radius_x <= 0 || u - radius_x >= view.width) return false;
    if (v + radius_y <= 0 || v - radius_y >= view.height) return false;

    to.means2d[2 * i] = u;
    to.means2d[2 * i + 1] = v;
    to.conics[3 * i] = yy / determinant;
    to.conics[3 * i + 1] = -p.xy / determinant;
    to.conics[3 * i + 2] = xx / determinant;
    // at least 1, so that the radius says whether it is in the image
    to.radii[2 * i] = std::max(1, (int)radius_x);
    to.radii[2 * i + 1] = std::max(1, (int)radius_y);

    float unused, bases[kMostBases];
    basis(view.sh_degree, direction(view.center, g.means + 3 * i, unused), bases);
    const float* sh = g.sh + (size_t)i * g.num_bases * 3;
    const int used = (view.sh_degree + 1) * (view.sh_degree + 1);
    float rgb[3] = {0.5f, 0.5f, 0.5f};
    for (int k = 0; k < used; k++)
        for (int c = 0; c < 3; c++) rgb[c] += bases[k] * sh[3 * k + c];
    for (int c = 0; c < 3; c++) to.colors[3 * i + c] = std::max(0.f, rgb[c]);
    return true;
}

// What the Gaussians add to the derivative by the pose.
struct PoseGradient {
    double viewmat[12] = {0};
    double center[3] = {0};
};

struct GaussianGradients {
    float *means, *quats, *scales, *opacities, *sh;
};

void clear_gradient(const GaussianArrays& g, int i, const GaussianGradients& to) {
    std::fill_n(to.means + 3 * i, 3, 0.f);
    std::fill_n(to.scales + 3 * i, 3, 0.f);
    std::fill_n(to.quats + 4 * i, 4, 0.f);
    std::fill_n(to.sh + (size_t)i * g.num_bases * 3, g.num_bases * 3, 0.f);
}

bool nothing_comes_in(const EllipseArrays& v, int i) {
    for (int k = 0; k < 3; k++)
        if (v.conics[3 * i + k] != 0 || v.colors[3 * i + k] != 0) return false;
    return v.means2d[2 * i] == 0 && v.means2d[2 * i + 1] == 0 && v.depths[i] == 0;
}

// Derivative by colour -> by the coefficients (written) and by the direction (returned, before
// the division by the distance is undone).
Vec3 backward_color(const GaussianArrays& g, const ViewSettings& view, int i, const float* color,
                    const float* v_color, float* v_sh) {
    float inverse_distance, bases[kMostBases], pull[kMostBases];
    const Vec3 d = direction(view.center, g.means + 3 * i, inverse_distance);
    basis(view.sh_degree, d, bases);
    const float* sh = g.sh + (size_t)i * g.num_bases * 3;
    const int used = (view.sh_degree + 1) * (view.sh_degree + 1);
    float v[3];
    for (int c = 0; c < 3; c++) v[c] = color[c] > 0 ? v_color[c] : 0;  // clamped at 0
    for (int k = 0; k < used; k++) {
        pull[k] = 0;
        for (int c = 0; c < 3; c++) {
            v_sh[3 * k + c] = bases[k] * v[c];
            pull[k] += sh[3 * k + c] * v[c];
        }
    }
    std::fill_n(v_sh + 3 * used, 3 * (g.num_bases - used), 0.f);
    const Vec3 w = basis_gradient(view.sh_degree, d, pull);
    // through the normalisation of the direction
    const float along = w.x * d.x + w.y * d.y + w.z * d.z;
    return {(w.x - along * d.x) * inverse_distance, (w.y - along * d.y) * inverse_distance,
            (w.z - along * d.z) * inverse_distance};
}

// Derivative by R(q) -> by the quaternion before its normalisation.
void backward_quat(const Projected& p, const float* v_r, float* v_quat) {
    const float w = p.qw, x = p.qx, y = p.qy, z = p.qz;
    const float v[4] = {
        2 * (x * (v_r[7] - v_r[5]) + y * (v_r[2] - v_r[6]) + z * (v_r[3] - v_r[1])),
        2 * (-2 * x * (v_r[4] + v_r[8]) + y * (v_r[1] + v_r[3]) + z * (v_r[2] + v_r[6]) +
             w * (v_r[7] - v_r[5])),
        2 * (x * (v_r[1] + v_r[3]) - 2 * y * (v_r[0] + v_r[8]) + z * (v_r[5] + v_r[7]) +
             w * (v_r[2] - v_r[6])),
        2 * (x * (v_r[2] + v_r[6]) + y * (v_r[5] + v_r[7]) - 2 * z * (v_r[0] + v_r[4]) +
             w * (v_r[3] - v_r[1]))};
    const float unit[4] = {w, x, y, z};
    const float along = v[0] * w + v[1] * x + v[2] * y + v[3] * z;
    for (int k = 0; k < 4; k++) v_quat[k] = (v[k] - along * unit[k]) * p.inverse_quat_norm;
}

void backward_one(const GaussianArrays& g, const ViewSettings& view, const GuardBand& band, int i,
                  const EllipseArrays& forward, const EllipseArrays& v,
                  const GaussianGradients& to, PoseGradient* pose) {
    const Projected p(g, view, band, i);
    const float *vm = view.viewmat, *s = g.scales + 3 * i, *m = g.means + 3 * i;
    const float rz = p.inverse_z;

    // by the covariance: with Q the conic and G the derivative by it, -Q G Q
    const float* q = forward.conics + 3 * i;
    const float g_xx = v.conics[3 * i], g_xy = 0.5f * v.conics[3 * i + 1];
    const float g_yy = v.conics[3 * i + 2];
    const float t00 = g_xx * q[0] + g_xy * q[1], t01 = g_xx * q[1] + g_xy * q[2];
    const float t10 = g_xy * q[0] + g_yy * q[1], t11 = g_xy * q[1] + g_yy * q[2];
    float v_xx = -(q[0] * t00 + q[1] * t10);
    float v_xy = -2.f * (q[0] * t01 + q[1] * t11);
    float v_yy = -(q[1] * t01 + q[2] * t11);
    if (view.antialiased) {
        const float xx = p.xx + view.dilation, yy = p.yy + view.dilation;
        const float dilated = xx * yy - p.xy * p.xy, sharp = p.xx * p.yy - p.xy * p.xy;
        if (sharp > 0) {
            const float factor = std::sqrt(sharp / dilated);
            const float half = 0.5f * v.opacities[i] * g.opacities[i] * factor;
            to.opacities[i] = v.opacities[i] * factor;
            v_xx += half * (p.yy / sharp - yy / dilated);
            v_yy += half * (p.xx / sharp - xx / dilated);
            v_xy += half * 2 * p.xy * (1 / dilated - 1 / sharp);
        } else {
            to.opacities[i] = 0;
        }
    }

    // by P, then by J and by M = axes * diag(s)
    float v_j00 = 0, v_j02 = 0, v_j11 = 0, v_j12 = 0, v_m[9];
    for (int k = 0; k < 3; k++) {
        const float v_p0 = 2 * v_xx * p.p0[k] + v_xy * p.p1[k];
        const float v_p1 = 2 * v_yy * p.p1[k] + v_xy * p.p0[k];
        v_j00 += v_p0 * p.axes[k] * s[k];
        v_j02 += v_p0 * p.axes[6 + k] * s[k];
        v_j11 += v_p1 * p.axes[3 + k] * s[k];
        v_j12 += v_p1 * p.axes[6 + k] * s[k];
        v_m[k] = p.j00 * v_p0;
        v_m[3 + k] = p.j11 * v_p1;
        v_m[6 + k] = p.j02 * v_p0 + p.j12 * v_p1;
    }

    // by the centre in the camera, through the pixel, the depth and J
    const float v_u = v.means2d[2 * i], v_v = v.means2d[2 * i + 1];
    float v_x = p.j00 * v_u, v_y = p.j11 * v_v;
    float v_z = -(p.j00 * p.x * v_u + p.j11 * p.y * v_v) * rz + v.depths[i];
    v_z -= rz * (p.j00 * v_j00 + p.j11 * v_j11 + p.j02 * v_j02 + p.j12 * v_j12);
    // j02 = -j00 slope; the slope is x/z in the guard band and constant outside of it
    if (p.x * rz == p.slope_x) {
        v_x -= p.j00 * rz * v_j02;
        v_z -= p.j02 * rz * v_j02;
    }
    if (p.y * rz == p.slope_y) {
        v_y -= p.j11 * rz * v_j12;
        v_z -= p.j12 * rz * v_j12;
    }

    float v_rotation[9];
    for (int k = 0; k < 3; k++) {
        to.scales[3 * i + k] =
            v_m[k] * p.axes[k] + v_m[3 + k] * p.axes[3 + k] + v_m[6 + k] * p.axes[6 + k];
        const float n[3] = {v_m[k] * s[k], v_m[3 + k] * s[k], v_m[6 + k] * s[k]};
        for (int row = 0; row < 3; row++) {
            v_rotation[3 * row + k] = vm[row] * n[0] + vm[4 + row] * n[1] + vm[8 + row] * n[2];
            if (pose)
                for (int r = 0; r < 3; r++)
                    pose->viewmat[4 * r + row] += n[r] * p.rotation[3 * row + k];
        }
    }
    backward_quat(p, v_rotation, to.quats + 4 * i);

    const Vec3 v_d = backward_color(g, view, i, forward.colors + 3 * i, v.colors + 3 * i,
                                    to.sh + (size_t)i * g.num_bases * 3);
    const float from_direction[3] = {v_d.x, v_d.y, v_d.z}, in_camera[3] = {v_x, v_y, v_z};
    for (int k = 0; k < 3; k++)
        to.means[3 * i + k] =
            vm[k] * v_x + vm[4 + k] * v_y + vm[8 + k] * v_z + from_direction[k];
    if (!pose) return;
    for (int r = 0; r < 3; r++) {
        for (int k = 0; k < 3; k++) pose->viewmat[4 * r + k] += in_camera[r] * m[k];
        pose->viewmat[4 * r + 3] += in_camera[r];
        pose->center[r] -= from_direction[r];
    }
}

}  // namespace

extern "C" const char* pad_source_digest() { return SOURCE_DIGEST; }

extern "C" void pad_project_forward(const GaussianArrays* gaussians, const ViewSettings* view,
                                    const EllipseArrays* to) {
    const GuardBand band(*view);
#pragma omp parallel for schedule(static) num_threads(view->threads)
    for (int i = 0; i < gaussians->count; i++) {
        to->opacities[i] = gaussians->opacities[i];
        if (project_one(*gaussians, *view, band, i, *to)) continue;
        std::fill_n(to->radii + 2 * i, 2, 0);
        std::fill_n(to->means2d + 2 * i, 2, 0.f);
        std::fill_n(to->conics + 3 * i, 3, 0.f);
        std::fill_n(to->colors + 3 * i, 3, 0.f);
    }
}

extern "C" void pad_project_backward(const GaussianArrays* gaussians, const ViewSettings* view,
                                     const EllipseArrays* ellipses, const EllipseArrays* v,
                                     float* v_means, float* v_quats, float* v_scales,
                                     float* v_opacities, float* v_sh, float* v_viewmat,
                                     float* v_center) {
    const GuardBand band(*view);
    const GaussianGradients to = {v_means, v_quats, v_scales, v_opacities, v_sh};
    const int n = gaussians->count, threads = view->threads;
    std::vector<PoseGradient> poses(threads);
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int thread = 0; thread < threads; thread++) {
        const int begin = (int)((int64_t)n * thread / threads);
        const int end = (int)((int64_t)n * (thread + 1) / threads);
        for (int i = begin; i < end; i++) {
            v_opacities[i] = v->opacities[i];
            if (ellipses->radii[2 * i] == 0 || nothing_comes_in(*v, i))
                clear_gradient(*gaussians, i, to);
            else
                backward_one(*gaussians, *view, band, i, *ellipses, *v, to,
                             v_viewmat ? &poses[thread] : nullptr);
        }
    }
    if (!v_viewmat) return;
    std::fill_n(v_viewmat, 16, 0.f);
    std::fill_n(v_center, 3, 0.f);
    for (const PoseGradient& pose : poses) {
        for (int k = 0; k < 12; k++) v_viewmat[k] += (float)pose.viewmat[k];
        for (int k = 0; k < 3; k++) v_center[k] += (float)pose.center[k];
    }
}
