#include "module.h"

namespace scenerep {
void bind_loss(nb::module_&) {}
}  // namespace scenerep
