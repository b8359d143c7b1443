// What the counters of a tenant tell of its converters, counted again from the macros' pins.
#pragma once

#include <cstdint>

#include "macro.h"

namespace crossloom {

// Clocks as docs/architecture.md, "Counters", tells them apart; comparators are always ready.
class Activity {
public:
    struct Counts {
        uint64_t adder, array, contests;
    };

    // A layer has ended: nothing is under way in the first tile.
    void restart() { sampling_ = begun_ = held_ = false; }

    // A program begins.
    void clear() {
        restart();
        counts_ = {};
    }

    // One clock: the pins of the first tile, and how many of so many tiles convert.
    void clock(const Pins& pins, int converting, int tiles) {
        if (converting && converting < tiles) counts_.contests++;
        if (!pins.convert) {
            if (sampling_ || pins.clear) counts_.adder++;
            else if (begun_ || pins.reset) counts_.array++;
        }
        // A sample is taken where the converter's side changes.
        if (pins.convert_side != side_) sampling_ = false;
        if (pins.clear) sampling_ = true;
        if (pins.clear && held_) begun_ = held_ = false;
        if (pins.hold) held_ = true;
        if (pins.reset) {
            begun_ = true;
            held_ = false;
        }
        side_ = pins.convert_side;
    }

    const Counts& counts() const { return counts_; }

private:
    Counts counts_{};
    uint32_t side_ = 1;
    bool sampling_ = false, begun_ = false, held_ = false;
};

}  // namespace crossloom
