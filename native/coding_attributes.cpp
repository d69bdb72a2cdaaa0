#include "coding_attributes.h"

#include <algorithm>
#include <cmath>

namespace scenerep {

namespace {

constexpr size_t kReach = 8;  // entries looked at on each side along a curve

// Twelve classes of a magnitude, growing in width.
int magnitude_class(int32_t x) {
  static constexpr uint8_t kTable[64] = {0, 1, 2, 3, 4, 5, 5, 6, 6, 6, 7, 7, 7, 7, 7, 8, 8, 8, 8, 8, 8, 8,
                                         8, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 10, 10, 10, 10, 10, 10, 10, 10,
                                         10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 11, 11, 11};
  return x < 64 ? kTable[x] : 11;
}
constexpr int kMagnitudes = 12;

// Fifteen classes of a signed value.
int signed_class(int32_t x) {
  static constexpr uint8_t kTable[18] = {0, 1, 2, 3, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 6};
  const int32_t m = x < 0 ? -x : x;
  const int c = m < 18 ? kTable[m] : 7;
  return x < 0 ? 7 - c : 7 + c;
}
constexpr int kSigned = 15;

int sign_class(int32_t x) { return x < 0 ? 0 : x > 0 ? 2 : 1; }

int32_t floor_divide(int64_t a, int64_t b) { return static_cast<int32_t>(a >= 0 ? a / b : -((-a + b - 1) / b)); }

int value_class(const ComponentSetup& s, int32_t v) {
  const int64_t c = (static_cast<int64_t>(v) - s.base) >> s.shift;
  return c < 0 ? 0 : c > 15 ? 15 : static_cast<int>(c);
}

}  // namespace

namespace {

// Offers j to the list of i's neighbours, which is sorted by (distance, index).
void offer(std::array<int32_t, kNeighbours>& list, std::array<int64_t, kNeighbours>& distances, int32_t j, int64_t d) {
  int at = kNeighbours;
  while (at > 0 && (list[static_cast<size_t>(at - 1)] < 0 || d < distances[static_cast<size_t>(at - 1)] ||
                    (d == distances[static_cast<size_t>(at - 1)] && j < list[static_cast<size_t>(at - 1)])))
    at--;
  // The second curve offers again what the first one did.
  if (at == kNeighbours || (at > 0 && list[static_cast<size_t>(at - 1)] == j)) return;
  for (int m = kNeighbours - 1; m > at; m--) {
    list[static_cast<size_t>(m)] = list[static_cast<size_t>(m - 1)];
    distances[static_cast<size_t>(m)] = distances[static_cast<size_t>(m - 1)];
  }
  list[static_cast<size_t>(at)] = j;
  distances[static_cast<size_t>(at)] = d;
}

}  // namespace

void find_neighbours(Cell& cell, int64_t begin, int64_t end) {
  struct Entry {
    uint64_t code;
    int32_t index;
    Point point;
  };
  const size_t n = static_cast<size_t>(end);
  std::vector<Entry> curve(n);
  std::vector<std::array<int64_t, kNeighbours>> distances(n - static_cast<size_t>(begin));
  for (int64_t i = begin; i < end; i++) cell.neighbours[static_cast<size_t>(i)].fill(-1);
  // A third of the grid: on the two curves, no border between large octree nodes is in the same place.
  for (const int32_t shift : {0, (1 << cell.depth) / 3}) {
    for (size_t i = 0; i < n; i++) {
      const Point p = from_morton(cell.codes[i]);
      curve[i] = {morton(p[0] + shift, p[1] + shift, p[2] + shift), static_cast<int32_t>(i), p};
    }
    std::sort(curve.begin(), curve.end(), [](const Entry& a, const Entry& b) {
      return a.code < b.code || (a.code == b.code && a.index < b.index);
    });
    for (size_t k = 0; k < n; k++) {
      const Entry& here = curve[k];
      if (here.index < begin) continue;
      const size_t last = std::min(n, k + kReach + 1);
      for (size_t at = k < kReach ? 0 : k - kReach; at < last; at++) {
        const Entry& there = curve[at];
        if (there.index >= here.index) continue;
        int64_t d = 0;
        for (size_t axis = 0; axis < 3; axis++) {
          const int64_t difference = here.point[axis] - there.point[axis];
          d += difference * difference;
        }
        offer(cell.neighbours[static_cast<size_t>(here.index)], distances[static_cast<size_t>(here.index - begin)],
              there.index, d);
      }
    }
  }
}

struct AttributeModels {
  std::vector<IntegerModel<4>> shape;    // one for each of the components 0 .. 5
  std::vector<IntegerModel<3>> surface;  // of the components 6 .. 9
  std::vector<IntegerModel<2>> sh;       // of the others
  std::vector<BitModel<3>> present;  // one for each band
};

AttributeCoder::AttributeCoder(Cell& cell)
    : cell_(cell), setups_(static_cast<size_t>(cell.components)), models_(new AttributeModels) {
  for (int c = 0; c < 6; c++)
    models_->shape.emplace_back(
        std::array<int, 4>{16 * 16, kSigned * 3, kMagnitudes * 4, c < 3 ? 16 * 4 : kSigned * kSigned});
  models_->surface.emplace_back(std::array<int, 3>{16 * 4, 16 * 4, 16 * 16});
  for (int c = 7; c < kBase; c++)
    models_->surface.emplace_back(std::array<int, 3>{kSigned * kSigned, kMagnitudes * 4, 16 * 16});
  for (int c = kBase; c < cell.components; c++)
    models_->sh.emplace_back(std::array<int, 2>{13, kMagnitudes * 16});
  for (int b = 0; b < cell.bands; b++) models_->present.emplace_back(std::array<int, 3>{16 * 2, 16 * 2, 16 * 4}, 1);
}
AttributeCoder::~AttributeCoder() { delete models_; }

namespace {

struct Prediction {
  int32_t mean;
  int error_class;   // 0 .. 11 by the residuals of the neighbours; 12: no neighbours
  int spread_class;  // of the neighbours' values
  int count;
};

Prediction predict(const Cell& cell, int64_t i, int c, bool predicted) {
  const auto& nb = cell.neighbours[static_cast<size_t>(i)];
  int64_t sum = 0, errors = 0;
  int32_t low = INT32_MAX, high = INT32_MIN;
  int m = 0;
  for (; m < kNeighbours && nb[static_cast<size_t>(m)] >= 0; m++) {
    const size_t at = static_cast<size_t>(nb[static_cast<size_t>(m)]) * static_cast<size_t>(cell.components) +
                      static_cast<size_t>(c);
    const int32_t v = cell.values[at];
    sum += v;
    errors += cell.residuals[at];
    low = std::min(low, v);
    high = std::max(high, v);
  }
  if (m == 0) return {0, 12, 0, 0};
  const int32_t mean = predicted ? floor_divide(2 * sum + m, 2 * m) : 0;
  return {mean, magnitude_class(static_cast<int32_t>(std::min<int64_t>(errors * 3 / (2 * m), 1 << 20))),
          magnitude_class(std::min(high - low, 1 << 20)), m};
}

}  // namespace

void AttributeCoder::choose_setups() {
  const int64_t n = cell_.size();
  const int width = cell_.components;
  std::vector<int32_t> column(static_cast<size_t>(n));
  for (int c = 0; c < width; c++) {
    double with = 0, without = 0;
    for (int64_t i = 0; i < n; i++) {
      const int32_t v = cell_.values[static_cast<size_t>(i * width + c)];
      column[static_cast<size_t>(i)] = v;
      with += std::log2(1.0 + std::abs(v - predict(cell_, i, c, true).mean));
      without += std::log2(1.0 + std::abs(v));
    }
    ComponentSetup& s = setups_[static_cast<size_t>(c)];
    s.predicted = c < kBase || with <= without;
    if (c >= kBase || n == 0) continue;
    // Classes over the middle 98 % of the values.
    std::sort(column.begin(), column.end());
    s.base = column[static_cast<size_t>(n / 100)];
    const int32_t range = column[static_cast<size_t>(n - 1 - n / 100)] - s.base;
    s.shift = 0;
    while (range >> s.shift > 15) s.shift++;
  }
}

template <class Coder>
void AttributeCoder::code(Coder& coder, int stream, int64_t begin, int64_t end, bool first, float* bits) {
  static constexpr int kFirst[kStreams + 1] = {0, 0, 6, 7, 10, 19, 34, 55};
  const int width = cell_.components;
  const int from = kFirst[stream], to = kFirst[stream + 1];
  auto raw = [&](uint32_t value, int count) {
    uint32_t read = 0;
    for (int left = count; left > 0;) {
      const int take = left >= 8 ? 8 : left;
      left -= take;
      read = read << take | coder.raw(value >> left & ((1u << take) - 1), take);
    }
    return read;
  };
  if (first)
    for (int c = from; c < to; c++) {
      ComponentSetup& s = setups_[static_cast<size_t>(c)];
      s.predicted = raw(s.predicted, 1);
      if (c >= kBase) continue;
      s.base = static_cast<int32_t>(raw(static_cast<uint32_t>(s.base + kValueLimit), 25)) - kValueLimit;
      s.shift = static_cast<int>(raw(static_cast<uint32_t>(s.shift), 5));
    }
  coder.take_cost();

  for (int64_t i = begin; i < end; i++) {
    int32_t* value = &cell_.values[static_cast<size_t>(i * width)];
    int32_t* error = &cell_.residuals[static_cast<size_t>(i * width)];
    const int layer = std::min<int>(cell_.layer[static_cast<size_t>(i)], 3);
    int32_t signed_error[3] = {0, 0, 0};
    auto code_value = [&](auto& model, int c, const Prediction& p, const auto& context) {
      const int32_t r = model.code(coder, context, Coder::kDecodes ? 0 : value[c] - p.mean);
      if constexpr (Coder::kDecodes) {
        value[c] = p.mean + r;
        if (value[c] >= kValueLimit || value[c] <= -kValueLimit) throw CodingError("an attribute beyond 24 bits");
      }
      error[c] = std::abs(r);
      return r;
    };
    auto predicted = [&](int c) { return predict(cell_, i, c, setups_[static_cast<size_t>(c)].predicted); };
    auto cls = [&](int c) { return value_class(setups_[static_cast<size_t>(c)], value[c]); };
    auto mean_cls = [&](int c, const Prediction& p) { return value_class(setups_[static_cast<size_t>(c)], p.mean); };
    if (stream == 1) {
      for (int c = 0; c < 6; c++) {
        const Prediction p = predicted(c);
        const int r = c % 3;
        const int other = r ? cls(c - 1) : c ? cls(0) : 0;
        const int before = r ? signed_class(signed_error[r - 1]) * 3 + sign_class(r > 1 ? signed_error[0] : 0) : layer;
        const int form = c < 3 ? mean_cls(c, p) * 4 + layer
                               : signed_class(floor_divide(value[0] - value[1], 2)) * kSigned +
                                     signed_class(floor_divide(value[1] - value[2], 2));
        const std::array<int, 4> context{mean_cls(c, p) * 16 + other, before, p.spread_class * 4 + p.count, form};
        signed_error[r] = code_value(models_->shape[static_cast<size_t>(c)], c, p, context);
        if (r == 2) {
          const float cost = coder.take_cost();
          if (bits) bits[i * kCosts + (c == 2 ? 1 : 2)] = cost;
        }
      }
    } else if (stream == 2) {
      const Prediction p = predicted(6);
      const std::array<int, 3> context{mean_cls(6, p) * 4 + p.count, cls(0) * 4 + layer, cls(1) * 16 + cls(2)};
      code_value(models_->surface[0], 6, p, context);
    } else if (stream == 3) {
      for (int c = 7; c < kBase; c++) {
        const Prediction p = predicted(c);
        const int before = c == 7 ? cls(0) : signed_class(signed_error[0]) * kSigned + signed_class(signed_error[1]);
        const std::array<int, 3> context{before, p.spread_class * 4 + p.count, mean_cls(c, p) * 16 + cls(6)};
        signed_error[c - 7] = code_value(models_->surface[static_cast<size_t>(c - 6)], c, p, context);
      }
    } else {
      const int band = stream - 3;
      int with = 0, m = 0;
      for (; m < kNeighbours && cell_.neighbours[static_cast<size_t>(i)][static_cast<size_t>(m)] >= 0; m++) {
        const int32_t* v = &cell_.values[static_cast<size_t>(cell_.neighbours[static_cast<size_t>(i)][static_cast<size_t>(m)]) *
                                         static_cast<size_t>(width)];
        with += std::any_of(v + from, v + to, [](int32_t x) { return x != 0; });
      }
      const bool lower_band = band > 1 && std::any_of(value + kFirst[stream - 1], value + from, [](int32_t x) { return x != 0; });
      const int present = models_->present[static_cast<size_t>(band - 1)].code(
          coder, {(with * 4 + m) * 2 + lower_band, cls(6) * 2 + lower_band, cls(0) * 4 + layer}, 0,
          !Coder::kDecodes && std::any_of(value + from, value + to, [](int32_t x) { return x != 0; }));
      if (present) {
        int32_t total = 0;
        for (int c = from; c < to; c++) {
          const Prediction p = predicted(c);
          const std::array<int, 2> context{p.error_class,
                                           magnitude_class(std::min(total, 1 << 20)) * 16 + p.count * 4 + cls(6) / 4};
          code_value(models_->sh[static_cast<size_t>(c - kBase)], c, p, context);
          total += std::abs(value[c]);
        }
      } else {
        for (int c = from; c < to; c++) value[c] = error[c] = 0;
      }
    }
    if (stream > 1) {
      const float cost = coder.take_cost();
      if (bits) bits[i * kCosts + 1 + stream] = cost;
    }
  }
}

template void AttributeCoder::code(RangeEncoder&, int, int64_t, int64_t, bool, float*);
template void AttributeCoder::code(RangeDecoder&, int, int64_t, int64_t, bool, float*);

}  // namespace scenerep
