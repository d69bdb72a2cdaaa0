// Python's view of the rasteriser: one object holds one frame and the memory for it.
#include <chrono>
#include <optional>
#include <stdexcept>

#include "module.h"
#include "pool.h"
#include "splat_adam.h"

namespace scenerep {

namespace {

using Floats = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using FloatsOut = nb::ndarray<float, nb::c_contig, nb::device::cpu>;
using Doubles = nb::ndarray<const double, nb::c_contig, nb::device::cpu>;

void require(bool ok, const char* what) {
  if (!ok) throw std::invalid_argument(what);
}

template <class A>
auto data_or_null(const std::optional<A>& a) {
  return a ? a->data() : nullptr;
}

class Clock {
 public:
  explicit Clock(double* seconds) : seconds_(seconds), last_(std::chrono::steady_clock::now()) {}
  void stage(int i) {
    const auto now = std::chrono::steady_clock::now();
    seconds_[i] = std::chrono::duration<double>(now - last_).count();
    last_ = now;
  }

 private:
  double* seconds_;
  std::chrono::steady_clock::time_point last_;
};

class Rasterizer {
 public:
  // Projects, sorts and bins; the arrays must stay alive and unchanged until the backward pass.
  void prepare(Floats means, Floats log_scales, Floats quats, Floats opacity_logits, Floats sh, Doubles pose,
               Doubles intrinsics, int width, int height, int degree, bool antialiased) {
    const size_t n = means.shape(0);
    require(n < (size_t{1} << 28), "more than 2^28 Gaussians");
    require(means.size() == 3 * n && log_scales.size() == 3 * n && quats.size() == 4 * n && opacity_logits.size() == n,
            "parameter arrays disagree in length");
    require(sh.ndim() == 3 && sh.shape(0) == n && sh.shape(2) == 3 && sh.shape(1) <= kMaxCoefficients,
            "sh must be [n, (degree + 1)^2, 3]");
    require(degree >= 0 && degree <= 3 && (degree + 1) * (degree + 1) <= static_cast<int>(sh.shape(1)),
            "sh_degree is larger than the stored coefficients");
    require(pose.size() == 12 && intrinsics.size() == 4, "pose must be [3, 4], intrinsics [4]");
    require(width > 0 && height > 0, "the picture is empty");
    View& v = frame_.view;
    v.width = width;
    v.height = height;
    require(static_cast<int64_t>(v.tiles_x()) * v.tiles_y() < (int64_t{1} << 20), "the picture is larger than 256 megapixels");
    const double* p = pose.data();
    for (int i = 0; i < 3; i++) {
      for (int k = 0; k < 3; k++) v.rotation[3 * i + k] = static_cast<float>(p[4 * i + k]);
      v.translation[i] = static_cast<float>(p[4 * i + 3]);
    }
    for (int k = 0; k < 3; k++) v.centre[k] = static_cast<float>(-(p[k] * p[3] + p[4 + k] * p[7] + p[8 + k] * p[11]));
    const double fx = intrinsics.data()[0], fy = intrinsics.data()[1], cx = intrinsics.data()[2], cy = intrinsics.data()[3];
    v.fx = static_cast<float>(fx);
    v.fy = static_cast<float>(fy);
    v.cx = static_cast<float>(cx);
    v.cy = static_cast<float>(cy);
    const double margin_x = kClamp * 0.5 * width / fx, margin_y = kClamp * 0.5 * height / fy;
    v.limit_x_low = static_cast<float>(-cx / fx - margin_x);
    v.limit_x_high = static_cast<float>((width - cx) / fx + margin_x);
    v.limit_y_low = static_cast<float>(-cy / fy - margin_y);
    v.limit_y_high = static_cast<float>((height - cy) / fy + margin_y);
    frame_.parameters = {means.data(), log_scales.data(), quats.data(), opacity_logits.data(), sh.data(),
                         static_cast<int64_t>(n),                         static_cast<int>(sh.shape(1)), degree, antialiased};
    gathered_ = false;
    nb::gil_scoped_release release;
    Clock clock(frame_.seconds);
    project(frame_);
    clock.stage(kProjectStage);
    sort_by_depth(frame_);
    clock.stage(kSortStage);
    bin(frame_);
    clock.stage(kBinStage);
  }

  void blend_colour(FloatsOut rgb, FloatsOut alpha, std::optional<FloatsOut> depth, std::optional<FloatsOut> median,
                    std::vector<float> background) {
    const size_t pixels = static_cast<size_t>(frame_.view.width) * frame_.view.height;
    require(rgb.size() == 3 * pixels && alpha.size() == pixels, "output pictures have the wrong size");
    require(!depth || depth->size() == pixels, "the depth picture has the wrong size");
    require(!median || median->size() == pixels, "the median depth picture has the wrong size");
    require(background.size() == 3, "background must be three numbers");
    Picture picture{rgb.data(), alpha.data(), data_or_null(depth), data_or_null(median), 3,
                    {background[0], background[1], background[2], 0}};
    nb::gil_scoped_release release;
    Clock clock(frame_.seconds);
    blend(frame_, picture);
    clock.stage(kBlendStage);
  }

  // Up to four feature channels [n, 4] instead of the colours. Ends the use of the colours for this frame.
  void blend_features(Floats features, FloatsOut out) {
    require(features.size() == 4 * count(), "features must be [n, 4]");
    require(out.size() == 4u * frame_.view.width * frame_.view.height, "the feature picture must be [h, w, 4]");
    Picture picture{out.data(), nullptr, nullptr, nullptr, 4, {0, 0, 0, 0}};
    nb::gil_scoped_release release;
    set_features(features.data());
    blend(frame_, picture);
  }

  // Puts the colours (and depth) back after features.
  void restore_colours() {
    nb::gil_scoped_release release;
    Pool::instance().parallel_for(frame_.visible, 4096, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++)
        std::memcpy(frame_.ranked[r].colour, frame_.records[frame_.sorted[r]].colour, sizeof frame_.ranked[r].colour);
    });
  }

  // Adds one pass to the sums of the Gaussians. Colours first, then groups of features.
  void backward_colour(Floats rgb, Floats alpha, std::optional<Floats> depth, Floats v_rgb, std::optional<Floats> v_alpha,
                       std::optional<Floats> v_depth, bool absolute) {
    const size_t pixels = static_cast<size_t>(frame_.view.width) * frame_.view.height;
    require(rgb.size() == 3 * pixels && v_rgb.size() == 3 * pixels && alpha.size() == pixels, "pictures have the wrong size");
    require(!v_alpha || v_alpha->size() == pixels, "v_alpha has the wrong size");
    require(!v_depth || (depth && depth->size() == pixels && v_depth->size() == pixels), "v_depth needs depth");
    PictureGradient g{rgb.data(),   alpha.data(),          data_or_null(depth), v_rgb.data(),
                      data_or_null(v_alpha), data_or_null(v_depth), 3,                   absolute};
    nb::gil_scoped_release release;
    Clock clock(frame_.seconds);
    blend_backward(frame_, g);
    clock.stage(kBlendBackwardStage);
    gather(frame_, !gathered_);
    clock.stage(kGatherStage);
    gathered_ = true;
    with_depth_ = v_depth.has_value();
  }

  // Gradient of one group of features into v_features [n, 4]; their effect on the geometry is added to the sums
  // (not to the absolute ones, which tell of the colour pass alone).
  void backward_features(Floats features, Floats picture, Floats v_picture, FloatsOut v_features) {
    const size_t pixels = static_cast<size_t>(frame_.view.width) * frame_.view.height;
    require(picture.size() == 4 * pixels && v_picture.size() == 4 * pixels, "feature pictures must be [h, w, 4]");
    require(features.size() == 4 * count() && v_features.size() == features.size(), "features must be [n, 4]");
    require(gathered_, "backward_colour comes first");
    PictureGradient g{picture.data(), nullptr, nullptr, v_picture.data(), nullptr, nullptr, 4, false};
    nb::gil_scoped_release release;
    set_features(features.data());
    blend_backward(frame_, g);
    take_feature_gradients(v_features.data());
  }

  void parameter_gradients(FloatsOut means, FloatsOut log_scales, FloatsOut quats, FloatsOut opacity_logits, FloatsOut sh,
                           std::optional<FloatsOut> screen, std::optional<FloatsOut> screen_absolute,
                           std::optional<nb::ndarray<double, nb::c_contig, nb::device::cpu>> pose, bool keep_invisible,
                           std::optional<FloatsOut> screen_norm, std::optional<FloatsOut> screen_count,
                           float opacity_weight, float scale_weight) {
    const Parameters& p = frame_.parameters;
    require(gathered_, "backward_colour comes first");
    const size_t n = count();
    require(means.size() == 3 * n && log_scales.size() == 3 * n && quats.size() == 4 * n && opacity_logits.size() == n &&
                sh.size() == 3 * n * p.coefficients,
            "gradient arrays disagree with the parameters");
    require(!screen || screen->size() == 2 * n, "screen gradients must be [n, 2]");
    require(!screen_absolute || screen_absolute->size() == 2 * n, "screen gradients must be [n, 2]");
    require(screen_norm.has_value() == screen_count.has_value(), "screen_norm and screen_count go together");
    require(!screen_norm || (screen_norm->size() == n && screen_count->size() == n), "screen sums must be [n]");
    require(!pose || pose->size() == 12, "the pose gradient must be [3, 4]");
    Gradients out{means.data(), log_scales.data(), quats.data(), opacity_logits.data(), sh.data(), data_or_null(screen),
                  data_or_null(screen_absolute), data_or_null(pose), data_or_null(screen_norm), data_or_null(screen_count),
                  opacity_weight, scale_weight, keep_invisible};
    nb::gil_scoped_release release;
    Clock clock(frame_.seconds);
    scenerep::parameter_gradients(frame_, out, with_depth_);
    clock.stage(kGradientStage);
  }

  // parameter_gradients followed by a step of Adam on the visible rows, in place: `params` are the arrays that prepare
  // was given. Ends the frame.
  void adam_step(std::vector<FloatsOut> params, std::vector<FloatsOut> first, std::vector<FloatsOut> second,
                 std::vector<float> rates, double beta1, double beta2, double eps, int64_t step,
                 std::optional<nb::ndarray<double, nb::c_contig, nb::device::cpu>> pose,
                 std::optional<FloatsOut> screen_norm, std::optional<FloatsOut> screen_count, float opacity_weight,
                 float scale_weight) {
    const Parameters& p = frame_.parameters;
    require(gathered_, "backward_colour comes first");
    require(params.size() == SceneAdam::kArrays && first.size() == params.size() && second.size() == params.size(),
            "a scene has five arrays");
    const float* prepared[] = {p.means, p.log_scales, p.quats, p.opacity_logits, p.sh};
    const size_t n = count(), columns[] = {3, 3, 4, 1, 3u * p.coefficients};
    SceneAdam::Arrays arrays[SceneAdam::kArrays];
    for (int i = 0; i < SceneAdam::kArrays; i++) {
      require(params[i].data() == prepared[i], "the parameters are not those that were rasterised");
      require(params[i].size() == n * columns[i] && first[i].size() == n * columns[i] && second[i].size() == n * columns[i],
              "moments disagree with the parameters");
      arrays[i] = {params[i].data(), first[i].data(), second[i].data()};
    }
    require(rates.size() == 6 && step >= 1, "six rates, and the first step is 1");
    require(screen_norm.has_value() == screen_count.has_value(), "screen_norm and screen_count go together");
    require(!screen_norm || (screen_norm->size() == n && screen_count->size() == n), "screen sums must be [n]");
    require(!pose || pose->size() == 12, "the pose gradient must be [3, 4]");
    const float six[6] = {rates[0], rates[1], rates[2], rates[3], rates[4], rates[5]};
    const SceneAdam adam(arrays, AdamConstants(beta1, beta2, eps, step), six, p.coefficients, p.active());
    Gradients out{};
    out.pose = data_or_null(pose);
    out.screen_norm = data_or_null(screen_norm);
    out.screen_count = data_or_null(screen_count);
    out.opacity_weight = opacity_weight;
    out.scale_weight = scale_weight;
    out.keep_invisible = true;
    out.adam = &adam;
    nb::gil_scoped_release release;
    Clock clock(frame_.seconds);
    scenerep::parameter_gradients(frame_, out, with_depth_);
    gathered_ = false;  // the parameters are not those of this frame any more
    clock.stage(kGradientStage);
  }

  // 1 for each Gaussian that reaches the picture, else 0.
  void visible(nb::ndarray<uint8_t, nb::c_contig, nb::device::cpu> out) {
    require(out.size() == count(), "visible must be [n]");
    uint8_t* to = out.data();
    nb::gil_scoped_release release;
    std::fill_n(to, frame_.parameters.n, uint8_t{0});
    for (size_t c = 0; c < frame_.chunk_visible.size(); c++)
      for (int j = 0; j < frame_.chunk_visible[c]; j++) to[frame_.records[c * kProjectChunk + j].id] = 1;
  }

  nb::dict statistics() {
    nb::dict d;
    d["visible"] = frame_.visible;
    d["pairs"] = frame_.pairs;
    d["bytes"] = frame_.bytes() + before_.bytes();
    const char* names[] = {"project", "sort", "bin", "blend", "blend_backward", "gather", "gradient"};
    nb::dict seconds;
    for (int i = 0; i < 7; i++) seconds[names[i]] = frame_.seconds[i];
    d["seconds"] = seconds;
    return d;
  }

  int64_t contributions() {
    nb::gil_scoped_release release;
    return count_contributions(frame_);
  }

 private:
  size_t count() const { return static_cast<size_t>(frame_.parameters.n); }

  void set_features(const float* features) {
    Pool::instance().parallel_for(frame_.visible, 4096, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++) {
        Record& record = frame_.ranked[r];
        std::memcpy(record.colour, features + 4 * static_cast<int64_t>(record.id), sizeof record.colour);
      }
    });
  }

  // The sums' colour slots hold the feature gradients of the last pass; the passes before keep theirs.
  void take_feature_gradients(float* out) {
    std::fill_n(out, 4 * frame_.parameters.n, 0.0f);
    Sums* before = before_.ensure(frame_.visible);
    for (int64_t r = 0; r < frame_.visible; r++) before[r] = frame_.sums[frame_.sorted[r]];
    gather(frame_, false);
    for (int64_t r = 0; r < frame_.visible; r++) {
      Sums& sums = frame_.sums[frame_.sorted[r]];
      float* to = out + 4 * static_cast<int64_t>(frame_.ranked[r].id);
      for (int c = 0; c < 4; c++) {
        to[c] = sums.colour[c] - before[r].colour[c];
        sums.colour[c] = before[r].colour[c];
      }
    }
  }

  Frame frame_;
  Buffer<Sums> before_;  // of take_feature_gradients
  bool gathered_ = false;
  bool with_depth_ = false;
};

}  // namespace

size_t Frame::bytes() const {
  size_t total = records.bytes() + ranked.bytes() + histogram.bytes() + tile_start.bytes() + pair_rank.bytes() +
                 pair_blocks.bytes() + pair_mask.bytes() + slot.bytes() + first.bytes() + pair_sums.bytes() + sums.bytes() + pose_parts.bytes();
  for (int i = 0; i < 2; i++) total += keys[i].bytes() + order[i].bytes();
  for (const auto& e : emitted) total += e.bytes();
  return total;
}

void bind_rasterize(nb::module_& m) {
  nb::class_<Rasterizer>(m, "Rasterizer")
      .def(nb::init<>())
      .def("prepare", &Rasterizer::prepare)
      .def("blend_colour", &Rasterizer::blend_colour, nb::arg("rgb"), nb::arg("alpha"), nb::arg("depth").none(),
           nb::arg("median").none(), nb::arg("background"))
      .def("blend_features", &Rasterizer::blend_features)
      .def("restore_colours", &Rasterizer::restore_colours)
      .def("backward_colour", &Rasterizer::backward_colour, nb::arg("rgb"), nb::arg("alpha"), nb::arg("depth").none(),
           nb::arg("v_rgb"), nb::arg("v_alpha").none(), nb::arg("v_depth").none(), nb::arg("absolute"))
      .def("backward_features", &Rasterizer::backward_features)
      .def("parameter_gradients", &Rasterizer::parameter_gradients, nb::arg("means"), nb::arg("log_scales"),
           nb::arg("quats"), nb::arg("opacity_logits"), nb::arg("sh"), nb::arg("screen").none(),
           nb::arg("screen_absolute").none(), nb::arg("pose").none(), nb::arg("keep_invisible"),
           nb::arg("screen_norm").none() = nb::none(), nb::arg("screen_count").none() = nb::none(),
           nb::arg("opacity_weight") = 0.0f, nb::arg("scale_weight") = 0.0f)
      .def("adam_step", &Rasterizer::adam_step, nb::arg("params"), nb::arg("first"), nb::arg("second"), nb::arg("rates"),
           nb::arg("beta1"), nb::arg("beta2"), nb::arg("eps"), nb::arg("step"), nb::arg("pose").none(),
           nb::arg("screen_norm").none(), nb::arg("screen_count").none(), nb::arg("opacity_weight"),
           nb::arg("scale_weight"))
      .def("visible", &Rasterizer::visible)
      .def("statistics", &Rasterizer::statistics)
      .def("contributions", &Rasterizer::contributions);
}

}  // namespace scenerep
