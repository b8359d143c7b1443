// Addressed normal deviates, bit for bit those of golden.draws (hash and table are described there).
#pragma once

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <vector>

namespace crossloom {

inline uint64_t mix(uint64_t state, uint64_t word) {
    uint64_t mixed = (state ^ word) + 0x9E3779B97F4A7C15u;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
    return mixed ^ (mixed >> 31);
}

inline uint64_t address_hash(uint64_t seed, std::initializer_list<uint64_t> words) {
    uint64_t state = mix(0, seed);
    for (uint64_t word : words) state = mix(state, word);
    return state;
}

// The normal table comes from golden, so that no quantile function is computed twice.
class Draws {
public:
    static constexpr int TABLE_BITS = 16;

    Draws(uint64_t seed, const double* table) : seed_(seed), table_(table, table + (1 << TABLE_BITS)) {}

    // rint(deviate * sigma), the way golden.macro rounds noise to the grid. Compiled without
    // contraction to a fused multiply-add, which would round differently.
    double noise(double sigma, std::initializer_list<uint64_t> address) const {
        const uint64_t hash = address_hash(seed_, address);
        const double deviate = table_[hash >> 48] + table_[(hash >> 32) & 0xFFFF];
        return std::rint(deviate * sigma);
    }

private:
    uint64_t seed_;
    std::vector<double> table_;
};

}  // namespace crossloom
