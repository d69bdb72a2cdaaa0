#include "module.h"

namespace scenerep {
void bind_adam(nb::module_&) {}
}  // namespace scenerep
