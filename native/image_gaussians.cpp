// Pictures as sums of 2-D Gaussians: drawn in integers for the decoder; drawn and differentiated in floats for the fit.
//
// A Gaussian is x, y, a, b, k and three colours: with dx, dy from its centre in px, v = dy exp(-b),
// u = dx exp(-a) + k v, it adds colour * (1 - (u^2 + v^2) / 16)^8 where that is positive: exp(-(u^2 + v^2) / 2) to 0.035
// at most, and zero beyond four sigmas. The plain twin: scenerep/codecs/gaussian2d/reference.py.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "module.h"
#include "pool.h"

namespace scenerep {

namespace {

constexpr int kLane = 8;

template <class T>
using Table = nb::ndarray<const T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

template <class T>
nb::ndarray<nb::numpy, T> owned(std::vector<T>&& values, std::vector<size_t> shape) {
  auto* kept = new std::vector<T>(std::move(values));
  nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  return nb::ndarray<nb::numpy, T>(kept->data(), shape.size(), shape.data(), owner);
}

// rows int32 [n, 10]: centre x, y in half px; l11, l22, l21 in 1/65536 per px; r, g, b in 1/8 of a level; half the width
// and height of the box, px. Result int32 [3, h, w]: sums in 1/2^18 of a level; they wrap round where a file is broken.
nb::ndarray<nb::numpy, int32_t> draw(Table<int32_t> rows, int width, int height) {
  if (rows.shape(1) != 10) throw nb::value_error("rows of ten");
  const size_t n = rows.shape(0), area = static_cast<size_t>(width) * height;
  const int32_t* data = rows.data();
  std::vector<int32_t> sums(3 * area);
  constexpr int kBand = 16;
  {
    nb::gil_scoped_release release;
    Pool::instance().parallel_for((height + kBand - 1) / kBand, 1, [&](int64_t begin, int64_t end) {
      const int y0 = static_cast<int>(begin) * kBand, y1 = std::min(static_cast<int>(end) * kBand, height);
      for (size_t i = 0; i < n; i++) {
        const int32_t* g = data + 10 * i;
        const int top = std::max(y0, (g[1] >> 1) - g[9]), bottom = std::min(y1, (g[1] >> 1) + g[9] + 1);
        const int left = std::max(0, (g[0] >> 1) - g[8]), right = std::min(width, (g[0] >> 1) + g[8] + 1);
        for (int y = top; y < bottom; y++) {
          const int64_t dy = 2 * y + 1 - g[1], dx = 2 * left + 1 - g[0];
          const int32_t v = static_cast<int32_t>(std::clamp<int64_t>(g[3] * dy >> 7, -5120, 5120));
          const int32_t rest = 32768 - (v * v >> 9);
          if (rest <= 0) continue;
          int64_t u = g[2] * dx + g[4] * dy;
          const int64_t step = 2 * static_cast<int64_t>(g[2]);
          uint32_t* out[3];
          for (int c = 0; c < 3; c++) out[c] = reinterpret_cast<uint32_t*>(&sums[c * area + static_cast<size_t>(y) * width]);
          // Outside these columns nothing is added; only then do all u fit into 32 bits.
          int x = left, last = right;
          if (step > 0) {
            const int64_t reach = int64_t{4100} << 7;
            if (u < -reach) x = static_cast<int>(std::min<int64_t>(right, left + (-reach - u) / step));
            const int64_t at_x = u + step * (x - left);
            last = static_cast<int>(std::min<int64_t>(right, x + std::max<int64_t>(0, (reach - at_x) / step + 2)));
            u = at_x;
          } else if (u < -(int64_t{5120} << 7) || u > (int64_t{5120} << 7)) {
            continue;
          }
          const int32_t u0 = static_cast<int32_t>(u), du = static_cast<int32_t>(step);
          const uint32_t r = static_cast<uint32_t>(g[5]), gr = static_cast<uint32_t>(g[6]), b = static_cast<uint32_t>(g[7]);
          for (int k = x; k < last; k++) {
            const int32_t w = std::clamp((u0 + du * (k - x)) >> 7, -5120, 5120);
            int32_t t = std::max(rest - (w * w >> 9), 0);
            t = t * t >> 15;
            t = t * t >> 15;
            t = t * t >> 15;
            out[0][k] += r * static_cast<uint32_t>(t);
            out[1][k] += gr * static_cast<uint32_t>(t);
            out[2][k] += b * static_cast<uint32_t>(t);
          }
        }
      }
    });
  }
  return owned(std::move(sums), {3, static_cast<size_t>(height), static_cast<size_t>(width)});
}

struct Box {
  int left, right, top, bottom;
};

Box box_of(const float* g, int width, int height) {
  const float across = 4 * std::exp(g[2]) * std::sqrt(1 + g[4] * g[4]), down = 4 * std::exp(g[3]);
  return {std::max(0, static_cast<int>(std::floor(g[0] - across))),
          std::min(width, static_cast<int>(std::ceil(g[0] + across)) + 1),
          std::max(0, static_cast<int>(std::floor(g[1] - down))),
          std::min(height, static_cast<int>(std::ceil(g[1] + down)) + 1)};
}

// gaussians float32 [n, 8]: x, y, a, b, k, colours; image starts as the background.
// -> (image [3, h, w], gradient [n, 8] of the sum of squared errors, that sum)
nb::tuple differentiate(Table<float> gaussians, nb::ndarray<const float, nb::ndim<3>, nb::c_contig, nb::device::cpu> target,
                        nb::ndarray<const float, nb::ndim<3>, nb::c_contig, nb::device::cpu> start) {
  if (gaussians.shape(1) != 8 || target.shape(0) != 3 || start.size() != target.size())
    throw nb::value_error("rows of eight, pictures of three planes");
  const size_t n = gaussians.shape(0);
  const int height = static_cast<int>(target.shape(1)), width = static_cast<int>(target.shape(2));
  const size_t area = static_cast<size_t>(width) * height;
  std::vector<float> image(start.data(), start.data() + 3 * area), slope(3 * area + kLane), gradient(8 * n);
  double total = 0;
  {
    nb::gil_scoped_release release;
    std::vector<Box> boxes(n);
    for (size_t i = 0; i < n; i++) boxes[i] = box_of(gaussians.data() + 8 * i, width, height);
    constexpr int kBand = 16;
    std::vector<double> errors(static_cast<size_t>((height + kBand - 1) / kBand));
    Pool::instance().parallel_for(static_cast<int64_t>(errors.size()), 1, [&](int64_t begin, int64_t end) {
      for (int64_t band = begin; band < end; band++) {
        const int y0 = static_cast<int>(band) * kBand, y1 = std::min(y0 + kBand, height);
        for (size_t i = 0; i < n; i++) {
          const float* g = gaussians.data() + 8 * i;
          const Box& box = boxes[i];
          const float l11 = std::exp(-g[2]), l22 = std::exp(-g[3]);
          for (int y = std::max(box.top, y0); y < std::min(box.bottom, y1); y++) {
            const float v = (static_cast<float>(y) + 0.5f - g[1]) * l22, rest = 1 - v * v / 16, tilt = g[4] * v;
            if (rest <= 0) continue;
            float* out = &image[static_cast<size_t>(y) * width];
            for (int x = box.left; x < box.right; x++) {
              const float u = (static_cast<float>(x) + 0.5f - g[0]) * l11 + tilt;
              float t = rest - u * u * 0.0625f;
              t = t > 0 ? t : 0;
              t *= t;
              t *= t;
              t *= t;
              out[x] += g[5] * t;
              out[area + x] += g[6] * t;
              out[2 * area + x] += g[7] * t;
            }
          }
        }
        double sum = 0;
        for (int c = 0; c < 3; c++)
          for (size_t k = c * area + static_cast<size_t>(y0) * width; k < c * area + static_cast<size_t>(y1) * width; k++) {
            const float e = image[k] - target.data()[k];
            slope[k] = 2 * e;
            sum += static_cast<double>(e) * e;
          }
        errors[static_cast<size_t>(band)] = sum;
      }
    });
    for (double e : errors) total += e;
    Pool::instance().parallel_for(static_cast<int64_t>(n), 64, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const float* g = gaussians.data() + 8 * i;
        const Box& box = boxes[static_cast<size_t>(i)];
        const float l11 = std::exp(-g[2]), l22 = std::exp(-g[3]), k = g[4];
        float s[8][kLane] = {};  // of colours; of h u, h v, h u u, h u v, h v v with h = d loss / d (u^2 + v^2) * 2
        for (int y = box.top; y < box.bottom; y++) {
          const float v = (static_cast<float>(y) + 0.5f - g[1]) * l22, rest = 1 - v * v / 16, tilt = k * v;
          if (rest <= 0) continue;
          const float* e = &slope[static_cast<size_t>(y) * width];
          for (int x0 = box.left; x0 < box.right; x0 += kLane) {
            const float valid = static_cast<float>(box.right - x0);
            for (int j = 0; j < kLane; j++) {
              const float u = (static_cast<float>(x0 + j) + 0.5f - g[0]) * l11 + tilt;
              float t = rest - u * u * 0.0625f;
              t = t > 0 && static_cast<float>(j) < valid ? t : 0;
              const float t2 = t * t, t4 = t2 * t2, w = t4 * t4;
              const float e0 = e[x0 + j], e1 = e[area + x0 + j], e2 = e[2 * area + x0 + j];
              s[0][j] += e0 * w;
              s[1][j] += e1 * w;
              s[2][j] += e2 * w;
              const float h = -(e0 * g[5] + e1 * g[6] + e2 * g[7]) * t4 * t2 * t;
              s[3][j] += h * u;
              s[4][j] += h * v;
              s[5][j] += h * u * u;
              s[6][j] += h * u * v;
              s[7][j] += h * v * v;
            }
          }
        }
        float sum[8];
        for (int m = 0; m < 8; m++) {
          sum[m] = 0;
          for (int j = 0; j < kLane; j++) sum[m] += s[m][j];
        }
        float* out = &gradient[static_cast<size_t>(8 * i)];
        out[0] = -l11 * sum[3];
        out[1] = -(k * l22 * sum[3] + l22 * sum[4]);
        out[2] = -(sum[5] - k * sum[6]);
        out[3] = -(k * sum[6] + sum[7]);
        out[4] = sum[6];
        for (int c = 0; c < 3; c++) out[5 + c] = sum[c];
      }
    });
  }
  return nb::make_tuple(owned(std::move(image), {3, static_cast<size_t>(height), static_cast<size_t>(width)}),
                        owned(std::move(gradient), {n, 8}), total);
}

}  // namespace

void bind_image_gaussians(nb::module_& m) {
  m.def("gaussians2d_draw", &draw, nb::arg("rows"), nb::arg("width"), nb::arg("height"));
  m.def("gaussians2d_differentiate", &differentiate, nb::arg("gaussians"), nb::arg("target"), nb::arg("start"));
}

}  // namespace scenerep
