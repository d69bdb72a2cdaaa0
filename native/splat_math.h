// Projection of sixteen Gaussians and their spherical harmonics, shared by the forward and the backward pass.
#pragma once

#include "splat.h"

namespace scenerep {

// Rows of `columns` values taken at ids[lane], transposed: out[column] holds one value per lane.
// The lane loop is outside so that GCC does not turn it into gathers, which are 2.5x slower here.
template <int Columns>
SR_INLINE void load_rows(const float* base, const int64_t* ids, f16* out) {
  alignas(64) float t[Columns][kLanes];
  for (int lane = 0; lane < kLanes; lane++) {
    const float* row = base + ids[lane] * Columns;
    for (int c = 0; c < Columns; c++) t[c][lane] = row[c];
  }
  for (int c = 0; c < Columns; c++) out[c] = load(t[c]);
}

template <int Columns>
SR_INLINE void store_rows(float* base, const int64_t* ids, int count, const f16* in) {
  alignas(64) float t[Columns][kLanes];
  for (int c = 0; c < Columns; c++) store(t[c], in[c]);
  for (int lane = 0; lane < count; lane++) {
    float* row = base + ids[lane] * Columns;
    for (int c = 0; c < Columns; c++) row[c] = t[c][lane];
  }
}

#if SCENEREP_SIMD_AVX512
SR_INLINE void transpose16(f16* r) {
  __m512 t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i].v, r[i + 1].v);
    t[i + 1] = _mm512_unpackhi_ps(r[i].v, r[i + 1].v);
  }
  __m512 u[16];
  for (int i = 0; i < 16; i += 4) {
    u[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[i]), _mm512_castps_pd(t[i + 2])));
    u[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[i]), _mm512_castps_pd(t[i + 2])));
    u[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[i + 1]), _mm512_castps_pd(t[i + 3])));
    u[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[i + 1]), _mm512_castps_pd(t[i + 3])));
  }
  for (int i = 0; i < 4; i++) {
    const __m512 a = _mm512_shuffle_f32x4(u[i], u[i + 4], 0x88), b = _mm512_shuffle_f32x4(u[i], u[i + 4], 0xdd);
    const __m512 c = _mm512_shuffle_f32x4(u[i + 8], u[i + 12], 0x88), d = _mm512_shuffle_f32x4(u[i + 8], u[i + 12], 0xdd);
    r[i] = _mm512_shuffle_f32x4(a, c, 0x88);
    r[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
    r[i + 8] = _mm512_shuffle_f32x4(a, c, 0xdd);
    r[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
  }
}
#endif

// Columns [0, count) of sixteen rows, transposed; count <= 48 and a row may end right after `count`.
SR_INLINE void load_wide_rows(const float* const* rows, int count, f16* out) {
#if SCENEREP_SIMD_AVX512
  for (int c = 0; c < count; c += 16) {
    const int left = count - c;
    const __mmask16 m = left >= 16 ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
    f16 r[16];
    for (int lane = 0; lane < 16; lane++) r[lane] = _mm512_maskz_loadu_ps(m, rows[lane] + c);
    transpose16(r);
    for (int i = 0; i < 16; i++) out[c + i] = r[i];
  }
#else
  alignas(64) float t[48][kLanes];
  for (int lane = 0; lane < kLanes; lane++)
    for (int c = 0; c < count; c++) t[c][lane] = rows[lane][c];
  for (int c = 0; c < count; c++) out[c] = load(t[c]);
#endif
}

// The inverse of load_wide_rows for the first `lanes` rows.
SR_INLINE void store_wide_rows(float* const* rows, int lanes, int count, f16* in) {
#if SCENEREP_SIMD_AVX512
  for (int c = 0; c < count; c += 16) {
    const int left = count - c;
    const __mmask16 m = left >= 16 ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
    transpose16(in + c);
    for (int lane = 0; lane < lanes; lane++) _mm512_mask_storeu_ps(rows[lane] + c, m, in[c + lane].v);
  }
#else
  alignas(64) float t[48][kLanes];
  for (int c = 0; c < count; c++) store(t[c], in[c]);
  for (int lane = 0; lane < lanes; lane++)
    for (int c = 0; c < count; c++) rows[lane][c] = t[c][lane];
#endif
}

SR_INLINE f16 dot3(const f16* a, const f16* b) { return fma(a[0], b[0], fma(a[1], b[1], a[2] * b[2])); }

// e^x as 2^(x log2 e), with the argument held where exp2 is defined.
SR_INLINE f16 exp(f16 x) { return exp2(min(max(x * f16(1.4426950408889634f), f16(-126.0f)), f16(126.0f))); }

// Everything of sixteen Gaussians between their parameters and the screen.
struct Projected {
  f16 mean[3];
  f16 local[3];       // in camera axes
  f16 inverse_z;
  f16 scale[3];
  f16 quat[4];        // normalised
  f16 inverse_norm;   // of the quaternion
  f16 rotation[9];    // of the quaternion
  f16 tx, ty;         // x and y at which the Jacobian is taken
  m16 clamped_x, clamped_y;  // whether the limits of the Jacobian hold them
  f16 screen[6];      // T = J W, [2, 3]
  f16 half[6];        // U = T R S, [2, 3]; cov = U U^T
  f16 cov_xx, cov_xy, cov_yy;  // with the low-pass
  f16 determinant, inverse_determinant;
  f16 opacity;        // of the parameter
  f16 compensation;   // antialiased mode; else 1
  f16 x, y;           // centre, px
};

SR_INLINE void project16(const Parameters& p, const View& view, const int64_t* ids, Projected& g) {
  f16 quat[4], log_scale[3], logit[1];
  load_rows<3>(p.means, ids, g.mean);
  load_rows<3>(p.log_scales, ids, log_scale);
  load_rows<4>(p.quats, ids, quat);
  load_rows<1>(p.opacity_logits, ids, logit);

  const float* w = view.rotation;
  for (int i = 0; i < 3; i++)
    g.local[i] = fma(f16(w[3 * i]), g.mean[0],
                     fma(f16(w[3 * i + 1]), g.mean[1], fma(f16(w[3 * i + 2]), g.mean[2], f16(view.translation[i]))));
  const f16 z = max(g.local[2], f16(1e-12f));  // lanes behind the camera are culled by the caller; this avoids infinities
  g.inverse_z = f16(1.0f) / z;
  for (int i = 0; i < 3; i++) g.scale[i] = exp(log_scale[i]);
  const f16 norm2 = fma(quat[0], quat[0], fma(quat[1], quat[1], fma(quat[2], quat[2], quat[3] * quat[3])));
  g.inverse_norm = f16(1.0f) / sqrt(max(norm2, f16(1e-24f)));
  for (int i = 0; i < 4; i++) g.quat[i] = quat[i] * g.inverse_norm;
  {
    const f16 qw = g.quat[0], qx = g.quat[1], qy = g.quat[2], qz = g.quat[3], one = 1.0f, two = 2.0f;
    g.rotation[0] = one - two * fma(qy, qy, qz * qz);
    g.rotation[1] = two * (qx * qy - qw * qz);
    g.rotation[2] = two * (qx * qz + qw * qy);
    g.rotation[3] = two * (qx * qy + qw * qz);
    g.rotation[4] = one - two * fma(qx, qx, qz * qz);
    g.rotation[5] = two * (qy * qz - qw * qx);
    g.rotation[6] = two * (qx * qz - qw * qy);
    g.rotation[7] = two * (qy * qz + qw * qx);
    g.rotation[8] = one - two * fma(qx, qx, qy * qy);
  }
  // Jacobian of the perspective projection at (tx, ty, z): EWA splatting (Zwicker et al. 2001, eq. 29).
  const f16 u = g.local[0] * g.inverse_z, v = g.local[1] * g.inverse_z;
  g.clamped_x = (u < f16(view.limit_x_low)) | (u > f16(view.limit_x_high));
  g.clamped_y = (v < f16(view.limit_y_low)) | (v > f16(view.limit_y_high));
  g.tx = z * min(max(u, f16(view.limit_x_low)), f16(view.limit_x_high));
  g.ty = z * min(max(v, f16(view.limit_y_low)), f16(view.limit_y_high));
  const f16 jx = f16(view.fx) * g.inverse_z, jy = f16(view.fy) * g.inverse_z;
  const f16 jxz = -(jx * g.tx * g.inverse_z), jyz = -(jy * g.ty * g.inverse_z);
  for (int k = 0; k < 3; k++) {
    g.screen[k] = fma(jx, f16(w[k]), jxz * f16(w[6 + k]));
    g.screen[3 + k] = fma(jy, f16(w[3 + k]), jyz * f16(w[6 + k]));
  }
  for (int r = 0; r < 2; r++)
    for (int k = 0; k < 3; k++)
      g.half[3 * r + k] = fma(g.screen[3 * r], g.rotation[k],
                              fma(g.screen[3 * r + 1], g.rotation[3 + k], g.screen[3 * r + 2] * g.rotation[6 + k])) *
                          g.scale[k];
  const f16 xx = dot3(g.half, g.half), xy = dot3(g.half, g.half + 3), yy = dot3(g.half + 3, g.half + 3);
  g.cov_xx = xx + f16(kLowPass);
  g.cov_xy = xy;
  g.cov_yy = yy + f16(kLowPass);
  // det(U U^T) = |u0 x u1|^2 (Lagrange's identity): no cancellation, however thin the ellipse.
  const f16 c0 = g.half[1] * g.half[5] - g.half[2] * g.half[4], c1 = g.half[2] * g.half[3] - g.half[0] * g.half[5],
            c2 = g.half[0] * g.half[4] - g.half[1] * g.half[3];
  const f16 sharp = fma(c0, c0, fma(c1, c1, c2 * c2));
  g.determinant = sharp + f16(kLowPass) * (xx + yy) + f16(kLowPass * kLowPass);
  g.inverse_determinant = f16(1.0f) / g.determinant;
  g.opacity = f16(1.0f) / (f16(1.0f) + exp(-logit[0]));
  g.compensation = p.antialiased ? sqrt(sharp * g.inverse_determinant) : f16(1.0f);
  g.x = fma(f16(view.fx), u, f16(view.cx));
  g.y = fma(f16(view.fy), v, f16(view.cy));
}

// Real spherical harmonics in the 3DGS sign convention, for unit directions; `count` of 1, 4, 9 or 16.
SR_INLINE void sh_basis(f16 x, f16 y, f16 z, int count, f16* b) {
  b[0] = 0.28209479177387814f;
  if (count < 4) return;
  b[1] = f16(-0.4886025119029199f) * y;
  b[2] = f16(0.4886025119029199f) * z;
  b[3] = f16(-0.4886025119029199f) * x;
  if (count < 9) return;
  const f16 xx = x * x, yy = y * y, zz = z * z, xy = x * y, yz = y * z, xz = x * z;
  b[4] = f16(1.0925484305920792f) * xy;
  b[5] = f16(-1.0925484305920792f) * yz;
  b[6] = f16(0.31539156525252005f) * (zz + zz - xx - yy);
  b[7] = f16(-1.0925484305920792f) * xz;
  b[8] = f16(0.5462742152960396f) * (xx - yy);
  if (count < 16) return;
  b[9] = f16(-0.5900435899266435f) * y * (f16(3.0f) * xx - yy);
  b[10] = f16(2.890611442640554f) * xy * z;
  b[11] = f16(-0.4570457994644658f) * y * (f16(4.0f) * zz - xx - yy);
  b[12] = f16(0.3731763325901154f) * z * (f16(2.0f) * zz - f16(3.0f) * xx - f16(3.0f) * yy);
  b[13] = f16(-0.4570457994644658f) * x * (f16(4.0f) * zz - xx - yy);
  b[14] = f16(1.445305721320277f) * z * (xx - yy);
  b[15] = f16(-0.5900435899266435f) * x * (xx - f16(3.0f) * yy);
}

// Adds the gradient of sum_k v[k] * basis[k] with respect to the direction to d.
SR_INLINE void sh_basis_gradient(f16 x, f16 y, f16 z, int count, const f16* v, f16* d) {
  d[0] = d[1] = d[2] = f16(0.0f);
  if (count < 4) return;
  const f16 c1 = 0.4886025119029199f;
  d[1] = -(c1 * v[1]);
  d[2] = c1 * v[2];
  d[0] = -(c1 * v[3]);
  if (count < 9) return;
  const f16 xx = x * x, yy = y * y, zz = z * z, xy = x * y, yz = y * z, xz = x * z;
  const f16 c2 = 1.0925484305920792f, c20 = 0.31539156525252005f, c22 = 0.5462742152960396f;
  const f16 v4 = c2 * v[4], v5 = -(c2 * v[5]), v6 = c20 * v[6], v7 = -(c2 * v[7]), v8 = c22 * v[8], two = 2.0f;
  d[0] = d[0] + fma(v4, y, fma(v7, z, two * x * (v8 - v6)));
  d[1] = d[1] + fma(v4, x, fma(v5, z, -(two * y * (v6 + v8))));
  d[2] = d[2] + fma(v5, y, fma(v7, x, f16(4.0f) * z * v6));
  if (count < 16) return;
  const f16 v9 = f16(-0.5900435899266435f) * v[9], v10 = f16(2.890611442640554f) * v[10],
            v11 = f16(-0.4570457994644658f) * v[11], v12 = f16(0.3731763325901154f) * v[12],
            v13 = f16(-0.4570457994644658f) * v[13], v14 = f16(1.445305721320277f) * v[14],
            v15 = f16(-0.5900435899266435f) * v[15];
  const f16 three = 3.0f, four = 4.0f, six = 6.0f, eight = 8.0f;
  d[0] = d[0] + v9 * six * xy + v10 * yz - v11 * two * xy - v12 * six * xz + v13 * (four * zz - three * xx - yy) +
         v14 * two * xz + v15 * three * (xx - yy);
  d[1] = d[1] + v9 * three * (xx - yy) + v10 * xz + v11 * (four * zz - xx - three * yy) - v12 * six * yz -
         v13 * two * xy - v14 * two * yz - v15 * six * xy;
  d[2] = d[2] + v10 * xy + v11 * eight * yz + v12 * (six * zz - three * xx - three * yy) + v13 * eight * xz +
         v14 * (xx - yy);
}

}  // namespace scenerep
