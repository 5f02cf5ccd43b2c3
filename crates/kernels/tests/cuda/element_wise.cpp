// Holds `element_wise.cu` against the definitions in double precision.
#include "emulated.hpp"

#include <math.h>

alignas(16) u16 shared[1 << 12];
#include "element_wise.cu"

constexpr int COUNT = 1026, WARPS = 2;

int failed = 0;

void tell(const char *what, double worst, double tolerance) {
    bool good = worst < tolerance;
    failed += !good;
    std::printf("%s %s: error %g\n", good ? "ok" : "FAILED", what, worst);
}

void keep_worst(double &worst, double got, double expected) {
    double error = std::fabs(got - expected) / (1 + std::fabs(expected));
    if (!(error <= worst)) worst = error;
}

const Index BLOCKS{(COUNT + WARPS * 32 - 1) / (WARPS * 32), 1, 1};

void activations() {
    auto x = random_numbers(COUNT, 1), gradient = random_numbers(COUNT, 2);
    for (float &number : x) number *= 3;
    std::vector<u16> rounded_x, rounded_gradient;
    for (int i = 0; i < COUNT; ++i) rounded_x.push_back(nearest(x[i])), rounded_gradient.push_back(nearest(gradient[i]));
    std::vector<float> result(COUNT, NAN), of_x(COUNT, NAN);
    const bool single = WIDTH == 1;
    Activation a{x.data(), gradient.data(), result.data(), COUNT};
    if (!single) a.x = rounded_x.data(), a.gradient = rounded_gradient.data();
    launch(BLOCKS, WARPS, [=] { gelu(a); });
    Activation backward = a;
    backward.result = of_x.data();
    launch(BLOCKS, WARPS, [=] { gelu_backward(backward); });
    double worst = 0, worst_of_x = 0;
    auto got = [&](const std::vector<float> &numbers, int i) {
        return single ? numbers[i] : number(reinterpret_cast<const u16 *>(numbers.data())[i]);
    };
    for (int i = 0; i < COUNT; ++i) {
        double y = single ? x[i] : number(rounded_x[i]), g = single ? gradient[i] : number(rounded_gradient[i]);
        double share = 0.5 * std::erfc(-y / std::sqrt(2.0));
        keep_worst(worst, got(result, i), y * share);
        keep_worst(worst_of_x, got(of_x, i), g * (share + y * std::exp(-y * y / 2) / std::sqrt(2 * M_PI)));
    }
    tell("GELU", worst, single ? 1e-6 : 4e-3);
    tell("gradient of GELU", worst_of_x, single ? 1e-6 : 4e-3);
}

void steps(float scale) {
    auto parameter = random_numbers(COUNT, 1), gradient = random_numbers(COUNT, 2), first = random_numbers(COUNT, 3);
    auto second = random_numbers(COUNT, 4);
    for (float &number : second) number *= number;
    std::vector<float> results[3] = {std::vector<float>(COUNT, NAN), std::vector<float>(COUNT, NAN), std::vector<float>(COUNT, NAN)};
    const double rate = 1e-2, decay = 0.05, beta1 = 0.9, beta2 = 0.98, epsilon = 1e-8;
    const double correction1 = 1 / (1 - std::pow(beta1, 3)), correction2 = 1 / (1 - std::pow(beta2, 3));
    Step a{parameter.data(), gradient.data(), first.data(), second.data(), &scale,
           results[0].data(), results[1].data(), results[2].data(), COUNT, float(1 - rate * decay), float(beta1),
           float(1 - beta1), float(beta2), float(1 - beta2), float(rate * correction1), float(correction2), float(epsilon)};
    launch(BLOCKS, WARPS, [=] { adamw(a); });
    double worst = 0;
    for (int i = 0; i < COUNT; ++i) {
        double g = double(gradient[i]) * scale, m = first[i] * beta1 + g * (1 - beta1), v = second[i] * beta2 + g * g * (1 - beta2);
        double p = parameter[i] * (1 - rate * decay) - rate * correction1 * m / (std::sqrt(v * correction2) + epsilon);
        if (std::isnan(scale)) p = parameter[i], m = first[i], v = second[i];
        keep_worst(worst, results[0][i], p);
        keep_worst(worst, results[1][i], m);
        keep_worst(worst, results[2][i], v);
    }
    tell("AdamW", worst, 1e-6);
}

void rounding() {
    const int rows = 21, columns = 70, parts = 4;
    auto x = random_numbers(rows * columns, 1);
    std::vector<u16> alone(x.size()), with_sums(x.size());
    std::vector<float> sums(parts * columns, NAN), result(columns, NAN);
    Activation a{x.data(), nullptr, alone.data(), rows * columns};
    launch(BLOCKS, WARPS, [=] { round_numbers(a); });
    Matrix matrix{x.data(), with_sums.data(), sums.data(), rows, columns};
    launch({1, parts, 1}, WARPS, [=] { round_and_sum(matrix); });
    Sums last{sums.data(), result.data(), parts, columns};
    launch({(columns + 31) / 32, 1, 1}, WARPS, [=] { sum_rows(last); });
    double worst = 0, worst_sum = 0;
    for (int column = 0; column < columns; ++column) {
        double sum = 0;
        for (int row = 0; row < rows; ++row) {
            int at = row * columns + column;
            sum += x[at];
            keep_worst(worst, number(alone[at]), number(nearest(x[at])));
            keep_worst(worst, number(with_sums[at]), number(nearest(x[at])));
        }
        keep_worst(worst_sum, result[column], sum);
    }
    tell("rounding", worst, 1e-9);
    tell("sums of rows", worst_sum, 1e-6);
}

void norm() {
    auto x = random_numbers(COUNT, 1);
    std::vector<double> sums(4, NAN);
    Squares a{x.data(), sums.data(), COUNT, 3};
    launch({3, 1, 1}, WARPS, [=] { squares(a); });
    launch({1, 1, 1}, WARPS, [=] { all_squares(a); });
    double expected = 0, worst = 0;
    for (float number : x) expected += double(number) * number;
    keep_worst(worst, sums[0], expected);
    tell("sum of squares", worst, 1e-7);
}

int main() {
    norm();
    rounding();
    activations();
    steps(0.5f);
    steps(NAN);
    return failed != 0;
}
