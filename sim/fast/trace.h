// What the trace ports show, as records. sim/record.py has the same layouts.
#pragma once

#include <cstddef>
#include <cstdint>

#include "verilated.h"

namespace crossloom {

struct Code {
    uint32_t product;
    uint16_t conversion, index;
    int16_t code, compensated;
    uint8_t plane, stopped, is_void, unused;
};
static_assert(sizeof(Code) == 16);

struct Sum {
    uint32_t position, kernel;
    int32_t value, output;
};

struct Word {
    uint32_t address, data;
};

// Clocks from the first word of its descriptor to its end, both included.
struct Layer {
    uint32_t index, cycles;
};

inline int32_t sign_extend(uint32_t value, int width) {
    return int32_t(value << (32 - width)) >> (32 - width);
}

// Ports up to 64 bits are integers, wider ones arrays of 32-bit words, lowest first.
template <size_t N, typename T> void copy_bits(uint64_t (&target)[N], const T& value) {
    static_assert(N == 1);
    target[0] = value;
}

template <size_t N, size_t W> void copy_bits(uint64_t (&target)[N], const VlWide<W>& value) {
    static_assert(N == (W + 1) / 2);
    for (size_t i = 0; i < N; i++)
        target[i] = value[2 * i] | (2 * i + 1 < W ? uint64_t(value[2 * i + 1]) << 32 : 0);
}

}  // namespace crossloom
