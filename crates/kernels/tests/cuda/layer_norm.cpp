// Holds `layer_norm.cu` against the definitions in double precision.
#include "emulated.hpp"

#include "layer_norm.cu"

constexpr int ROWS = 7, WARPS = 2, BLOCKS = 2;

// Numbers in single precision, and rounded to 16 bits.
struct Numbers {
    std::vector<float> single;
    std::vector<u16> rounded;

    explicit Numbers(std::vector<float> numbers) : single(std::move(numbers)) {
        for (float x : single) rounded.push_back(nearest(x));
    }
    const void *data(bool in_single) const { return in_single ? static_cast<const void *>(single.data()) : rounded.data(); }
    double at(size_t place, bool in_single) const { return in_single ? single[place] : number(rounded[place]); }
};

double got(const std::vector<float> &result, size_t at, bool single) {
    return single ? result[at] : number(reinterpret_cast<const u16 *>(result.data())[at]);
}

int failed = 0;

void tell(const char *what, bool single, double worst, double tolerance) {
    bool good = worst < tolerance;
    failed += !good;
    std::printf("%s %s single %d: error %g\n", good ? "ok" : "FAILED", what, single, worst);
}

void keep_worst(double &worst, double got, double expected) {
    double error = std::fabs(got - expected) / (1 + std::fabs(expected));
    if (!(error <= worst)) worst = error;
}

int main() {
    for (auto [single, single_parameters] : {std::pair(true, true), std::pair(false, false), std::pair(true, false)}) {
        auto far = random_numbers(size_t(ROWS) * WIDTH, 1);
        // The first row is far from zero.
        for (int i = 0; i < WIDTH; ++i) far[i] += 64;
        const Numbers x(far), weight(random_numbers(WIDTH, 2)), bias(random_numbers(WIDTH, 3));
        const Numbers gradient(random_numbers(size_t(ROWS) * WIDTH, 4));
        std::vector<float> result(far.size(), NAN), of_x(far.size(), NAN), alone(far.size(), NAN);
        std::vector<float> of_weight(size_t(WARPS) * BLOCKS * WIDTH, NAN), of_bias = of_weight;
        Arguments forward{x.data(single), weight.data(single_parameters), bias.data(single_parameters), result.data(),
                          ROWS, single, single_parameters, 1e-6f};
        launch({(ROWS + WARPS - 1) / WARPS, 1, 1}, WARPS, [=] { layer_norm(forward); });
        Backward backward{x.data(single), weight.data(single_parameters), gradient.data(single), of_x.data(),
                          of_weight.data(), of_bias.data(), ROWS, single, single_parameters, 1e-6f};
        launch({BLOCKS, 1, 1}, WARPS, [=] { layer_norm_backward(backward); });
        backward.of_x = alone.data(), backward.of_weight = backward.of_bias = nullptr;
        launch({BLOCKS, 1, 1}, WARPS, [=] { layer_norm_backward_of_x(backward); });

        double worst = 0, worst_of_x = 0, worst_of_parameters = 0;
        std::vector<double> weight_sums(WIDTH), bias_sums(WIDTH);
        for (int row = 0; row < ROWS; ++row) {
            const size_t first = size_t(row) * WIDTH;
            double mean = 0, variance = 0, sum = 0, along = 0;
            for (int i = 0; i < WIDTH; ++i) mean += x.at(first + i, single) / WIDTH;
            for (int i = 0; i < WIDTH; ++i) variance += std::pow(x.at(first + i, single) - mean, 2) / WIDTH;
            auto normal = [&](int i) { return (x.at(first + i, single) - mean) / std::sqrt(variance + 1e-6); };
            auto weighted = [&](int i) { return gradient.at(first + i, single) * weight.at(i, single_parameters); };
            for (int i = 0; i < WIDTH; ++i) sum += weighted(i) / WIDTH, along += weighted(i) * normal(i) / WIDTH;
            for (int i = 0; i < WIDTH; ++i) {
                keep_worst(worst, got(result, first + i, single), normal(i) * weight.at(i, single_parameters) + bias.at(i, single_parameters));
                double expected = (weighted(i) - sum - normal(i) * along) / std::sqrt(variance + 1e-6);
                keep_worst(worst_of_x, got(of_x, first + i, single), expected);
                keep_worst(worst_of_x, got(alone, first + i, single), expected);
                weight_sums[i] += gradient.at(first + i, single) * normal(i);
                bias_sums[i] += gradient.at(first + i, single);
            }
        }
        for (int i = 0; i < WIDTH; ++i) {
            double of_this_weight = 0, of_this_bias = 0;
            for (int warp = 0; warp < WARPS * BLOCKS; ++warp) {
                of_this_weight += of_weight[size_t(warp) * WIDTH + i];
                of_this_bias += of_bias[size_t(warp) * WIDTH + i];
            }
            keep_worst(worst_of_parameters, of_this_weight, weight_sums[i]);
            keep_worst(worst_of_parameters, of_this_bias, bias_sums[i]);
        }
        tell("layer norm", single, worst, single ? 1e-4 : 4e-3);
        tell("gradient of x", single, worst_of_x, single ? 1e-4 : 4e-3);
        tell("gradients of weight and bias", single, worst_of_parameters, 1e-4);
    }
    return failed != 0;
}
