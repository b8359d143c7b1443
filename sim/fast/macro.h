// One tile's analog macro at its pins: what docs/architecture.md, "Pins of a tile's macro", says.
//
// The values are golden's: effective weights, thresholds and noise on the analog grid. Every rule
// of the pins is checked in every clock; a breach throws a Violation.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "constants.h"
#include "draws.h"

namespace crossloom {

struct Violation : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Pins as they stand after a rising clock edge.
struct Pins {
    uint64_t row_enable[GRANULE_WORDS];
    uint64_t select[COLUMN_WORDS];
    uint64_t negate[COLUMN_WORDS];
    uint32_t write_enable, write_row, write_group, write_data;
    uint32_t load_enable, load_bank, load_clear, load_row, load_codes;
    uint32_t bank, reset, drive, share, hold, clear, add, side;
    uint32_t convert, convert_side, reference, product, conversion;
    int32_t trial, level;

    // A bit for each switch.
    uint32_t switches() const {
        return reset | drive << 1 | share << 2 | hold << 3 | clear << 4 | add << 5;
    }
};

// Clocks of each phase, in the order of golden.chip.Phases.
struct Lengths {
    uint32_t array[4], adder[2], gap;
};

// What a program says about the products of one convolution: they are numbered from `first`.
struct LayerRange {
    uint64_t first;
    uint32_t resolution, reference;
};

struct MacroSettings {
    const double* effective;    // [tiles][columns][rows], steps of the grid
    const int8_t* weights;      // [tiles][rows][columns], what the host is to write
    const double* thresholds;   // [layers][tiles][2**bits], entry i: code i - 2**(resolution - 1)
    const int32_t* levels;      // [tiles][2**bits], of each trial code modulo 2**bits
    const LayerRange* layers;   // [layers]
    uint64_t layer_count;
    uint64_t products;          // of a whole run
    const double* table;        // [2**16], golden.draws.table
    uint64_t seed;
    double hold_sigma, conversion_sigma;
    Lengths lengths;
};

class Macro {
public:
    Macro(int tile, const MacroSettings& settings, Draws::Table table)
        : tile_(tile), draws_(std::move(table)) {
        set_program(0, settings);
        weights_.assign(CELLS, 0);
        written_.assign(CELLS, 0);
    }

    // The products of another tenant too, as `settings` of its program say.
    void add_tenant(uint32_t tenant, const MacroSettings& settings) {
        Run& run = runs_[tenant];
        run = Run();
        run.products = settings.products;
        run.levels.assign(settings.levels + (size_t(tile_) << CODE_BITS),
                          settings.levels + (size_t(tile_ + 1) << CODE_BITS));
        run.layers.assign(settings.layers, settings.layers + settings.layer_count);
        for (size_t layer = 0; layer < run.layers.size(); layer++) {
            const double* first = settings.thresholds + ((layer * TILES + tile_) << CODE_BITS);
            run.thresholds.emplace_back(first, first + (1 << CODE_BITS));
        }
    }

    // A program of a tenant; weights, noise and phases, which are all tenants', are as it says.
    void set_program(uint32_t tenant, const MacroSettings& settings) {
        const double* effective = settings.effective + tile_ * CELLS;
        const int8_t* weights = settings.weights + tile_ * CELLS;
        effective_.assign(effective, effective + CELLS);
        expected_.assign(weights, weights + CELLS);
        lengths_ = settings.lengths;
        hold_sigma_ = settings.hold_sigma;
        conversion_sigma_ = settings.conversion_sigma;
        draws_.set_seed(settings.seed);
        add_tenant(tenant, settings);
    }

    // A new image of a tenant starts: its product numbers count from zero.
    void start_image(uint64_t image, uint32_t tenant = 0) {
        check_weights();
        runs_[tenant].image = image;
        runs_[tenant].limit = runs_[tenant].products;
        runs_[tenant].next_product = runs_[tenant].current_layer = 0;
    }

    // Nothing is under way, held or sampled.
    void forget() {
        array_phase_ = adder_phase_ = NONE;
        array_last_ = HOLD;
        adder_last_ = ADD;
        array_since_ = adder_since_ = seen_ - LONG_AGO;
        switches_ = 0;
        driven_ = false;
        held_ = Product();
        samples_[0] = samples_[1] = Sample();
    }

    // Products begun in this image of the first tenant.
    uint64_t next_product() const { return runs_[0].next_product; }

    // What the comparator answers while a sample is converted, if the pins keep the rules. Of the
    // pins of this clock it takes the trial alone: a sample is complete a clock before at least.
    bool answer(uint32_t side, int32_t trial) const {
        const Sample& sample = samples_[side];
        const Run& run = runs_[sample.run];
        if (!sample.added || run.layers.empty()) return false;
        const int half = 1 << (run.layers[sample.layer].resolution - 1);
        return trial > -half && trial < half
               && sample.value >= run.thresholds[sample.layer][trial + half];
    }

    // One clock: checks the pins, keeps what they do, answers the comparator. Inlined, since then
    // no more of the pins are read than looked at; what happens once in a product or conversion
    // is not.
    [[gnu::always_inline]] bool clock(const Pins& pins, uint64_t clock) {
        clock_ = clock;
        seen_++;
        const uint32_t switches = pins.switches();
        if (switches != switches_) {
            switches_ = switches;
            const uint32_t array = switches & 15, adder = switches >> 4;
            if (array & (array - 1))
                fail("reset/drive/share/hold", "more than one switch is closed");
            if (adder == 3) fail("clear/add", "both are closed");
            if (pins.add && pins.hold) fail("add", "closed while `hold` is");
            array_clock(pins, array == 0 ? NONE : array >> 1 == 4 ? HOLD : int(array >> 1));
            adder_clock(pins, adder == 0 ? NONE : int(adder >> 1));
        } else {
            check_product(pins);
            check_conversion(pins);
        }
        if (pins.write_enable) [[unlikely]] write(pins.write_row, pins.write_group, pins.write_data);
        if (pins.load_enable) load(pins);
        return pins.convert ? compare(pins) : false;
    }

private:
    static constexpr size_t CELLS = size_t(ROWS) * COLUMNS;
    // What must not change while a product, a conversion is under way.
    [[gnu::always_inline]] void check_product(const Pins& pins) const {
        if (array_phase_ != NONE || array_last_ != HOLD) {
            if (pins.bank != current_.bank) fail("bank", "changes during a product");
            if (pins.product != uint32_t(current_.number)) fail("product", "changes during a product");
            if (differ(pins.row_enable, current_.row_enable))
                fail("row_enable", "changes during a product");
        }
    }

    [[gnu::always_inline]] void check_conversion(const Pins& pins) const {
        if (adder_phase_ != NONE || adder_last_ == CLEAR) {
            if (pins.side != filling_.side) fail("side", "changes during a conversion");
            if (pins.conversion != filling_.conversion) fail("conversion", "changes during a conversion");
            if (differ(pins.select, filling_.select)) fail("select", "changes during a conversion");
            if (differ(pins.negate, filling_.negate)) fail("negate", "changes during a conversion");
        }
    }

    // A decision of a conversion.
    [[gnu::always_inline]] bool compare(const Pins& pins) {
        Sample& sample = samples_[pins.convert_side];
        if (adder_phase_ != NONE && pins.convert_side == filling_.side)
            fail("convert_side", "the sampling capacitor being filled is converted");
        if (!sample.complete || clock_ - sample.complete_clock < lengths_.gap)
            fail("convert", "no complete sample on the capacitor to convert");
        const Run& run = runs_[sample.run];
        if (run.layers.empty()) fail("convert", "for a tenant without a program");
        const LayerRange& layer = run.layers[sample.layer];
        const int half = 1 << (layer.resolution - 1);
        if (pins.reference != layer.reference || pins.trial <= -half || pins.trial >= half
            || pins.level != run.levels[pins.trial & ((1 << CODE_BITS) - 1)])
            fail_trial(layer, run, pins.reference, pins.trial, pins.level);
        sample.converted = true;
        return answer(pins.convert_side, pins.trial);
    }

    // Before every gap.
    static constexpr uint64_t LONG_AGO = 1u << 30;

    enum { NONE = -1, RESET = 0, DRIVE = 1, SHARE = 2, HOLD = 3, CLEAR = 0, ADD = 1 };
    static constexpr const char* ARRAY_NAMES[4] = {"reset", "drive", "share", "hold"};
    static constexpr const char* ADDER_NAMES[2] = {"clear", "add"};

    // What a tenant's program says, and how far it has come.
    struct Run {
        uint64_t products = 0, image = 0, next_product = 0;
        uint64_t limit = UINT64_MAX;    // of the products, once an image has started
        size_t current_layer = 0;
        std::vector<LayerRange> layers;
        std::vector<std::vector<double>> thresholds;
        std::vector<int32_t> levels;
    };

    struct Product {
        bool driven = false, complete = false;
        uint64_t number = 0;        // the whole tag, the tenant in its highest bits
        uint32_t run = 0;
        size_t layer = 0;
        uint32_t conversions = 0;
        uint64_t row_enable[GRANULE_WORDS] = {};
        uint32_t bank = 0;
        std::array<double, ROWS> codes{};
        std::array<double, COLUMNS> sums{};
        std::array<bool, COLUMNS> known{};
    };

    struct Sample {
        bool added = false, complete = false, converted = false;
        uint32_t run = 0;
        size_t layer = 0;
        uint64_t complete_clock = 0;
        double value = 0;
    };

    template <size_t N> static bool differ(const uint64_t (&one)[N], const uint64_t (&other)[N]) {
        uint64_t difference = 0;
        for (size_t i = 0; i < N; i++) difference |= one[i] ^ other[i];
        return difference != 0;
    }

    [[noreturn, gnu::cold, gnu::noinline]] void fail_trial(
            const LayerRange& layer, const Run& run, uint32_t reference, int32_t trial,
            int32_t level) const {
        if (reference != layer.reference)
            fail("reference", "is " + std::to_string(reference) + ", the layer's is "
                 + std::to_string(layer.reference));
        const int half = 1 << (layer.resolution - 1);
        if (trial <= -half || trial >= half)
            fail("trial", std::to_string(trial) + " is no trial code of the layer's resolution");
        fail("level", "is " + std::to_string(level) + ", that of trial " + std::to_string(trial)
             + " is " + std::to_string(run.levels[trial & ((1 << CODE_BITS) - 1)]));
    }

    [[noreturn, gnu::cold, gnu::noinline]] void fail(const char* pin,
                                                     const std::string& rule) const {
        throw Violation("tile " + std::to_string(tile_) + ", clock " + std::to_string(clock_)
                        + ", pin " + pin + ": " + rule);
    }

    void check_weights() const {
        for (size_t i = 0; i < weights_.size(); i++) {
            if (written_[i] && weights_[i] == expected_[i]) continue;
            const std::string where = "row " + std::to_string(i / COLUMNS) + ", column "
                                      + std::to_string(i % COLUMNS);
            if (!written_[i]) fail("write_enable", "the weight of " + where + " was never written");
            fail("write_data", "the weight of " + where + " is " + std::to_string(weights_[i])
                 + ", the program's is " + std::to_string(expected_[i]));
        }
    }

    [[gnu::noinline]] void write(uint32_t row, uint32_t group, uint32_t data) {
        if (row >= ROWS) fail("write_row", "no such row");
        if (group * 4 >= COLUMNS) fail("write_group", "no such columns");
        if (driven_) fail("write_enable", "a weight is written while the array is driven");
        for (int byte = 0; byte < 4; byte++) {
            const size_t at = size_t(row) * COLUMNS + group * 4 + byte;
            weights_[at] = int8_t(data >> (8 * byte));
            written_[at] = 1;
        }
    }

    [[gnu::always_inline]] void load(const Pins& pins) {
        if (pins.load_row * 4 >= ROWS) fail("load_row", "no such rows");
        if (driven_ && pins.load_bank == current_.bank)
            fail("load_enable", "row latches of the bank that drives the word lines are written");
        std::array<int8_t, ROWS>& latches = latches_[pins.load_bank];
        if (pins.load_clear) latches.fill(0);
        for (int byte = 0; byte < 4; byte++)
            latches[pins.load_row * 4 + byte] = int8_t(pins.load_codes >> (8 * byte));
    }

    // Length, gap and order of a switch group; true when a phase begins or ends in this clock.
    [[gnu::always_inline]] bool walk(int phase, int& now, int& last, uint64_t& since, int count,
              const char* const* names, const uint32_t* lengths) {
        if (phase == now) return false;
        const uint64_t passed = seen_ - since, open = now == NONE ? passed : 0;
        if (now != NONE && passed != lengths[now])
            fail(names[now], "closed for " + std::to_string(passed) + " clocks, not "
                 + std::to_string(lengths[now]));
        if (phase != NONE) {
            if (open < lengths_.gap)
                fail(names[phase], "closed after a gap of " + std::to_string(open) + " clocks, not "
                     + std::to_string(lengths_.gap));
            if (phase != (last + 1) % count)
                fail(names[phase], std::string("follows `") + names[last] + "`");
            last = phase;
        }
        now = phase;
        since = seen_;
        return true;
    }

    [[gnu::noinline]] void begin_product(uint32_t tag) {
        const uint32_t tenant = tag >> TAG_COUNT_BITS;
        Run& run = runs_[tenant];
        const uint64_t base = uint64_t(tenant) << TAG_COUNT_BITS;
        // Before the first image nobody says when a program begins anew.
        if (run.limit == UINT64_MAX && tag == base) run.next_product = 0;
        const uint64_t expected = base | run.next_product;
        if (tag != expected)
            fail("product", "tag " + std::to_string(tag) + ", expected " + std::to_string(expected));
        if (run.next_product >= run.limit)
            fail("product", "beyond the program's last product");
        current_.run = tenant;
        current_.number = expected;
        current_.complete = false;
        current_.conversions = 0;
        current_.known.fill(false);
        while (run.current_layer + 1 < run.layers.size()
               && run.layers[run.current_layer + 1].first <= run.next_product)
            run.current_layer++;
        current_.layer = run.current_layer;
        run.next_product++;
    }

    [[gnu::noinline]] void drive() {
        driven_ = true;
        const std::array<int8_t, ROWS>& latches = latches_[current_.bank];
        for (int first = 0; first < ROWS; first += ROW_GRANULE) {
            const int granule = first / ROW_GRANULE, end = std::min(first + ROW_GRANULE, ROWS);
            const bool enabled = current_.row_enable[granule / 64] >> (granule % 64) & 1;
            for (int row = first; row < end; row++) current_.codes[row] = enabled ? latches[row] : 0;
        }
    }

    [[gnu::always_inline]] void array_clock(const Pins& pins, int phase) {
        const bool changed = walk(phase, array_phase_, array_last_, array_since_, 4, ARRAY_NAMES,
                                  lengths_.array);
        if (changed && phase == RESET) {
            begin_product(pins.product);
            current_.bank = pins.bank;
            std::memcpy(current_.row_enable, pins.row_enable, sizeof pins.row_enable);
        }
        check_product(pins);
        if (!changed) return;
        if (phase == DRIVE) {
            drive();
        } else if (phase == SHARE) {
            driven_ = false;
        } else if (phase == HOLD) {
            held_ = current_;
        } else if (phase == NONE && array_last_ == HOLD) {
            held_.complete = true;
        }
    }

    [[gnu::always_inline]] void adder_clock(const Pins& pins, int phase) {
        const bool changed = walk(phase, adder_phase_, adder_last_, adder_since_, 2, ADDER_NAMES,
                                  lengths_.adder);
        if (changed && phase == CLEAR) {
            filling_ = pins;
            if (!POLARITY)
                for (uint64_t word : pins.negate)
                    if (word) fail("negate", "set on a macro without polarity");
            const Sample& lost = samples_[pins.side & 1];
            if (lost.complete && !lost.converted)
                fail("clear", "a sample is discarded that was never converted");
            samples_[pins.side] = Sample();
        }
        check_conversion(pins);
        if (!changed) return;
        Sample& sample = samples_[filling_.side];
        if (phase == ADD) {
            if (!held_.complete || array_phase_ == HOLD || held_gap() < lengths_.gap)
                fail("add", "closed before the columns of a product are held");
            if (pins.conversion != held_.conversions)
                fail("conversion", "tag " + std::to_string(pins.conversion) + ", expected "
                     + std::to_string(held_.conversions));
            add(sample);
        } else if (phase == NONE && adder_last_ == ADD) {
            sample.complete = true;
            sample.complete_clock = clock_;
        }
    }

    // The sum of the held columns that the conversion selects, with its noise.
    [[gnu::noinline]] void add(Sample& sample) {
        const uint64_t draw = draws_.ask({CONVERSION_KIND, runs_[held_.run].image, uint64_t(tile_),
                                          held_.number, held_.conversions});
        held_.conversions++;
        sample.added = true;
        sample.run = held_.run;
        sample.layer = held_.layer;
        sample.value = selected_sum();
        if (conversion_sigma_ != 0) sample.value += draws_.noise(conversion_sigma_, draw);
    }

    // Clocks since `hold` opened, as far as the gap rule cares.
    uint64_t held_gap() const {
        return array_phase_ == NONE && array_last_ == HOLD ? seen_ - array_since_ : lengths_.gap;
    }

    double selected_sum() {
        double total = 0;
        for (int word = 0; word < COLUMN_WORDS; word++) {
            for (uint64_t left = filling_.select[word]; left; left &= left - 1) {
                const int bit = __builtin_ctzll(left);
                const int column = 64 * word + bit;
                if (column >= COLUMNS) fail("select", "no such column");
                const double sum = held_sum(column);
                total += filling_.negate[word] >> bit & 1 ? -sum : sum;
            }
        }
        return total;
    }

    // A column is summed when it is first selected; each term is an integer below 2**53, so the
    // order of the additions does not matter.
    double held_sum(int column) {
        if (!held_.known[column]) {
            const uint64_t draw = draws_.ask({HOLD_KIND, runs_[held_.run].image, uint64_t(tile_),
                                              held_.number, uint64_t(column)});
            const double* weights = effective_.data() + size_t(column) * ROWS;
            double parts[4] = {};
            for (int row = 0; row < ROWS; row += 4)
                for (int part = 0; part < 4; part++)
                    parts[part] += held_.codes[row + part] * weights[row + part];
            double sum = parts[0] + parts[1] + parts[2] + parts[3];
            if (hold_sigma_ != 0) sum += draws_.noise(hold_sigma_, draw);
            held_.sums[column] = sum;
            held_.known[column] = true;
        }
        return held_.sums[column];
    }

    int tile_;
    Lengths lengths_{};
    double hold_sigma_ = 0, conversion_sigma_ = 0;
    Draws draws_;
    std::array<Run, TENANT_LIMIT> runs_;
    std::vector<double> effective_;
    std::vector<int8_t> expected_, weights_;
    std::vector<uint8_t> written_;
    std::array<std::array<int8_t, ROWS>, 2> latches_{};

    uint64_t clock_ = 0;
    uint64_t seen_ = 0;         // clocks
    int array_phase_ = NONE, adder_phase_ = NONE, array_last_ = HOLD, adder_last_ = ADD;
    // Of the clocks seen, the first of the present phase or gap.
    uint64_t array_since_ = -LONG_AGO, adder_since_ = -LONG_AGO;
    uint32_t switches_ = 0;     // as they stood last
    bool driven_ = false;
    Product current_, held_;
    Sample samples_[2];
    Pins filling_{};
};

}  // namespace crossloom
