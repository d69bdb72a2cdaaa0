// The random walk of faint Gaussians: "3D Gaussian Splatting as Markov Chain Monte Carlo" (Kheradmand et al. 2024),
// eq. 8: mean += strength * sigmoid(-100 (opacity - 0.005)) * covariance * normal.
#include <cmath>

#include "module.h"
#include "pool.h"

namespace scenerep {

namespace {

// Above an opacity of 0.1 the sigmoid is below 1e-4: nothing moves. This is the logit of 0.1.
constexpr float kStillLogit = -2.1972246f;

// Counter-based random numbers (the finaliser of splitmix64): the same for every number of threads.
uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ x >> 27) * 0x94d049bb133111ebull;
  return x ^ x >> 31;
}

// Two normal numbers by Box and Muller.
void normals(uint64_t key, float* out) {
  const uint64_t r = mix(key);
  const float u = (static_cast<float>(r >> 40) + 1.0f) * 0x1p-24f;  // in (0, 1]
  const float angle = static_cast<float>(r & 0xffffff) * (6.2831853071795865f * 0x1p-24f);
  const float radius = std::sqrt(-2.0f * std::log(u));
  out[0] = radius * std::cos(angle);
  out[1] = radius * std::sin(angle);
}

using Floats = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;

void add_noise(nb::ndarray<float, nb::c_contig, nb::device::cpu> means, Floats log_scales, Floats quats,
               Floats opacity_logits, uint64_t seed, uint64_t step, float strength) {
  const int64_t n = static_cast<int64_t>(means.shape(0));
  if (log_scales.size() != 3 * means.shape(0) || quats.size() != 4 * means.shape(0) ||
      opacity_logits.size() != means.shape(0) || means.size() != 3 * means.shape(0))
    throw std::invalid_argument("parameter arrays disagree in length");
  float* mean = means.data();
  const float *scale = log_scales.data(), *quat = quats.data(), *logit = opacity_logits.data();
  const uint64_t key = mix(mix(seed) ^ step);
  nb::gil_scoped_release release;
  Pool::instance().parallel_for(n, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      if (logit[i] > kStillLogit) continue;
      const float opacity = 1.0f / (1.0f + std::exp(-logit[i]));
      const float s = strength / (1.0f + std::exp(100.0f * (opacity - 0.005f)));
      float e[4];
      normals(key ^ mix(2 * i), e);
      normals(key ^ mix(2 * i + 1), e + 2);
      float w = quat[4 * i], x = quat[4 * i + 1], y = quat[4 * i + 2], z = quat[4 * i + 3];
      const float norm = std::sqrt(std::max(w * w + x * x + y * y + z * z, 1e-24f));
      w /= norm, x /= norm, y /= norm, z /= norm;
      const float r[9] = {1 - 2 * (y * y + z * z), 2 * (x * y - w * z),     2 * (x * z + w * y),
                          2 * (x * y + w * z),     1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
                          2 * (x * z - w * y),     2 * (y * z + w * x),     1 - 2 * (x * x + y * y)};
      float moved[3];
      for (int k = 0; k < 3; k++) {
        const float along = r[k] * e[0] + r[3 + k] * e[1] + r[6 + k] * e[2];
        moved[k] = along * std::exp(2.0f * scale[3 * i + k]) * s;
      }
      for (int k = 0; k < 3; k++)
        mean[3 * i + k] += r[3 * k] * moved[0] + r[3 * k + 1] * moved[1] + r[3 * k + 2] * moved[2];
    }
  });
}

}  // namespace

void bind_noise(nb::module_& m) {
  m.def("add_noise", &add_noise, nb::arg("means"), nb::arg("log_scales"), nb::arg("quats"), nb::arg("opacity_logits"),
        nb::arg("seed"), nb::arg("step"), nb::arg("strength"));
}

}  // namespace scenerep
