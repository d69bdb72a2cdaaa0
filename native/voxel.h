// Ray marching through dense grids of sixteen floats a vertex: one cache line, one AVX-512 register.
//
// scenerep/voxels/reference.py is the specification. A vertex holds a raw density and up to fifteen more channels: SH
// coefficients of degree 0 or 1 (3 or 12), or up to seven features. A grid may be a pyramid: level l has half the cells of
// level l - 1 along each side and values of its own, and a sample lies between the two levels that fit its ray's width.
//
// Threads: `forward` and `backward` share out rays, and leave for each group of rays its samples' gradients in order.
// `apply` shares out slabs of vertices; whoever has a slab goes through all samples in order and adds what falls into it,
// so sums do not depend on the number of threads.
#pragma once

#include <cstdint>
#include <vector>

#include "buffer.h"
#include "simd.h"

namespace scenerep {

constexpr int kVoxelChannels = 16;
constexpr int kMaxFeatures = 7;
constexpr int kMaxLevels = 8;
constexpr int kStamp = kVoxelChannels - 1;
constexpr uint8_t kTouched = 1, kDense = 2;  // marks: ever touched; its density reaches VoxelSpace::dense
constexpr int kBlock = 8;  // cells along the side of a block of the coarse occupancy

// Parameters, gradients, Adam's moments, and marks; all but p may be null in rendering. The last channel of the gradients
// holds the step at which a vertex was last touched (a line that is at hand; exact up to 2^24), so it has no parameter.
struct VoxelLevel {
  float *p, *g, *m, *v;
  uint8_t* marks;
  int32_t n[3];  // vertices along x, y, z
  int64_t count() const { return int64_t{n[0]} * n[1] * n[2]; }
};

// Where the grid lies and how it is sampled: u = (world - centre) / half, inner box [-1, 1]^3.
struct VoxelSpace {
  float centre[3], inverse_half[3];
  bool contracted;
  float step;     // distance of samples within the inner box, world units
  float tau;      // optical length of a sample of activated density 1
  float shift;    // added to the raw density
  float voxel;    // side of an inner voxel, world units
  float near;     // nothing is sampled closer to the camera, world units
  float dense;    // raw density from which on a vertex counts as dense
};

// Occupancy of cells, one byte each at the index of its lowest vertex, and of blocks of kBlock^3 cells. Null: everything.
struct VoxelOccupancy {
  const uint8_t *cells, *blocks;
};

// One sample on a ray, as the backward pass needs it.
struct VoxelSample {
  int32_t base[2];   // lowest vertex of its cell in each of its two levels; base[1] < 0: one level only
  float f[2][3];     // place in the cell
  float share;       // of level + 1
  int32_t level;
  float slope;       // d activated density / d raw density
  float after;       // transmittance behind it
  float weight;
  float colour[kMaxFeatures];
};

// The gradient that a sample passes to the eight vertices of a cell.
struct alignas(64) VoxelRecord {
  float gradient[kVoxelChannels];
  float f[3];
  int32_t base, level, z;
  int32_t padding[2];
};

struct VoxelOutputs {
  float *features, *alpha, *depth, *median;  // [n, features], [n], [n] or null, [n] or null
};

struct VoxelRays {
  const float *origins, *directions;  // [n, 3]
  const float* radii;                 // [n]: half a pixel's width at distance 1; null: level 0 throughout
  int64_t n;
};

class VoxelMarcher {
 public:
  // features: 3 for colours from SH of `degree`, or as many channels after the density.
  void configure(const VoxelSpace& space, std::vector<VoxelLevel> levels, int features, int degree);
  // Marches; with `record` the samples of `least_weight` and more are kept for `backward`. jitter: offset of the first
  // sample by a hash of (seed, ray).
  int64_t forward(const VoxelRays& rays, const VoxelOccupancy& occupancy, bool record, bool jitter, uint64_t seed,
                  float least_transmittance, float least_weight, const VoxelOutputs& out);
  // Where `forward` takes its samples: the ends of each ray's [n], and their distances, unless t is null. Returns their number.
  int64_t places(const VoxelRays& rays, const VoxelOccupancy& occupancy, bool jitter, uint64_t seed, int64_t* ends, float* t);
  // d loss / d features [n, features] and d loss / d alpha [n], of the rays of the last recorded `forward`.
  void backward(const float* d_features, const float* d_alpha);
  // Adds the records to the gradients, smooths, takes a step of Adam on what was touched, and clears their gradients.
  // sparsity: weight of the touched vertices' densities in the loss. Returns the number of touched vertices.
  int64_t apply(const float* rates, const float* smooth, float sparsity, double beta1, double beta2, double eps, int64_t step);
  // Only adds the records to the gradients, which the caller clears (the autograd function).
  void accumulate();

 private:
  struct Group {  // the rays [first, first + kGroup)
    std::vector<VoxelSample> samples;
    std::vector<int32_t> ends;        // of each ray's samples
    std::vector<float> ends_after;    // transmittance behind the last sample
    std::vector<float> basis;         // SH basis of each ray, 4
    std::vector<VoxelRecord> records;
    std::vector<std::vector<uint32_t>> of_slab;  // which records touch a slab, in order: 4 index + (lower layer) + 2 (upper)
  };
  // Layers z in groups of four go to the slabs in turn.
  int slab_of(int64_t z) const { return static_cast<int>((z >> 2) % slabs_); }
  template <class F>
  void scatter(int slab, F&& touched);

  VoxelSpace space_{};
  std::vector<VoxelLevel> levels_;
  int features_ = 3, degree_ = 0;
  int64_t rays_ = 0;
  int slabs_ = 1;  // of the last backward pass
  std::vector<Group> groups_;
  std::vector<std::vector<std::pair<int32_t, int64_t>>> touched_;
};

}  // namespace scenerep
