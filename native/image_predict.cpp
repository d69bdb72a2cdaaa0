// Prediction of a block from its neighbours, see image_dct.h. Integers only: encoder and decoder must agree exactly.
#include <algorithm>

#include "image_dct.h"

namespace scenerep::dct {

namespace {

// 64 tan(k pi / 32): how far 33 directions, evenly spread over half a turn, move sideways in 64 samples.
constexpr int kSlopes[9] = {0, 6, 13, 19, 27, 34, 43, 53, 64};

int signed_slope(int k) { return k < 0 ? -kSlopes[-k] : kSlopes[k]; }

// Rows leave `main` along a slope; negative ones reach around the corner into `side`.
void direction(const int32_t* main, const int32_t* side, int n, int slope, bool transposed, int32_t* out) {
  int32_t extended[3 * kSuper + 2];
  int32_t* line = extended + kSuper;  // line[0] is the corner
  std::copy(main, main + 2 * n + 2, line);
  if (slope < 0)
    for (int j = 1; j <= n; j++) line[-j] = side[std::min((j * 64 - slope / 2) / -slope, 2 * n)];
  for (int y = 0; y < n; y++) {
    const int shift = (y + 1) * slope, i = shift >> 6, f = shift & 63;
    const int32_t* from = line + i + 1;
    if (transposed)
      for (int x = 0; x < n; x++) out[x * n + y] = ((64 - f) * from[x] + f * from[x + 1] + 32) >> 6;
    else
      for (int x = 0; x < n; x++) out[y * n + x] = ((64 - f) * from[x] + f * from[x + 1] + 32) >> 6;
  }
}

int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

}  // namespace

void gather(const int32_t* plane, int width, int height, const uint8_t* done, int x, int y, int n, int32_t middle,
            Edge& edge) {
  const int units = width / kUnit;
  // From the lower left up to the corner, then right.
  int32_t line[4 * kSuper + 1];
  bool known[4 * kSuper + 1];
  auto read = [&](int index, int px, int py) {
    const bool inside = px >= 0 && py >= 0 && px < width && py < height;
    known[index] = inside && done[(py / kUnit) * units + px / kUnit];
    if (known[index]) line[index] = plane[static_cast<size_t>(py) * width + px];
  };
  for (int k = 0; k < 2 * n; k++) read(2 * n - 1 - k, x - 1, y + k);
  read(2 * n, x - 1, y - 1);
  for (int k = 0; k < 2 * n; k++) read(2 * n + 1 + k, x + k, y - 1);
  int first = 0;
  while (first <= 4 * n && !known[first]) first++;
  int32_t value = first <= 4 * n ? line[first] : middle;
  for (int k = 0; k <= 4 * n; k++) {
    if (known[k]) value = line[k];
    line[k] = value;
  }
  edge.top[0] = edge.left[0] = line[2 * n];
  for (int k = 1; k <= 2 * n; k++) {
    edge.left[k] = line[2 * n - k];
    edge.top[k] = line[2 * n + k];
  }
  edge.left[2 * n + 1] = edge.left[2 * n];
  edge.top[2 * n + 1] = edge.top[2 * n];
}

void smooth(const Edge& edge, int n, Edge& out) {
  out.top[0] = out.left[0] = (edge.left[1] + 2 * edge.top[0] + edge.top[1] + 2) >> 2;
  for (int k = 1; k < 2 * n; k++) {
    out.top[k] = (edge.top[k - 1] + 2 * edge.top[k] + edge.top[k + 1] + 2) >> 2;
    out.left[k] = (edge.left[k - 1] + 2 * edge.left[k] + edge.left[k + 1] + 2) >> 2;
  }
  for (int k = 2 * n; k <= 2 * n + 1; k++) {
    out.top[k] = edge.top[2 * n];
    out.left[k] = edge.left[2 * n];
  }
}

bool uses_smooth(int mode, int n) {
  if (mode == kMean || mode == kFromLuma || n == 4) return false;
  if (mode == kSmooth) return true;
  const int d = mode - kFirstDirection;
  const int away = std::min(std::abs(d - 8), std::abs(d - 24));  // from pure horizontal and vertical
  return away > (n == 8 ? 6 : n == 16 ? 1 : 0);
}

void predict(int mode, int n, const Edge& edge, int32_t* out) {
  const int32_t *top = edge.top, *left = edge.left;
  const int lg = n == 4 ? 2 : n == 8 ? 3 : n == 16 ? 4 : 5;
  if (mode == kSmooth) {
    for (int y = 0; y < n; y++)
      for (int x = 0; x < n; x++)
        out[y * n + x] = ((n - 1 - x) * left[y + 1] + (x + 1) * top[n + 1] + (n - 1 - y) * top[x + 1] +
                          (y + 1) * left[n + 1] + n) >> (lg + 1);
  } else if (mode == kMean) {
    int64_t sum = n;
    for (int k = 1; k <= n; k++) sum += top[k] + left[k];
    std::fill(out, out + n * n, static_cast<int32_t>(sum >> (lg + 1)));
  } else {
    const int d = mode - kFirstDirection;
    if (d <= 16)
      direction(left, top, n, signed_slope(8 - d), true, out);
    else
      direction(top, left, n, signed_slope(d - 24), false, out);
  }
}

void predict_from_luma(const int32_t* luma, int stride, int n, const Edge& luma_edge, const Edge& edge, int32_t* out) {
  int64_t sx = 0, sy = 0, sxx = 0, sxy = 0;
  const int64_t count = 2 * n;
  for (int k = 1; k <= n; k++)
    for (int side = 0; side < 2; side++) {
      const int64_t a = side ? luma_edge.left[k] : luma_edge.top[k], b = side ? edge.left[k] : edge.top[k];
      sx += a;
      sy += b;
      sxx += a * a;
      sxy += a * b;
    }
  const int64_t over = count * sxx - sx * sx;
  int64_t slope = over > 0 ? floor_div((count * sxy - sx * sy) * 256 + over / 2, over) : 0;
  slope = std::clamp<int64_t>(slope, -1024, 1023);
  const int64_t offset = floor_div(sy * 256 - slope * sx + n, count);
  for (int y = 0; y < n; y++)
    for (int x = 0; x < n; x++)
      out[y * n + x] = static_cast<int32_t>((slope * luma[static_cast<size_t>(y) * stride + x] + offset + 128) >> 8);
}

}  // namespace scenerep::dct
