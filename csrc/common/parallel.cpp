// The threads that help a caller with its pieces.
//
// A caller never waits for a thread to come, only for pieces that one has begun: beside busy
// processes a helper may sleep for milliseconds, and a barrier that all threads must reach
// (OpenMP's) then costs more than the work. Who finds no work looks around for some microseconds,
// as the next call often comes at once, then sleeps.
#include "common/parallel.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace hud {
namespace {

constexpr std::chrono::microseconds kLookAround{20};

inline void breathe() {
#if defined(__x86_64__) || defined(_M_X64)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

// Whether `done` comes true within the time that looking costs less than sleeping and waking.
template <typename Done>
bool soon(const Done& done) {
  const auto until = std::chrono::steady_clock::now() + kLookAround;
  for (;;) {
    for (int i = 0; i < 32; ++i) {
      if (done()) return true;
      breathe();
    }
    if (std::chrono::steady_clock::now() >= until) return false;
  }
}

struct Job {
  const PieceWork& work;
  int wanted;  // helpers that may still come; with `failure` guarded by the pool's mutex
  std::exception_ptr failure;
  std::atomic<int64_t> next{0};
  std::atomic<int> inside{0};  // helpers; changed under the mutex, looked at without

  bool left() const { return next.load(std::memory_order_relaxed) < work.pieces; }

  void take(std::mutex& mutex) {
    for (int64_t piece; (piece = next.fetch_add(1, std::memory_order_relaxed)) < work.pieces;) {
      try {
        work.call(work.work, static_cast<int>(piece), work.count * piece / work.pieces,
                  work.count * (piece + 1) / work.pieces);
      } catch (...) {
        next.store(work.pieces, std::memory_order_relaxed);  // the others need not begin
        const std::lock_guard<std::mutex> lock(mutex);
        if (!failure) failure = std::current_exception();
      }
    }
  }
};

class Pool {
 public:
  void run(const PieceWork& work, int threads) {
    Job job{work, threads - 1, nullptr};
    if (threads > 1) {
      const std::lock_guard<std::mutex> lock(mutex_);
      grow(threads - 1);
      jobs_.push_back(&job);
      asked_.store(true, std::memory_order_relaxed);
    }
    for (int i = 1; i < threads; ++i) work_.notify_one();
    job.take(mutex_);
    std::unique_lock<std::mutex> lock(mutex_);
    close(&job);
    if (job.inside != 0) {
      lock.unlock();
      soon([&] { return job.inside.load(std::memory_order_relaxed) == 0; });
      lock.lock();
      left_.wait(lock, [&] { return job.inside == 0; });
    }
    if (job.failure) std::rethrow_exception(job.failure);
  }

 private:
  // As many helpers as the widest call wanted; where the system gives no more, fewer do the work.
  void grow(int helpers) {
    if (helpers_ >= helpers) return;
    sigset_t all, before;  // signals are for the program's own threads
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      for (; helpers_ < helpers; ++helpers_) std::thread([this] { help(); }).detach();
    } catch (const std::system_error&) {
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  [[noreturn]] void help() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      if (jobs_.empty()) {
        lock.unlock();
        soon([&] { return asked_.load(std::memory_order_relaxed); });
        lock.lock();
        work_.wait(lock, [&] { return !jobs_.empty(); });
      }
      Job& job = *jobs_.front();
      if (--job.wanted == 0 || !job.left()) close(&job);
      ++job.inside;
      lock.unlock();
      job.take(mutex_);
      lock.lock();
      if (--job.inside == 0) left_.notify_all();  // after this the caller may forget the job
    }
  }

  // Nobody comes to `job` from here on.
  void close(const Job* job) {
    for (size_t i = 0; i < jobs_.size(); ++i)
      if (jobs_[i] == job) {
        jobs_.erase(jobs_.begin() + static_cast<std::ptrdiff_t>(i));
        break;
      }
    if (jobs_.empty()) asked_.store(false, std::memory_order_relaxed);
  }

  std::mutex mutex_;
  std::condition_variable work_, left_;
  std::vector<Job*> jobs_;          // that helpers may still come to
  std::atomic<bool> asked_{false};  // whether there are any; looked at without the mutex
  int helpers_ = 0;
};

// Never destroyed: its threads may sleep in it until the process is gone. A fork leaves them
// behind, and perhaps a locked mutex: the child begins anew.
std::atomic<int> most{1 << 20};
Pool* pool = new Pool;
[[maybe_unused]] const int told = pthread_atfork(nullptr, nullptr, [] { pool = new Pool; });

}  // namespace

void run_pieces(const PieceWork& work, int threads) {
  pool->run(work, std::min(threads, most.load(std::memory_order_relaxed)));
}

void limit_threads(int cores) { most = std::max(1, cores); }

}  // namespace hud
