// Each source file of the module registers its functions here.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

namespace scenerep {

namespace nb = nanobind;

// Arrays cross the border as C-contiguous NumPy or DLPack arrays on the CPU; no copy is made.
template <class T, int... Shape>
using Array = nb::ndarray<T, nb::shape<Shape...>, nb::c_contig, nb::device::cpu>;

void bind_rasterize(nb::module_& m);
void bind_loss(nb::module_& m);
void bind_adam(nb::module_& m);
void bind_noise(nb::module_& m);
void bind_coding(nb::module_& m);
void bind_conditional(nb::module_& m);
void bind_image(nb::module_& m);
void bind_image_gaussians(nb::module_& m);
void bind_voxels(nb::module_& m);

}  // namespace scenerep
