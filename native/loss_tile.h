// One tile of the loss in loss.cpp, where the formulas stand: streams down its rows in blocks of eight.
//
// Rings hold just the rows that the window still needs, so the work stays in the L2 cache. Every row's arithmetic is the
// same wherever a tile begins, and its sums are kept apart: the result does not depend on how a picture is cut into bands.
#pragma once

#include <algorithm>
#include <cstdint>

#include "buffer.h"
#include "loss_filter.h"
#include "simd.h"

namespace scenerep {
namespace {

constexpr float kC1 = 0.01f * 0.01f, kC2 = 0.03f * 0.03f;

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
      const int64_t count = stride * kRowCount;
      std::fill_n(memory_.ensure(count), count, 0.0f);
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
  float* row(int r) { return memory_.data() + r * stride_ + kPad; }

  int64_t stride_ = 0;
  Buffer<float> memory_;
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

  // my and sy^2 of the whole width of the tile, into the two pictures at `out`.
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

}  // namespace
}  // namespace scenerep
