// L1 + D-SSIM of two pictures, with the gradient of the first: forward and backward in one call.
//
//   loss = (1 - lambda) * mean |x - y| + lambda * (1 - mean S)
//   S = A1 A2 / (B1 B2),  A1 = 2 mx my + C1, A2 = 2 sxy + C2, B1 = mx^2 + my^2 + C1, B2 = sx^2 + sy^2 + C2
//
// (Wang et al. 2004, eq. 13.) F is the 11 x 11 Gaussian window with sigma 1.5, zeros outside the picture;
// mx = F x, sx^2 = F x^2 - mx^2, sxy = F xy - mx my. With the derivatives of S by F x, F x^2 and F xy as maps
// 2 H1, H2 and 2 H12, the chain rule gives   dS/dx = 2 (F H1 + x F H2 + y F H12),   F being its own transpose.
// So a call filters three maps on the way in and three on the way out; my and sy^2 may come from the caller.
//
// With a mask (0 = ignore), both pictures are multiplied by it before F, and the means run over the pixels kept.
//
// The picture is cut into tiles (loss_tile.h). Their width depends on the picture alone, a row's sums are kept apart for
// each strip of tiles and added in order at the end: the result is the same, bit by bit, for every number of threads.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <stdexcept>
#include <tuple>
#include <vector>

#include "loss_tile.h"
#include "module.h"
#include "pool.h"

namespace scenerep {
namespace {

constexpr int kStrip = 320;  // columns per tile; wider ones would fall out of the L2 cache
constexpr int kBand = 32;    // rows per tile, at least: the rows around it are computed twice

// Memory kept between calls. One call at a time: a second one waits.
class Workspace {
 public:
  template <class F>
  void for_tiles(const Job& job, F&& body) {
    Pool& pool = Pool::instance();
    const int64_t strips = std::max<int64_t>(1, (job.width + kStrip / 2) / kStrip);
    const int threads = pool.size();
    // A few tiles per thread, so that none waits long for the others, but not many: their rims are computed twice.
    const int64_t wanted = std::max<int64_t>(2 * threads / strips, threads);
    const int64_t bands = std::min(wanted, std::max<int64_t>(1, job.height / kBand));
    sums_.assign(2 * strips * job.height, 0.0);
    tiles_.clear();
    for (int64_t b = 0; b < bands; b++)
      for (int64_t s = 0; s < strips; s++)
        tiles_.push_back({job.height * b / bands, job.height * (b + 1) / bands, job.width * s / strips,
                          job.width * (s + 1) / strips, &sums_[2 * s * job.height], &sums_[(2 * s + 1) * job.height]});
    const auto columns = static_cast<int>((job.width + strips - 1) / strips + 4 * kRadius);
    if (static_cast<int>(scratch_.size()) < threads) scratch_.resize(threads);
    for (Scratch& scratch : scratch_) scratch.prepare(columns);  // here, where running out of memory can be reported
    std::atomic<size_t> next{0};
    pool.run([&](int thread) {
      if (thread >= threads) return;  // the pool has grown since we asked
      for (size_t t = next++; t < tiles_.size(); t = next++) body(Worker(job, tiles_[t], scratch_[thread]));
    });
    l1_ = ssim_ = 0;
    for (int64_t s = 0; s < strips; s++)
      for (int64_t r = 0; r < job.height; r++) {
        l1_ += sums_[2 * s * job.height + r];
        ssim_ += sums_[(2 * s + 1) * job.height + r];
      }
  }
  double l1() const { return l1_; }
  double ssim() const { return ssim_; }
  std::mutex mutex;

 private:
  std::vector<Scratch> scratch_;
  std::vector<Tile> tiles_;
  std::vector<double> sums_;
  double l1_ = 0, ssim_ = 0;
};

using Any = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
using Picture = Array<const float, -1, -1, 3>;
using Mask = Array<const uint8_t, -1, -1>;

void check(bool good, const char* message) {
  if (!good) throw std::invalid_argument(message);
}

void set_target(Job& job, const Any& target) {
  check(target.ndim() == 3 && static_cast<int64_t>(target.shape(0)) == job.height &&
            static_cast<int64_t>(target.shape(1)) == job.width && target.shape(2) == 3,
        "target: expected the image's shape [h, w, 3]");
  if (target.dtype() == nb::dtype<uint8_t>())
    job.target_bytes = static_cast<const uint8_t*>(target.data());
  else if (target.dtype() == nb::dtype<float>())
    job.target_floats = static_cast<const float*>(target.data());
  else
    throw std::invalid_argument("target: expected uint8 or float32");
}

void set_mask(Job& job, const std::optional<Mask>& mask) {
  if (!mask) return;
  check(static_cast<int64_t>(mask->shape(0)) == job.height && static_cast<int64_t>(mask->shape(1)) == job.width,
        "mask: expected [h, w] of the image");
  job.mask = mask->data();
}

std::tuple<double, double, double> l1_ssim(Picture image, Any target, std::optional<Any> statistics,
                                           std::optional<Mask> mask, double lambda,
                                           std::optional<Array<float, -1, -1, 3>> gradient, Workspace& workspace) {
  Job job;
  job.height = image.shape(0);
  job.width = image.shape(1);
  job.image = image.data();
  set_target(job, target);
  set_mask(job, mask);
  const int64_t pixels = job.height * job.width;
  if (statistics) {
    check(statistics->ndim() == 4 && statistics->shape(0) == 2 &&
              static_cast<int64_t>(statistics->shape(1)) == job.height &&
              static_cast<int64_t>(statistics->shape(2)) == job.width && statistics->shape(3) == 3,
          "statistics: expected [2, h, w, 3]");
    if (statistics->dtype() == nb::dtype<float>())
      job.statistics = static_cast<const float*>(statistics->data());
    else if (statistics->dtype() == nb::dtype<uint16_t>())
      job.statistics_half = static_cast<const uint16_t*>(statistics->data());
    else
      throw std::invalid_argument("statistics: expected float32, or float16 seen as uint16");
  }
  if (gradient) {
    check(static_cast<int64_t>(gradient->shape(0)) == job.height && static_cast<int64_t>(gradient->shape(1)) == job.width,
          "gradient: expected the image's shape [h, w, 3]");
    job.gradient = gradient->data();
  }
  nb::gil_scoped_release release;
  const int64_t kept = job.mask ? pixels - std::count(job.mask, job.mask + pixels, uint8_t{0}) : pixels;
  if (kept == 0) {  // nothing to compare: no loss, and nothing to change
    if (job.gradient) std::fill(job.gradient, job.gradient + pixels * kChannels, 0.0f);
    return {0.0, 0.0, 1.0};
  }
  const double samples = static_cast<double>(kept) * kChannels;
  job.ssim_scale = static_cast<float>(-2 * lambda / samples);
  job.l1_scale = static_cast<float>((1 - lambda) / samples);
  std::lock_guard<std::mutex> one_at_a_time(workspace.mutex);
  workspace.for_tiles(job, [](Worker&& worker) { worker.run(); });
  const double l1 = workspace.l1() / samples, ssim = workspace.ssim() / samples;
  return {(1 - lambda) * l1 + lambda * (1 - ssim), l1, ssim};
}

void target_statistics(Any target, std::optional<Mask> mask, Array<float, 2, -1, -1, 3> out, Workspace& workspace) {
  Job job;
  job.height = out.shape(1);
  job.width = out.shape(2);
  set_target(job, target);
  set_mask(job, mask);
  float* data = out.data();
  nb::gil_scoped_release release;
  std::lock_guard<std::mutex> one_at_a_time(workspace.mutex);
  workspace.for_tiles(job, [data](Worker&& worker) { worker.statistics(data); });
}

}  // namespace

void bind_loss(nb::module_& m) {
  nb::class_<Workspace>(m, "LossWorkspace", "Memory that calls keep. One at a time works on it; a second one waits.")
      .def(nb::init<>());
  m.def("l1_ssim", &l1_ssim, nb::arg("image").noconvert(), nb::arg("target").noconvert(),
        nb::arg("statistics").noconvert().none(), nb::arg("mask").noconvert().none(), nb::arg("lambda_"),
        nb::arg("gradient").noconvert().none(), nb::arg("workspace"),
        "(loss, l1, ssim); the gradient of the loss by the image goes into `gradient`.");
  m.def("target_statistics", &target_statistics, nb::arg("target").noconvert(), nb::arg("mask").noconvert().none(),
        nb::arg("out").noconvert(), nb::arg("workspace"),
        "Mean and variance of the target under the window, what `l1_ssim` takes as `statistics`.");
}

}  // namespace scenerep
