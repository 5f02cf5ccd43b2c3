// Holds `attention.cu` against the definition of attention in double precision.
#include "attention.hpp"

#ifdef SINGLE
#define attention attention_single
#else
#include "attention.cu"
#endif

int main() {
    const Case cases[] = {
        {2, 2, 1, 33, 70, 2, false, false, true}, {1, 2, 1, 17, 65, 2, false, false, false},
        {1, 4, 2, 40, 40, 3, true, false, true},  {1, 1, 1, 5, 130, 1, true, false, true},
        {2, 2, 1, 20, 66, 1, false, true, true},  {1, 1, 1, 70, 20, 4, true, true, true},
        {1, 1, 1, 1, 1, 1, false, false, true},
    };
    int failed = 0;
    for (const Case &c : cases) {
#ifdef SINGLE
        if (!c.single) continue;
#endif
        Problem problem(c);
        std::vector<float> result(problem.query.size(), NAN), logarithms(size_t(c.batch) * c.heads * c.queries, NAN);
        Arguments a{};
        a.query = problem.operand(problem.query, c.queries, c.heads);
        a.key = problem.operand(problem.key, c.keys, problem.key_heads);
        a.value = problem.operand(problem.value, c.keys, problem.key_heads);
        a.bias = problem.bias_of();
        a.result = result.data(), a.logarithms = logarithms.data();
        a.heads = c.heads, a.heads_per_key = c.heads_per_key, a.queries = c.queries, a.keys = c.keys;
        a.causal = c.causal, a.single = c.single, a.scale = problem.scale();
        int block = c.warps * ROWS;
        launch({(c.queries + block - 1) / block, c.heads, c.batch}, c.warps, [=] { attention(a); });
        failed += !tell("attention", c, worst(result, problem.result, c.single));
        for (size_t i = 0; i < logarithms.size(); ++i)
            if (std::isinf(logarithms[i]) && std::isinf(problem.logarithms[i])) logarithms[i] = problem.logarithms[i] = 0;
        failed += !tell("logarithms", c, worst(logarithms, problem.logarithms, true));
    }
    return failed != 0;
}
