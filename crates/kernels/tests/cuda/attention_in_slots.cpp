// Holds `attention_in_slots.cu` against the definition of attention in double precision: rows of different lengths, some of whose slots
// are shared, keys that several heads share.
#include "emulated.hpp"

alignas(16) inline u16 shared[1 << 15];

#include "attention_in_slots.cu"

#ifdef SINGLE
typedef float Number;
Number drawn(float x) { return x; }
constexpr double TOLERANCE = 1e-5;
#else
typedef u16 Number;
Number drawn(float x) { return nearest(x); }
constexpr double TOLERANCE = 0.005;
#endif

std::vector<Number> draw(size_t count, unsigned seed) {
    std::vector<Number> numbers;
    for (float x : random_numbers(count, seed)) numbers.push_back(drawn(x));
    return numbers;
}

int main() {
    const int heads = 4, key_heads = 2, rows = 3, beginning = 5, slots = 40, most = 21, first = 7;
    const float scale = 1 / std::sqrt(float(WIDTH));
    int failed = 0;

    // A beginning of two rows, tokens before heads as linear layers leave them, written from slot `first` on.
    auto key = draw(2 * beginning * key_heads * WIDTH, 1), value = draw(key.size(), 2);
    auto keys = draw(slots * key_heads * WIDTH, 3), values = draw(keys.size(), 4);
    auto expected_keys = keys, expected_values = values;
    std::copy(key.begin(), key.end(), expected_keys.begin() + first * key_heads * WIDTH);
    std::copy(value.begin(), value.end(), expected_values.begin() + first * key_heads * WIDTH);
    Written<Number> w{};
    w.key = {key.data(), beginning * key_heads * WIDTH, WIDTH, key_heads * WIDTH};
    w.value = {value.data(), beginning * key_heads * WIDTH, WIDTH, key_heads * WIDTH};
    w.keys = keys.data(), w.values = values.data(), w.first = first, w.heads = key_heads, w.tokens = beginning;
    launch({beginning, 2, 1}, 4, [=] { write(w); });
    bool same = keys == expected_keys && values == expected_values;
    std::printf("%s written\n", same ? "ok" : "FAILED");
    failed += !same;

    const int lengths[rows] = {most, 6, 0};
    std::vector<int> table(rows * (1 + most));
    for (int row = 0; row < rows; ++row) {
        int *slot = &table[row * (1 + most)];
        *slot++ = lengths[row];
        for (int i = 0; i < lengths[row]; ++i) *slot++ = i < beginning ? first + i : (i * 11 + row) % slots;
    }
    auto query = draw(rows * heads * WIDTH, 5);
    auto bias = random_numbers(rows * heads * most, 6);
    for (bool biased : {false, true}) {
        std::vector<Number> result(query.size());
        Arguments<Number> a{};
        a.query = {query.data(), heads * WIDTH, WIDTH, heads * WIDTH};
        a.keys = keys.data(), a.values = values.data(), a.table = table.data(), a.result = result.data();
        if (biased) a.bias = {bias.data(), heads * most, most, most, 1};
        a.heads = heads, a.heads_per_key = heads / key_heads, a.most = most, a.scale = scale;
        launch({heads, rows, 1}, 4, [=] { attend(a); });
        double error = 0;
        for (int row = 0; row < rows; ++row)
            for (int head = 0; head < heads; ++head) {
                const size_t of_query = (row * heads + head) * WIDTH;
                std::vector<double> weights(most), sum(WIDTH);
                double total = 0;
                auto at = [&](int i) { return (size_t(table[row * (1 + most) + 1 + i]) * key_heads + head / 2) * WIDTH; };
                for (int i = 0; i < lengths[row]; ++i) {
                    double score = 0;
                    for (int place = 0; place < WIDTH; ++place) score += double(single(query[of_query + place])) * single(keys[at(i) + place]);
                    total += weights[i] = std::exp(score * scale + (biased ? bias[(row * heads + head) * most + i] : 0));
                }
                for (int place = 0; place < WIDTH; ++place) {
                    for (int i = 0; i < lengths[row]; ++i) sum[place] += weights[i] / total * single(values[at(i) + place]);
                    double difference = std::fabs(single(result[of_query + place]) - sum[place]);
                    if (!(difference <= error)) error = difference;
                }
            }
        bool good = error < TOLERANCE;
        std::printf("%s attention in slots, biased %d: error %g\n", good ? "ok" : "FAILED", biased, error);
        failed += !good;
    }

    // A key that is no number is not taken for one.
    keys[size_t(table[1]) * key_heads * WIDTH] = drawn(NAN);
    std::vector<Number> result(query.size());
    Arguments<Number> a{};
    a.query = {query.data(), heads * WIDTH, WIDTH, heads * WIDTH};
    a.keys = keys.data(), a.values = values.data(), a.table = table.data(), a.result = result.data();
    a.heads = heads, a.heads_per_key = heads / key_heads, a.most = most, a.scale = scale;
    launch({heads, rows, 1}, 4, [=] { attend(a); });
    bool told = std::isnan(single(result[0]));
    std::printf("%s a key that is no number\n", told ? "ok" : "FAILED");
    return failed != 0 || !told;
}
