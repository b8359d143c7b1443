// Addressed normal deviates, bit for bit those of golden.draws (hash and table are described there).
#pragma once

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <utility>
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

// Normal deviates. The table comes from golden, so that no quantile function is computed twice;
// all draws of a chip share one, since it fills half of a processor's second cache.
class Draws {
public:
    static constexpr int TABLE_BITS = 16;
    using Table = std::shared_ptr<const std::vector<double>>;

    static Table copy(const double* table) {
        return std::make_shared<const std::vector<double>>(table, table + (1 << TABLE_BITS));
    }

    explicit Draws(Table table) : table_(std::move(table)) {}

    void set_seed(uint64_t seed) { seed_ = seed; }

    // Stands for the draw at an address; what it needs of the table is on its way from now on.
    uint64_t ask(std::initializer_list<uint64_t> address) const {
        const uint64_t hash = address_hash(seed_, address);
        __builtin_prefetch(table_->data() + (hash >> 48));
        __builtin_prefetch(table_->data() + ((hash >> 32) & 0xFFFF));
        return hash;
    }

    // rint(deviate * sigma), the way golden.macro rounds noise to the grid. Compiled without
    // contraction to a fused multiply-add, which would round differently.
    double noise(double sigma, uint64_t draw) const {
        const double* table = table_->data();
        return std::rint((table[draw >> 48] + table[(draw >> 32) & 0xFFFF]) * sigma);
    }

private:
    uint64_t seed_ = 0;
    Table table_;
};

}  // namespace crossloom
