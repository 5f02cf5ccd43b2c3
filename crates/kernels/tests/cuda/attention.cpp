// Holds `attention.cu` against the definition of attention in double precision.
#include "emulated.hpp"

alignas(16) u16 shared[1 << 17];
#include "attention.cu"

struct Case { int batch, heads, heads_per_key, queries, keys, warps; bool causal, biased, single; };

double worst_of(const Case &c) {
    int key_heads = c.heads / c.heads_per_key;
    auto bf16 = [](size_t count, unsigned seed) {
        std::vector<u16> rounded;
        for (float x : random_numbers(count, seed)) rounded.push_back(nearest(x));
        return rounded;
    };
    // Tokens before heads, as linear layers leave them.
    auto query = bf16(size_t(c.batch) * c.queries * c.heads * WIDTH, 1);
    auto key = bf16(size_t(c.batch) * c.keys * key_heads * WIDTH, 2), value = bf16(key.size(), 3);
    auto bias = random_numbers(size_t(c.batch) * c.queries * c.keys, 4);
    // One query sees nothing.
    if (c.biased) for (int k = 0; k < c.keys; ++k) bias[k] = -INFINITY;
    std::vector<float> result(query.size(), NAN);
    auto operand = [](const std::vector<u16> &x, int tokens, int heads) {
        return Operand{x.data(), (long long)tokens * heads * WIDTH, WIDTH, (long long)heads * WIDTH};
    };
    Arguments a{};
    a.query = operand(query, c.queries, c.heads);
    a.key = operand(key, c.keys, key_heads);
    a.value = operand(value, c.keys, key_heads);
    if (c.biased) a.bias = {bias.data(), (long long)c.queries * c.keys, 0, c.keys, 1};
    a.result = result.data();
    a.heads = c.heads, a.heads_per_key = c.heads_per_key, a.queries = c.queries, a.keys = c.keys;
    a.causal = c.causal, a.single = c.single, a.scale = 1 / std::sqrt(float(WIDTH));
    int block = c.warps * 16;
    launch({(c.queries + block - 1) / block, c.heads, c.batch}, c.warps, [=] { attention(a); });

    double worst = 0;
    for (int b = 0; b < c.batch; ++b)
        for (int h = 0; h < c.heads; ++h)
            for (int q = 0; q < c.queries; ++q) {
                std::vector<double> weights(c.keys);
                double total = 0;
                for (int k = 0; k < c.keys; ++k) {
                    double score = 0;
                    for (int i = 0; i < WIDTH; ++i)
                        score += double(number(query[((size_t(b) * c.queries + q) * c.heads + h) * WIDTH + i])) *
                                 number(key[((size_t(b) * c.keys + k) * key_heads + h / c.heads_per_key) * WIDTH + i]);
                    score *= a.scale;
                    if (c.biased) score += bias[(size_t(b) * c.queries + q) * c.keys + k];
                    if (c.causal && k > q + c.keys - c.queries) score = -INFINITY;
                    total += weights[k] = std::exp(score);
                }
                for (int i = 0; i < WIDTH; ++i) {
                    double expected = 0;
                    for (int k = 0; k < c.keys && total > 0; ++k)
                        expected += weights[k] / total *
                                    number(value[((size_t(b) * c.keys + k) * key_heads + h / c.heads_per_key) * WIDTH + i]);
                    size_t at = ((size_t(b) * c.queries + q) * c.heads + h) * WIDTH + i;
                    double got = c.single ? result[at] : number(reinterpret_cast<u16 *>(result.data())[at]);
                    double error = std::fabs(got - expected);
                    if (!(error <= worst)) worst = error;
                }
            }
    return worst;
}

int main() {
    const Case cases[] = {
        {2, 2, 1, 33, 70, 2, false, false, true}, {1, 2, 1, 17, 65, 2, false, false, false},
        {1, 4, 2, 40, 40, 3, true, false, true},  {1, 1, 1, 5, 130, 1, true, false, true},
        {2, 2, 1, 20, 66, 1, false, true, true},  {1, 1, 1, 70, 20, 4, true, true, true},
        {1, 1, 1, 1, 1, 1, false, false, true},
    };
    int failed = 0;
    for (const Case &c : cases) {
        double worst = worst_of(c);
        // Weights are rounded to bfloat16, and the result where it is not in single precision.
        bool good = worst < 0.02;
        failed += !good;
        std::printf("%s batch %d heads %d/%d queries %d keys %d causal %d biased %d: error %g\n", good ? "ok" : "FAILED", c.batch,
                    c.heads, c.heads_per_key, c.queries, c.keys, c.causal, c.biased, worst);
    }
    return failed != 0;
}
