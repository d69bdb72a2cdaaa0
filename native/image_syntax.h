// The bits of the `dct` image codec's syntax, written once for encoder, decoder and counter.
#pragma once

#include "image_dct.h"

namespace scenerep::dct {

// The index in scan order of the last coefficient that is not zero.
template <class Coder>
int code_last(Coder& coder, Model& model, const BlockContext& b, int last) {
  const int chroma = b.plane > 0;
  auto bit = [&](int node, int value) {
    const int set = 64 + (chroma * 4 + b.size) * 44 + node;  // 64 .. 415
    const int klass = mode_class(b.mode);
    return code_syntax(coder, model, set,
                       {512 + set, 512 + ((chroma * 4 + b.size) * 6 + b.activity) * 44 + node,
                        512 + (klass * 4 + b.size) * 44 + node},
                       value);
  };
  const int most = b.size * 2 + 4;  // log2 of n * n
  const int bits = Coder::kDecodes ? 0 : 31 - __builtin_clz(static_cast<unsigned>(last + 1));
  int e = 0;
  while (e < most && bit(e, bits > e)) e++;
  int m = 1;
  for (int k = e; k-- > 0;) {
    const int below = e - 1 - k, value = (last + 1) >> k & 1;
    if (below < 2)
      m = m << 1 | bit(11 + 3 * (e - 1) + m - 1, value);
    else
      m = m << 1 | static_cast<int>(coder.raw(static_cast<uint32_t>(value), 1));
  }
  if (m - 1 >= b.n * b.n) throw CodingError("a coefficient lies outside its block");
  return m - 1;
}


template <class Coder>
int code_split(Coder& coder, Model& model, const Picture& p, int tree, int x, int y, int n, int split) {
  auto size_at = [&](int px, int py) {  // 0 = none, else 1 + size_index
    return px < 0 || py < 0 || !p.done[tree][p.unit(px, py)] ? 0 : 1 + size_index(p.sizes[tree][p.unit(px, py)]);
  };
  const int left = size_at(x - 1, y), above = size_at(x, y - 1), own = tree * 4 + size_index(n);
  const int smaller = (left && left <= size_index(n)) + (above && above <= size_index(n));
  const int plane = tree ? 1 : 0;
  const int activity = block_context(const_cast<Picture&>(p), plane, x, y, n, kSmooth).activity;
  return code_syntax(coder, model, own, {own * 4 + smaller, (own * 5 + left) * 5 + above, own * 6 + activity}, split);
}

template <class Coder>
int code_mode(Coder& coder, Model& model, const Picture& p, int tree, int x, int y, int n, int mode) {
  const std::array<int, 3> likely = likely_modes(p, tree, x, y, n);
  const int own = tree * 4 + size_index(n);
  const int klass = mode_class(likely[0]);
  for (int k = 0; k < 3; k++) {
    const int hit = code_syntax(coder, model, 8 + tree * 3 + k,
                                {256 + own * 3 + k, 256 + (tree * 5 + klass) * 3 + k, 256 + (tree * 5 + mode_class(likely[1])) * 3 + k},
                                mode == likely[static_cast<size_t>(k)]);
    if (hit) return likely[static_cast<size_t>(k)];
  }
  int node = 1;
  for (int k = 6; k-- > 0;)
    node = node << 1 | code_syntax(coder, model, 416 + tree * 6 + k,
                                   {2700 + tree * 64 + node, 2700 + (own * 64) + node, 2700 + (tree * 5 + klass) * 64 + node},
                                   mode >> k & 1);
  mode = node - 64;
  if (mode >= kModes - (tree == 0)) throw CodingError("there is no such mode of prediction");
  return mode;
}

template <class Coder>
int code_filled(Coder& coder, Model& model, Picture& p, const BlockContext& b, int x, int y, int filled) {
  auto empty = [&](int px, int py) {
    const std::vector<uint8_t>& done = p.done[b.plane > 0];
    return px < 0 || py < 0 || !done[p.unit(px, py)] ? 2 : p.activity[b.plane][p.unit(px, py)] == 0;
  };
  const int other = b.other != nullptr && b.other_filled;
  const int own = b.plane * 4 + b.size;
  return code_syntax(coder, model, 32 + own,
                     {3400 + (own * 3 + empty(x - 1, y)) * 3 + empty(x, y - 1), 3600 + (own * 6 + b.activity) * 2 + other,
                      3800 + own * 5 + mode_class(b.mode)},
                     filled);
}

// Levels [n, n] with a stride, after code_filled has said 1.
template <class Coder>
void code_levels(Coder& coder, Model& model, const BlockContext& b, int32_t* levels, int stride) {
  const uint16_t* order = scan(b.n);
  int last = b.n * b.n - 1;
  auto place = [&](int i) -> int32_t& { return levels[(order[i] / b.n) * stride + order[i] % b.n]; };
  if constexpr (!Coder::kDecodes)
    while (place(last) == 0) last--;
  last = code_last(coder, model, b, last);
  Levels known(b);
  for (int i = last; i >= 0; i--) {
    const int u = order[i] % b.n, v = order[i] / b.n;
    std::array<Slot*, kJ> base;
    known.find(model, u, v, base);
    int32_t& level = place(i);
    const int magnitude = code_magnitude(coder, model, b, base, i == last, level < 0 ? -level : level);
    if (magnitude) {
      const int negative = static_cast<int>(coder.raw(static_cast<uint32_t>(level < 0), 1));
      level = negative ? -magnitude : magnitude;
      known.set(u, v, magnitude);
    } else {
      level = 0;
    }
  }
}

// One node of a tree. The decoder also makes the samples; the encoder has them.
template <class Coder>
void code_tree(Coder& coder, Model& model, Picture& p, const Settings& s, int tree, int x, int y, int n) {
  if (x >= p.layout.width || y >= p.layout.height) return;
  const int least = tree ? 2 * kUnit : kUnit;
  const bool fits = x + n <= p.layout.width && y + n <= p.layout.height;
  bool split = !fits;
  if (fits && n > least)
    split = code_split(coder, model, p, tree, x, y, n, !Coder::kDecodes && p.sizes[tree][p.unit(x, y)] < n);
  if (split) {
    for (int k = 0; k < 4; k++) code_tree(coder, model, p, s, tree, x + (k & 1) * n / 2, y + (k >> 1) * n / 2, n / 2);
    return;
  }
  const int mode = code_mode(coder, model, p, tree, x, y, n, p.modes[tree][p.unit(x, y)]);
  for (int plane = tree; plane <= 2 * tree; plane++) {
    const BlockContext b = block_context(p, plane, x, y, n, mode);
    int32_t* levels = p.levels_at(plane, x, y);
    const int stride = p.layout.width;
    int filled = 0;
    if constexpr (!Coder::kDecodes) filled = any_level(levels, n, stride);
    filled = code_filled(coder, model, p, b, x, y, filled);
    if (filled) code_levels(coder, model, b, levels, stride);
    if constexpr (Coder::kDecodes) {
      int32_t prediction[kSuper * kSuper];
      predict_block(p, s, plane, x, y, n, mode, prediction);
      reconstruct(p, s, plane, x, y, n, prediction);
    }
    finish_block(p, plane, x, y, n);
  }
  set_units(p.sizes[tree], p, x, y, n, static_cast<uint8_t>(n));
  set_units(p.modes[tree], p, x, y, n, static_cast<uint8_t>(mode));
  set_units(p.done[tree], p, x, y, n, 1);
}

}  // namespace scenerep::dct
