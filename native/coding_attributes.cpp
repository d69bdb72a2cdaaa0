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

int value_class(const ComponentSetup& s, int32_t v) {
  const int64_t c = (static_cast<int64_t>(v) - s.base) >> s.shift;
  return c < 0 ? 0 : c > 15 ? 15 : static_cast<int>(c);
}

}  // namespace

namespace {

struct CurvePoint {
  Point point;
  int32_t index;
};

// The nearest points known before: squared distance (below 2^42) and index in one number, ascending.
using Nearest = std::array<uint64_t, kNeighbours>;
constexpr uint64_t kNobody = ~0ull;
constexpr int kIndexBits = 22;

void offer(Nearest& nearest, uint64_t key) {
  for (uint64_t& kept : nearest) {
    const uint64_t larger = std::max(kept, key);
    kept = std::min(kept, key);
    key = larger;
  }
}

// Indices 0 .. n - 1 by the code of each, then by index: a radix sort of 11 bits at a time.
void sort_by_code(std::vector<std::pair<uint64_t, int32_t>>& items, int bits) {
  constexpr int kDigit = 11;
  std::vector<std::pair<uint64_t, int32_t>> other(items.size());
  std::vector<size_t> starts;
  for (int shift = 0; shift < bits; shift += kDigit) {
    const auto digit = [shift](uint64_t code) { return static_cast<size_t>(code >> shift & ((1u << kDigit) - 1)); };
    starts.assign((1u << kDigit) + 1, 0);
    for (const auto& item : items) starts[digit(item.first) + 1]++;
    for (size_t i = 1; i < starts.size(); i++) starts[i] += starts[i - 1];
    for (const auto& item : items) other[starts[digit(item.first)]++] = item;
    std::swap(items, other);
  }
}

}  // namespace

void find_neighbours(Cell& cell, int64_t begin, int64_t end) {
  const size_t n = static_cast<size_t>(end);
  std::vector<std::pair<uint64_t, int32_t>> order(n);
  std::vector<CurvePoint> curve(n);
  std::vector<Nearest> found(n), nearest(n);
  std::fill(nearest.begin(), nearest.end(), Nearest{kNobody, kNobody, kNobody});
  // A third of the grid: on the two curves, no border between large octree nodes is in the same place.
  for (const int32_t shift : {0, (1 << cell.depth) / 3}) {
    for (size_t i = 0; i < n; i++) {
      const Point p = from_morton(cell.codes[i]);
      order[i] = {shift ? morton(p[0] + shift, p[1] + shift, p[2] + shift) : cell.codes[i], static_cast<int32_t>(i)};
    }
    // The first layer comes along the curve.
    if (shift || begin) sort_by_code(order, 3 * (cell.depth + 1));
    for (size_t k = 0; k < n; k++) curve[k] = {from_morton(cell.codes[static_cast<size_t>(order[k].second)]), order[k].second};
    std::fill(found.begin(), found.end(), Nearest{kNobody, kNobody, kNobody});
    for (size_t k = 0; k < n; k++) {
      const CurvePoint here = curve[k];
      for (size_t at = k + 1; at < std::min(n, k + kReach + 1); at++) {
        const CurvePoint& there = curve[at];
        // The later of the two may have the other for a neighbour.
        const bool later = here.index > there.index;
        if (std::max(here.index, there.index) < begin) continue;
        uint64_t d = 0;
        for (size_t axis = 0; axis < 3; axis++) {
          const int64_t difference = here.point[axis] - there.point[axis];
          d += static_cast<uint64_t>(difference * difference);
        }
        offer(found[later ? k : at], d << kIndexBits | static_cast<uint64_t>(later ? there.index : here.index));
      }
    }
    for (size_t k = 0; k < n; k++) {
      if (curve[k].index < begin) continue;
      Nearest& kept = nearest[static_cast<size_t>(curve[k].index)];
      for (uint64_t key : found[k]) {
        // The second curve offers again what the first one did.
        const bool again = key == kept[0] || key == kept[1] || key == kept[2];
        offer(kept, again ? kNobody : key);
      }
    }
  }
  for (size_t i = static_cast<size_t>(begin); i < n; i++)
    for (size_t m = 0; m < kNeighbours; m++) {
      const uint64_t key = nearest[i][m];
      cell.neighbours[i][m] = key == kNobody ? -1 : static_cast<int32_t>(key & ((1u << kIndexBits) - 1));
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
    models_->sh.emplace_back(std::array<int, 2>{(kMagnitudes + 1) * kSigned, kMagnitudes * 16});
  for (int b = 0; b < cell.bands; b++) models_->present.emplace_back(std::array<int, 3>{16 * 2, 16 * 2, 16 * 4}, 1);
}
AttributeCoder::~AttributeCoder() { delete models_; }

namespace {

// What the neighbours say of a component.
struct Prediction {
  int32_t mean;
  int spread_class;  // of their values
  int count;
};
struct ShPrediction {
  int level_class;      // of the sum of their values, made up to three
  int magnitude_class;  // 0 .. 11, of 3 / 2 of their mean magnitude; 12: no neighbours
  int count;
};

// floor((2 sum + m) / (2 m)), the mean of m values below 2^24 rounded, halves up; without a division.
int32_t rounded_mean(int32_t sum, int m) {
  if (m == 1) return sum;
  if (m == 2) return (sum + 1) >> 1;
  constexpr uint32_t kShift = 1u << 27;  // makes it positive
  const uint32_t x = static_cast<uint32_t>(2 * sum + 3) + 6 * kShift;
  return static_cast<int32_t>((static_cast<uint64_t>(x) * 0xaaaaaaabu) >> 34) - static_cast<int32_t>(kShift);
}

Prediction predict(const std::array<int32_t, kNeighbours>& near, const int32_t* values) {
  if (near[0] < 0) return {0, 0, 0};
  int32_t sum = 0, low = INT32_MAX, high = INT32_MIN;
  int m = 0;
  for (; m < kNeighbours && near[static_cast<size_t>(m)] >= 0; m++) {
    const int32_t v = values[near[static_cast<size_t>(m)]];
    sum += v;
    low = std::min(low, v);
    high = std::max(high, v);
  }
  return {rounded_mean(sum, m), magnitude_class(high - low), m};
}

ShPrediction predict_sh(const std::array<int32_t, kNeighbours>& near, const int32_t* values) {
  if (near[0] < 0) return {signed_class(0), kMagnitudes, 0};
  int32_t sum = 0;
  int32_t magnitudes = 0;
  int m = 0;
  for (; m < kNeighbours && near[static_cast<size_t>(m)] >= 0; m++) {
    const int32_t v = values[near[static_cast<size_t>(m)]];
    sum += v;
    magnitudes += std::abs(v);
  }
  if (m == 3) return {signed_class(sum), magnitude_class(magnitudes >> 1), m};
  // 3 * 2^25 at most.
  return {signed_class(m == 2 ? (3 * sum) >> 1 : 3 * sum), magnitude_class((3 * magnitudes) >> m), m};
}

}  // namespace

void AttributeCoder::choose_setups() {
  const size_t n = cell_.codes.size();
  for (size_t c = 0; c < kBase && n > 0; c++) {
    // Classes over the middle 98 % of the values.
    std::vector<int32_t> column = cell_.values[c];
    std::sort(column.begin(), column.end());
    ComponentSetup& s = setups_[c];
    s.base = column[n / 100];
    const int32_t range = column[n - 1 - n / 100] - s.base;
    s.shift = 0;
    while (range >> s.shift > 15) s.shift++;
  }
}

template <class Coder>
void AttributeCoder::code_setups(Coder& coder, int from, int to) {
  auto raw = [&](uint32_t value, int count) {
    uint32_t read = 0;
    for (int left = count; left > 0;) {
      const int take = left >= 8 ? 8 : left;
      left -= take;
      read = read << take | coder.raw(value >> left & ((1u << take) - 1), take);
    }
    return read;
  };
  for (int c = from; c < std::min(to, kBase); c++) {
    ComponentSetup& s = setups_[static_cast<size_t>(c)];
    s.base = static_cast<int32_t>(raw(static_cast<uint32_t>(s.base + kValueLimit), 25)) - kValueLimit;
    s.shift = static_cast<int>(raw(static_cast<uint32_t>(s.shift), 5));
  }
}

// Whether each Gaussian's SH band has values.
template <class Coder>
void AttributeCoder::code_present(Coder& coder, int band, int64_t begin, int64_t end, float* bits) {
  const auto at = [](int64_t i) { return static_cast<size_t>(i); };
  std::vector<uint8_t>& present = cell_.present[static_cast<size_t>(band - 1)];
  for (int64_t i = begin; i < end; i++) {
    int with = 0, m = 0;
    for (; m < kNeighbours && cell_.neighbours[at(i)][at(m)] >= 0; m++) with += present[at(cell_.neighbours[at(i)][at(m)])];
    const int lower = band > 1 && cell_.present[static_cast<size_t>(band - 2)][at(i)];
    const int opacity = value_class(setups_[6], cell_.values[6][at(i)]), size = value_class(setups_[0], cell_.values[0][at(i)]);
    const int layer = std::min<int>(cell_.layer[at(i)], 3);
    present[at(i)] = static_cast<uint8_t>(models_->present[static_cast<size_t>(band - 1)].code(
        coder, {(with * 4 + m) * 2 + lower, opacity * 2 + lower, size * 4 + layer}, 0, present[at(i)]));
    const float cost = coder.take_cost();
    if (bits) bits[i * kCosts + 4 + band] += cost;
  }
}

void AttributeCoder::check(int32_t value) {
  if (value >= kValueLimit || value <= -kValueLimit) throw CodingError("an attribute beyond 24 bits");
}

// A component of the Gaussians begin .. end, as its distance from what the neighbours say. `contexts(i, prediction)`
// gives those of Gaussian i and is followed by `contexts.coded(i, residual)`.
template <class Coder, class Model, class Contexts>
void AttributeCoder::code_component(Coder& coder, Model& model, int c, int64_t begin, int64_t end, float* bits,
                                    Contexts contexts) {
  const int cost_at = c < 3 ? 1 : c < 6 ? 2 : c < 7 ? 3 : 4;
  int32_t* values = cell_.values[static_cast<size_t>(c)].data();
  for (int64_t i = begin; i < end; i++) {
    const Prediction p = predict(cell_.neighbours[static_cast<size_t>(i)], values);
    const int32_t r = model.code(coder, contexts(i, p), Coder::kDecodes ? 0 : values[i] - p.mean);
    if constexpr (Coder::kDecodes) check(values[i] = p.mean + r);
    contexts.coded(i, r);
    const float cost = coder.take_cost();
    if (bits) bits[i * kCosts + cost_at] += cost;
  }
}

// A component of an SH band, itself, for the Gaussians that have the band. `totals`: magnitudes of the band's components
// up to here.
template <class Coder>
void AttributeCoder::code_sh(Coder& coder, int band, int c, int64_t begin, int64_t end, float* bits,
                             std::vector<int32_t>& totals) {
  IntegerModel<2>& model = models_->sh[static_cast<size_t>(c - kBase)];
  const uint8_t* present = cell_.present[static_cast<size_t>(band - 1)].data();
  const int32_t* opacities = cell_.values[6].data();
  int32_t* values = cell_.values[static_cast<size_t>(c)].data();
  for (int64_t i = begin; i < end; i++) {
    if (!present[i]) continue;
    const ShPrediction p = predict_sh(cell_.neighbours[static_cast<size_t>(i)], values);
    int32_t& total = totals[static_cast<size_t>(i - begin)];
    const int opacity = value_class(setups_[6], opacities[i]) / 4;
    values[i] = model.code(coder, {p.magnitude_class * kSigned + p.level_class, magnitude_class(total) * 16 + p.count * 4 + opacity},
                           values[i]);
    if constexpr (Coder::kDecodes) check(values[i]);
    total = std::min(total + std::abs(values[i]), 1 << 20);
    const float cost = coder.take_cost();
    if (bits) bits[i * kCosts + 4 + band] += cost;
  }
}

namespace {

// What the contexts of all components are made of.
struct Known {
  const Cell& cell;
  const std::vector<ComponentSetup>& setups;
  int64_t begin;

  int cls(int c, int64_t i) const {
    return value_class(setups[static_cast<size_t>(c)], cell.values[static_cast<size_t>(c)][static_cast<size_t>(i)]);
  }
  int mean_cls(int c, const Prediction& p) const { return value_class(setups[static_cast<size_t>(c)], p.mean); }
  int layer(int64_t i) const { return std::min<int>(cell.layer[static_cast<size_t>(i)], 3); }
  int32_t value(int c, int64_t i) const { return cell.values[static_cast<size_t>(c)][static_cast<size_t>(i)]; }
};

// The residuals of the three components of a group.
using Errors = std::array<std::vector<int32_t>, 3>;

struct ShapeContexts {
  Known known;
  Errors& errors;
  int c;

  std::array<int, 4> operator()(int64_t i, const Prediction& p) const {
    const int r = c % 3;
    const size_t k = static_cast<size_t>(i - known.begin);
    const int mean = known.mean_cls(c, p);
    const int other = r ? known.cls(c - 1, i) : c ? known.cls(0, i) : 0;
    const int before = r ? signed_class(errors[static_cast<size_t>(r - 1)][k]) * 3 + sign_class(r > 1 ? errors[0][k] : 0)
                         : known.layer(i);
    // An arithmetic shift rounds down, as the reference does.
    const int form = c < 3 ? mean * 4 + known.layer(i)
                           : signed_class((known.value(0, i) - known.value(1, i)) >> 1) * kSigned +
                                 signed_class((known.value(1, i) - known.value(2, i)) >> 1);
    return {mean * 16 + other, before, p.spread_class * 4 + p.count, form};
  }
  void coded(int64_t i, int32_t r) const { errors[static_cast<size_t>(c % 3)][static_cast<size_t>(i - known.begin)] = r; }
};

struct OpacityContexts {
  Known known;

  std::array<int, 3> operator()(int64_t i, const Prediction& p) const {
    return {known.mean_cls(6, p) * 4 + p.count, known.cls(0, i) * 4 + known.layer(i), known.cls(1, i) * 16 + known.cls(2, i)};
  }
  void coded(int64_t, int32_t) const {}
};

struct ColourContexts {
  Known known;
  Errors& errors;
  int c;

  std::array<int, 3> operator()(int64_t i, const Prediction& p) const {
    const size_t k = static_cast<size_t>(i - known.begin);
    const int before = c == 7 ? known.cls(0, i) : signed_class(errors[0][k]) * kSigned + signed_class(errors[1][k]);
    return {before, p.spread_class * 4 + p.count, known.mean_cls(c, p) * 16 + known.cls(6, i)};
  }
  void coded(int64_t i, int32_t r) const { errors[static_cast<size_t>(c - 7)][static_cast<size_t>(i - known.begin)] = r; }
};

}  // namespace

template <class Coder>
void AttributeCoder::code(Coder& coder, int stream, int64_t begin, int64_t end, bool first, float* bits) {
  static constexpr int kFirst[kStreams + 1] = {0, 0, 6, 7, 10, 19, 34, 55};
  const int from = kFirst[stream], to = kFirst[stream + 1];
  if (first) code_setups(coder, from, to);
  coder.take_cost();
  const Known known{cell_, setups_, begin};
  const size_t n = static_cast<size_t>(end - begin);
  if (stream <= 3) {
    Errors errors{std::vector<int32_t>(n), std::vector<int32_t>(n), std::vector<int32_t>(n)};
    for (int c = from; c < to; c++) {
      if (stream == 1)
        code_component(coder, models_->shape[static_cast<size_t>(c)], c, begin, end, bits, ShapeContexts{known, errors, c});
      else if (stream == 2)
        code_component(coder, models_->surface[0], c, begin, end, bits, OpacityContexts{known});
      else
        code_component(coder, models_->surface[static_cast<size_t>(c - 6)], c, begin, end, bits,
                       ColourContexts{known, errors, c});
    }
    return;
  }
  const int band = stream - 3;
  code_present(coder, band, begin, end, bits);
  std::vector<int32_t> totals(n);
  for (int c = from; c < to; c++) code_sh(coder, band, c, begin, end, bits, totals);
}

template void AttributeCoder::code(RangeEncoder&, int, int64_t, int64_t, bool, float*);
template void AttributeCoder::code(RangeDecoder&, int, int64_t, int64_t, bool, float*);

}  // namespace scenerep
