// The processor's intrinsics, without the warnings that GCC 12 gives of its own header's
// deliberately undefined registers (GCC bug 105593). Every file takes them from here: the first
// inclusion decides.
#pragma once

#ifdef __SSE2__
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif
