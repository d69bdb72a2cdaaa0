// Stages 5 and 6: sums per Gaussian, then the chain rule through projection and spherical harmonics.
#include <algorithm>

#include "pool.h"
#include "splat_adam.h"
#include "splat_math.h"

namespace scenerep {

namespace {

constexpr float kLn2 = 0.6931471805599453f;

SR_INLINE void add(Sums& to, const Sums& from) {
  float* t = reinterpret_cast<float*>(&to);
  const float* f = reinterpret_cast<const float*>(&from);
  for (int i = 0; i < 12; i++) t[i] += f[i];
}

struct Rows {
  int64_t ids[kLanes];
  int count;
};

// Gradients of up to sixteen visible Gaussians; `sums` and `records` are theirs, in the same order.
// With out.adam, row 0 of the short arrays of `out` is the Gaussian `first`.
void gradients16(const Parameters& p, const View& view, const Record* records, const Sums* sums, const Rows& rows,
                 const Gradients& out, int64_t first, bool depth, double* pose) {
  Projected g;
  project16(p, view, rows.ids, g);
  f16 s[12], visible_colour[3];
  {
    alignas(64) float t[15][kLanes];
    for (int lane = 0; lane < kLanes; lane++) {
      const int i = std::min(lane, rows.count - 1);
      const float* row = reinterpret_cast<const float*>(&sums[i]);
      const bool used = lane < rows.count;
      for (int c = 0; c < 12; c++) t[c][lane] = used ? row[c] : 0.0f;
      for (int c = 0; c < 3; c++) t[12 + c][lane] = records[i].colour[c];
    }
    for (int c = 0; c < 12; c++) s[c] = load(t[c]);
    for (int c = 0; c < 3; c++) visible_colour[c] = load(t[12 + c]);
  }
  const f16 zero = 0.0f, two = 2.0f;
  const f16 G = s[4], gx = s[5], gy = s[6], gxx = s[7], gxy = s[8], gyy = s[9];

  // sigma = d^T P d / 2 with P the inverse of cov = U U^T + 0.3 I and dL/dsigma = -g; M = sum of g d d^T. Then
  //   dL/dU_k = P M W_k with W_k = P U_k, and dL/d(log s_k) = W_k^T M W_k.
  // P x is taken as (0.3 x + sum_j r_j (r_j . x)) / det with r_j = U_j turned by 90 degrees: the usual -P G P, times U,
  // cancels twice and loses everything for needles.
  f16 turned_x[3], turned_y[3];
  for (int k = 0; k < 3; k++) {
    turned_x[k] = g.half[3 + k];
    turned_y[k] = -g.half[k];
  }
  auto times_conic = [&](f16 x, f16 y, int skip, f16 low_pass, f16 inverse, f16* to) {
    to[0] = low_pass * x;
    to[1] = low_pass * y;
    for (int j = 0; j < 3; j++) {
      if (j == skip) continue;
      const f16 along = fma(turned_x[j], x, turned_y[j] * y);
      to[0] = fma(turned_x[j], along, to[0]);
      to[1] = fma(turned_y[j], along, to[1]);
    }
    to[0] = to[0] * inverse;
    to[1] = to[1] * inverse;
  };
  const f16 low_pass = kLowPass;
  f16 v_xy[2];
  times_conic(gx, gy, -1, low_pass, g.inverse_determinant, v_xy);
  const f16 v_x = v_xy[0], v_y = v_xy[1];
  f16 v_half[6], v_log_scale[3];
  for (int k = 0; k < 3; k++) {
    f16 w[2], v[2];
    times_conic(g.half[k], g.half[3 + k], k, low_pass, g.inverse_determinant, w);
    const f16 mx = fma(gxx, w[0], gxy * w[1]), my = fma(gxy, w[0], gyy * w[1]);
    times_conic(mx, my, -1, low_pass, g.inverse_determinant, v);
    v_log_scale[k] = fma(w[0], mx, w[1] * my);
    if (p.antialiased) {
      // ln compensation = (ln det(U U^T) - ln det(cov)) / 2; the gradient of ln det(A) by U_k is 2 A^-1 U_k.
      const f16 sharp = g.compensation * g.compensation * g.determinant;
      f16 u[2];
      times_conic(g.half[k], g.half[3 + k], k, zero, f16(1.0f) / max(sharp, f16(1e-30f)), u);
      const f16 ex = G * (u[0] - w[0]), ey = G * (u[1] - w[1]);
      v[0] = v[0] + ex;
      v[1] = v[1] + ey;
      v_log_scale[k] = v_log_scale[k] + fma(g.half[k], ex, g.half[3 + k] * ey);
    }
    v_half[k] = v[0];
    v_half[3 + k] = v[1];
  }
  f16 v_scale[3], v_rotation[9], v_screen[6];
  for (int i = 0; i < 6; i++) v_screen[i] = zero;
  for (int k = 0; k < 3; k++) {
    for (int i = 0; i < 3; i++) {
      // V = T^T v_U: gradient of R S
      const f16 v = fma(g.screen[i], v_half[k], g.screen[3 + i] * v_half[3 + k]);
      v_rotation[3 * i + k] = v * g.scale[k];
      const f16 m = g.rotation[3 * i + k] * g.scale[k];
      v_screen[i] = fma(v_half[k], m, v_screen[i]);
      v_screen[3 + i] = fma(v_half[3 + k], m, v_screen[3 + i]);
    }
    v_scale[k] = fma(f16(out.scale_weight), g.scale[k], v_log_scale[k]);  // of the log
  }
  // Quaternion to rotation, then its normalisation.
  f16 v_quat[4];
  {
    const f16 w = g.quat[0], x = g.quat[1], y = g.quat[2], z = g.quat[3];
    const f16* v = v_rotation;
    v_quat[0] = two * (x * (v[7] - v[5]) + y * (v[2] - v[6]) + z * (v[3] - v[1]));
    v_quat[1] = two * (y * (v[1] + v[3]) + z * (v[2] + v[6]) + w * (v[7] - v[5]) - two * x * (v[4] + v[8]));
    v_quat[2] = two * (x * (v[1] + v[3]) + z * (v[5] + v[7]) + w * (v[2] - v[6]) - two * y * (v[0] + v[8]));
    v_quat[3] = two * (x * (v[2] + v[6]) + y * (v[5] + v[7]) + w * (v[3] - v[1]) - two * z * (v[0] + v[4]));
    f16 along = zero;
    for (int i = 0; i < 4; i++) along = fma(v_quat[i], g.quat[i], along);
    for (int i = 0; i < 4; i++) v_quat[i] = (v_quat[i] - along * g.quat[i]) * g.inverse_norm;
  }
  // J = [fx/z, 0, -fx tx/z^2; 0, fy/z, -fy ty/z^2]; T = J W.
  const float* w = view.rotation;
  f16 v_j[2], v_jz[2];  // of the diagonal and of the last column
  for (int r = 0; r < 2; r++) {
    f16 diagonal = zero, last = zero;
    for (int k = 0; k < 3; k++) {
      diagonal = fma(v_screen[3 * r + k], f16(w[3 * r + k]), diagonal);
      last = fma(v_screen[3 * r + k], f16(w[6 + k]), last);
    }
    v_j[r] = diagonal;
    v_jz[r] = last;
  }
  const f16 iz = g.inverse_z, iz2 = iz * iz;
  const f16 fx = view.fx, fy = view.fy;
  // tx = x inside the limits, else z times the limit.
  const f16 v_tx = -(fx * iz2 * v_jz[0]), v_ty = -(fy * iz2 * v_jz[1]);
  f16 v_local[3];
  v_local[0] = fma(fx * iz, v_x, zero_unless(mask_from_bits(~bits(g.clamped_x)), v_tx));
  v_local[1] = fma(fy * iz, v_y, zero_unless(mask_from_bits(~bits(g.clamped_y)), v_ty));
  f16 v_z = -(iz2 * (fx * v_j[0] + fy * v_j[1])) + two * iz2 * iz * (fx * g.tx * v_jz[0] + fy * g.ty * v_jz[1]);
  v_z = v_z - iz2 * (fx * g.local[0] * v_x + fy * g.local[1] * v_y);
  v_z = v_z + zero_unless(g.clamped_x, v_tx * g.tx * iz) + zero_unless(g.clamped_y, v_ty * g.ty * iz);
  if (depth) v_z = v_z + s[3];
  v_local[2] = v_z;

  f16 v_mean[3];
  for (int k = 0; k < 3; k++)
    v_mean[k] = fma(f16(w[k]), v_local[0], fma(f16(w[3 + k]), v_local[1], f16(w[6 + k]) * v_local[2]));

  // Colour = max(0, 0.5 + sum basis sh).
  const int active = p.active();
  f16 direction[3], v_direction[3], basis[kMaxCoefficients];
  for (int i = 0; i < 3; i++) direction[i] = g.mean[i] - f16(view.centre[i]);
  const f16 inverse = f16(1.0f) / sqrt(max(dot3(direction, direction), f16(1e-24f)));
  for (auto& d : direction) d = d * inverse;
  sh_basis(direction[0], direction[1], direction[2], active, basis);
  f16 v_colour[3];
  for (int c = 0; c < 3; c++) v_colour[c] = zero_unless(visible_colour[c] > zero, s[c]);
  f16 sh[48], v_sh[48], v_basis[kMaxCoefficients];
  if (active > 1) {
    const float* sh_rows[kLanes];
    for (int lane = 0; lane < kLanes; lane++) sh_rows[lane] = p.sh + rows.ids[lane] * 3 * p.coefficients;
    load_wide_rows(sh_rows, 3 * active, sh);
    for (int k = 1; k < active; k++) v_basis[k] = dot3(sh + 3 * k, v_colour);
    sh_basis_gradient(direction[0], direction[1], direction[2], active, v_basis, v_direction);
    const f16 along = dot3(direction, v_direction);
    for (int i = 0; i < 3; i++) {
      v_direction[i] = (v_direction[i] - along * direction[i]) * inverse;
      v_mean[i] = v_mean[i] + v_direction[i];
    }
  } else {
    for (auto& v : v_direction) v = zero;
  }
  for (int k = 0; k < active; k++)
    for (int c = 0; c < 3; c++) v_sh[3 * k + c] = basis[k] * v_colour[c];
  for (int i = 3 * active; i < 48; i++) v_sh[i] = zero;

  const f16 one = 1.0f;
  const f16 v_logit[1] = {(one - g.opacity) * fma(f16(out.opacity_weight), g.opacity, G)};
  int64_t to[kLanes];
  for (int lane = 0; lane < kLanes; lane++) to[lane] = rows.ids[lane] - first;
  store_rows<3>(out.means, to, rows.count, v_mean);
  store_rows<3>(out.log_scales, to, rows.count, v_scale);
  store_rows<4>(out.quats, to, rows.count, v_quat);
  store_rows<1>(out.opacity_logits, to, rows.count, v_logit);
  {
    alignas(64) float scratch[kLanes][3 * kMaxCoefficients];
    float* sh_out[kLanes];
    for (int lane = 0; lane < kLanes; lane++)
      sh_out[lane] = out.adam != nullptr ? scratch[lane] : out.sh + rows.ids[lane] * 3 * p.coefficients;
    store_wide_rows(sh_out, rows.count, 3 * (out.keep_invisible ? active : p.coefficients), v_sh);
    if (out.adam != nullptr)
      for (int lane = 0; lane < rows.count; lane++) out.adam->update_sh(rows.ids[lane], scratch[lane]);
  }
  if (out.screen != nullptr) {
    const f16 v[2] = {v_x, v_y};
    store_rows<2>(out.screen, rows.ids, rows.count, v);
  }
  if (out.screen_abs != nullptr) {
    const f16 v[2] = {f16(kLn2) * s[10], f16(kLn2) * s[11]};  // the exponent's slopes are in base 2
    store_rows<2>(out.screen_abs, rows.ids, rows.count, v);
  }
  if (out.screen_norm != nullptr) {
    const f16 nx = v_x * f16(0.5f * static_cast<float>(view.width)), ny = v_y * f16(0.5f * static_cast<float>(view.height));
    alignas(64) float norm[kLanes];
    store(norm, sqrt(fma(nx, nx, ny * ny)));
    for (int lane = 0; lane < rows.count; lane++) {
      out.screen_norm[rows.ids[lane]] += norm[lane];
      out.screen_count[rows.ids[lane]] += 1.0f;
    }
  }
  if (pose != nullptr) {
    // local = R mean + t; T = J R; the view direction starts at the centre -R^T t. Sums over lanes in double.
    const f16 jx = fx * iz, jy = fy * iz, jxz = -(jx * g.tx * iz), jyz = -(jy * g.ty * iz);
    const m16 lanes = mask_from_bits((1u << rows.count) - 1);
    for (int i = 0; i < 3; i++) {
      for (int k = 0; k < 3; k++) {
        f16 v = v_local[i] * g.mean[k];
        if (i == 0) v = fma(jx, v_screen[k], v);
        if (i == 1) v = fma(jy, v_screen[3 + k], v);
        if (i == 2) v = fma(jxz, v_screen[k], fma(jyz, v_screen[3 + k], v));
        v = fma(f16(view.translation[i]), v_direction[k], v);
        pose[4 * i + k] += static_cast<double>(sum(zero_unless(lanes, v)));
      }
      f16 v = v_local[i];
      for (int k = 0; k < 3; k++) v = fma(f16(w[3 * i + k]), v_direction[k], v);
      pose[4 * i + 3] += static_cast<double>(sum(zero_unless(lanes, v)));
    }
  }
}

void zero_row(const Parameters& p, const Gradients& out, int64_t id) {
  std::fill_n(out.means + 3 * id, 3, 0.0f);
  std::fill_n(out.log_scales + 3 * id, 3, 0.0f);
  std::fill_n(out.quats + 4 * id, 4, 0.0f);
  out.opacity_logits[id] = 0.0f;
  std::fill_n(out.sh + 3 * p.coefficients * id, 3 * p.coefficients, 0.0f);
  if (out.screen != nullptr) std::fill_n(out.screen + 2 * id, 2, 0.0f);
  if (out.screen_abs != nullptr) std::fill_n(out.screen_abs + 2 * id, 2, 0.0f);
}

}  // namespace

void gather(Frame& frame, bool fresh) {
  Sums* sums = frame.sums.ensure(frame.chunk_visible.size() * kProjectChunk);
  Pool::instance().parallel_for(frame.visible, 512, [&](int64_t begin, int64_t end) {
    for (int64_t rank = begin; rank < end; rank++) {
      Sums total = {};
      for (uint32_t e = frame.first[rank]; e < frame.first[rank + 1]; e++) {
        const uint32_t slot = frame.slot[e];
        if (e + 4 < frame.pairs) __builtin_prefetch(&frame.pair_sums[frame.slot[e + 4]]);
        if (frame.pair_mask[slot] != 0) add(total, frame.pair_sums[slot]);
      }
      Sums& to = sums[frame.sorted[rank]];
      if (fresh) {
        to = total;
      } else {
        add(to, total);
      }
    }
  });
}

void parameter_gradients(Frame& frame, const Gradients& out, bool depth) {
  const Parameters& p = frame.parameters;
  const int64_t chunks = static_cast<int64_t>(frame.chunk_visible.size());
  double* pose = nullptr;
  if (out.pose != nullptr) {
    pose = frame.pose_parts.ensure(12 * chunks + 1);
    std::fill_n(pose, 12 * chunks, 0.0);
  }
  Pool::instance().parallel_for(chunks, 1, [&](int64_t c, int64_t) {
    const Record* records = frame.records.data() + c * kProjectChunk;
    const Sums* sums = frame.sums.data() + c * kProjectChunk;
    const int count = frame.chunk_visible[c];
    Gradients to = out;
    SceneAdam::Scratch scratch;
    int64_t first = 0;
    if (out.adam != nullptr) {
      first = c * kProjectChunk;
      to.means = scratch.means;
      to.log_scales = scratch.log_scales;
      to.quats = scratch.quats;
      to.opacity_logits = scratch.opacity_logits;
    }
    for (int begin = 0; begin < count; begin += kLanes) {
      Rows rows;
      rows.count = std::min(kLanes, count - begin);
      for (int lane = 0; lane < kLanes; lane++) rows.ids[lane] = records[begin + std::min(lane, rows.count - 1)].id;
      gradients16(p, frame.view, records + begin, sums + begin, rows, to, first, depth, pose ? pose + 12 * c : nullptr);
    }
    if (out.adam != nullptr) {
      std::fill_n(scratch.seen, kProjectChunk, uint8_t{0});
      for (int i = 0; i < count; i++) scratch.seen[records[i].id - first] = 1;
      out.adam->update_short_rows(scratch, first, std::min<int64_t>(kProjectChunk, p.n - first));
      return;
    }
    if (out.keep_invisible) return;
    int next = 0;
    for (int64_t id = c * kProjectChunk; id < std::min(p.n, (c + 1) * kProjectChunk); id++) {
      if (next < count && records[next].id == id) {
        next++;
      } else {
        zero_row(p, out, id);
      }
    }
  });
  if (pose != nullptr) {
    std::fill_n(out.pose, 12, 0.0);
    for (int64_t c = 0; c < chunks; c++)
      for (int i = 0; i < 12; i++) out.pose[i] += pose[12 * c + i];
  }
}

}  // namespace scenerep
