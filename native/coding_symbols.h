// Codebooks and the indices into them, for representations that quantise vectors.
#pragma once

#include <cstdint>
#include <vector>

#include "coding_cell.h"

namespace scenerep {

constexpr int kMaxSymbols = 1 << 16;  // codewords of a codebook
constexpr int kMaxWidth = 256;        // integers of a row

// Indices 0 .. size - 1, or -1 where `optional`. What follows an index is predicted by it and by how often it was used.
Bytes encode_symbols(const int32_t* symbols, size_t n, int size, bool optional);
// Throws CodingError where the stream is broken.
std::vector<int32_t> decode_symbols(View stream, size_t n, int size, bool optional);

// Rows of `width` integers below 2^24 in magnitude, each column with probabilities of its own.
Bytes encode_rows(const int32_t* values, size_t n, int width);
std::vector<int32_t> decode_rows(View stream, size_t n, int width);

}  // namespace scenerep
