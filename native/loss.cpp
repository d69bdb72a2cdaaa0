// L1 + D-SSIM of two pictures, with the gradient of the first: forward and backward in one call.
//
//   loss = (1 - lambda) * mean |x - y| + lambda * (1 - mean S)
//   S = A1 A2 / (B1 B2),  A1 = 2 mx my + C1, A2 = 2 sxy + C2, B1 = mx^2 + my^2 + C1, B2 = sx^2 + sy^2 + C2
//
// (Wang et al. 2004, eq. 13.) F is the 11 x 11 Gaussian window with sigma 1.5, zeros outside the picture;
// mx = F x, sx^2 = F x^2 - mx^2, sxy = F xy - mx my. With the derivatives of S by F x, F x^2 and F xy as maps
// 2 H1, H2 and 2 H12, the chain rule gives   dS/dx = 2 (F H1 + x F H2 + y F H12),   F being its own transpose.
// So a call filters three maps on the way in and three on the way out; my and sy^2 may come from the caller.
//
// With a mask (0 = ignore), both pictures are multiplied by it before F, and the means run over the pixels kept.
//
// The picture is cut into tiles. A tile streams down its rows in blocks of eight: rings hold just the rows that the
// window still needs, so the work stays in the L2 cache. Rows are w * 3 floats, and a horizontal tap is an offset of 3.
// Every row's arithmetic is the same wherever a tile begins, and its sums are kept apart and added in order at the end:
// the result is the same, bit by bit, for every number of threads.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <tuple>
#include <vector>

#include "module.h"
#include "pool.h"
#include "simd.h"

namespace scenerep {
namespace {

constexpr int kRadius = 5;                    // the window has 11 taps
constexpr int kBlock = 8;                     // rows per vertical pass: 18 rows are read for 8 written
constexpr int kIn = kBlock + 2 * kRadius;     // rows that a block reads
constexpr int kMapRing = kIn + kBlock;        // derivative rows alive at once: forward runs up to a block ahead
constexpr int kChannels = 3;
constexpr int kPad = 16;                      // zeros left and right of a row: 5 pixels * 3 channels, rounded up
constexpr int kStrip = 320;                   // columns per tile; wider pictures would fall out of the L2 cache
constexpr int kBand = 32;                     // rows per tile, at least: the rows around it are computed twice
constexpr float kC1 = 0.01f * 0.01f, kC2 = 0.03f * 0.03f;

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

// One picture pair. `statistics` holds my and sy^2 as two pictures, float32 or float16, or is absent.
struct Job {
  int64_t height = 0, width = 0;
  const float* image = nullptr;
  const uint8_t* target_bytes = nullptr;
  const float* target_floats = nullptr;
  const float* statistics = nullptr;
  const uint16_t* statistics_half = nullptr;
  const uint8_t* mask = nullptr;
  float* gradient = nullptr;
  float ssim_scale = 0, l1_scale = 0;  // of the gradient

  bool has_statistics() const { return statistics || statistics_half; }
  int64_t samples() const { return height * width * kChannels; }

  // These return n samples of a row that may be read as whole vectors: where they lie, or copied to `room`.
  // What stands in the lanes behind them is the next row, or anything.
  static const float* in_place(const float* data, int64_t at, int64_t n, int64_t size, float* room) {
    if (at + n + kLanes <= size) return data + at;
    std::copy(data + at, data + at + n, room);
    return room;
  }
  const float* image_row(int64_t row, int64_t column, int64_t n, float* room) const {
    return in_place(image, (row * width + column) * kChannels, n, samples(), room);
  }
  const float* target_row(int64_t row, int64_t column, int64_t n, float* __restrict room) const {
    const int64_t at = (row * width + column) * kChannels;
    if (!target_bytes) return in_place(target_floats, at, n, samples(), room);
    const uint8_t* __restrict t = target_bytes + at;
    for (int64_t i = 0; i < n; i++) room[i] = unit(t[i]);
    return room;
  }
  const float* statistics_row(int which, int64_t row, int64_t column, int64_t n, float* __restrict room) const {
    const int64_t at = ((which * height + row) * width + column) * kChannels;
    if (!statistics_half) return in_place(statistics, at, n, 2 * samples(), room);
    const uint16_t* __restrict s = statistics_half + at;
    for (int64_t i = 0; i < n; i++) room[i] = half_to_float(s[i]);
    return room;
  }
  void mask_row(int64_t row, int64_t column, int64_t n, float* __restrict out) const {
    const uint8_t* m = mask + row * width + column;
    for (int64_t i = 0, p = 0; i < n; i += kChannels, p++) out[i] = out[i + 1] = out[i + 2] = m[p] ? 1.0f : 0.0f;
  }
};

struct Tile {
  int64_t row_begin, row_end, column_begin, column_end;
  double *l1, *ssim;  // one per row of the picture
};

// The rows that one thread works on.
class Scratch {
 public:
  enum Input { kX, kXX, kXY, kY, kYY, kInputs };

  void prepare(int columns) {
    const int64_t stride = (columns * kChannels + kLanes - 1) / kLanes * kLanes + 2 * kPad + kLanes;
    if (stride > stride_) {
      stride_ = stride;
      const int64_t count = stride * kRowCount + kLanes;
      memory_.reset(new float[count]);
      std::fill(memory_.get(), memory_.get() + count, 0.0f);
      const auto address = reinterpret_cast<uintptr_t>(memory_.get());
      base_ = memory_.get() + ((64 - address % 64) % 64) / sizeof(float);
    }
  }
  // Makes everything outside [0, n) zero in every row, as the last tile may have been wider.
  void clear_outside(int64_t n) {
    for (int r = 0; r < kRowCount; r++) {
      float* p = row(r);
      std::fill(p - kPad, p, 0.0f);
      std::fill(p + n, p + std::min(stride_ - kPad, (n + kLanes - 1) / kLanes * kLanes + kPad), 0.0f);
    }
  }
  float* input(int which, int64_t r) { return row(which * kIn + static_cast<int>(r % kIn)); }
  float* map(int which, int64_t r) { return row(kMaps + which * kMapRing + static_cast<int>(r % kMapRing)); }
  float* filtered(int which, int r) { return row(kFiltered + which * kBlock + r); }
  float* zero() { return row(kSingle); }
  float* target() { return row(kSingle + 1); }
  float* valid() { return row(kSingle + 2); }
  float* inside() { return row(kSingle + 3); }
  float* counted() { return row(kSingle + 4); }
  float* mean() { return row(kSingle + 5); }
  float* variance() { return row(kSingle + 6); }
  float* image() { return row(kSingle + 7); }
  int64_t stride() const { return stride_; }

 private:
  static constexpr int kMaps = kInputs * kIn, kFiltered = kMaps + 3 * kMapRing,
                       kSingle = kFiltered + kInputs * kBlock, kRowCount = kSingle + 8;
  float* row(int r) { return base_ + r * stride_ + kPad; }

  int64_t stride_ = 0;
  std::unique_ptr<float[]> memory_;
  float* base_ = nullptr;
};

// Works through one tile.
class Worker {
 public:
  Worker(const Job& job, const Tile& tile, Scratch& scratch) : job_(job), tile_(tile), s_(scratch) {
    const int64_t reach = job.gradient ? 2 * kRadius : kRadius;  // the window twice: into the maps, and back out
    first_ = std::max<int64_t>(0, tile.column_begin - reach);
    const int64_t last = std::min(job.width, tile.column_end + reach);
    n_ = (last - first_) * kChannels;
    own_ = (tile.column_begin - first_) * kChannels;
    own_n_ = (tile.column_end - tile.column_begin) * kChannels;
    vectors_ = static_cast<int>((n_ + kLanes - 1) / kLanes);
    s_.clear_outside(n_);
    std::fill(s_.zero(), s_.zero() + n_, 0.0f);
    std::fill(s_.inside(), s_.inside() + n_, 1.0f);
    std::fill(s_.counted(), s_.counted() + n_, 0.0f);
    std::fill(s_.counted() + own_, s_.counted() + own_ + own_n_, 1.0f);
  }

  void run() {
    const int64_t halo = job_.gradient ? kRadius : 0;
    const int64_t begin = std::max<int64_t>(0, tile_.row_begin - halo);
    const int64_t end = std::min(job_.height, tile_.row_end + halo);
    loaded_ = std::max<int64_t>(0, begin - kRadius);
    needed_ = std::min(job_.height, end + kRadius);
    int64_t done = begin;
    for (int64_t row = tile_.row_begin; row < tile_.row_end; row += kBlock) {
      const int64_t stop = std::min(row + kBlock, tile_.row_end);
      for (; done < std::min(end, stop + halo); done += kBlock) forward(done, std::min(done + kBlock, end));
      if (job_.gradient) backward(row, stop, std::min(done, end));
    }
  }

  // my and sy^2 of the whole width of the tile, into the two pictures at `out`. The target is read as image x.
  void statistics(float* out) {
    loaded_ = std::max<int64_t>(0, tile_.row_begin - kRadius);
    needed_ = std::min(job_.height, tile_.row_end + kRadius);
    const Weights g;
    for (int64_t row = tile_.row_begin; row < tile_.row_end; row += kBlock) {
      const int64_t stop = std::min(row + kBlock, tile_.row_end);
      filter_inputs(row, Scratch::kY, Scratch::kYY);
      for (int64_t r = row; r < stop; r++) {
        const float* y = s_.filtered(Scratch::kY, static_cast<int>(r - row));
        const float* yy = s_.filtered(Scratch::kYY, static_cast<int>(r - row));
        for (int j = 0; j < vectors_ * kLanes; j += kLanes) {
          const f16 m = along(g, y + j);
          store(s_.mean() + j, m);
          store(s_.variance() + j, fnma(m, m, along(g, yy + j)));
        }
        for (int which = 0; which < 2; which++) {
          const float* from = (which ? s_.variance() : s_.mean()) + own_;
          std::copy(from, from + own_n_, out + ((which * job_.height + r) * job_.width + tile_.column_begin) * kChannels);
        }
      }
    }
  }

 private:
  // Reads one row of both pictures and forms the products.
  void load_row(int64_t r) {
    const bool with_y = !job_.has_statistics();
    const float* mask = nullptr;
    if (job_.mask) {
      job_.mask_row(r, first_, n_, s_.valid());
      mask = s_.valid();
    }
    const float* y = job_.target_row(r, first_, n_, s_.target());
    if (mask) y = keep_where(mask, y, s_.target(), n_);
    const int64_t lanes = vectors_ * kLanes;
    if (with_y) {
      float *copy = s_.input(Scratch::kY, r), *squares = s_.input(Scratch::kYY, r);
      for (int64_t j = 0; j < lanes; j += kLanes) {
        const f16 b = load(y + j);
        store(copy + j, b);
        store(squares + j, b * b);
      }
      for (float* row : {copy, squares}) std::fill(row + n_, row + lanes, 0.0f);
    }
    if (!job_.image) return;  // only the target's statistics are wanted
    const float* image = job_.image_row(r, first_, n_, s_.image());
    if (mask) image = keep_where(mask, image, s_.image(), n_);
    float *x = s_.input(Scratch::kX, r), *xx = s_.input(Scratch::kXX, r), *xy = s_.input(Scratch::kXY, r);
    for (int64_t j = 0; j < lanes; j += kLanes) {
      const f16 a = load(image + j);
      store(x + j, a);
      store(xx + j, a * a);
      store(xy + j, a * load(y + j));
    }
    for (float* row : {x, xx, xy}) std::fill(row + n_, row + lanes, 0.0f);
  }

  // Filters the inputs [from, to] of the rows that begin at `begin` downwards, reading what is missing.
  void filter_inputs(int64_t begin, int from, int to) {
    for (; loaded_ < std::min(needed_, begin + kBlock + kRadius); loaded_++) load_row(loaded_);
    for (int which = from; which <= to; which++) {
      const float* in[kIn];
      for (int i = 0; i < kIn; i++) {
        const int64_t r = begin - kRadius + i;
        in[i] = r < 0 || r >= needed_ ? s_.zero() : s_.input(which, r);
      }
      down(in, s_.filtered(which, 0), s_.stride(), vectors_);
    }
  }

  void forward(int64_t begin, int64_t end) {
    filter_inputs(begin, Scratch::kX, job_.has_statistics() ? Scratch::kXY : Scratch::kYY);
    for (int64_t r = begin; r < end; r++) {
      const double sum = job_.has_statistics() ? map_row<true>(r, static_cast<int>(r - begin))
                                               : map_row<false>(r, static_cast<int>(r - begin));
      if (r >= tile_.row_begin && r < tile_.row_end) tile_.ssim[r] = sum;
      if (!job_.gradient) tile_.l1[r] = l1_row(r);
    }
  }

  // S and its derivative maps for one row; returns the sum of S over the tile's own columns.
  template <bool Cached>
  double map_row(int64_t r, int at) {
    const float* valid = s_.inside();
    if (job_.mask) {
      job_.mask_row(r, first_, n_, s_.valid());
      valid = s_.valid();
    }
    const float *mean = nullptr, *variance = nullptr, *counted = s_.counted();
    if (Cached) {
      mean = job_.statistics_row(0, r, first_, n_, s_.mean());
      variance = job_.statistics_row(1, r, first_, n_, s_.variance());
    }
    const Weights g;
    const float *x = s_.filtered(Scratch::kX, at), *xx = s_.filtered(Scratch::kXX, at),
                *xy = s_.filtered(Scratch::kXY, at), *y = s_.filtered(Scratch::kY, at),
                *yy = s_.filtered(Scratch::kYY, at);
    float *h1 = s_.map(0, r), *h2 = s_.map(1, r), *h12 = s_.map(2, r);
    f16 sum = 0.0f;
    for (int j = 0; j < vectors_ * kLanes; j += kLanes) {
      const f16 mx = along(g, x + j);
      const f16 vx = fnma(mx, mx, along(g, xx + j));
      const f16 my = Cached ? load(mean + j) : along(g, y + j);
      const f16 vy = Cached ? load(variance + j) : fnma(my, my, along(g, yy + j));
      const f16 cov = fnma(mx, my, along(g, xy + j));
      const f16 a1 = fma(mx + mx, my, f16(kC1)), a2 = fma(f16(2.0f), cov, f16(kC2));
      const f16 b1 = fma(mx, mx, fma(my, my, f16(kC1))), b2 = vx + vy + f16(kC2);
      const f16 keep = load(valid + j);
      const f16 inverse = keep / (b1 * b2);
      const f16 s = a1 * a2 * inverse;
      store(h1 + j, inverse * fnma(mx * s, b2 - b1, my * (a2 - a1)));
      store(h2 + j, -(s * b1 * inverse));
      store(h12 + j, a1 * inverse);
      sum = fma(s, load(counted + j), sum);
    }
    return scenerep::sum(sum);
  }

  struct Pictures {
    const float *x, *y;
  };
  // Row r of both pictures, masked.
  Pictures pictures(int64_t r) {
    const float* x = job_.image_row(r, first_, n_, s_.image());
    const float* y = job_.target_row(r, first_, n_, s_.target());
    if (job_.mask) {
      job_.mask_row(r, first_, n_, s_.valid());
      x = keep_where(s_.valid(), x, s_.image(), n_);
      y = keep_where(s_.valid(), y, s_.target(), n_);
    }
    return {x, y};
  }

  double l1_row(int64_t r) {
    const auto [x, y] = pictures(r);
    f16 sum = 0.0f;
    for (int64_t j = 0; j < vectors_ * kLanes; j += kLanes)
      sum = fma(abs(load(x + j) - load(y + j)), load(s_.counted() + j), sum);
    return scenerep::sum(sum);
  }

  // Filters the maps back and writes the gradient of the rows [begin, end); map rows below `done` are there.
  void backward(int64_t begin, int64_t end, int64_t done) {
    for (int which = 0; which < 3; which++) {
      const float* in[kIn];
      for (int i = 0; i < kIn; i++) {
        const int64_t r = begin - kRadius + i;
        in[i] = r < 0 || r >= done ? s_.zero() : s_.map(which, r);
      }
      down(in, s_.filtered(which, 0), s_.stride(), vectors_);
    }
    const Weights g;
    const f16 ssim_scale = job_.ssim_scale, l1_scale = job_.l1_scale, zero = 0.0f;
    const int64_t own_end = own_ + own_n_;
    for (int64_t r = begin; r < end; r++) {
      const auto [xs, ys] = pictures(r);
      const int at = static_cast<int>(r - begin);
      const float *f1 = s_.filtered(0, at), *f2 = s_.filtered(1, at), *f12 = s_.filtered(2, at);
      const float *keep = job_.mask ? s_.valid() : s_.inside(), *counted = s_.counted();
      float* out = job_.gradient + (r * job_.width + first_) * kChannels;
      f16 sum = 0.0f;
      for (int64_t j = own_ / kLanes * kLanes; j < own_end; j += kLanes) {
        const f16 x = load(xs + j), y = load(ys + j), difference = x - y;
        const f16 ssim = fma(x, along(g, f2 + j), fma(y, along(g, f12 + j), along(g, f1 + j)));
        const f16 l1 = select(difference > zero, l1_scale, select(difference < zero, -l1_scale, zero));
        const f16 both = fma(ssim_scale * load(keep + j), ssim, l1);
        sum = fma(abs(difference), load(counted + j), sum);
        if (j >= own_ && j + kLanes <= own_end) {
          store(out + j, both);
        } else {  // the rest belongs to another tile or row
          float part[kLanes];
          store(part, both);
          const int64_t from = std::max(j, own_), to = std::min(j + kLanes, own_end);
          std::copy(part + (from - j), part + (to - j), out + from);
        }
      }
      tile_.l1[r] = scenerep::sum(sum);
    }
  }

  const Job& job_;
  const Tile& tile_;
  Scratch& s_;
  int64_t first_ = 0, n_ = 0, own_ = 0, own_n_ = 0;  // first column; floats per row; the tile's own among them
  int64_t loaded_ = 0, needed_ = 0;                  // rows read so far; where reading ends
  int vectors_ = 0;
};

// Memory kept between calls. One call at a time: a second one waits.
class Workspace {
 public:
  template <class F>
  void for_tiles(const Job& job, F&& body) {
    Pool& pool = Pool::instance();
    const int64_t strips = std::max<int64_t>(1, (job.width + kStrip / 2) / kStrip);
    const int64_t bands = std::clamp<int64_t>(2 * pool.size() / strips, pool.size() > 1 ? pool.size() : 1,
                                              std::max<int64_t>(1, job.height / kBand));
    sums_.assign(2 * strips * job.height, 0.0);
    tiles_.clear();
    for (int64_t b = 0; b < bands; b++)
      for (int64_t s = 0; s < strips; s++)
        tiles_.push_back({job.height * b / bands, job.height * (b + 1) / bands, job.width * s / strips,
                          job.width * (s + 1) / strips, &sums_[2 * s * job.height], &sums_[(2 * s + 1) * job.height]});
    const auto columns = static_cast<int>((job.width + strips - 1) / strips + 4 * kRadius);
    if (static_cast<int>(scratch_.size()) < pool.size()) scratch_.resize(pool.size());
    std::atomic<size_t> next{0};
    pool.run([&](int thread) {
      Scratch& scratch = scratch_[thread];
      for (size_t t = next++; t < tiles_.size(); t = next++) {
        scratch.prepare(columns);
        body(Worker(job, tiles_[t], scratch));
      }
    });
    l1_ = ssim_ = 0;
    for (int64_t s = 0; s < strips; s++)
      for (int64_t r = 0; r < job.height; r++) {
        l1_ += sums_[2 * s * job.height + r];
        ssim_ += sums_[(2 * s + 1) * job.height + r];
      }
  }
  double l1() const { return l1_; }
  double ssim() const { return ssim_; }
  std::mutex mutex;

 private:
  std::vector<Scratch> scratch_;
  std::vector<Tile> tiles_;
  std::vector<double> sums_;
  double l1_ = 0, ssim_ = 0;
};

using Any = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
using Picture = Array<const float, -1, -1, 3>;
using Mask = Array<const uint8_t, -1, -1>;

void check(bool good, const char* message) {
  if (!good) throw std::invalid_argument(message);
}

void set_target(Job& job, const Any& target) {
  check(target.ndim() == 3 && static_cast<int64_t>(target.shape(0)) == job.height &&
            static_cast<int64_t>(target.shape(1)) == job.width && target.shape(2) == 3,
        "target: expected the image's shape [h, w, 3]");
  if (target.dtype() == nb::dtype<uint8_t>())
    job.target_bytes = static_cast<const uint8_t*>(target.data());
  else if (target.dtype() == nb::dtype<float>())
    job.target_floats = static_cast<const float*>(target.data());
  else
    throw std::invalid_argument("target: expected uint8 or float32");
}

void set_mask(Job& job, const std::optional<Mask>& mask) {
  if (!mask) return;
  check(static_cast<int64_t>(mask->shape(0)) == job.height && static_cast<int64_t>(mask->shape(1)) == job.width,
        "mask: expected [h, w] of the image");
  job.mask = mask->data();
}

std::tuple<double, double, double> l1_ssim(Picture image, Any target, std::optional<Any> statistics,
                                           std::optional<Mask> mask, double lambda,
                                           std::optional<Array<float, -1, -1, 3>> gradient, Workspace& workspace) {
  Job job;
  job.height = image.shape(0);
  job.width = image.shape(1);
  job.image = image.data();
  set_target(job, target);
  set_mask(job, mask);
  const int64_t pixels = job.height * job.width;
  if (statistics) {
    check(statistics->ndim() == 4 && statistics->shape(0) == 2 &&
              static_cast<int64_t>(statistics->shape(1)) == job.height &&
              static_cast<int64_t>(statistics->shape(2)) == job.width && statistics->shape(3) == 3,
          "statistics: expected [2, h, w, 3]");
    if (statistics->dtype() == nb::dtype<float>())
      job.statistics = static_cast<const float*>(statistics->data());
    else if (statistics->dtype() == nb::dtype<uint16_t>())
      job.statistics_half = static_cast<const uint16_t*>(statistics->data());
    else
      throw std::invalid_argument("statistics: expected float32, or float16 seen as uint16");
  }
  if (gradient) {
    check(static_cast<int64_t>(gradient->shape(0)) == job.height && static_cast<int64_t>(gradient->shape(1)) == job.width,
          "gradient: expected the image's shape [h, w, 3]");
    job.gradient = gradient->data();
  }
  nb::gil_scoped_release release;
  const int64_t kept = job.mask ? pixels - std::count(job.mask, job.mask + pixels, uint8_t{0}) : pixels;
  if (kept == 0) {  // nothing to compare: no loss, and nothing to change
    if (job.gradient) std::fill(job.gradient, job.gradient + pixels * kChannels, 0.0f);
    return {0.0, 0.0, 1.0};
  }
  const double samples = static_cast<double>(kept) * kChannels;
  job.ssim_scale = static_cast<float>(-2 * lambda / samples);
  job.l1_scale = static_cast<float>((1 - lambda) / samples);
  std::lock_guard<std::mutex> one_at_a_time(workspace.mutex);
  workspace.for_tiles(job, [](Worker&& worker) { worker.run(); });
  const double l1 = workspace.l1() / samples, ssim = workspace.ssim() / samples;
  return {(1 - lambda) * l1 + lambda * (1 - ssim), l1, ssim};
}

void target_statistics(Any target, std::optional<Mask> mask, Array<float, 2, -1, -1, 3> out, Workspace& workspace) {
  Job job;
  job.height = out.shape(1);
  job.width = out.shape(2);
  set_target(job, target);
  set_mask(job, mask);
  float* data = out.data();
  nb::gil_scoped_release release;
  std::lock_guard<std::mutex> one_at_a_time(workspace.mutex);
  workspace.for_tiles(job, [data](Worker&& worker) { worker.statistics(data); });
}

}  // namespace

void bind_loss(nb::module_& m) {
  nb::class_<Workspace>(m, "LossWorkspace", "Memory that calls keep. One at a time works on it; a second one waits.")
      .def(nb::init<>());
  m.def("l1_ssim", &l1_ssim, nb::arg("image").noconvert(), nb::arg("target").noconvert(),
        nb::arg("statistics").noconvert().none(), nb::arg("mask").noconvert().none(), nb::arg("lambda_"),
        nb::arg("gradient").noconvert().none(), nb::arg("workspace"),
        "(loss, l1, ssim); the gradient of the loss by the image goes into `gradient`.");
  m.def("target_statistics", &target_statistics, nb::arg("target").noconvert(), nb::arg("mask").noconvert().none(),
        nb::arg("out").noconvert(), nb::arg("workspace"),
        "Mean and variance of the target under the window, what `l1_ssim` takes as `statistics`.");
}

}  // namespace scenerep
