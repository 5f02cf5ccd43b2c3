// Holds `attention_backward.cu` against the gradients of attention in double precision.
#include "attention.hpp"

#ifdef SINGLE
typedef Backward Arguments_;
#define attention_backward_of_query attention_single_backward_of_query
#define attention_backward_of_keys attention_single_backward_of_keys
#else
#include "attention_backward.cu"
typedef Arguments Arguments_;
#endif

int main() {
    const Case cases[] = {
        {2, 2, 1, 33, 70, 2, false, false, true}, {1, 2, 1, 17, 65, 2, false, false, false},
        {1, 2, 1, 40, 40, 3, true, false, true},  {1, 1, 1, 5, 130, 1, true, false, true},
        {2, 2, 1, 20, 66, 1, false, true, true},  {1, 1, 1, 70, 20, 4, true, true, true},
        {1, 1, 1, 1, 1, 1, false, false, true},
    };
    int failed = 0;
    for (const Case &c : cases) {
#ifdef SINGLE
        if (!c.single) continue;
#endif
        Problem problem(c);
        // What the forward pass keeps.
        std::vector<float> result(problem.result.begin(), problem.result.end());
        if (!c.single)
            for (size_t i = 0; i < result.size(); ++i) reinterpret_cast<u16 *>(result.data())[i] = nearest(problem.result[i]);
        std::vector<float> logarithms(problem.logarithms.begin(), problem.logarithms.end());
        std::vector<float> along(logarithms.size(), NAN), of_query(problem.query.size(), NAN);
        std::vector<float> of_key(problem.key.size(), NAN), of_value(problem.key.size(), NAN);
        Arguments_ a{};
        a.query = problem.operand(problem.query, c.queries, c.heads), a.key = problem.operand(problem.key, c.keys, c.heads);
        a.value = problem.operand(problem.value, c.keys, c.heads), a.gradient = problem.operand(problem.gradient, c.queries, c.heads);
        a.bias = problem.bias_of();
        a.result = result.data(), a.logarithms = logarithms.data(), a.along = along.data();
        a.of_query = of_query.data(), a.of_key = of_key.data(), a.of_value = of_value.data();
        a.heads = c.heads, a.queries = c.queries, a.keys = c.keys;
        a.causal = c.causal, a.single = c.single, a.scale = problem.scale();
        int block = c.warps * ROWS;
        launch({(c.queries + block - 1) / block, c.heads, c.batch}, c.warps, [=] { attention_backward_of_query(a); });
        launch({(c.keys + block - 1) / block, c.heads, c.batch}, c.warps, [=] { attention_backward_of_keys(a); });
        failed += !tell("gradient of the query", c, worst(of_query, problem.of_query, c.single));
        failed += !tell("gradient of the key", c, worst(of_key, problem.of_key, c.single));
        failed += !tell("gradient of the value", c, worst(of_value, problem.of_value, c.single));
    }
    return failed != 0;
}
