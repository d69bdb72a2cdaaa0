// The voxel marcher for Python; voxel.h has what it does. Callers keep the arrays alive.
#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "module.h"
#include "pool.h"
#include "voxel.h"

namespace scenerep {
namespace {

using Values = Array<float, -1, kVoxelChannels>;
using Rays = Array<const float, -1, 3>;
using Vector = Array<const float, -1>;

float* optional_data(const std::optional<Values>& a, int64_t count) {
  if (!a) return nullptr;
  if (static_cast<int64_t>(a->shape(0)) != count) throw std::invalid_argument("a level's arrays differ in length");
  return a->data();
}

VoxelLevel level_of(nb::handle h) {
  const auto t = nb::cast<nb::tuple>(h);
  if (t.size() != 6) throw std::invalid_argument("level: expected (values, gradients, m, v, marks, size)");
  const auto size = nb::cast<std::vector<int32_t>>(t[5]);
  if (size.size() != 3) throw std::invalid_argument("size: expected three numbers");
  VoxelLevel level{};
  for (int k = 0; k < 3; k++) {
    level.n[k] = size[k];
    if (size[k] < 2 || size[k] > 4096) throw std::invalid_argument("size: expected 2 to 4096 vertices a side");
  }
  const int64_t count = level.count();
  if (count >= int64_t{1} << 31) throw std::invalid_argument("size: more than 2^31 vertices");
  level.p = optional_data(nb::cast<std::optional<Values>>(t[0]), count);
  level.g = optional_data(nb::cast<std::optional<Values>>(t[1]), count);
  level.m = optional_data(nb::cast<std::optional<Values>>(t[2]), count);
  level.v = optional_data(nb::cast<std::optional<Values>>(t[3]), count);
  const auto marks = nb::cast<std::optional<Array<uint8_t, -1>>>(t[4]);
  if (marks && static_cast<int64_t>(marks->shape(0)) != count) throw std::invalid_argument("marks: expected [nx ny nz]");
  level.marks = marks ? marks->data() : nullptr;
  return level;
}

struct Bound {
  VoxelMarcher marcher;
  std::vector<VoxelLevel> levels;
  int features = 3;
  int64_t recorded = 0;

  void configure(std::vector<float> centre, std::vector<float> half, bool contracted, float step, float tau, float shift,
                 float voxel, float near, float dense, nb::list given, int n_features, int degree) {
    if (centre.size() != 3 || half.size() != 3) throw std::invalid_argument("centre, half: expected three numbers");
    if (given.size() < 1 || given.size() > kMaxLevels) throw std::invalid_argument("levels: expected 1 to 8");
    if (n_features < 1 || n_features > kMaxFeatures) throw std::invalid_argument("features: expected 1 to 7");
    if (degree > 1 || (degree >= 0 && n_features != 3)) throw std::invalid_argument("degree: expected -1, 0 or 1");
    if (!(step > 0) || !(voxel > 0)) throw std::invalid_argument("step, voxel: expected positive numbers");
    VoxelSpace space{};
    for (int k = 0; k < 3; k++) {
      if (!(half[k] > 0)) throw std::invalid_argument("half: expected positive numbers");
      space.centre[k] = centre[k];
      space.inverse_half[k] = 1.0f / half[k];
    }
    space.contracted = contracted;
    space.step = step, space.tau = tau, space.shift = shift, space.voxel = voxel, space.near = near, space.dense = dense;
    levels.clear();
    for (nb::handle h : given) levels.push_back(level_of(h));
    marcher.configure(space, levels, n_features, degree);
    features = n_features;
    recorded = 0;
  }

  int64_t forward(Rays origins, Rays directions, std::optional<Vector> radii, std::optional<Array<const uint8_t, -1>> cells,
                  std::optional<Array<const uint8_t, -1>> blocks, bool record, bool jitter, uint64_t seed, float least, float least_weight,
                  Array<float, -1, -1> out, Array<float, -1> alpha, std::optional<Array<float, -1>> depth,
                  std::optional<Array<float, -1>> median) {
    const int64_t n = static_cast<int64_t>(origins.shape(0));
    auto fits = [&](const auto& a) { return static_cast<int64_t>(a.shape(0)) == n; };
    if (levels.empty()) throw std::invalid_argument("configure comes first");
    if (!fits(directions) || !fits(out) || !fits(alpha) || (radii && !fits(*radii)) || (depth && !fits(*depth)) ||
        (median && !fits(*median)) || static_cast<int>(out.shape(1)) != features)
      throw std::invalid_argument("rays and outputs disagree in length");
    check_occupancy(cells, blocks);
    for (const VoxelLevel& level : levels)
      if (level.p == nullptr) throw std::invalid_argument("the levels have no values");
    const VoxelRays rays{origins.data(), directions.data(), radii ? radii->data() : nullptr, n};
    const VoxelOccupancy occupancy{cells ? cells->data() : nullptr, blocks ? blocks->data() : nullptr};
    const VoxelOutputs outputs{out.data(), alpha.data(), depth ? depth->data() : nullptr, median ? median->data() : nullptr};
    if (record) recorded = n;
    nb::gil_scoped_release release;
    return marcher.forward(rays, occupancy, record, jitter, seed, least, least_weight, outputs);
  }

  int64_t places(Rays origins, Rays directions, std::optional<Array<const uint8_t, -1>> cells,
                 std::optional<Array<const uint8_t, -1>> blocks, bool jitter, uint64_t seed, Array<int64_t, -1> ends,
                 std::optional<Array<float, -1>> t) {
    const int64_t n = static_cast<int64_t>(origins.shape(0));
    if (levels.empty()) throw std::invalid_argument("configure comes first");
    if (static_cast<int64_t>(directions.shape(0)) != n || static_cast<int64_t>(ends.shape(0)) != n)
      throw std::invalid_argument("rays and ends disagree in length");
    if (t && n > 0 && static_cast<int64_t>(t->shape(0)) != ends.data()[n - 1])
      throw std::invalid_argument("t: expected as many as the last of ends");
    check_occupancy(cells, blocks);
    const VoxelRays rays{origins.data(), directions.data(), nullptr, n};
    const VoxelOccupancy occupancy{cells ? cells->data() : nullptr, blocks ? blocks->data() : nullptr};
    nb::gil_scoped_release release;
    return marcher.places(rays, occupancy, jitter, seed, ends.data(), t ? t->data() : nullptr);
  }

  void check_occupancy(const std::optional<Array<const uint8_t, -1>>& cells,
                       const std::optional<Array<const uint8_t, -1>>& blocks) const {
    if (cells.has_value() != blocks.has_value()) throw std::invalid_argument("cells and blocks go together");
    if (!cells) return;
    int64_t count = 1;
    for (int k = 0; k < 3; k++) count *= (levels[0].n[k] - 1 + kBlock - 1) / kBlock;
    if (static_cast<int64_t>(cells->shape(0)) != levels[0].count() || static_cast<int64_t>(blocks->shape(0)) != count)
      throw std::invalid_argument("cells: expected one a vertex; blocks: one for 8 x 8 x 8 cells");
  }

  void backward(Array<const float, -1, -1> d_features, Vector d_alpha) {
    if (static_cast<int64_t>(d_features.shape(0)) != recorded || static_cast<int64_t>(d_alpha.shape(0)) != recorded ||
        static_cast<int>(d_features.shape(1)) != features)
      throw std::invalid_argument("gradients are not of the rays of the last recorded forward pass");
    nb::gil_scoped_release release;
    marcher.backward(d_features.data(), d_alpha.data());
  }

  void need(bool optimiser) const {
    for (const VoxelLevel& level : levels)
      if (level.g == nullptr || (optimiser && (level.m == nullptr || level.v == nullptr || level.marks == nullptr)))
        throw std::invalid_argument("the levels have no gradients, or nothing to train with");
  }

  void accumulate() {
    need(false);
    nb::gil_scoped_release release;
    marcher.accumulate();
  }

  int64_t apply(Vector rates, Vector smooth, float sparsity, double beta1, double beta2, double eps, int64_t step) {
    need(true);
    if (rates.shape(0) != kVoxelChannels || smooth.shape(0) != kVoxelChannels)
      throw std::invalid_argument("rates, smooth: expected [16]");
    if (step < 1 || step >= int64_t{1} << 24) throw std::invalid_argument("step: expected 1 to 2^24");
    nb::gil_scoped_release release;
    return marcher.apply(rates.data(), smooth.data(), sparsity, beta1, beta2, eps, step);
  }
};

void size_of(const std::vector<int32_t>& n, int64_t* out) {
  if (n.size() != 3) throw std::invalid_argument("size: expected three numbers");
  for (int k = 0; k < 3; k++) {
    if (n[k] < 2 || n[k] > 4096) throw std::invalid_argument("size: expected 2 to 4096 vertices a side");
    out[k] = n[k];
  }
}

// Cells that have a dense vertex among the eight of theirs, or among those up to `margin` further off. cells [vertices],
// each at its lowest vertex, and blocks are written.
void occupancy(Array<const uint8_t, -1> marks, std::vector<int32_t> size, int64_t margin, Array<uint8_t, -1> cells,
               Array<uint8_t, -1> blocks) {
  int64_t n[3], b[3];
  size_of(size, n);
  for (int k = 0; k < 3; k++) b[k] = (n[k] - 1 + kBlock - 1) / kBlock;
  const int64_t nx = n[0], ny = n[1], nz = n[2], layer = nx * ny, count = layer * nz;
  if (static_cast<int64_t>(marks.shape(0)) != count || static_cast<int64_t>(cells.shape(0)) != count ||
      static_cast<int64_t>(blocks.shape(0)) != b[0] * b[1] * b[2])
    throw std::invalid_argument("marks, cells: expected one a vertex; blocks: one for 8 x 8 x 8 cells");
  if (margin < 0 || margin > 8) throw std::invalid_argument("margin: expected 0 to 8");
  const uint8_t* given = marks.data();
  uint8_t *cell = cells.data(), *block = blocks.data();
  nb::gil_scoped_release release;
  std::vector<uint8_t> flat(count);
  // The largest of the entries from -margin to margin + 1 places on, along one axis after the other.
  auto spread = [&](const uint8_t* from, uint8_t* to, int64_t at, int64_t length, int64_t stride, int64_t run) {
    for (int64_t k = std::max<int64_t>(0, at - margin); k <= std::min(length - 1, at + 1 + margin); k++)
      for (int64_t i = 0; i < run; i++) to[i] |= from[k * stride + i];
  };
  Pool::instance().parallel_for(nz, 1, [&](int64_t begin, int64_t end) {
    std::vector<uint8_t> rows(layer);
    for (int64_t z = begin; z < end; z++) {
      std::fill(rows.begin(), rows.end(), 0);
      for (int64_t y = 0; y < ny; y++)
        for (int64_t k = -margin; k <= margin + 1; k++) {
          const uint8_t* from = given + z * layer + y * nx;
          uint8_t* to = rows.data() + y * nx;
          for (int64_t x = std::max<int64_t>(0, -k); x < std::min(nx, nx - k); x++) to[x] |= from[x + k] & kDense;
        }
      uint8_t* to = flat.data() + z * layer;
      for (int64_t y = 0; y < ny; y++) spread(rows.data(), to + y * nx, y, ny, nx, nx);
    }
  });
  Pool::instance().parallel_for(nz, 1, [&](int64_t begin, int64_t end) {
    for (int64_t z = begin; z < end; z++) {
      std::fill(cell + z * layer, cell + (z + 1) * layer, 0);
      spread(flat.data(), cell + z * layer, z, nz, layer, layer);
    }
  });
  Pool::instance().parallel_for(b[2], 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * b[0] * b[1]; i < end * b[0] * b[1]; i++) {
      const int64_t at[3] = {i % b[0] * kBlock, i / b[0] % b[1] * kBlock, i / (b[0] * b[1]) * kBlock};
      uint8_t found = 0;
      for (int64_t z = at[2]; z < std::min(nz - 1, at[2] + kBlock); z++)
        for (int64_t y = at[1]; y < std::min(ny - 1, at[1] + kBlock); y++)
          for (int64_t x = at[0]; x < std::min(nx - 1, at[0] + kBlock); x++) found |= cell[z * layer + y * nx + x];
      block[i] = found;
    }
  });
}

// Trilinear values of `from` at the vertices of the finer or coarser grid `to`, whose cells some touched vertex borders
// on; the others are not written, so that untouched pages stay so.
void resample(Array<const float, -1, kVoxelChannels> from, Array<const uint8_t, -1> marks, std::vector<int32_t> from_size,
              Array<float, -1, kVoxelChannels> to, Array<uint8_t, -1> to_marks, std::vector<int32_t> to_size) {
  int64_t n[3], w[3];
  size_of(from_size, n);
  size_of(to_size, w);
  const int64_t count = n[0] * n[1] * n[2], wanted = w[0] * w[1] * w[2];
  if (static_cast<int64_t>(from.shape(0)) != count || static_cast<int64_t>(marks.shape(0)) != count ||
      static_cast<int64_t>(to.shape(0)) != wanted || static_cast<int64_t>(to_marks.shape(0)) != wanted)
    throw std::invalid_argument("arrays do not fit the sizes");
  const float* p = from.data();
  const uint8_t* mark = marks.data();
  float* q = to.data();
  uint8_t* touched = to_marks.data();
  nb::gil_scoped_release release;
  Pool::instance().parallel_for(w[2], 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * w[0] * w[1]; i < end * w[0] * w[1]; i++) {
      const int64_t at[3] = {i % w[0], i / w[0] % w[1], i / (w[0] * w[1])};
      int64_t base[3];
      float f[3];
      for (int k = 0; k < 3; k++) {
        const double g = static_cast<double>(at[k]) * static_cast<double>(n[k] - 1) / static_cast<double>(w[k] - 1);
        base[k] = std::min(static_cast<int64_t>(g), n[k] - 2);
        f[k] = static_cast<float>(g - static_cast<double>(base[k]));
      }
      bool any = false;
      f16 sum = f16(0.0f);
      for (int corner = 0; corner < 8; corner++) {
        const int64_t j = ((base[2] + (corner >> 2)) * n[1] + base[1] + (corner >> 1 & 1)) * n[0] + base[0] + (corner & 1);
        const float weight = ((corner & 1) ? f[0] : 1 - f[0]) * ((corner >> 1 & 1) ? f[1] : 1 - f[1]) *
                             ((corner >> 2) ? f[2] : 1 - f[2]);
        if (mark[j] == 0) continue;
        any = true;
        sum = fma(load(p + j * kVoxelChannels), f16(weight), sum);
      }
      if (!any) continue;
      store(q + i * kVoxelChannels, sum);
      touched[i] = kTouched;
    }
  });
}

}  // namespace

void bind_voxels(nb::module_& m) {
  nb::class_<Bound>(m, "VoxelMarcher")
      .def(nb::init<>())
      .def("configure", &Bound::configure, nb::arg("centre"), nb::arg("half"), nb::arg("contracted"), nb::arg("step"),
           nb::arg("tau"), nb::arg("shift"), nb::arg("voxel"), nb::arg("near"), nb::arg("dense"), nb::arg("levels"), nb::arg("features"),
           nb::arg("degree"))
      .def("forward", &Bound::forward, nb::arg("origins").noconvert(), nb::arg("directions").noconvert(),
           nb::arg("radii").noconvert().none(), nb::arg("cells").noconvert().none(), nb::arg("blocks").noconvert().none(),
           nb::arg("record"), nb::arg("jitter"), nb::arg("seed"), nb::arg("least_transmittance"), nb::arg("least_weight"),
           nb::arg("features").noconvert(), nb::arg("alpha").noconvert(), nb::arg("depth").noconvert().none(),
           nb::arg("median").noconvert().none(), "Marches; returns the number of samples.")
      .def("places", &Bound::places, nb::arg("origins").noconvert(), nb::arg("directions").noconvert(),
           nb::arg("cells").noconvert().none(), nb::arg("blocks").noconvert().none(), nb::arg("jitter"), nb::arg("seed"),
           nb::arg("ends").noconvert(), nb::arg("t").noconvert().none(), "The number of samples; their distances into t.")
      .def("backward", &Bound::backward, nb::arg("d_features").noconvert(), nb::arg("d_alpha").noconvert())
      .def("accumulate", &Bound::accumulate)
      .def("apply", &Bound::apply, nb::arg("rates").noconvert(), nb::arg("smooth").noconvert(), nb::arg("sparsity"), nb::arg("beta1"),
           nb::arg("beta2"), nb::arg("eps"), nb::arg("step"), "Returns the number of touched vertices.");
  m.def("voxel_occupancy", &occupancy, nb::arg("marks").noconvert(), nb::arg("size"), nb::arg("margin"),
        nb::arg("cells").noconvert(), nb::arg("blocks").noconvert());
  m.def("voxel_resample", &resample, nb::arg("values").noconvert(), nb::arg("marks").noconvert(), nb::arg("size"),
        nb::arg("to").noconvert(), nb::arg("to_marks").noconvert(), nb::arg("to_size"));
}

}  // namespace scenerep
