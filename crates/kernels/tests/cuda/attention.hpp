// Attention and its gradients in double precision, and cases to hold kernels against them.
#pragma once
#include "emulated.hpp"

alignas(16) inline u16 shared[1 << 17];

#ifdef SINGLE
typedef float Number;
inline float number(float x) { return x; }
inline Number drawn(float x) { return x; }
constexpr double TOLERANCE = 1e-5;
#include "attention_single.cu"
// Tokens of a warp.
constexpr int ROWS = 1;
#else
typedef u16 Number;
inline Number drawn(float x) { return nearest(x); }
// Weights are rounded, and results where they are not in single precision.
constexpr double TOLERANCE = 0.02;
#include "attention.cuh"
constexpr int ROWS = 16;
#endif

struct Case {
    int batch, heads, heads_per_key, queries, keys, warps;
    bool causal, biased, single;
};

struct Problem {
    Case c;
    int key_heads;
    std::vector<Number> query, key, value, gradient;
    std::vector<float> bias;
    // Results in double precision, and of those of the forward pass the logarithms.
    std::vector<double> result, logarithms, of_query, of_key, of_value;

    static std::vector<Number> draw(size_t count, unsigned seed) {
        std::vector<Number> numbers;
        for (float x : random_numbers(count, seed)) numbers.push_back(drawn(x));
        return numbers;
    }

    // Tokens before heads, as linear layers leave them.
    size_t at(int batch, int token, int tokens, int head, int heads) const {
        return ((size_t(batch) * tokens + token) * heads + head) * WIDTH;
    }

    Operand operand(const std::vector<Number> &x, int tokens, int heads) const {
        return {x.data(), (long long)tokens * heads * WIDTH, WIDTH, (long long)heads * WIDTH};
    }

    Bias bias_of() const {
        if (!c.biased) return {};
        return {bias.data(), (long long)c.queries * c.keys, 0, c.keys, 1};
    }

    float scale() const { return 1 / std::sqrt(float(WIDTH)); }

    explicit Problem(const Case &given) : c(given), key_heads(given.heads / given.heads_per_key) {
        query = draw(size_t(c.batch) * c.queries * c.heads * WIDTH, 1);
        key = draw(size_t(c.batch) * c.keys * key_heads * WIDTH, 2), value = draw(key.size(), 3);
        gradient = draw(query.size(), 5);
        bias = random_numbers(size_t(c.batch) * c.queries * c.keys, 4);
        // One query sees nothing.
        if (c.biased) for (int k = 0; k < c.keys; ++k) bias[k] = -INFINITY;
        result.resize(query.size()), of_query.resize(query.size()), of_key.resize(key.size()), of_value.resize(key.size());
        for (int b = 0; b < c.batch; ++b)
            for (int h = 0; h < c.heads; ++h)
                for (int q = 0; q < c.queries; ++q) solve(b, h, q);
    }

    void solve(int b, int h, int q) {
        const size_t of_q = at(b, q, c.queries, h, c.heads);
        auto of_k = [&](int k) { return at(b, k, c.keys, h / c.heads_per_key, key_heads); };
        std::vector<double> weights(c.keys), of_weights(c.keys);
        double total = 0, along = 0;
        for (int k = 0; k < c.keys; ++k) {
            double score = 0;
            for (int i = 0; i < WIDTH; ++i) score += double(number(query[of_q + i])) * number(key[of_k(k) + i]);
            score *= scale();
            if (c.biased) score += bias[(size_t(b) * c.queries + q) * c.keys + k];
            if (c.causal && k > q + c.keys - c.queries) score = -INFINITY;
            total += weights[k] = std::exp(score);
        }
        logarithms.push_back(total > 0 ? std::log2(total) : INFINITY);
        for (int k = 0; k < c.keys && total > 0; ++k) {
            weights[k] /= total;
            for (int i = 0; i < WIDTH; ++i) {
                result[of_q + i] += weights[k] * number(value[of_k(k) + i]);
                of_weights[k] += double(number(gradient[of_q + i])) * number(value[of_k(k) + i]);
                of_value[of_k(k) + i] += weights[k] * number(gradient[of_q + i]);
            }
            along += weights[k] * of_weights[k];
        }
        for (int k = 0; k < c.keys && total > 0; ++k) {
            double of_score = weights[k] * (of_weights[k] - along) * scale();
            for (int i = 0; i < WIDTH; ++i) {
                of_query[of_q + i] += of_score * number(key[of_k(k) + i]);
                of_key[of_k(k) + i] += of_score * number(query[of_q + i]);
            }
        }
    }
};

// The largest difference, of the largest number.
inline double worst(const std::vector<float> &got, const std::vector<double> &expected, bool single) {
    double error = 0, largest = 1;
    for (size_t i = 0; i < expected.size(); ++i) {
        double x = single ? got[i] : number(reinterpret_cast<const u16 *>(got.data())[i]);
        double difference = std::fabs(x - expected[i]);
        if (!(difference <= error)) error = difference;
        largest = std::max(largest, std::fabs(expected[i]));
    }
    return error / largest;
}

// Whether `error` is what comes of rounding.
inline bool tell(const char *what, const Case &c, double error) {
    bool good = error < TOLERANCE;
    std::printf("%s %s, batch %d heads %d/%d queries %d keys %d causal %d biased %d: error %g\n", good ? "ok" : "FAILED", what, c.batch,
                c.heads, c.heads_per_key, c.queries, c.keys, c.causal, c.biased, error);
    return good;
}
