// Stage 5: the backward pass of blending.
//
// It walks front to back like the forward one and takes the same decisions, so neither alphas nor last indices are
// stored. What lies behind a Gaussian is the suffix S = S_total - sum of what was blended so far, where
// S_total = v . picture - v_alpha * T_end follows from the finished picture. With weight w_i = alpha_i T_i:
//   alpha_i dL/dalpha_i = w_i (c_i . v - S_i / T_(i+1)),  as  T_(i+1) = T_i (1 - alpha_i)
#include <algorithm>

#include "splat_tile.h"

namespace scenerep {

namespace {

const UnitPixels kPixels;

struct BackwardState {
  alignas(64) float transmittance[kUnits][kUnitLanes];
  alignas(64) float suffix[kUnits][kUnitLanes];
  alignas(64) float v[4][kUnits][kUnitLanes];  // gradient of the picture
};

template <int Channels>
void start_tile(const View& view, const PictureGradient& in, int x0, int y0, BackwardState& state) {
  for (int y = 0; y < kTile; y++) {
    for (int x = 0; x < kTile; x++) {
      const int unit = unit_of(x, y), lane = lane_of(x, y);
      const bool inside = y0 + y < view.height && x0 + x < view.width;
      const int64_t pixel = static_cast<int64_t>(y0 + y) * view.width + x0 + x;
      float suffix = 0;
      for (int c = 0; c < Channels; c++) {
        float v = 0;
        if (inside) {
          if (c < in.channels) {
            v = in.v_colour[pixel * in.channels + c];
            suffix += v * in.colour[pixel * in.channels + c];
          } else if (in.v_extra != nullptr) {
            v = in.v_extra[pixel];
            suffix += v * in.extra[pixel];
          }
        }
        state.v[c][unit][lane] = v;
      }
      if (inside && in.v_alpha != nullptr) suffix -= in.v_alpha[pixel] * (1.0f - in.alpha[pixel]);
      state.suffix[unit][lane] = suffix;
      state.transmittance[unit][lane] = 1.0f;
    }
  }
}

// One pair: its sums over the units of `todo`. Flat: alpha may be cut at kAlphaMax, beyond which the shape gets no
// gradient.
template <int Channels, bool Absolute, bool Flat>
SR_INLINE void backward_pair(const Record& r, float x0, float y0, UnitMask todo, BackwardState& state, Sums& out) {
  const Exponent exponent(r, x0, y0);
  const fu zero = 0.0f;
  fu sum_colour[4] = {zero, zero, zero, zero};
  fu sum_g = zero, sum_x = zero, sum_y = zero, sum_xx = zero, sum_xy = zero, sum_yy = zero;
  fu abs_x = zero, abs_y = zero;
  for (; todo != 0; todo &= todo - 1) {
    const int unit = first_unit(todo);
    const fu dx = exponent.x + loadu(kPixels.x[unit]), dy = exponent.y + loadu(kPixels.y[unit]);
    const fu power = exponent.power(dx, dy);
    const fu before = loadu(state.transmittance[unit]);
    const fu raw = exp2(power);
    const fu alpha = zero_unless(power >= fu(kLogAlphaMin), Flat ? min(raw, fu(kAlphaMax)) : raw);
    const fu after = fnma(alpha, before, before);
    // Not so for a pixel that has ended: its transmittance is negative and stays so.
    const mu goes_on = after > fu(kTransmittanceStop);
    store(state.transmittance[unit], select(goes_on, after, negative(before)));

    const fu weight = zero_unless(goes_on, alpha * before);
    fu cv = zero;
    for (int c = 0; c < Channels; c++) {
      const fu v = loadu(state.v[c][unit]);
      cv = c == 0 ? fu(r.colour[c]) * v : fma(fu(r.colour[c]), v, cv);
      sum_colour[c] = fma(weight, v, sum_colour[c]);
    }
    const fu suffix = fnma(weight, cv, loadu(state.suffix[unit]));
    store(state.suffix[unit], suffix);
    fu g = weight * fnma(suffix, reciprocal(after), cv);
    if (Flat) g = zero_unless(raw < fu(kAlphaMax), g);
    const fu gx = g * dx, gy = g * dy;
    sum_g = sum_g + g;
    sum_x = sum_x + gx;
    sum_y = sum_y + gy;
    sum_xx = fma(gx, dx, sum_xx);
    sum_xy = fma(gx, dy, sum_xy);
    sum_yy = fma(gy, dy, sum_yy);
    if (Absolute) {
      abs_x = abs_x + abs(fma(exponent.a + exponent.a, gx, exponent.b * gy));
      abs_y = abs_y + abs(fma(exponent.c + exponent.c, gy, exponent.b * gx));
    }
  }
  const fu v[12] = {sum_colour[0], sum_colour[1], sum_colour[2], sum_colour[3], sum_g, sum_x, sum_y, sum_xx, sum_xy, sum_yy,
                    abs_x,         abs_y};
  sums_of<12>(v, reinterpret_cast<float*>(&out));
}

template <int Channels, bool Absolute>
void backward_tile(Frame& frame, const PictureGradient& in, int tile, BackwardState& state) {
  const View& view = frame.view;
  const int x0 = tile % view.tiles_x() * kTile, y0 = tile / view.tiles_x() * kTile;
  const uint32_t begin = frame.tile_start[tile], end = frame.tile_start[tile + 1];
  if (begin == end) return;
  start_tile<Channels>(view, in, x0, y0, state);
  for (uint32_t pair = begin; pair < end; pair++) {
    const UnitMask todo = frame.pair_mask[pair];
    if (todo == 0) continue;
    const Record& r = frame.ranked[frame.pair_rank[pair]];
    if (pair + 4 < end) __builtin_prefetch(&frame.ranked[frame.pair_rank[pair + 4]]);
    const float x = static_cast<float>(x0), y = static_cast<float>(y0);
    if (r.lo >= kLogAlphaMax - 1e-5f) {
      backward_pair<Channels, Absolute, true>(r, x, y, todo, state, frame.pair_sums[pair]);
    } else {
      backward_pair<Channels, Absolute, false>(r, x, y, todo, state, frame.pair_sums[pair]);
    }
  }
}

}  // namespace

void blend_backward(Frame& frame, const PictureGradient& gradient) {
  frame.pair_sums.ensure(frame.pairs + 1);
  for_each_tile(frame.view, [&](int64_t begin, int64_t end) {
    BackwardState state;
    const bool four = gradient.channels == 4 || gradient.v_extra != nullptr;
    for (int64_t t = begin; t < end; t++) {
      const int tile = static_cast<int>(t);
      if (four && gradient.absolute) backward_tile<4, true>(frame, gradient, tile, state);
      if (four && !gradient.absolute) backward_tile<4, false>(frame, gradient, tile, state);
      if (!four && gradient.absolute) backward_tile<3, true>(frame, gradient, tile, state);
      if (!four && !gradient.absolute) backward_tile<3, false>(frame, gradient, tile, state);
    }
  });
}

}  // namespace scenerep
