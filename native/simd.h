// Sixteen float lanes with one interface for every instruction set.
//
// AVX-512 holds them in one register, AVX2 in two, SSE2 and NEON in four. GCC scalarises a generic 64-byte vector when
// AVX-512 is missing, so the narrow builds use arrays of native-width vectors instead.
// `f16` = 16 floats, `i16` = 16 int32, `m16` = 16 booleans.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define SCENEREP_SIMD_AVX512 1
#include <immintrin.h>
#elif defined(__AVX2__) && defined(__FMA__)
#define SCENEREP_SIMD_AVX2 1
#include <immintrin.h>
#elif defined(__aarch64__) && !SCENEREP_SIMD_PLAIN
#define SCENEREP_SIMD_NEON 1
#include <arm_neon.h>
#elif defined(__SSE2__) && !SCENEREP_SIMD_PLAIN
#define SCENEREP_SIMD_SSE2 1
#include <emmintrin.h>
#else
#undef SCENEREP_SIMD_PLAIN  // the compiler's vector extensions only
#define SCENEREP_SIMD_PLAIN 1
#endif
#include <cmath>

#define SR_INLINE inline __attribute__((always_inline))

namespace scenerep {

constexpr int kLanes = 16;

#if SCENEREP_SIMD_AVX512

struct m16 {
  __mmask16 k;
};
struct f16 {
  __m512 v;
  f16() = default;
  SR_INLINE f16(__m512 x) : v(x) {}
  SR_INLINE f16(float x) : v(_mm512_set1_ps(x)) {}
};
struct i16 {
  __m512i v;
  i16() = default;
  SR_INLINE i16(__m512i x) : v(x) {}
  SR_INLINE i16(int32_t x) : v(_mm512_set1_epi32(x)) {}
};
SR_INLINE f16 load(const float* p) { return _mm512_loadu_ps(p); }
SR_INLINE void store(float* p, f16 a) { _mm512_storeu_ps(p, a.v); }
SR_INLINE i16 loadi(const int32_t* p) { return _mm512_loadu_si512(p); }
SR_INLINE void storei(int32_t* p, i16 a) { _mm512_storeu_si512(p, a.v); }
SR_INLINE f16 operator+(f16 a, f16 b) { return _mm512_add_ps(a.v, b.v); }
SR_INLINE f16 operator-(f16 a, f16 b) { return _mm512_sub_ps(a.v, b.v); }
SR_INLINE f16 operator*(f16 a, f16 b) { return _mm512_mul_ps(a.v, b.v); }
SR_INLINE f16 operator/(f16 a, f16 b) { return _mm512_div_ps(a.v, b.v); }
SR_INLINE f16 operator-(f16 a) { return _mm512_xor_ps(a.v, _mm512_set1_ps(-0.0f)); }
SR_INLINE f16 fma(f16 a, f16 b, f16 c) { return _mm512_fmadd_ps(a.v, b.v, c.v); }     // a * b + c
SR_INLINE f16 fnma(f16 a, f16 b, f16 c) { return _mm512_fnmadd_ps(a.v, b.v, c.v); }   // c - a * b
SR_INLINE f16 min(f16 a, f16 b) { return _mm512_min_ps(a.v, b.v); }
SR_INLINE f16 max(f16 a, f16 b) { return _mm512_max_ps(a.v, b.v); }
SR_INLINE f16 sqrt(f16 a) { return _mm512_sqrt_ps(a.v); }
SR_INLINE f16 abs(f16 a) { return _mm512_abs_ps(a.v); }
SR_INLINE f16 floor(f16 a) { return _mm512_roundscale_ps(a.v, 0x09); }
SR_INLINE i16 to_int(f16 a) { return _mm512_cvttps_epi32(a.v); }  // towards zero
SR_INLINE f16 to_float(i16 a) { return _mm512_cvtepi32_ps(a.v); }
SR_INLINE i16 operator+(i16 a, i16 b) { return _mm512_add_epi32(a.v, b.v); }
SR_INLINE i16 operator-(i16 a, i16 b) { return _mm512_sub_epi32(a.v, b.v); }
SR_INLINE i16 min(i16 a, i16 b) { return _mm512_min_epi32(a.v, b.v); }
SR_INLINE i16 max(i16 a, i16 b) { return _mm512_max_epi32(a.v, b.v); }
SR_INLINE m16 operator<(f16 a, f16 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
SR_INLINE m16 operator<=(f16 a, f16 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
SR_INLINE m16 operator>(f16 a, f16 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ)}; }
SR_INLINE m16 operator>=(f16 a, f16 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ)}; }
SR_INLINE m16 operator&(m16 a, m16 b) { return {static_cast<__mmask16>(a.k & b.k)}; }
SR_INLINE m16 operator|(m16 a, m16 b) { return {static_cast<__mmask16>(a.k | b.k)}; }
SR_INLINE m16 andnot(m16 a, m16 b) { return {static_cast<__mmask16>(a.k & ~b.k)}; }  // a and not b
SR_INLINE bool any(m16 a) { return a.k != 0; }
SR_INLINE uint32_t bits(m16 a) { return a.k; }
SR_INLINE m16 mask_from_bits(uint32_t b) { return {static_cast<__mmask16>(b)}; }
SR_INLINE f16 select(m16 m, f16 a, f16 b) { return _mm512_mask_blend_ps(m.k, b.v, a.v); }  // m ? a : b
SR_INLINE f16 zero_unless(m16 m, f16 a) { return _mm512_maskz_mov_ps(m.k, a.v); }
// c + a * b where m, else c.
SR_INLINE f16 masked_fma(m16 m, f16 a, f16 b, f16 c) { return _mm512_mask3_fmadd_ps(a.v, b.v, c.v, m.k); }
SR_INLINE f16 approximate_reciprocal(f16 a) {  // relative error below 2^-27 after one Newton step
  const __m512 r = _mm512_rcp14_ps(a.v);
  return _mm512_fmadd_ps(r, _mm512_fnmadd_ps(a.v, r, _mm512_set1_ps(1.0f)), r);
}
SR_INLINE f16 scale_by_power_of_two(f16 a, f16 n) { return _mm512_scalef_ps(a.v, n.v); }  // a * 2^n, n whole
SR_INLINE f16 round_to_nearest(f16 a) { return _mm512_roundscale_ps(a.v, 0x08); }
SR_INLINE float sum(f16 a) { return _mm512_reduce_add_ps(a.v); }

#else

#if SCENEREP_SIMD_AVX2
constexpr int kParts = 2;
typedef float vf __attribute__((vector_size(32)));
typedef int32_t vi __attribute__((vector_size(32)));
#else
constexpr int kParts = 4;
typedef float vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
#endif
constexpr int kWidth = kLanes / kParts;

struct m16 {
  vi v[kParts];
};
struct f16 {
  vf v[kParts];
  f16() = default;
  SR_INLINE f16(float x) {
    for (int i = 0; i < kParts; i++) v[i] = x - vf{};
  }
};
struct i16 {
  vi v[kParts];
  i16() = default;
  SR_INLINE i16(int32_t x) {
    for (int i = 0; i < kParts; i++) v[i] = x - vi{};
  }
};
#define SR_EACH(T, expr)                       \
  {                                            \
    T r;                                       \
    for (int i = 0; i < kParts; i++) r.v[i] = (expr); \
    return r;                                  \
  }
SR_INLINE f16 load(const float* p) {
  f16 r;
  for (int i = 0; i < kParts; i++) std::memcpy(&r.v[i], p + i * kWidth, sizeof(vf));
  return r;
}
SR_INLINE void store(float* p, f16 a) {
  for (int i = 0; i < kParts; i++) std::memcpy(p + i * kWidth, &a.v[i], sizeof(vf));
}
SR_INLINE i16 loadi(const int32_t* p) {
  i16 r;
  for (int i = 0; i < kParts; i++) std::memcpy(&r.v[i], p + i * kWidth, sizeof(vi));
  return r;
}
SR_INLINE void storei(int32_t* p, i16 a) {
  for (int i = 0; i < kParts; i++) std::memcpy(p + i * kWidth, &a.v[i], sizeof(vi));
}
SR_INLINE f16 operator+(f16 a, f16 b) SR_EACH(f16, a.v[i] + b.v[i])
SR_INLINE f16 operator-(f16 a, f16 b) SR_EACH(f16, a.v[i] - b.v[i])
SR_INLINE f16 operator*(f16 a, f16 b) SR_EACH(f16, a.v[i] * b.v[i])
SR_INLINE f16 operator/(f16 a, f16 b) SR_EACH(f16, a.v[i] / b.v[i])
SR_INLINE f16 operator-(f16 a) SR_EACH(f16, -a.v[i])
#if SCENEREP_SIMD_AVX2
SR_INLINE f16 fma(f16 a, f16 b, f16 c) SR_EACH(f16, (vf)_mm256_fmadd_ps((__m256)a.v[i], (__m256)b.v[i], (__m256)c.v[i]))
SR_INLINE f16 fnma(f16 a, f16 b, f16 c) SR_EACH(f16, (vf)_mm256_fnmadd_ps((__m256)a.v[i], (__m256)b.v[i], (__m256)c.v[i]))
SR_INLINE f16 min(f16 a, f16 b) SR_EACH(f16, (vf)_mm256_min_ps((__m256)a.v[i], (__m256)b.v[i]))
SR_INLINE f16 max(f16 a, f16 b) SR_EACH(f16, (vf)_mm256_max_ps((__m256)a.v[i], (__m256)b.v[i]))
SR_INLINE f16 sqrt(f16 a) SR_EACH(f16, (vf)_mm256_sqrt_ps((__m256)a.v[i]))
SR_INLINE f16 floor(f16 a) SR_EACH(f16, (vf)_mm256_floor_ps((__m256)a.v[i]))
SR_INLINE f16 round_to_nearest(f16 a) SR_EACH(f16, (vf)_mm256_round_ps((__m256)a.v[i], 0x08))
SR_INLINE i16 to_int(f16 a) SR_EACH(i16, (vi)_mm256_cvttps_epi32((__m256)a.v[i]))
SR_INLINE f16 select(m16 m, f16 a, f16 b) SR_EACH(f16, (vf)_mm256_blendv_ps((__m256)b.v[i], (__m256)a.v[i], (__m256)m.v[i]))
SR_INLINE f16 approximate_reciprocal(f16 a) SR_EACH(f16, 1.0f / a.v[i])
SR_INLINE uint32_t bits(m16 a) {
  return static_cast<uint32_t>(_mm256_movemask_ps((__m256)a.v[0])) |
         static_cast<uint32_t>(_mm256_movemask_ps((__m256)a.v[1])) << 8;
}
#elif SCENEREP_SIMD_NEON
SR_INLINE f16 fma(f16 a, f16 b, f16 c) SR_EACH(f16, (vf)vfmaq_f32((float32x4_t)c.v[i], (float32x4_t)a.v[i], (float32x4_t)b.v[i]))
SR_INLINE f16 fnma(f16 a, f16 b, f16 c) SR_EACH(f16, (vf)vfmsq_f32((float32x4_t)c.v[i], (float32x4_t)a.v[i], (float32x4_t)b.v[i]))
// Of a number and a NaN the number, as x86 does when the NaN comes first.
SR_INLINE f16 min(f16 a, f16 b) SR_EACH(f16, (vf)vminnmq_f32((float32x4_t)a.v[i], (float32x4_t)b.v[i]))
SR_INLINE f16 max(f16 a, f16 b) SR_EACH(f16, (vf)vmaxnmq_f32((float32x4_t)a.v[i], (float32x4_t)b.v[i]))
SR_INLINE f16 sqrt(f16 a) SR_EACH(f16, (vf)vsqrtq_f32((float32x4_t)a.v[i]))
SR_INLINE f16 floor(f16 a) SR_EACH(f16, (vf)vrndmq_f32((float32x4_t)a.v[i]))
SR_INLINE f16 round_to_nearest(f16 a) SR_EACH(f16, (vf)vrndnq_f32((float32x4_t)a.v[i]))
SR_INLINE i16 to_int(f16 a) SR_EACH(i16, (vi)vcvtq_s32_f32((float32x4_t)a.v[i]))
SR_INLINE f16 select(m16 m, f16 a, f16 b) SR_EACH(f16, (vf)vbslq_f32((uint32x4_t)m.v[i], (float32x4_t)a.v[i], (float32x4_t)b.v[i]))
SR_INLINE f16 approximate_reciprocal(f16 a) {  // 8 bits, then 16, then all but the last one or two
  f16 out;
  for (int i = 0; i < kParts; i++) {
    const float32x4_t x = (float32x4_t)a.v[i];
    float32x4_t r = vrecpeq_f32(x);
    r = vmulq_f32(r, vrecpsq_f32(x, r));
    r = vmulq_f32(r, vrecpsq_f32(x, r));
    out.v[i] = (vf)r;
  }
  return out;
}
SR_INLINE uint32_t bits(m16 a) {
  // The low byte of every lane, in order, then one bit of each and the sum of either half.
  const uint16x8_t low = vuzp1q_u16((uint16x8_t)a.v[0], (uint16x8_t)a.v[1]);
  const uint16x8_t high = vuzp1q_u16((uint16x8_t)a.v[2], (uint16x8_t)a.v[3]);
  const uint8x16_t weights = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  const uint8x16_t b = vandq_u8(vuzp1q_u8((uint8x16_t)low, (uint8x16_t)high), weights);
  return vaddv_u8(vget_low_u8(b)) | static_cast<uint32_t>(vaddv_u8(vget_high_u8(b))) << 8;
}
#else
SR_INLINE f16 fma(f16 a, f16 b, f16 c) SR_EACH(f16, a.v[i] * b.v[i] + c.v[i])
SR_INLINE f16 fnma(f16 a, f16 b, f16 c) SR_EACH(f16, c.v[i] - a.v[i] * b.v[i])
SR_INLINE f16 select(m16 m, f16 a, f16 b) SR_EACH(f16, (vf)((m.v[i] & (vi)a.v[i]) | (~m.v[i] & (vi)b.v[i])))
SR_INLINE f16 min(f16 a, f16 b) {
  f16 r;
  for (int i = 0; i < kParts; i++) {
    const vi m = a.v[i] < b.v[i];
    r.v[i] = (vf)((m & (vi)a.v[i]) | (~m & (vi)b.v[i]));
  }
  return r;
}
SR_INLINE f16 max(f16 a, f16 b) {
  f16 r;
  for (int i = 0; i < kParts; i++) {
    const vi m = a.v[i] > b.v[i];
    r.v[i] = (vf)((m & (vi)a.v[i]) | (~m & (vi)b.v[i]));
  }
  return r;
}
#if SCENEREP_SIMD_SSE2
SR_INLINE f16 sqrt(f16 a) SR_EACH(f16, (vf)_mm_sqrt_ps((__m128)a.v[i]))
SR_INLINE i16 to_int(f16 a) SR_EACH(i16, (vi)_mm_cvttps_epi32((__m128)a.v[i]))
SR_INLINE uint32_t bits(m16 a) {
  uint32_t r = 0;
  for (int i = 0; i < kParts; i++) r |= static_cast<uint32_t>(_mm_movemask_ps((__m128)a.v[i])) << (4 * i);
  return r;
}
#else
SR_INLINE f16 sqrt(f16 a) {
  f16 r;
  for (int i = 0; i < kParts; i++)
    for (int j = 0; j < kWidth; j++) r.v[i][j] = std::sqrt(a.v[i][j]);
  return r;
}
SR_INLINE i16 to_int(f16 a) SR_EACH(i16, __builtin_convertvector(a.v[i], vi))
SR_INLINE uint32_t bits(m16 a) {
  const vi weights = {1, 2, 4, 8};
  uint32_t r = 0;
  for (int i = 0; i < kParts; i++) {
    const vi w = a.v[i] & weights;
    r |= static_cast<uint32_t>(w[0] | w[1] | w[2] | w[3]) << (4 * i);
  }
  return r;
}
#endif
// Adding 1.5 * 2^23 leaves the nearest whole number in the low bits; exact for |a| < 2^22, which its callers keep.
SR_INLINE f16 round_to_nearest(f16 a) {
  f16 r;
  const vf magic = 12582912.0f - vf{};
  for (int i = 0; i < kParts; i++) r.v[i] = (a.v[i] + magic) - magic;
  return r;
}
SR_INLINE f16 floor(f16 a) {
  f16 r;
  for (int i = 0; i < kParts; i++) {
    const vf t = __builtin_convertvector(__builtin_convertvector(a.v[i], vi), vf);
    const vi above = t > a.v[i];
    r.v[i] = t - (vf)(above & (vi)(1.0f - vf{}));
  }
  return r;
}
SR_INLINE f16 approximate_reciprocal(f16 a) SR_EACH(f16, 1.0f / a.v[i])
#endif
SR_INLINE f16 abs(f16 a) SR_EACH(f16, (vf)((vi)a.v[i] & 0x7fffffff))
SR_INLINE f16 to_float(i16 a) SR_EACH(f16, __builtin_convertvector(a.v[i], vf))
SR_INLINE i16 operator+(i16 a, i16 b) SR_EACH(i16, a.v[i] + b.v[i])
SR_INLINE i16 operator-(i16 a, i16 b) SR_EACH(i16, a.v[i] - b.v[i])
SR_INLINE i16 min(i16 a, i16 b) {
  i16 r;
  for (int i = 0; i < kParts; i++) {
    const vi m = a.v[i] < b.v[i];
    r.v[i] = (m & a.v[i]) | (~m & b.v[i]);
  }
  return r;
}
SR_INLINE i16 max(i16 a, i16 b) {
  i16 r;
  for (int i = 0; i < kParts; i++) {
    const vi m = a.v[i] > b.v[i];
    r.v[i] = (m & a.v[i]) | (~m & b.v[i]);
  }
  return r;
}
SR_INLINE m16 operator<(f16 a, f16 b) SR_EACH(m16, (vi)(a.v[i] < b.v[i]))
SR_INLINE m16 operator<=(f16 a, f16 b) SR_EACH(m16, (vi)(a.v[i] <= b.v[i]))
SR_INLINE m16 operator>(f16 a, f16 b) SR_EACH(m16, (vi)(a.v[i] > b.v[i]))
SR_INLINE m16 operator>=(f16 a, f16 b) SR_EACH(m16, (vi)(a.v[i] >= b.v[i]))
SR_INLINE m16 operator&(m16 a, m16 b) SR_EACH(m16, a.v[i] & b.v[i])
SR_INLINE m16 operator|(m16 a, m16 b) SR_EACH(m16, a.v[i] | b.v[i])
SR_INLINE m16 andnot(m16 a, m16 b) SR_EACH(m16, a.v[i] & ~b.v[i])
#if SCENEREP_SIMD_NEON
SR_INLINE bool any(m16 a) { return vmaxvq_u32((uint32x4_t)((a.v[0] | a.v[1]) | (a.v[2] | a.v[3]))) != 0; }
SR_INLINE m16 mask_from_bits(uint32_t b) {
  const uint32x4_t lane = {1, 2, 4, 8}, all = vdupq_n_u32(b);
  m16 r;
  for (int i = 0; i < kParts; i++) r.v[i] = (vi)vtstq_u32(all, (uint32x4_t)((vi)lane << (4 * i)));
  return r;
}
#else
SR_INLINE bool any(m16 a) { return bits(a) != 0; }
SR_INLINE m16 mask_from_bits(uint32_t b) {
  m16 r;
  for (int i = 0; i < kParts; i++)
    for (int j = 0; j < kWidth; j++) r.v[i][j] = -static_cast<int32_t>(b >> (i * kWidth + j) & 1u);
  return r;
}
#endif
SR_INLINE f16 zero_unless(m16 m, f16 a) SR_EACH(f16, (vf)(m.v[i] & (vi)a.v[i]))
SR_INLINE f16 masked_fma(m16 m, f16 a, f16 b, f16 c) { return fma(zero_unless(m, a), b, c); }
SR_INLINE f16 scale_by_power_of_two(f16 a, f16 n) {  // n in [-126, 126]
  f16 r;
  for (int i = 0; i < kParts; i++)
    r.v[i] = (vf)((vi)a.v[i] + (__builtin_convertvector(n.v[i], vi) << 23));
  return r;
}
SR_INLINE float sum(f16 a) {
#if SCENEREP_SIMD_NEON
  const float32x4_t s = (float32x4_t)((a.v[0] + a.v[2]) + (a.v[1] + a.v[3]));
  const float32x2_t t = vadd_f32(vget_low_f32(s), vget_high_f32(s));
  return vget_lane_f32(t, 0) + vget_lane_f32(t, 1);
#else
  float lanes[kLanes];
  store(lanes, a);
  for (int step = kLanes / 2; step > 0; step /= 2)
    for (int i = 0; i < step; i++) lanes[i] += lanes[i + step];
  return lanes[0];
#endif
}
#undef SR_EACH

#endif

// 2^x for x in [-126, 126]: nearest whole power times a polynomial on [-1/2, 1/2] (degree 5, relative error 2e-7).
SR_INLINE f16 exp2(f16 x) {
  const f16 n = round_to_nearest(x);
  const f16 f = x - n;
  f16 p = 1.3333558146e-3f;
  p = fma(p, f, f16(9.6181291076e-3f));
  p = fma(p, f, f16(5.5504108664e-2f));
  p = fma(p, f, f16(2.4022650696e-1f));
  p = fma(p, f, f16(6.9314718056e-1f));
  p = fma(p, f, f16(1.0f));
  return scale_by_power_of_two(p, n);
}

}  // namespace scenerep
