// Attributes of a cell's Gaussians, predicted from neighbours that are decoded already.
//
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "coding_octree.h"

namespace scenerep {

constexpr int kNeighbours = 3;
constexpr int kBase = 10;      // components that every Gaussian has: scales 0-2, rotation 3-5, opacity 6, colour 7-9
constexpr int kStreams = 7;    // geometry, shape, opacity, colour, SH bands 1, 2, 3
constexpr int kCosts = 8;      // as the streams, with scales and rotation apart
constexpr int kValueLimit = 1 << 24;

// The Gaussians of a cell in coded order: layer after layer, each by Morton code.
struct Cell {
  int depth = 0, bands = 0, components = kBase;
  std::vector<uint64_t> codes;
  // By component: a stream is coded one component after the other, so that few models and columns are in use at a time.
  std::vector<std::vector<int32_t>> values;     // [components][n]
  std::vector<std::vector<uint8_t>> present;    // [bands][n]: whether the SH band has values
  std::vector<std::array<int32_t, kNeighbours>> neighbours;  // -1: none
  std::vector<uint8_t> layer;

  int64_t size() const { return static_cast<int64_t>(codes.size()); }
};

// The nearest of the Gaussians decoded before begin .. end and among them, by squared distance on the grid, then by
// index: of those within a few places along the Morton curve of all points, and along one of the shifted points.
void find_neighbours(Cell& cell, int64_t begin, int64_t end);

struct AttributeModels;

// What the decoder is told about the first ten components: how their values fall into 16 classes.
struct ComponentSetup {
  int32_t base = 0;
  int shift = 0;
};

class AttributeCoder {
 public:
  explicit AttributeCoder(Cell& cell);
  ~AttributeCoder();
  // Encoder: chooses the setups by the values of the whole cell.
  void choose_setups();
  // Codes one stream (1 to 6) of the Gaussians begin .. end. The costs are added to `bits` [n, kCosts], if not null.
  template <class Coder>
  void code(Coder& coder, int stream, int64_t begin, int64_t end, bool first, float* bits);

 private:
  template <class Coder>
  void code_setups(Coder& coder, int from, int to);
  template <class Coder>
  void code_present(Coder& coder, int band, int64_t begin, int64_t end, float* bits);
  static void check(int32_t value);
  template <class Coder>
  void code_sh(Coder& coder, int band, int c, int64_t begin, int64_t end, float* bits, std::vector<int32_t>& totals);
  template <class Coder, class Model, class Contexts>
  void code_component(Coder& coder, Model& model, int c, int64_t begin, int64_t end, float* bits, Contexts contexts);

  Cell& cell_;
  std::vector<ComponentSetup> setups_;
  AttributeModels* models_;
};

}  // namespace scenerep
