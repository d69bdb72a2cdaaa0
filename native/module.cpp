#include "module.h"

#include "pool.h"

namespace {

// 1 = x86-64, 3 = x86-64-v3, 4 = x86-64-v4, 0 = another architecture.
int cpu_level() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                  __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  return v4 ? 4 : v3 ? 3 : 1;
#else
  return 0;
#endif
}

}  // namespace

NB_MODULE(SCENEREP_MODULE, m) {
  namespace nb = nanobind;
  nb::set_leak_warnings(false);  // workspaces are kept for the life of the process on purpose
  m.def("cpu_level", &cpu_level, "Highest x86-64 level that this CPU has (1, 3 or 4); 0 elsewhere.");
  m.def("set_threads", [](int n) { scenerep::Pool::instance().resize(n); }, nb::arg("threads"),
        nb::call_guard<nb::gil_scoped_release>());
  m.def("threads", [] { return scenerep::Pool::instance().size(); });
  scenerep::bind_rasterize(m);
  scenerep::bind_loss(m);
  scenerep::bind_adam(m);
  scenerep::bind_noise(m);
  scenerep::bind_coding(m);
}
