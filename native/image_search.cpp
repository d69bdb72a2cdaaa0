// The encoder of `dct`: sizes, modes and levels by rate and distortion, J = D + lambda R (Sullivan, Wiegand 1998).
//
// Bits are counted by the model as it stands before the square; D is the squared error of the coefficients.
#include <algorithm>
#include <cmath>

#include "image_syntax.h"

namespace scenerep::dct {

namespace {

constexpr int kArea = kSuper * kSuper;

// Levels of one block in scan order from the highest frequency down, greedily: each is the cheapest of its two nearest
// values and zero, given those above it; and each may become the last one, which drops all above it.
struct Quantised {
  int32_t levels[kArea];
  bool filled;
  float cost;  // D + lambda R
};

void quantise(const float* c, const Settings& s, Picture& p, Model& model, const BlockContext& b, int x, int y,
              float lambda, Quantised& out) {
  const int n = b.n, area = n * n;
  const uint16_t* order = scan(n);
  const std::vector<int32_t>& steps = s.steps.of[b.plane][b.size];
  std::fill(out.levels, out.levels + area, 0);
  float energy = 0;
  int first = -1;
  for (int i = 0; i < area; i++) {
    const float value = c[order[i]];
    energy += value * value;
    if (std::fabs(value) * 256 > 0.55f * static_cast<float>(steps[order[i]])) first = i;
  }
  Counter zero;
  code_filled(zero, model, p, b, x, y, 0);
  out.filled = false;
  out.cost = energy + lambda * zero.bits;
  if (first < 0) return;

  // Everything relative to a block of zeros: `gain` is the change of J by the coefficients so far.
  Levels known(b);
  double gain = 0;
  int last = -1;
  for (int i = first; i >= 0; i--) {
    const int at = order[i], u = at % n, v = at / n;
    const float step = static_cast<float>(steps[at]) / 256, value = std::fabs(c[at]), ratio = value / step;
    const int near = static_cast<int>(ratio + 0.5f);
    if (last < 0 && near == 0) continue;
    std::array<Slot*, kJ> base;
    auto change = [&](int level) {
      const float error = value - static_cast<float>(level) * step;
      return error * error - value * value;
    };
    auto bits = [&](bool starts, int level) {
      Counter counter;
      code_magnitude(counter, model, b, base, starts, level);
      return counter.bits + (level ? 1.0f : 0.0f);
    };
    int best = 0;
    double best_gain = 1e30;
    if (last >= 0) {
      known.find(model, u, v, base);
      best_gain = gain + lambda * bits(false, 0);
      for (int level = std::max(near - 1, 1); level <= near; level++) {
        const double g = gain + change(level) + lambda * bits(false, level);
        if (g < best_gain) best_gain = g, best = level;
      }
    }
    if (near > 0) {  // or starts here
      Counter place;
      code_last(place, model, b, i);
      Levels none(b);
      none.find(model, u, v, base);
      for (int level = std::max(near - 1, 1); level <= near; level++) {
        const double g = change(level) + lambda * (bits(true, level) + place.bits);
        if (g < best_gain || (last < 0 && g < 0 && g <= best_gain)) {
          if (last >= 0) {
            for (int k = i + 1; k <= last; k++) out.levels[order[k]] = 0;
            known.clear();
          }
          best_gain = g, best = level, last = i;
        }
      }
      if (last < 0) continue;
    }
    gain = best_gain;
    out.levels[at] = c[at] < 0 ? -best : best;
    known.set(u, v, best);
  }
  Counter one;
  code_filled(one, model, p, b, x, y, 1);
  const double cost = energy + gain + lambda * one.bits;
  if (last >= 0 && cost < out.cost) {
    out.filled = true;
    out.cost = static_cast<float>(cost);
  } else {
    std::fill(out.levels, out.levels + area, 0);
  }
}

// Sum of magnitudes of the Hadamard transform in squares of 8 (4 for the smallest), scaled like an orthonormal one.
template <int M>
float hadamard(const float* residual, int stride) {
  float a[M * M];
  for (int y = 0; y < M; y++)
    for (int x = 0; x < M; x++) a[y * M + x] = residual[y * stride + x];
  for (int h = M / 2; h > 0; h /= 2)  // along y: rows are vectors
    for (int y = 0; y < M; y++)
      if (!(y & h))
        for (int x = 0; x < M; x++) {
          const float p = a[y * M + x], q = a[(y + h) * M + x];
          a[y * M + x] = p + q;
          a[(y + h) * M + x] = p - q;
        }
  float b[M * M];
  for (int y = 0; y < M; y++)
    for (int x = 0; x < M; x++) b[x * M + y] = a[y * M + x];
  for (int h = M / 2; h > 0; h /= 2)
    for (int y = 0; y < M; y++)
      if (!(y & h))
        for (int x = 0; x < M; x++) {
          const float p = b[y * M + x], q = b[(y + h) * M + x];
          b[y * M + x] = p + q;
          b[(y + h) * M + x] = p - q;
        }
  float sum = 0;
  for (int i = 0; i < M * M; i++) sum += std::fabs(b[i]);
  return sum / M;
}

class Search {
 public:
  Search(Picture& p, const Settings& s, const std::vector<float> (&source)[3], Model& model,
         const std::array<float, 3>& lambda, int effort, int tree)
      : p_(p), s_(s), source_(source), model_(model), lambdas_(lambda), effort_(effort), tree_(tree), lambda_(lambda[static_cast<size_t>(tree)]) {}

  double node(int x, int y, int n) {
    if (x >= p_.layout.width || y >= p_.layout.height) return 0;
    mark(x, y, n, 0);
    const int least = tree_ ? 2 * kUnit : kUnit;
    const bool fits = x + n <= p_.layout.width && y + n <= p_.layout.height;
    if (!fits) return children(x, y, n);
    double whole = leaf(x, y, n);
    if (n == least) return whole;
    Counter no, yes;
    code_split(no, model_, p_, tree_, x, y, n, 0);
    code_split(yes, model_, p_, tree_, x, y, n, 1);
    whole += lambda_ * no.bits;
    if (empty_ && n <= 16 && effort_ < 2) {  // a block of zeros is hardly ever better in pieces
      finish(x, y, n);
      return whole;
    }
    Saved saved;
    save(x, y, n, saved);
    const double pieces = children(x, y, n) + lambda_ * yes.bits;
    if (pieces < whole) return pieces;
    restore(x, y, n, saved);
    finish(x, y, n);
    return whole;
  }

 private:
  struct Saved {
    int32_t samples[2][kArea], levels[2][kArea];
    int mode;
  };
  int first() const { return tree_; }
  int planes() const { return tree_ + 1; }

  double children(int x, int y, int n) {
    mark(x, y, n, 0);
    double sum = 0;
    for (int k = 0; k < 4; k++) {
      const int cx = x + (k & 1) * n / 2, cy = y + (k >> 1) * n / 2;
      sum += node(cx, cy, n / 2);
      mark(cx, cy, n / 2, 1);
    }
    return sum;
  }
  // Sets `done` where the picture is.
  void mark(int x, int y, int n, uint8_t value) {
    for (int cy = y; cy < std::min(y + n, p_.layout.height); cy += kUnit)
      for (int cx = x; cx < std::min(x + n, p_.layout.width); cx += kUnit) p_.done[tree_][p_.unit(cx, cy)] = value;
  }
  void finish(int x, int y, int n) {
    for (int k = 0; k < planes(); k++) finish_block(p_, first() + k, x, y, n);
    set_units(p_.sizes[tree_], p_, x, y, n, static_cast<uint8_t>(n));
  }
  void save(int x, int y, int n, Saved& saved) {
    saved.mode = p_.modes[tree_][p_.unit(x, y)];
    for (int k = 0; k < planes(); k++)
      for (int r = 0; r < n; r++) {
        std::copy_n(p_.at(first() + k, x, y + r), n, saved.samples[k] + r * n);
        std::copy_n(p_.levels_at(first() + k, x, y + r), n, saved.levels[k] + r * n);
      }
  }
  void restore(int x, int y, int n, const Saved& saved) {
    set_units(p_.modes[tree_], p_, x, y, n, static_cast<uint8_t>(saved.mode));
    for (int k = 0; k < planes(); k++)
      for (int r = 0; r < n; r++) {
        std::copy_n(saved.samples[k] + r * n, n, p_.at(first() + k, x, y + r));
        std::copy_n(saved.levels[k] + r * n, n, p_.levels_at(first() + k, x, y + r));
      }
  }

  void residual_of(int plane, int x, int y, int n, const int32_t* prediction, float* out) const {
    for (int r = 0; r < n; r++) {
      const float* from = &source_[plane][static_cast<size_t>(y + r) * p_.layout.width + x];
      for (int c = 0; c < n; c++) out[r * n + c] = from[c] - static_cast<float>(prediction[r * n + c]);
    }
  }

  // Modes by the Hadamard cost of the (first) plane; the cheapest few.
  int candidates(int x, int y, int n, std::array<int, 8>& best) {
    const int plane = first();
    const Layout& l = p_.layout;
    Edge edge, soft;
    gather(p_.samples[plane].data(), l.width, l.height, p_.done[tree_].data(), x, y, n, s_.middle[plane], edge);
    smooth(edge, n, soft);
    const std::array<int, 3> likely = likely_modes(p_, tree_, x, y, n);
    const float root = std::sqrt(lambda_);
    float costs[kModes];
    std::fill(costs, costs + kModes, -1.0f);
    auto cost = [&](int mode) {
      if (costs[mode] >= 0) return costs[mode];
      int32_t prediction[kArea];
      float residual[kArea], sum = 0;
      for (int k = 0; k < planes(); k++) {
        if (k || mode == kFromLuma)
          predict_block(p_, s_, plane + k, x, y, n, mode, prediction);
        else
          predict(mode, n, uses_smooth(mode, n) ? soft : edge, prediction);
        residual_of(plane + k, x, y, n, prediction, residual);
        if (n == 4) {
          sum += hadamard<4>(residual, n);
        } else {
          for (int r = 0; r < n; r += 8)
            for (int c = 0; c < n; c += 8) sum += hadamard<8>(residual + r * n + c, n);
        }
      }
      const float bits = mode == likely[0] ? 1.0f : mode == likely[1] || mode == likely[2] ? 2.5f : 6.5f;
      return costs[mode] = sum + root * bits;
    };
    cost(kSmooth);
    cost(kMean);
    for (int mode : likely) cost(mode);
    const int coarse = effort_ == 2 ? 2 : 4;
    int best_direction = kFirstDirection;
    for (int d = 0; d < kDirections; d += coarse)
      if (cost(kFirstDirection + d) < cost(best_direction)) best_direction = kFirstDirection + d;
    for (int hop = coarse / 2; hop > 0; hop /= 2) {
      const int centre = best_direction;
      for (int mode : {centre - hop, centre + hop})
        if (mode >= kFirstDirection && mode < kFromLuma && cost(mode) < cost(best_direction)) best_direction = mode;
    }
    int tried[kModes], count = 0;
    for (int mode = 0; mode < kModes; mode++)
      if (costs[mode] >= 0) tried[count++] = mode;
    std::sort(tried, tried + count, [&](int a, int b) { return costs[a] < costs[b] || (costs[a] == costs[b] && a < b); });
    const int keep = std::min(count, effort_ == 0 ? 1 : effort_ == 1 ? 2 : 5);
    for (int k = 0; k < keep; k++) best[static_cast<size_t>(k)] = tried[k];
    return keep;
  }

  double leaf(int x, int y, int n) {
    std::array<int, 8> modes;
    const int count = candidates(x, y, n, modes);
    double best = 1e300;
    int best_mode = 0;
    Quantised chosen[2];
    int32_t predictions[2][kArea];
    for (int i = 0; i < count; i++) {
      const int mode = modes[static_cast<size_t>(i)];
      Counter counter;
      code_mode(counter, model_, p_, tree_, x, y, n, mode);
      double cost = lambda_ * counter.bits;
      Quantised trial[2];
      int32_t prediction[2][kArea];
      for (int k = 0; k < planes() && cost < best; k++) {
        const int plane = first() + k;
        float residual[kArea], c[kArea];
        predict_block(p_, s_, plane, x, y, n, mode, prediction[k]);
        residual_of(plane, x, y, n, prediction[k], residual);
        forward_transform(residual, n, c);
        if (k) store(plane - 1, x, y, n, trial[0].levels);  // the second chroma plane looks at the first
        const BlockContext b = block_context(p_, plane, x, y, n, mode);
        const float own = lambdas_[static_cast<size_t>(plane)];
        quantise(c, s_, p_, model_, b, x, y, own, trial[k]);
        cost += trial[k].cost * (lambda_ / own);  // all in the units of the first plane
      }
      if (cost < best) {
        best = cost;
        best_mode = mode;
        for (int k = 0; k < planes(); k++) {
          chosen[k] = trial[k];
          std::copy_n(prediction[k], n * n, predictions[k]);
        }
      }
    }
    empty_ = true;
    for (int k = 0; k < planes(); k++) {
      store(first() + k, x, y, n, chosen[k].levels);
      reconstruct(p_, s_, first() + k, x, y, n, predictions[k]);
      empty_ = empty_ && !chosen[k].filled;
    }
    set_units(p_.modes[tree_], p_, x, y, n, static_cast<uint8_t>(best_mode));
    finish(x, y, n);
    return best;
  }
  void store(int plane, int x, int y, int n, const int32_t* levels) {
    for (int r = 0; r < n; r++) std::copy_n(levels + r * n, n, p_.levels_at(plane, x, y + r));
  }

  Picture& p_;
  const Settings& s_;
  const std::vector<float> (&source_)[3];
  Model& model_;
  const std::array<float, 3>& lambdas_;
  int effort_, tree_;
  float lambda_;
  bool empty_ = false;
};

}  // namespace

void decide_square(Picture& p, const Settings& s, const std::vector<float> (&source)[3], Model& model,
                   const std::array<float, 3>& lambda, int effort, int tree, int x, int y) {
  Search(p, s, source, model, lambda, effort, tree).node(x, y, kSuper);
}

}  // namespace scenerep::dct
