// Stage 4: blending per tile, Gaussian by Gaussian, one vector per 4x4 block; and its backward pass.
//
// The backward pass walks front to back like the forward one and takes the same decisions, so neither alphas nor last
// indices are stored. What lies behind a Gaussian is the suffix S = S_total - sum of what was blended so far, where
// S_total = v . picture - v_alpha * T_end follows from the finished picture:
//   dL/dalpha_i = T_i (c_i . v) - S_i / (1 - alpha_i)
#include <algorithm>

#include "pool.h"
#include "splat.h"

namespace scenerep {

namespace {

constexpr float kLogAlphaMin = -7.994353436858858f;  // log2(kAlphaMin)

struct Lanes {
  f16 x, y;              // pixel within a block
  f16 block_x, block_y;  // first pixel of block `lane` within a tile
  Lanes() {
    alignas(64) float v[4][kLanes];
    for (int i = 0; i < kLanes; i++) {
      v[0][i] = static_cast<float>(i % 4);
      v[1][i] = static_cast<float>(i / 4);
      v[2][i] = static_cast<float>(4 * (i % 4));
      v[3][i] = static_cast<float>(4 * (i / 4));
    }
    x = load(v[0]);
    y = load(v[1]);
    block_x = load(v[2]);
    block_y = load(v[3]);
  }
};

// The exponent of one Gaussian over a tile: for block b and pixel (x, y) in it,
//   power = constant[b] + slope_x[b] * x + slope_y[b] * y + quadratic(x, y).
struct alignas(64) Exponent {
  float constant[kLanes], slope_x[kLanes], slope_y[kLanes], offset_x[kLanes], offset_y[kLanes];
  f16 quadratic;

  SR_INLINE void set(const Record& r, float tile_x, float tile_y, const Lanes& lanes) {
    const f16 x = lanes.block_x + f16(tile_x + 0.5f - r.x), y = lanes.block_y + f16(tile_y + 0.5f - r.y);
    const f16 a = r.a, b = r.b, c = r.c;
    const f16 ax = a * x, by = b * y, cy = c * y;
    store(constant, fma(x, ax + by, fma(y, cy, f16(r.lo))));
    store(slope_x, ax + ax + by);
    store(slope_y, fma(b, x, cy + cy));
    store(offset_x, x);
    store(offset_y, y);
    quadratic = fma(lanes.x, fma(a, lanes.x, b * lanes.y), c * lanes.y * lanes.y);
  }
  SR_INLINE f16 power(int block, const Lanes& lanes) const {
    return fma(f16(slope_x[block]), lanes.x, fma(f16(slope_y[block]), lanes.y, quadratic + f16(constant[block])));
  }
};

struct TileState {
  // Transmittance; negative once the pixel has ended (its magnitude is the final value).
  alignas(64) float transmittance[kLanes][kLanes];
  alignas(64) float colour[4][kLanes][kLanes];
  alignas(64) float median[kLanes][kLanes];
};

// Blocks of a tile that lie in the picture.
uint32_t blocks_inside(const View& view, int x0, int y0) {
  uint32_t mask = 0;
  for (int b = 0; b < kLanes; b++)
    if (x0 + 4 * (b & 3) < view.width && y0 + 4 * (b >> 2) < view.height) mask |= 1u << b;
  return mask;
}

template <int Channels, bool Median>
void blend_tile(Frame& frame, const Picture& out, int tile, TileState& state, const Lanes& lanes) {
  const View& view = frame.view;
  const int x0 = tile % view.tiles_x() * kTile, y0 = tile / view.tiles_x() * kTile;
  const uint32_t begin = frame.tile_start[tile], end = frame.tile_start[tile + 1];
  for (int b = 0; b < kLanes; b++) {
    store(state.transmittance[b], f16(1.0f));
    for (int c = 0; c < Channels; c++) store(state.colour[c][b], f16(0.0f));
    if (Median) store(state.median[b], f16(0.0f));
  }
  uint32_t alive = blocks_inside(view, x0, y0);
  uint32_t pair = begin;
  Exponent exponent;
  for (; pair < end && alive != 0; pair++) {
    const Record& r = frame.ranked[frame.pair_rank[pair]];
    if (pair + 4 < end) __builtin_prefetch(&frame.ranked[frame.pair_rank[pair + 4]]);
    uint32_t todo = frame.pair_mask[pair] & alive, done = 0;
    exponent.set(r, static_cast<float>(x0), static_cast<float>(y0), lanes);
    for (; todo != 0; todo &= todo - 1) {
      const int block = __builtin_ctz(todo);
      const f16 power = exponent.power(block, lanes);
      const f16 before = load(state.transmittance[block]);
      const m16 valid = (power >= f16(kLogAlphaMin)) & (before > f16(0.0f));
      if (!any(valid)) continue;
      const f16 alpha = min(exp2(power), f16(kAlphaMax));
      const f16 weight = alpha * before;
      const f16 after = before - weight;
      const m16 blended = valid & (after > f16(kTransmittanceStop));
      const m16 ended = andnot(valid, blended);
      for (int c = 0; c < Channels; c++)
        store(state.colour[c][block], masked_fma(blended, weight, f16(r.colour[c]), load(state.colour[c][block])));
      if (Median) {
        const m16 half = blended & (after < f16(0.5f)) & (before >= f16(0.5f));
        store(state.median[block], select(half, f16(r.colour[3]), load(state.median[block])));
      }
      f16 next = select(blended, after, before);
      if (any(ended)) {
        next = select(ended, -before, next);
        if (!any(next > f16(0.0f))) alive &= ~(1u << block);
      }
      store(state.transmittance[block], next);
      done |= 1u << block;  // also where pixels only ended: the backward pass must end them at the same place
    }
    frame.pair_mask[pair] = static_cast<uint16_t>(done);
  }
  for (; pair < end; pair++) frame.pair_mask[pair] = 0;

  const int rows = std::min(kTile, view.height - y0), columns = std::min(kTile, view.width - x0);
  for (int y = 0; y < rows; y++) {
    for (int x = 0; x < columns; x++) {
      const int block = (y >> 2) * 4 + (x >> 2), lane = (y & 3) * 4 + (x & 3);
      const int64_t pixel = static_cast<int64_t>(y0 + y) * view.width + x0 + x;
      const float t = state.transmittance[block][lane], rest = t < 0 ? -t : t;
      for (int c = 0; c < out.channels; c++)
        out.colour[pixel * out.channels + c] = state.colour[c][block][lane] + rest * out.background[c];
      if (out.alpha != nullptr) out.alpha[pixel] = 1.0f - rest;
      if (Channels == 4 && out.extra != nullptr) out.extra[pixel] = state.colour[3][block][lane];
      if (Median) out.median[pixel] = state.median[block][lane];
    }
  }
}

#if SCENEREP_SIMD_AVX512
// Lane i of the result is the sum of v[i]; Count vectors, a multiple of 4 up to 12.
template <int Count>
SR_INLINE f16 sums_of(const f16* v) {
  __m512 quads[4];
  for (int i = 0; i < 4; i++) quads[i] = _mm512_setzero_ps();
  for (int i = 0; i < Count / 4; i++) {
    const f16* w = v + 4 * i;
    const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(w[0].v, w[1].v), _mm512_unpackhi_ps(w[0].v, w[1].v));
    const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(w[2].v, w[3].v), _mm512_unpackhi_ps(w[2].v, w[3].v));
    quads[i] = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
  }
  const __m512 lo = _mm512_add_ps(_mm512_shuffle_f32x4(quads[0], quads[1], 0x88),
                                  _mm512_shuffle_f32x4(quads[0], quads[1], 0xdd));
  const __m512 hi = _mm512_add_ps(_mm512_shuffle_f32x4(quads[2], quads[3], 0x88),
                                  _mm512_shuffle_f32x4(quads[2], quads[3], 0xdd));
  return _mm512_add_ps(_mm512_shuffle_f32x4(lo, hi, 0x88), _mm512_shuffle_f32x4(lo, hi, 0xdd));
}
#else
#if SCENEREP_SIMD_AVX2
typedef float quad __attribute__((vector_size(16)));
SR_INLINE quad fold(f16 a) {
  const vf s = a.v[0] + a.v[1];
  return (quad)_mm_add_ps(_mm256_castps256_ps128((__m256)s), _mm256_extractf128_ps((__m256)s, 1));
}
#else
typedef vf quad;
SR_INLINE quad fold(f16 a) { return (a.v[0] + a.v[1]) + (a.v[2] + a.v[3]); }
#endif
template <int Count>
SR_INLINE f16 sums_of(const f16* v) {
  alignas(64) float out[kLanes] = {};
  for (int i = 0; i < Count / 4; i++) {
    const quad a = fold(v[4 * i]), b = fold(v[4 * i + 1]), c = fold(v[4 * i + 2]), d = fold(v[4 * i + 3]);
    const quad ab = __builtin_shufflevector(a, b, 0, 4, 1, 5) + __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const quad cd = __builtin_shufflevector(c, d, 0, 4, 1, 5) + __builtin_shufflevector(c, d, 2, 6, 3, 7);
    const quad s = __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    std::memcpy(out + 4 * i, &s, 16);
  }
  return load(out);
}
#endif

struct BackwardState {
  alignas(64) float transmittance[kLanes][kLanes];
  alignas(64) float suffix[kLanes][kLanes];
  alignas(64) float v[4][kLanes][kLanes];
};

template <int Channels, bool Absolute>
void backward_tile(Frame& frame, const PictureGradient& in, int tile, BackwardState& state, const Lanes& lanes) {
  const View& view = frame.view;
  const int x0 = tile % view.tiles_x() * kTile, y0 = tile / view.tiles_x() * kTile;
  const uint32_t begin = frame.tile_start[tile], end = frame.tile_start[tile + 1];
  if (begin == end) return;
  for (int y = 0; y < kTile; y++) {
    for (int x = 0; x < kTile; x++) {
      const int block = (y >> 2) * 4 + (x >> 2), lane = (y & 3) * 4 + (x & 3);
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
        state.v[c][block][lane] = v;
      }
      if (inside && in.v_alpha != nullptr) suffix -= in.v_alpha[pixel] * (1.0f - in.alpha[pixel]);
      state.suffix[block][lane] = suffix;
      state.transmittance[block][lane] = 1.0f;
    }
  }
  Exponent exponent;
  const f16 zero = 0.0f, one = 1.0f;
  for (uint32_t pair = begin; pair < end; pair++) {
    uint32_t todo = frame.pair_mask[pair];
    if (todo == 0) continue;
    const Record& r = frame.ranked[frame.pair_rank[pair]];
    if (pair + 4 < end) __builtin_prefetch(&frame.ranked[frame.pair_rank[pair + 4]]);
    exponent.set(r, static_cast<float>(x0), static_cast<float>(y0), lanes);
    f16 sum_colour[4] = {zero, zero, zero, zero};
    f16 sum_g = zero, sum_x = zero, sum_y = zero, sum_xx = zero, sum_xy = zero, sum_yy = zero;
    f16 abs_x = zero, abs_y = zero;
    f16 across = zero, down = zero;
    if (Absolute) {
      across = fma(f16(2.0f * r.a), lanes.x, f16(r.b) * lanes.y);
      down = fma(f16(2.0f * r.c), lanes.y, f16(r.b) * lanes.x);
    }
    for (; todo != 0; todo &= todo - 1) {
      const int block = __builtin_ctz(todo);
      const f16 power = exponent.power(block, lanes);
      const f16 before = load(state.transmittance[block]);
      const m16 valid = (power >= f16(kLogAlphaMin)) & (before > zero);
      const f16 raw = exp2(power);
      const f16 alpha = min(raw, f16(kAlphaMax));
      const f16 weight = alpha * before;
      const f16 after = before - weight;
      const m16 blended = valid & (after > f16(kTransmittanceStop));
      const m16 ended = andnot(valid, blended);
      f16 next = select(blended, after, before);
      if (any(ended)) next = select(ended, -before, next);
      store(state.transmittance[block], next);

      const f16 blended_weight = zero_unless(blended, weight);
      f16 cv = zero;
      for (int c = 0; c < Channels; c++) {
        const f16 v = load(state.v[c][block]);
        cv = fma(f16(r.colour[c]), v, cv);
        sum_colour[c] = fma(blended_weight, v, sum_colour[c]);
      }
      const f16 suffix = fnma(blended_weight, cv, load(state.suffix[block]));
      store(state.suffix[block], suffix);
      const f16 v_alpha = fnma(suffix, approximate_reciprocal(one - alpha), before * cv);
      // The cut at kAlphaMax is flat: no gradient to the shape beyond it.
      const f16 g = zero_unless(blended & (raw < f16(kAlphaMax)), v_alpha * alpha);
      const f16 bx = exponent.offset_x[block], by = exponent.offset_y[block];
      const f16 gx = g * bx, gy = g * by;
      sum_g = sum_g + g;
      sum_x = sum_x + gx;
      sum_y = sum_y + gy;
      sum_xx = fma(gx, bx, sum_xx);
      sum_xy = fma(gx, by, sum_xy);
      sum_yy = fma(gy, by, sum_yy);
      if (Absolute) {
        abs_x = abs_x + abs(g * (across + f16(exponent.slope_x[block])));
        abs_y = abs_y + abs(g * (down + f16(exponent.slope_y[block])));
      }
    }
    // From offsets of the blocks to offsets of the pixels: (bx + x)^2 = bx^2 + 2 bx x + x^2 and so on.
    f16 v[12];
    for (int c = 0; c < 4; c++) v[c] = sum_colour[c];
    v[4] = sum_g;
    v[5] = fma(lanes.x, sum_g, sum_x);
    v[6] = fma(lanes.y, sum_g, sum_y);
    v[7] = fma(lanes.x, sum_x + v[5], sum_xx);
    v[8] = fma(lanes.y, sum_x, fma(lanes.x, v[6], sum_xy));
    v[9] = fma(lanes.y, sum_y + v[6], sum_yy);
    v[10] = abs_x;
    v[11] = abs_y;
    store(reinterpret_cast<float*>(&frame.pair_sums[pair]), sums_of<12>(v));
  }
}

template <class Body>
void for_each_tile(const View& view, Body&& body) {
  Pool::instance().parallel_for(static_cast<int64_t>(view.tiles_x()) * view.tiles_y(), 2, body);
}

}  // namespace

void blend(Frame& frame, const Picture& picture) {
  for_each_tile(frame.view, [&](int64_t begin, int64_t end) {
    const Lanes lanes;
    TileState state;
    for (int64_t t = begin; t < end; t++) {
      const int tile = static_cast<int>(t);
      if (picture.median != nullptr) {
        blend_tile<4, true>(frame, picture, tile, state, lanes);
      } else if (picture.channels == 4 || picture.extra != nullptr) {
        blend_tile<4, false>(frame, picture, tile, state, lanes);
      } else {
        blend_tile<3, false>(frame, picture, tile, state, lanes);
      }
    }
  });
}

void blend_backward(Frame& frame, const PictureGradient& gradient) {
  frame.pair_sums.ensure(frame.pairs + 1);
  for_each_tile(frame.view, [&](int64_t begin, int64_t end) {
    const Lanes lanes;
    BackwardState state;
    const bool four = gradient.channels == 4 || gradient.v_extra != nullptr;
    for (int64_t t = begin; t < end; t++) {
      const int tile = static_cast<int>(t);
      if (four && gradient.absolute) backward_tile<4, true>(frame, gradient, tile, state, lanes);
      if (four && !gradient.absolute) backward_tile<4, false>(frame, gradient, tile, state, lanes);
      if (!four && gradient.absolute) backward_tile<3, true>(frame, gradient, tile, state, lanes);
      if (!four && !gradient.absolute) backward_tile<3, false>(frame, gradient, tile, state, lanes);
    }
  });
}

int64_t count_contributions(Frame& frame) {
  const int tiles = frame.view.tiles_x() * frame.view.tiles_y();
  std::vector<int64_t> counts(tiles, 0);
  for_each_tile(frame.view, [&](int64_t begin, int64_t end) {
    const Lanes lanes;
    Exponent exponent;
    for (int64_t t = begin; t < end; t++) {
      const int x0 = static_cast<int>(t) % frame.view.tiles_x() * kTile, y0 = static_cast<int>(t) / frame.view.tiles_x() * kTile;
      float transmittance[kLanes][kLanes];
      for (auto& block : transmittance) store(block, f16(1.0f));
      for (uint32_t pair = frame.tile_start[t]; pair < frame.tile_start[t + 1]; pair++) {
        const Record& r = frame.ranked[frame.pair_rank[pair]];
        exponent.set(r, static_cast<float>(x0), static_cast<float>(y0), lanes);
        for (uint32_t todo = frame.pair_mask[pair]; todo != 0; todo &= todo - 1) {
          const int block = __builtin_ctz(todo);
          const f16 power = exponent.power(block, lanes), before = load(transmittance[block]);
          const m16 valid = (power >= f16(kLogAlphaMin)) & (before > f16(0.0f));
          const f16 after = fnma(min(exp2(power), f16(kAlphaMax)), before, before);
          const m16 blended = valid & (after > f16(kTransmittanceStop));
          counts[t] += __builtin_popcount(bits(blended));
          store(transmittance[block], select(andnot(valid, blended), -before, select(blended, after, before)));
        }
      }
    }
  });
  int64_t total = 0;
  for (const int64_t c : counts) total += c;
  return total;
}

}  // namespace scenerep
