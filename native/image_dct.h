// What encoder and decoder of the `dct` image codec share: sizes, prediction, transform, the model of the bits.
// The format, with its formulas: docs/image_codec.md; the plain twin of the decoder: scenerep/codecs/dct/reference.py.
//
// N = side of a block, 4 to 32; u, v = horizontal and vertical frequency; a plane's samples are integers of `depth`
// bits, times four if depth is 8.
#pragma once

#include <array>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "coding_model.h"

namespace scenerep::dct {

constexpr int kSuper = 32;     // the picture is coded in squares of this side, each a quadtree
constexpr int kUnit = 4;       // the smallest block, and the grain of the maps
constexpr int kDirections = 33;
constexpr int kSmooth = 0, kMean = 1, kFirstDirection = 2, kFromLuma = kFirstDirection + kDirections;
constexpr int kModes = kFromLuma + 1;

inline int size_index(int n) { return n == 4 ? 0 : n == 8 ? 1 : n == 16 ? 2 : 3; }

// Neighbours of a block: [0] is the corner, 1 .. 2N go away from it.
struct Edge {
  int32_t top[2 * kSuper + 2], left[2 * kSuper + 2];
};

// Reads the neighbours from those samples that are there already; the others repeat the nearest one.
void gather(const int32_t* plane, int width, int height, const uint8_t* done, int x, int y, int n, int32_t middle,
            Edge& edge);
// The same, smoothed by 1 2 1.
void smooth(const Edge& edge, int n, Edge& out);
// Whether a mode predicts from the smoothed neighbours.
bool uses_smooth(int mode, int n);
// Every mode but kFromLuma; out [n, n].
void predict(int mode, int n, const Edge& edge, int32_t* out);
// The line a * luma + b through the neighbours of both planes. luma points to the block in its plane.
void predict_from_luma(const int32_t* luma, int stride, int n, const Edge& luma_edge, const Edge& edge, int32_t* out);

// Coefficients [n, n] to residuals [n, n]; only the first `rows` of the coefficients are not zero. `wide` for more than
// 8 bits per sample.
void inverse_transform(const int32_t* coefficients, int n, int rows, bool wide, int32_t* out);
void forward_transform(const float* residual, int n, float* out);

// Coefficients in the order of their frequency: index v * n + u of each.
const uint16_t* scan(int n);

// Steps of all coefficients in 1/256 of a sample's unit; [plane class][size][v * n + u].
struct Steps {
  std::vector<int32_t> of[3][4];
};
constexpr int kKnots = 8;
// profiles: 1/64, [2 (luma, chroma), 4 sizes, kKnots], linear over the radial frequency; plane_steps: 1/256.
Steps make_steps(const uint8_t* profiles, const std::array<int32_t, 3>& plane_steps);
inline int32_t dequantise(int32_t level, int32_t step, int32_t limit) {
  const int64_t c = (static_cast<int64_t>(level) * step + 128) >> 8;
  return static_cast<int32_t>(c > limit ? limit : c < -limit ? -limit : c);
}
inline int32_t coefficient_limit(bool wide) { return wide ? (1 << 22) - 1 : (1 << 16) - 1; }

// ---- the model of the bits ----

constexpr int kJ = 5;           // contexts of a bit of a coefficient
constexpr int kNodes = 28;      // bits of a magnitude that have contexts of their own
constexpr int kTemplates = 20;
constexpr std::array<int, kJ> kBanks = {2 * 4 * kTemplates * 5, 2 * 4 * 64 * 3, 2 * 192, 5 * 4 * 25 * 3, 3 * 600};
constexpr int kS = 3;           // contexts of a bit of the syntax
constexpr int kSyntax = 4096;   // contexts of each of its banks
constexpr int kSyntaxSets = 512;

constexpr size_t coefficient_slots() {
  size_t n = 0;
  for (int bank : kBanks) n += static_cast<size_t>(bank) * kNodes;
  return n;
}
constexpr size_t kSlots = coefficient_slots() + kS * kSyntax;
constexpr int kSets = kNodes * 2 * 4;

struct Model {
  std::vector<Slot> slots = std::vector<Slot>(kSlots);
  std::vector<Weights<kJ>> weights = std::vector<Weights<kJ>>(kSets);
  std::vector<Weights<kS>> syntax_weights = std::vector<Weights<kS>>(kSyntaxSets);
};

// Counts bits by the model and leaves it as it is.
class Counter {
 public:
  static constexpr bool kDecodes = false;
  float bits = 0;
  void code(int bit, int p) { bits += bit_cost(static_cast<uint32_t>(bit ? p : 65536 - p)); }
  uint32_t raw(uint32_t value, int count) {
    bits += static_cast<float>(count);
    return value;
  }
};

template <int J, class Coder>
int code_bit(Coder& coder, const std::array<Slot*, J>& slots, Weights<J>& weights, int bit) {
  if constexpr (std::is_same_v<Coder, Counter>) {
    int st[J];
    coder.code(bit, mixed_probability<J>(slots, weights, st));
    return bit;
  } else {
    return code_mixed<J>(coder, slots, weights, bit);
  }
}

// 0, 1, 2, 3, 4-5, 6-7, 8-11, 12-15 ...
inline int log_class(int t, int most) {
  if (t < 4) return t;
  const int lg = 31 - __builtin_clz(static_cast<unsigned>(t));
  const int c = 2 * lg + (t >> (lg - 1) & 1);
  return c < most ? c : most;
}

// What is known of a block before its coefficients.
struct BlockContext {
  int plane, size, n, mode, activity;   // activity 0 .. 5 of the neighbours
  const int32_t* other;                 // levels of the first chroma plane's block for the second, else null
  int other_stride;
  bool other_filled;
};

int mode_class(int mode);

// Magnitudes of the block under way with a border of zeros, and the contexts that follow from them.
class Levels {
 public:
  explicit Levels(const BlockContext& b) : b_(b), klass_(mode_class(b.mode)) {}
  void set(int u, int v, int magnitude) {
    m_[v * kStride + u] = magnitude;
    nonzero_ += magnitude != 0;
  }
  void clear();
  void find(Model& model, int u, int v, std::array<Slot*, kJ>& base) const;

 private:
  static constexpr int kStride = kSuper + 2;
  BlockContext b_;
  int klass_, nonzero_ = 0;
  int32_t m_[kStride * kStride] = {};
};

// A magnitude, by the contexts of its place. `known`: it is not zero, and that bit is left out.
template <class Coder>
int code_magnitude(Coder& coder, Model& model, const BlockContext& b, const std::array<Slot*, kJ>& base, bool known,
                   int magnitude) {
  Weights<kJ>* sets = &model.weights[static_cast<size_t>(((b.plane > 0) * 4 + b.size) * kNodes)];
  auto bit = [&](int node, int value) {
    std::array<Slot*, kJ> at;
    for (int j = 0; j < kJ; j++) at[j] = base[j] + node;
    return code_bit<kJ>(coder, at, sets[node], value);
  };
  if (!known && !bit(0, magnitude != 0)) return 0;
  const int bits = Coder::kDecodes ? 0 : 31 - __builtin_clz(static_cast<unsigned>(magnitude));
  int e = 0;
  while (bit(1 + (e < 7 ? e : 7), bits > e)) {
    if (++e > 22) throw CodingError("a coefficient has more than 22 bits");
  }
  int m = 1;
  for (int k = e; k-- > 0;) {
    const int below = e - 1 - k, value = magnitude >> k & 1;
    if (e <= 2) {
      m = m << 1 | bit((e == 1 ? 9 : 10) + m - 1, value);
    } else if (below < 2) {
      m = m << 1 | bit(13 + 3 * ((e < 7 ? e : 7) - 3) + m - 1, value);
    } else {
      m = m << 1 | static_cast<int>(coder.raw(static_cast<uint32_t>(value), 1));
    }
  }
  return m;
}

// A bit of the syntax: `set` names the bit, the others its contexts.
template <class Coder>
int code_syntax(Coder& coder, Model& model, int set, std::array<int, kS> contexts, int bit) {
  std::array<Slot*, kS> at;
  for (int j = 0; j < kS; j++)
    at[j] = &model.slots[coefficient_slots() + static_cast<size_t>(j * kSyntax + contexts[j])];
  return code_bit<kS>(coder, at, model.syntax_weights[static_cast<size_t>(set)], bit);
}

// ---- picture ----

// One tree for luma, one for the two chroma planes. Sizes are padded to multiples of 8.
struct Layout {
  int width, height, planes;
  int units_x() const { return width / kUnit; }
  int units_y() const { return height / kUnit; }
};

struct Picture {
  explicit Picture(const Layout& layout);
  Layout layout;
  std::vector<int32_t> samples[3], levels[3];
  std::vector<uint8_t> activity[3];            // of the block over each unit, 0 .. 5
  std::vector<uint8_t> sizes[2], modes[2], done[2];
  int32_t* at(int plane, int x, int y) { return &samples[plane][static_cast<size_t>(y) * layout.width + x]; }
  int32_t* levels_at(int plane, int x, int y) { return &levels[plane][static_cast<size_t>(y) * layout.width + x]; }
  size_t unit(int x, int y) const { return static_cast<size_t>(y / kUnit) * (layout.width / kUnit) + x / kUnit; }
};

struct Settings {
  Steps steps;
  bool wide;
  int32_t middle[3], low[3], high[3];  // of the samples of each plane
};

BlockContext block_context(Picture& p, int plane, int x, int y, int n, int mode);
// Three likely modes of a block, most likely first.
std::array<int, 3> likely_modes(const Picture& p, int tree, int x, int y, int n);

bool any_level(const int32_t* levels, int n, int stride);
// Notes the activity of a block, by its levels.
void finish_block(Picture& p, int plane, int x, int y, int n);
void set_units(std::vector<uint8_t>& map, const Picture& p, int x, int y, int n, uint8_t value);

// The prediction of a block, [n, n].
void predict_block(Picture& p, const Settings& s, int plane, int x, int y, int n, int mode, int32_t* out);
// Prediction and levels to samples.
void reconstruct(Picture& p, const Settings& s, int plane, int x, int y, int n, const int32_t* prediction);

// Chooses sizes, modes and levels of one square and leaves the samples that the decoder will have.
// lambda: of each plane, in squares of its unit for a bit; effort: 0 to 2.
void decide_square(Picture& p, const Settings& s, const std::vector<float> (&source)[3], Model& model,
                   const std::array<float, 3>& lambda, int effort, int tree, int x, int y);

}  // namespace scenerep::dct
