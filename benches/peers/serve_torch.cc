// libtorch's own operators, without Python, on what `cargo bench --bench peers -- make DIR` wrote.
// usage: serve_torch DIR WORKLOAD...
// One thread. Prints a JSON object a line, in the form of peers.rs, after the scores have been compared.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <torch/version.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

using Clock = std::chrono::steady_clock;
constexpr int PASSES = 5;

static double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

static double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

template <typename T>
static std::vector<T> take(FILE *file, size_t count) {
  std::vector<T> values(count);
  if (fread(values.data(), sizeof(T), count, file) != count) {
    fprintf(stderr, "the file is too short\n");
    exit(1);
  }
  return values;
}

static void run(const std::string &folder, const std::string &name) {
  FILE *file = fopen((folder + "/" + name + ".bin").c_str(), "rb");
  if (!file) {
    fprintf(stderr, "no %s/%s.bin\n", folder.c_str(), name.c_str());
    exit(1);
  }
  auto sizes = take<uint64_t>(file, 5);
  int64_t keywords = sizes[0], hidden = sizes[1], tags = sizes[2], items = sizes[3];
  auto tensor = [&](std::vector<int64_t> shape) {
    auto made = at::empty(shape);
    size_t count = made.numel();
    if (fread(made.data_ptr<float>(), 4, count, file) != count) exit(1);
    return made;
  };
  auto w1 = tensor({keywords, hidden}), b1 = tensor({hidden}), w2 = tensor({hidden, tags}), b2 = tensor({tags});
  auto starts = take<uint64_t>(file, items + 1);
  auto short_ids = take<uint32_t>(file, sizes[4]);
  auto scores = take<float>(file, items * tags);
  fclose(file);
  std::vector<int64_t> ids(short_ids.begin(), short_ids.end());

  auto call = [&](const at::Tensor &ids, const at::Tensor &offsets) {
    auto sum = std::get<0>(at::embedding_bag(w1, ids, offsets, false, 0, false, {}, false));
    return at::sigmoid(at::addmm(b2, at::relu_(sum.add_(b1)), w2));
  };
  auto ids_of = [&](int64_t first, int64_t count) {
    return at::from_blob(ids.data() + starts[first], {int64_t(starts[first + count] - starts[first])}, at::kLong);
  };
  auto offsets_of = [&](int64_t first, int64_t count) {
    auto offsets = at::empty({count}, at::kLong);
    for (int64_t i = 0; i < count; i++) offsets.data_ptr<int64_t>()[i] = starts[first + i] - starts[first];
    return offsets;
  };
  auto figure = [&](const std::string &form, const char *unit, double value) {
    printf("{\"peer\": \"libtorch %s C++\", \"workload\": \"%s\", \"form\": \"%s\", \"%s\": %.3f}\n", TORCH_VERSION,
           name.c_str(), form.c_str(), unit, value);
    fflush(stdout);
  };

  for (int64_t item = 0; item < items; item++) {
    auto found = call(ids_of(item, 1), offsets_of(item, 1));
    for (int64_t tag = 0; tag < tags; tag++) {
      // Scores of this crate are clamped to [1e-4, 1 - 1e-4].
      if (!(std::fabs(found.data_ptr<float>()[tag] - scores[item * tags + tag]) < 2e-4)) {
        fprintf(stderr, "scores of %s differ\n", name.c_str());
        exit(1);
      }
    }
  }
  double sink = 0;
  std::vector<at::Tensor> requests;
  for (int64_t item = 0; item < items; item++) requests.push_back(ids_of(item, 1));
  auto zero = at::zeros({1}, at::kLong);
  std::vector<double> p50, p99;
  for (int pass = 0; pass <= PASSES; pass++) {
    std::vector<double> times;
    for (auto &request : requests) {
      auto start = Clock::now();
      auto found = call(request, zero);
      times.push_back(seconds_since(start) * 1e6);
      sink += found.data_ptr<float>()[0];
    }
    std::sort(times.begin(), times.end());
    if (pass > 0) {
      p50.push_back(times[times.size() / 2]);
      p99.push_back(times[times.size() * 99 / 100]);
    }
  }
  figure("p50", "us", median(p50));
  figure("p99", "us", median(p99));
  for (int64_t size : {256, 4096}) {
    std::vector<std::pair<at::Tensor, at::Tensor>> batches;
    for (int64_t first = 0; first + size <= items; first += size)
      batches.push_back({ids_of(first, size), offsets_of(first, size)});
    std::vector<double> rates;
    for (int pass = 0; pass <= PASSES; pass++) {
      auto start = Clock::now();
      for (auto &batch : batches) sink += call(batch.first, batch.second).data_ptr<float>()[0];
      if (pass > 0) rates.push_back(batches.size() * size / seconds_since(start));
    }
    figure("batch " + std::to_string(size), "items_per_second", median(rates));
  }
  if (std::isnan(sink)) exit(1);
}

int main(int count, char **arguments) {
  c10::InferenceMode guard;
  at::set_num_threads(1);
  for (int i = 2; i < count; i++) run(arguments[1], arguments[i]);
}
