// The Gaussian window of SSIM on rows of interleaved pixels, and how samples become floats. Used by loss.cpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "simd.h"

namespace scenerep {
namespace {

constexpr int kRadius = 5;                    // the window has 11 taps
constexpr int kBlock = 8;                     // rows per vertical pass: 18 rows are read for 8 written
constexpr int kIn = kBlock + 2 * kRadius;     // rows that a block reads
constexpr int kMapRing = kIn + kBlock;        // derivative rows alive at once: forward runs up to a block ahead
constexpr int kChannels = 3;
constexpr int kPad = 16;                      // zeros left and right of a row: 5 pixels * 3 channels, rounded up

struct Window {
  float w[kRadius + 1];  // from the rim to the centre
  Window() {
    double g[kRadius + 1], total = 0;
    for (int i = 0; i <= kRadius; i++) {
      const double d = (kRadius - i) / 1.5;
      g[i] = std::exp(-0.5 * d * d);
      total += i < kRadius ? 2 * g[i] : g[i];
    }
    double rest = 1;
    for (int i = kRadius; i > 0; i--) {
      w[i] = static_cast<float>(g[i] / total);
      rest -= i < kRadius ? 2.0 * w[i] : w[i];
    }
    // The rim takes up what rounding left over. Weights that sum to 1 + d would shift every variance by -d * mean^2,
    // which in bright flat parts is not small beside C2.
    w[0] = static_cast<float>(rest / 2);
  }
};
const Window kWindow;

struct Weights {
  f16 w[kRadius + 1];
  SR_INLINE Weights() {
    for (int i = 0; i <= kRadius; i++) w[i] = f16(kWindow.w[i]);
  }
};

// Sixteen samples of a row, filtered along it; p is a multiple of 64 bytes. Ten of the eleven loads would straddle two
// cache lines; where one instruction cuts a vector out of two registers, that is the faster way.
SR_INLINE f16 along(const Weights& g, const float* p) {
#if SCENEREP_SIMD_AVX512
  const __m512i before = _mm512_castps_si512(load(p - kLanes).v), here = _mm512_castps_si512(load(p).v),
                after = _mm512_castps_si512(load(p + kLanes).v);
  f16 sum = g.w[kRadius] * f16(_mm512_castsi512_ps(here));
#define SR_PAIR(i)                                                                                            \
  sum = fma(g.w[i],                                                                                           \
            f16(_mm512_castsi512_ps(_mm512_alignr_epi32(here, before, kLanes - kChannels * (kRadius - i)))) + \
                f16(_mm512_castsi512_ps(_mm512_alignr_epi32(after, here, kChannels * (kRadius - i)))),        \
            sum)
  SR_PAIR(0);
  SR_PAIR(1);
  SR_PAIR(2);
  SR_PAIR(3);
  SR_PAIR(4);
#undef SR_PAIR
  return sum;
#else
  f16 sum = g.w[kRadius] * load(p);
  for (int i = 0; i < kRadius; i++) {
    const int d = kChannels * (kRadius - i);
    sum = fma(g.w[i], load(p - d) + load(p + d), sum);
  }
  return sum;
#endif
}

// Filters 18 rows down to 8: out[r] = sum over i of w[i] * in[r + i].
void down(const float* const* in, float* out, int64_t stride, int vectors) {
  const Weights g;
  const float* rows[kIn];
  std::copy(in, in + kIn, rows);
  for (int j = 0; j < vectors * kLanes; j += kLanes) {
    f16 a[kIn];  // in registers, if the loops are unrolled
#pragma GCC unroll 18
    for (int i = 0; i < kIn; i++) a[i] = load(rows[i] + j);
#pragma GCC unroll 8
    for (int r = 0; r < kBlock; r++) {
      f16 sum = g.w[kRadius] * a[r + kRadius];
#pragma GCC unroll 5
      for (int i = 0; i < kRadius; i++) sum = fma(g.w[i], a[r + i] + a[r + 2 * kRadius - i], sum);
      store(out + r * stride + j, sum);
    }
  }
}

// u / 255, correctly rounded, so that a picture equal to its 8-bit target has no error at all.
SR_INLINE float unit(uint8_t u) {
  const float a = static_cast<float>(u);
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  const float q = a * (1.0f / 255.0f);
  return __builtin_fmaf(__builtin_fmaf(-q, 255.0f, a), 1.0f / 255.0f, q);
#else
  return a / 255.0f;
#endif
}

SR_INLINE float half_to_float(uint16_t h) {  // finite values only
  const uint32_t bits = (h & 0x8000u) << 16 | (h & 0x7fffu) << 13;
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f * 0x1p112f;
}

// Not a product: a masked pixel may hold anything, even no number at all.
const float* keep_where(const float* mask, const float* from, float* to, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    const float a = from[i];
    to[i] = mask[i] != 0.0f ? a : 0.0f;
  }
  return to;
}

}  // namespace
}  // namespace scenerep
