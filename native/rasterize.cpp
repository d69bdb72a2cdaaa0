#include "module.h"

namespace scenerep {
void bind_rasterize(nb::module_&) {}
}  // namespace scenerep
