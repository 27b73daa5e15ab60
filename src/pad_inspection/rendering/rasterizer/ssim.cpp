// fused SSIM (11-tap gaussian, sigma 1.5, zero "same" padding, as 3DGS) forward + gradient w.r.t. first image. Planar or interleaved C channels handled as HWC.
#include <cmath>
#include <cstring>
#include <vector>
#include <omp.h>
typedef float vf __attribute__((vector_size(64)));
typedef float vfu __attribute__((vector_size(64), aligned(4)));
#define LD(p) ((vf)*(const vfu*)(p))
#define ST(p, v) (*(vfu*)(p) = (v))
static float WT[11];
static bool init_() { double s = 0; for (int i = 0; i < 11; i++) { WT[i] = std::exp(-(i - 5) * (i - 5) / (2 * 1.5 * 1.5)); s += WT[i]; } for (int i = 0; i < 11; i++) WT[i] /= s; return true; }
static bool ok_ = init_();
// HWC layout: treat a row as W*C floats; horizontal taps are C apart; so both passes are plain contiguous vector loops.
extern "C" double gs_ssim(int H, int W, int C, const float* x, const float* y, float* grad, float gscale, int nth) {
    const int R0 = W * C, R = (R0 + 15) / 16 * 16, P = 5 * C;
    const float C1 = 0.01f * 0.01f, C2 = 0.03f * 0.03f;
    // band processing to stay in cache: each thread handles bands of rows
    static thread_local std::vector<float> dm1, dm2, dm3;
    if (dm1.size() < (size_t)H * R) { dm1.resize((size_t)H * R); dm2.resize((size_t)H * R); dm3.resize((size_t)H * R); }
    float *dm1p = dm1.data(), *dm2p = dm2.data(), *dm3p = dm3.data();
    double tot = 0;
    const int B = 16;
    int nb = (H + B - 1) / B;
#pragma omp parallel num_threads(nth) reduction(+ : tot)
    {
        std::vector<float> hb((size_t)(B + 10) * 5 * R), pad(2 * P + R + 32, 0.f), pad2(2 * P + R + 32, 0.f);
        std::vector<float> px(pad), py(pad);
#pragma omp for schedule(dynamic, 1)
        for (int b = 0; b < nb; b++) {
            int r0 = b * B, r1 = r0 + B < H ? r0 + B : H;
            for (int r = r0 - 5; r < r1 + 5; r++) {
                float* h = hb.data() + (size_t)(r - r0 + 5) * 5 * R;
                if (r < 0 || r >= H) { memset(h, 0, sizeof(float) * 5 * R); continue; }
                memcpy(px.data() + P, x + (size_t)r * R0, R0 * 4); memcpy(py.data() + P, y + (size_t)r * R0, R0 * 4);
                float *h0 = h, *h1 = h + R, *h2 = h + 2 * R, *h3 = h + 3 * R, *h4 = h + 4 * R;
                const float *qx = px.data(), *qy = py.data();
                for (int i = 0; i < R; i += 16) {
                    vf s0 = {}, s1 = {}, s2 = {}, s3 = {}, s4 = {};
                    for (int k = 0; k < 11; k++) { vf u = LD(qx + i + k * C), v = LD(qy + i + k * C); float w = WT[k]; vf wu = w * u, wv = w * v; s0 += wu; s1 += wv; s2 += wu * u; s3 += wv * v; s4 += wu * v; }
                    ST(h0 + i, s0); ST(h1 + i, s1); ST(h2 + i, s2); ST(h3 + i, s3); ST(h4 + i, s4);
                }
            }
            for (int r = r0; r < r1; r++) {
                const float* h = hb.data() + (size_t)(r - r0) * 5 * R;
                float *o1 = dm1p + (size_t)r * R, *o2 = dm2p + (size_t)r * R, *o3 = dm3p + (size_t)r * R;
                vf acc = {};
                for (int i = 0; i < R; i += 16) {
                    vf m1 = {}, m2 = {}, e11 = {}, e22 = {}, e12 = {};
                    for (int k = 0; k < 11; k++) { const float* q = h + (size_t)k * 5 * R + i; float w = WT[k]; m1 += w * LD(q); m2 += w * LD(q + R); e11 += w * LD(q + 2 * R); e22 += w * LD(q + 3 * R); e12 += w * LD(q + 4 * R); }
                    vf s1 = e11 - m1 * m1, s2 = e22 - m2 * m2, s12 = e12 - m1 * m2;
                    vf A = 2 * m1 * m2 + C1, Bb = 2 * s12 + C2, Cc = m1 * m1 + m2 * m2 + C1, D = s1 + s2 + C2;
                    vf iC = 1.f / Cc, iD = 1.f / D, S = A * Bb * iC * iD;
                    if (i + 16 <= R0) acc += S; else for (int l = 0; l < R0 - i; l++) acc[0] += S[l];
                    vf dA = Bb * iC * iD, dB = A * iC * iD, dC = -S * iC, dD = -S * iD;
                    vf g1 = dA * 2 * m2 + dC * 2 * m1 + dB * 2 * (-m2) + dD * (-2 * m1), g3 = dB * 2;
                    if (i + 16 > R0) for (int l = R0 - i; l < 16; l++) g1[l] = dD[l] = g3[l] = 0;
                    ST(o1 + i, g1); ST(o2 + i, dD); ST(o3 + i, g3);
                }
                for (int l = 0; l < 16; l++) tot += acc[l];
            }
        }
        if (grad) {
            std::vector<float>& p1 = px; std::vector<float>& p2 = py; std::vector<float>& p3 = pad2;
            float sc = gscale / ((float)H * R0);
#pragma omp for schedule(dynamic, 1)
            for (int b = 0; b < nb; b++) {
                int r0 = b * B, r1 = r0 + B < H ? r0 + B : H;
                for (int r = r0 - 5; r < r1 + 5; r++) {
                    float* h = hb.data() + (size_t)(r - r0 + 5) * 5 * R;
                    if (r < 0 || r >= H) { memset(h, 0, sizeof(float) * 3 * R); continue; }
                    memcpy(p1.data() + P, dm1p + (size_t)r * R, R * 4); memcpy(p2.data() + P, dm2p + (size_t)r * R, R * 4); memcpy(p3.data() + P, dm3p + (size_t)r * R, R * 4);
                    const float *q1 = p1.data(), *q2 = p2.data(), *q3 = p3.data();
                    float *h0 = h, *h1 = h + R, *h2 = h + 2 * R;
                    for (int i = 0; i < R; i += 16) {
                        vf s0 = {}, s1 = {}, s2 = {};
                        for (int k = 0; k < 11; k++) { float w = WT[k]; s0 += w * LD(q1 + i + k * C); s1 += w * LD(q2 + i + k * C); s2 += w * LD(q3 + i + k * C); }
                        ST(h0 + i, s0); ST(h1 + i, s1); ST(h2 + i, s2);
                    }
                }
                for (int r = r0; r < r1; r++) {
                    const float* h = hb.data() + (size_t)(r - r0) * 5 * R;
                    const float *X = x + (size_t)r * R0, *Y = y + (size_t)r * R0; float* g = grad + (size_t)r * R0;
                    for (int i = 0; i < R; i += 16) {
                        vf s0 = {}, s1 = {}, s2 = {};
                        for (int k = 0; k < 11; k++) { const float* q = h + (size_t)k * 5 * R + i; float w = WT[k]; s0 += w * LD(q); s1 += w * LD(q + R); s2 += w * LD(q + 2 * R); }
                        if (i + 16 <= R0) ST(g + i, sc * (s0 + 2 * LD(X + i) * s1 + LD(Y + i) * s2));
                        else for (int l = 0; l < R0 - i; l++) g[i + l] = sc * (s0[l] + 2 * X[i + l] * s1[l] + Y[i + l] * s2[l]);
                    }
                }
            }
        }
    }
    return tot / ((double)H * R0);
}
