// The CPU splat rasteriser: data that flows from stage to stage.
//
//   project (splat_project.cpp)  -> records in id order, depth keys
//   sort                         -> records in depth order
//   bin     (splat_bin.cpp)      -> per 16x16 tile: ranks in depth order, each with a mask of its 4x4 blocks
//   blend   (splat_blend.cpp)    -> picture
//   blend backward (splat_blend_backward.cpp) -> ten sums per (tile, Gaussian) pair, no atomics
//   gather  (splat_gradient.cpp) -> sums per Gaussian, then gradients of the parameters
//
// Results do not depend on the number of threads: work is cut into fixed chunks, and every sum has a fixed order.
#pragma once

#include <cstdint>
#include <type_traits>
#include <vector>

#include "buffer.h"
#include "constants.h"
#include "simd_unit.h"

namespace scenerep {

constexpr int kTile = 16;            // pixels
constexpr int kBlock = 4;            // pixels; binning marks blocks of 4x4
constexpr int kUnits = kTile * kTile / kUnitLanes;  // registers that hold a tile
constexpr int kUnitsPerBlock = kUnits / 16;
constexpr int kProjectChunk = 1024;  // Gaussians projected by one task
constexpr int kBinChunks = 32;       // pieces of the depth order that are binned independently
constexpr int kMaxCoefficients = 16;

using UnitMask = std::conditional_t<kUnits == 16, uint16_t, std::conditional_t<kUnits == 32, uint32_t, uint64_t>>;

struct View {
  float rotation[9];  // camera from world, row by row
  float translation[3];
  float centre[3];  // of the camera, in the world
  float fx, fy, cx, cy;
  int width, height;
  float limit_x_low, limit_x_high, limit_y_low, limit_y_high;  // of x/z and y/z in the Jacobian

  int tiles_x() const { return (width + kTile - 1) / kTile; }
  int tiles_y() const { return (height + kTile - 1) / kTile; }
};

// Raw parameters, as trained. n Gaussians; sh is [n, coefficients, 3].
struct Parameters {
  const float *means, *log_scales, *quats, *opacity_logits, *sh;
  int64_t n;
  int coefficients;  // stored
  int degree;        // used
  bool antialiased;

  int active() const { return (degree + 1) * (degree + 1); }
};

// One visible Gaussian. alpha at offset (dx, dy) from its centre = 2^(lo + a dx^2 + b dx dy + c dy^2).
struct alignas(64) Record {
  float x, y, a, b, c, lo;
  float colour[4];       // rgb and depth, or four feature channels
  float ey, inverse_ey;  // half height of the ellipse alpha = 1/255, px
  float slope;           // dx of the ellipse's middle per dy
  float half_width;      // at dy = 0, px
  float y_right;         // dy of the rightmost point
  int32_t id;
};
static_assert(sizeof(Record) == 64, "a record is one cache line");

// Sums over the pixels of one (tile, Gaussian) pair, or of one Gaussian. g = dL/dalpha * alpha; offsets from the centre.
struct alignas(64) Sums {
  float colour[4];
  float g, gx, gy, gxx, gxy, gyy;
  float abs_x, abs_y;
  float unused[4];
};
static_assert(sizeof(Sums) == 64, "sums are one cache line");

class SceneAdam;

struct Gradients {
  float *means, *log_scales, *quats, *opacity_logits, *sh;
  float* screen;      // [n, 2] or null: dL/d(projected centre), px
  float* screen_abs;  // [n, 2] or null
  double* pose;       // [12] or null: dL/d camera_from_world, rows of [R | t]
  // Bookkeeping of training, null or 0 if not wanted.
  float* screen_norm;   // [n], added to: |dL/d(projected centre)| in half picture sizes
  float* screen_count;  // [n], added to: 1 for each time that a Gaussian is visible
  float opacity_weight, scale_weight;  // gradients of these times the sum of opacities and of standard deviations
  bool keep_invisible;  // rows of invisible Gaussians and inactive SH columns are left as they are instead of zeroed
  const SceneAdam* adam = nullptr;  // if given, uses the gradients on the spot, and the five arrays above are not written
};

// State of one frame; buffers are kept for the next one.
struct Frame {
  View view;
  Parameters parameters;
  int64_t visible = 0;
  int64_t pairs = 0;

  // Projection, in chunks of kProjectChunk: records[chunk * kProjectChunk + j], j < chunk_visible[chunk].
  Buffer<Record> records;
  std::vector<int32_t> chunk_visible;
  // Depth order.
  Buffer<uint32_t> keys[2], order[2];
  uint32_t* sorted = nullptr;  // rank -> index into `records`
  Buffer<Record> ranked;
  // Binning.
  Buffer<uint64_t> emitted[kBinChunks];  // rank << 36 | tile << 16 | mask
  int64_t emitted_count[kBinChunks];
  int64_t emitted_start[kBinChunks + 1];
  Buffer<uint32_t> histogram;    // [kBinChunks, tiles]
  Buffer<uint32_t> tile_start;   // [tiles + 1]
  Buffer<uint32_t> pair_rank;    // in tile order
  Buffer<UnitMask> pair_mask;    // blocks; after the forward blend, units that really contribute
  Buffer<uint32_t> slot;         // emission -> pair
  Buffer<uint32_t> first;        // [visible + 1] rank -> first emission
  // Backward.
  Buffer<Sums> pair_sums;
  Buffer<Sums> sums;  // parallel to `records`
  Buffer<double> pose_parts;

  double seconds[8] = {};  // project, sort, bin, blend, blend backward, gather, parameters backward
  size_t bytes() const;
};
enum Stage { kProjectStage, kSortStage, kBinStage, kBlendStage, kBlendBackwardStage, kGatherStage, kGradientStage };

void project(Frame& frame);
void sort_by_depth(Frame& frame);
void bin(Frame& frame);

// Pictures are [h, w, channels] float32. `median` may be null.
struct Picture {
  float* colour;    // channels: 3, or 4 with depth or features
  float* alpha;     // [h, w] or null
  float* extra;     // [h, w], channel 3, or null
  float* median;    // [h, w] or null
  int channels;     // of `colour`
  float background[4];
};
void blend(Frame& frame, const Picture& picture);
// Number of (pixel, Gaussian) pairs blended, for benchmarks.
int64_t count_contributions(Frame& frame);

struct PictureGradient {
  const float *colour, *alpha, *extra;      // as the forward wrote them
  const float *v_colour, *v_alpha, *v_extra;  // v_alpha, v_extra may be null
  int channels;
  bool absolute;
};
void blend_backward(Frame& frame, const PictureGradient& gradient);
// Adds the sums of the pairs to the sums of the Gaussians; `fresh` overwrites instead.
void gather(Frame& frame, bool fresh);
void parameter_gradients(Frame& frame, const Gradients& out, bool depth);

}  // namespace scenerep
