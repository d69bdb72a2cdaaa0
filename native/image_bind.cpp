// The border to Python of the `dct` image codec: scenerep/codecs/dct/ is the other side.
#include <algorithm>
#include <memory>

#include "image_syntax.h"
#include "module.h"

namespace scenerep {

namespace {

using namespace dct;

template <class T>
using Flat = nb::ndarray<const T, nb::c_contig, nb::device::cpu>;

// Model states cross as int32: slots [kSlots, 2] (p, n), weights [kSets, kJ + 1] and [kSyntaxSets, kS + 1] (w, n).
Model read_model(Flat<int32_t> slots, Flat<int32_t> weights, Flat<int32_t> syntax) {
  if (slots.size() != kSlots * 2 || weights.size() != kSets * (kJ + 1) || syntax.size() != kSyntaxSets * (kS + 1))
    throw nb::value_error("the model's state has another size");
  Model model;
  for (size_t i = 0; i < kSlots; i++) {
    model.slots[i].p = static_cast<uint16_t>(slots.data()[2 * i]);
    model.slots[i].n = static_cast<uint16_t>(std::clamp(slots.data()[2 * i + 1], 0, kSlowest));
  }
  auto read = [](auto& sets, const int32_t* from, int count) {
    for (auto& set : sets) {
      for (int j = 0; j < count; j++) set.w[static_cast<size_t>(j)] = std::clamp(*from++, -kWeightLimit, kWeightLimit);
      set.n = std::clamp(*from++, 0, 64);
    }
  };
  read(model.weights, weights.data(), kJ);
  read(model.syntax_weights, syntax.data(), kS);
  return model;
}

nb::ndarray<nb::numpy, int32_t> numpy_of(std::vector<int32_t>&& values, std::vector<size_t> shape) {
  auto* kept = new std::vector<int32_t>(std::move(values));
  nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<int32_t>*>(p); });
  return nb::ndarray<nb::numpy, int32_t>(kept->data(), shape.size(), shape.data(), owner);
}

nb::tuple write_model(const Model& model) {
  std::vector<int32_t> slots, weights, syntax;
  for (const Slot& slot : model.slots) {
    slots.push_back(slot.p);
    slots.push_back(slot.n);
  }
  auto write = [](const auto& sets, std::vector<int32_t>& to) {
    for (const auto& set : sets) {
      to.insert(to.end(), set.w.begin(), set.w.end());
      to.push_back(set.n);
    }
  };
  write(model.weights, weights);
  write(model.syntax_weights, syntax);
  return nb::make_tuple(numpy_of(std::move(slots), {kSlots, 2}), numpy_of(std::move(weights), {kSets, kJ + 1}),
                        numpy_of(std::move(syntax), {kSyntaxSets, kS + 1}));
}

Settings make_settings(Flat<uint8_t> profiles, const std::vector<int32_t>& steps, bool wide) {
  if (profiles.size() != 2 * 4 * kKnots || steps.size() != 3) throw nb::value_error("profiles or steps are amiss");
  Settings s{make_steps(profiles.data(), {steps[0], steps[1], steps[2]}), wide, {}, {}, {}};
  for (int p = 0; p < 3; p++) {
    s.low[p] = wide ? -(1 << 18) : -(1 << 12);
    s.high[p] = -s.low[p] - 1;
    s.middle[p] = p ? 0 : wide ? 1 << 15 : 1 << 9;
  }
  return s;
}

template <class F>
void each_square(const Layout& layout, F&& body) {
  for (int y = 0; y < layout.height; y += kSuper)
    for (int x = 0; x < layout.width; x += kSuper)
      for (int tree = 0; tree < (layout.planes > 1 ? 2 : 1); tree++) body(tree, x, y);
}

// planes: float32 [c, h, w], h and w multiples of 8 -> (bytes, samples int32 [c, h, w], model after it).
nb::tuple encode(Flat<float> planes, Flat<uint8_t> profiles, const std::vector<int32_t>& steps,
                 const std::vector<float>& lambdas, int effort, bool wide, Flat<int32_t> slots, Flat<int32_t> weights,
                 Flat<int32_t> syntax) {
  const int count = static_cast<int>(planes.shape(0));
  const Layout layout{static_cast<int>(planes.shape(2)), static_cast<int>(planes.shape(1)), count};
  if ((count != 1 && count != 3) || layout.width % 8 || layout.height % 8 || lambdas.size() != 3)
    throw nb::value_error("one or three planes with sides that are multiples of 8");
  const Settings s = make_settings(profiles, steps, wide);
  Model model = read_model(slots, weights, syntax);
  const size_t area = static_cast<size_t>(layout.width) * layout.height;
  std::vector<uint8_t> bytes;
  std::vector<int32_t> samples;
  {
    nb::gil_scoped_release release;
    std::vector<float> source[3];
    for (int p = 0; p < count; p++) source[p].assign(planes.data() + p * area, planes.data() + (p + 1) * area);
    Picture picture(layout);
    RangeEncoder coder;
    const std::array<float, 3> lambda = {lambdas[0], lambdas[1], lambdas[2]};
    each_square(layout, [&](int tree, int x, int y) {
      decide_square(picture, s, source, model, lambda, effort, tree, x, y);
      for (int v = y; v < std::min(y + kSuper, layout.height); v += kUnit)
        for (int u = x; u < std::min(x + kSuper, layout.width); u += kUnit) picture.done[tree][picture.unit(u, v)] = 0;
      code_tree(coder, model, picture, s, tree, x, y, kSuper);
    });
    bytes = coder.finish();
    for (int p = 0; p < count; p++) samples.insert(samples.end(), picture.samples[p].begin(), picture.samples[p].end());
  }
  return nb::make_tuple(
      nb::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size()),
      numpy_of(std::move(samples), {planes.shape(0), planes.shape(1), planes.shape(2)}), write_model(model));
}

// -> (samples int32 [c, h, w], squares decoded, message or None). What lies behind a fault keeps the middle of its range.
nb::tuple decode(const nb::bytes& stream, int width, int height, int count, Flat<uint8_t> profiles,
                 const std::vector<int32_t>& steps, bool wide, Flat<int32_t> slots, Flat<int32_t> weights,
                 Flat<int32_t> syntax) {
  const Layout layout{width, height, count};
  if ((count != 1 && count != 3) || width % 8 || height % 8) throw nb::value_error("sides are multiples of 8");
  const Settings s = make_settings(profiles, steps, wide);
  Model model = read_model(slots, weights, syntax);
  std::vector<int32_t> samples;
  std::string fault;
  int squares = 0;
  {
    nb::gil_scoped_release release;
    Picture picture(layout);
    for (int p = 0; p < count; p++) std::fill(picture.samples[p].begin(), picture.samples[p].end(), s.middle[p]);
    try {
      RangeDecoder coder(reinterpret_cast<const uint8_t*>(stream.c_str()), stream.size());
      each_square(layout, [&](int tree, int x, int y) {
        code_tree(coder, model, picture, s, tree, x, y, kSuper);
        squares += layout.planes == 1 || tree == 1;
      });
    } catch (const CodingError& error) {
      fault = error.what();
    }
    for (int p = 0; p < count; p++) samples.insert(samples.end(), picture.samples[p].begin(), picture.samples[p].end());
  }
  auto out = numpy_of(std::move(samples), {static_cast<size_t>(count), static_cast<size_t>(height), static_cast<size_t>(width)});
  if (fault.empty()) return nb::make_tuple(out, squares, nb::none());
  return nb::make_tuple(out, squares, fault);
}

}  // namespace

void bind_image(nb::module_& m) {
  m.def("dct_encode", &encode, nb::arg("planes"), nb::arg("profiles"), nb::arg("steps"), nb::arg("lambdas"),
        nb::arg("effort"), nb::arg("wide"), nb::arg("slots"), nb::arg("weights"), nb::arg("syntax"));
  m.def("dct_decode", &decode, nb::arg("stream"), nb::arg("width"), nb::arg("height"), nb::arg("count"),
        nb::arg("profiles"), nb::arg("steps"), nb::arg("wide"), nb::arg("slots"), nb::arg("weights"),
        nb::arg("syntax"));
  m.def("dct_model_shape", [] { return nb::make_tuple(kSlots, kSets, kJ + 1, kSyntaxSets, kS + 1); });
}

}  // namespace scenerep
