// Adam for a whole scene, applied by the pass that makes the gradients: they never leave the cache.
//
// At 150 000 Gaussians of degree 3 that saves some 950 of 2600 bytes moved per Gaussian and step. The update is that of
// adam.h, bit for bit as if the gradients had been stored first.
#pragma once

#include "adam.h"
#include "splat.h"

namespace scenerep {

class SceneAdam {
 public:
  enum Array { kMeans, kLogScales, kQuats, kOpacityLogits, kSh, kArrays };
  struct Arrays {  // [n, columns] each
    float *param, *first, *second;
  };

  // rates: of means, log scales, quats, opacity logits, the constant SH band, and the other bands.
  SceneAdam(const Arrays (&arrays)[kArrays], const AdamConstants& k, const float (&rates)[6], int coefficients,
            int active_coefficients)
      : arrays_{arrays[0], arrays[1], arrays[2], arrays[3], arrays[4]},
        short_rows_{AdamRows(k, 3, 3, spread(rates[0]).rate, kLanes), AdamRows(k, 3, 3, spread(rates[1]).rate, kLanes),
                    AdamRows(k, 4, 4, spread(rates[2]).rate, kLanes), AdamRows(k, 1, 1, spread(rates[3]).rate, kLanes)},
        sh_(k, 3 * coefficients, 3 * active_coefficients, spread(rates[4], rates[5]).rate, 1),
        sh_columns_(3 * coefficients) {}

  // Gradients of a chunk's short rows, until they are used; row 0 is the chunk's first Gaussian.
  struct Scratch {
    alignas(64) float means[3 * kProjectChunk], log_scales[3 * kProjectChunk], quats[4 * kProjectChunk],
        opacity_logits[kProjectChunk];
    alignas(64) uint8_t seen[kProjectChunk];
  };

  SR_INLINE void update_sh(int64_t id, const float* gradient) const {
    const Arrays& a = arrays_[kSh];
    const int64_t at = id * sh_columns_;
    sh_.row({a.param + at, gradient, a.first + at, a.second + at}, 0);
  }

  void update_short_rows(const Scratch& scratch, int64_t first, int64_t count) const {
    const float* gradients[4] = {scratch.means, scratch.log_scales, scratch.quats, scratch.opacity_logits};
    const int64_t columns[4] = {3, 3, 4, 1};
    for (int i = 0; i < 4; i++) {
      const int64_t at = first * columns[i];
      short_rows_[i].rows({arrays_[i].param + at, gradients[i], arrays_[i].first + at, arrays_[i].second + at}, 0, count,
                          scratch.seen);
    }
  }

 private:
  struct Columns {
    float rate[3 * kMaxCoefficients];
  };
  static Columns spread(float first, float others) {
    Columns c;
    for (int i = 0; i < 3 * kMaxCoefficients; i++) c.rate[i] = i < 3 ? first : others;
    return c;
  }
  static Columns spread(float rate) { return spread(rate, rate); }

  Arrays arrays_[kArrays];
  AdamRows short_rows_[4];
  AdamRows sh_;
  int64_t sh_columns_;
};

}  // namespace scenerep
