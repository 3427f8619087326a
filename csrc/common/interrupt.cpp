#include "common/interrupt.h"

#include <pybind11/pybind11.h>

namespace py = pybind11;

namespace hud {
namespace {

// Asked for without the GIL: another thread, whose handlers would not run, must not wait for it.
unsigned long main_thread = 0;

}  // namespace

void poll_signals() {
  using Clock = std::chrono::steady_clock;
  thread_local Clock::time_point last = Clock::now();
  const Clock::time_point now = Clock::now();
  if (now - last < std::chrono::milliseconds(200)) return;
  last = now;
  if (PyThread_get_thread_ident() != main_thread) return;
  const py::gil_scoped_acquire hold;
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
}

void register_interrupt() {
  const py::object thread = py::module_::import("threading").attr("main_thread")();
  main_thread = thread.attr("ident").cast<unsigned long>();
}

}  // namespace hud
