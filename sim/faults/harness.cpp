// The Verilated chip with a host and macros that may misbehave.
//
// Unlike the fast path's, this harness drives every input of the chip and lets its caller decide
// what the host and the macros do; what the chip did is read back, not judged. Two modes: in a
// loose one a macro answers at random and only the switches are watched, in a strict one it is
// sim/fast/macro.h with all its rules.
#include <array>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "Vchip.h"
#include "faults.h"
#include "macro.h"
#include "ports.h"
#include "trace.h"

namespace crossloom {

class FaultHarness {
public:
    FaultHarness() : top_(&context_) {
        top_.s_axi_bready = top_.s_axi_rready = 1;
        top_.m_axis_tready = 1;
    }

    ~FaultHarness() { top_.final(); }

    // Macros for the program of `settings`.
    void bind(const MacroSettings& settings) {
        macros_.clear();
        for (int tile = 0; tile < TILES; tile++) macros_.emplace_back(tile, settings);
    }

    void set_reset(bool low) { top_.aresetn = !low; }
    void set_strict(bool strict) { strict_ = strict; }
    void set_output_ready(bool ready) { top_.m_axis_tready = ready; }
    // Bit t: the comparator of tile t decides. Bit 32 + t: it answers one, else at random.
    void set_comparators(uint64_t decided, uint64_t stuck_high) {
        decided_ = decided;
        stuck_high_ = stuck_high;
    }

    uint32_t access(bool is_write, uint32_t address, uint32_t& data) {
        (is_write ? top_.s_axi_awaddr : top_.s_axi_araddr) = address;
        if (is_write) {
            top_.s_axi_wdata = data;
            top_.s_axi_wstrb = 0xF;
            top_.s_axi_awvalid = top_.s_axi_wvalid = 1;
        } else {
            top_.s_axi_arvalid = 1;
        }
        answered_ = false;
        for (int i = 0; !answered_; i++) {
            if (i == BUS_LIMIT) throw std::runtime_error("the bus does not answer");
            clock();
        }
        if (!is_write) data = read_data_;
        return response_;
    }

    // Words at the input stream; past their end zeros, or nothing where `endless` is unset.
    void begin(uint64_t image, const uint32_t* words, size_t count, bool endless) {
        for (auto& codes : codes_) codes.clear();
        sums_.clear();
        words_.clear();
        layers_.clear();
        outputs_.clear();
        input_.assign(words, words + count);
        sent_ = 0;
        endless_ = endless;
        offer();
        if (strict_)
            for (Macro& macro : macros_) macro.start_image(image);
        last_event_ = clock_;
    }

    // Up to `clocks` clocks, fewer once the interrupt rises; clocks since anything happened.
    uint64_t run(uint64_t clocks) {
        for (uint64_t i = 0; i < clocks && !top_.irq; i++) clock();
        return clock_ - last_event_;
    }

    bool irq() const { return top_.irq; }

    std::pair<const void*, size_t> records(int kind) const {
        if (kind < TILES) return view(codes_[kind]);
        switch (kind - TILES) {
            case 0: return view(sums_);
            case 1: return view(words_);
            case 2: return view(layers_);
            case 3: return view(outputs_);
            default: throw std::runtime_error("no such trace");
        }
    }

    uint64_t closed() const { return closed_; }
    uint64_t clocks() const { return clock_; }

private:
    static constexpr int BUS_LIMIT = 1000;

    template <typename T> static std::pair<const void*, size_t> view(const std::vector<T>& items) {
        return {items.data(), items.size()};
    }

    void offer() {
        top_.s_axis_tvalid = endless_ || sent_ < input_.size();
        top_.s_axis_tdata = sent_ < input_.size() ? input_[sent_] : 0;
        top_.s_axis_tlast = sent_ + 1 == input_.size();
    }

    uint64_t random() {
        noise_ ^= noise_ << 13;
        noise_ ^= noise_ >> 7;
        return noise_ ^= noise_ << 17;
    }

    // Whatever a program or a macro does wrong, the switches keep their rules.
    void watch_switches(int tile, const Pins& pins) {
        const uint32_t array = pins.reset | pins.drive << 1 | pins.share << 2 | pins.hold << 3;
        const uint32_t adder = pins.clear | pins.add << 1;
        const uint32_t closed = array | adder << 4;
        const auto& before = before_[tile];
        if (array & (array - 1) || adder == 3 || (pins.add && pins.hold))
            throw Violation("tile " + std::to_string(tile) + ": exclusive switches are closed");
        if ((array && before.array && array != before.array)
            || (adder && before.adder && adder != before.adder))
            throw Violation("tile " + std::to_string(tile) + ": no gap between two switches");
        if (pins.convert && adder && pins.convert_side == pins.side)
            throw Violation("tile " + std::to_string(tile) + ": the side being filled is converted");
        before_[tile] = {array, adder};
        if (closed || pins.convert) closed_ |= uint64_t(1) << tile;
    }

    template <int TILE> void tile_clock() {
        Pins pins;
        read_pins<TILE>(top_, pins);
        watch_switches(TILE, pins);
        const bool noise = random() >> 63;
        bool answer = noise;
        if (strict_) {
            const bool comparator = macros_[TILE].clock(pins, clock_);
            if (pins.convert) answer = comparator;
        } else if (stuck_high_ >> TILE & 1) {
            answer = true;
        }
        set_answer<TILE>(top_, answer, decided_ >> TILE & 1);
    }

    template <int TILE> void tile_trace() {
        Code code{};
        if (!read_trace<TILE>(top_, code)) return;
        codes_[TILE].push_back(code);
        last_event_ = clock_;
    }

    template <int... TILE> void tiles_clock(std::integer_sequence<int, TILE...>) {
        (tile_clock<TILE>(), ...);
    }

    template <int... TILE> void tiles_trace(std::integer_sequence<int, TILE...>) {
        (tile_trace<TILE>(), ...);
    }

    void clock() {
        top_.aclk = 0;
        top_.eval();
        const bool address_taken = top_.s_axi_awvalid && top_.s_axi_awready;
        const bool data_taken = top_.s_axi_wvalid && top_.s_axi_wready;
        const bool read_taken = top_.s_axi_arvalid && top_.s_axi_arready;
        const bool input_taken = top_.s_axis_tvalid && top_.s_axis_tready;
        if (top_.s_axi_bvalid) {
            answered_ = true;
            response_ = top_.s_axi_bresp;
        }
        if (top_.s_axi_rvalid) {
            answered_ = true;
            read_data_ = top_.s_axi_rdata;
            response_ = top_.s_axi_rresp;
        }
        sample();
        top_.aclk = 1;
        top_.eval();
        clock_++;
        if (address_taken) top_.s_axi_awvalid = 0;
        if (data_taken) top_.s_axi_wvalid = 0;
        if (read_taken) top_.s_axi_arvalid = 0;
        if (input_taken) {
            last_event_ = clock_;
            sent_++;
            offer();
        }
        closed_ = 0;
        tiles_clock(std::make_integer_sequence<int, TILES>());
    }

    void sample() {
        if (!top_.aresetn) return;
        tiles_trace(std::make_integer_sequence<int, TILES>());
        if (top_.m_axis_tvalid && top_.m_axis_tready) {
            outputs_.push_back(top_.m_axis_tdata);
            last_event_ = clock_;
        }
        if (sum_valid(top_)) {
            sums_.emplace_back();
            read_sum(top_, sums_.back());
            last_event_ = clock_;
        }
        if (word_valid(top_)) {
            words_.push_back(read_word(top_));
            if (words_.back().address >= BUFFER_WORDS)
                throw Violation("a word beyond the activation buffer is written");
            last_event_ = clock_;
        }
        if (layer_done(top_)) {
            layers_.push_back(read_layer(top_));
            last_event_ = clock_;
        }
    }

    struct Switches {
        uint32_t array = 0, adder = 0;
    };

    VerilatedContext context_;
    Vchip top_;
    std::vector<Macro> macros_;
    std::array<Switches, TILES> before_{};
    bool strict_ = false, endless_ = false, answered_ = false;
    uint64_t decided_ = ~uint64_t(0), stuck_high_ = 0, closed_ = 0;
    uint64_t clock_ = 0, last_event_ = 0, noise_ = 88172645463325252u;
    uint32_t response_ = 0, read_data_ = 0;
    std::vector<uint32_t> input_;
    size_t sent_ = 0;
    std::vector<Code> codes_[TILES];
    std::vector<Sum> sums_;
    std::vector<Word> words_;
    std::vector<Layer> layers_;
    std::vector<uint32_t> outputs_;
};

// A harness and the text of its last error: exceptions do not cross into Python.
struct FaultHandle {
    FaultHarness harness;
    std::string error;

    template <typename F> int64_t guard(F action) {
        try {
            return action();
        } catch (const std::exception& exception) {
            error = exception.what();
            return -1;
        }
    }
};

}  // namespace crossloom

using crossloom::FaultHandle;

extern "C" {

FaultHandle* faults_open() { return new FaultHandle; }

void faults_close(FaultHandle* handle) { delete handle; }

const char* faults_error(FaultHandle* handle) { return handle->error.c_str(); }

void faults_bind(FaultHandle* handle, const crossloom::MacroSettings* settings) {
    handle->harness.bind(*settings);
}

void faults_reset(FaultHandle* handle, int low) { handle->harness.set_reset(low); }

void faults_strict(FaultHandle* handle, int strict) { handle->harness.set_strict(strict); }

void faults_output_ready(FaultHandle* handle, int ready) {
    handle->harness.set_output_ready(ready);
}

void faults_comparators(FaultHandle* handle, uint64_t decided, uint64_t stuck_high) {
    handle->harness.set_comparators(decided, stuck_high);
}

// The response of the bus, -1 on an error.
int64_t faults_access(FaultHandle* handle, int is_write, uint32_t address, uint32_t* data) {
    return handle->guard([&] { return handle->harness.access(is_write, address, *data); });
}

int64_t faults_write_all(FaultHandle* handle, const uint32_t* addresses, const uint32_t* data,
                         size_t count) {
    return handle->guard([&]() -> int64_t {
        for (size_t i = 0; i < count; i++) {
            uint32_t word = data[i];
            if (handle->harness.access(true, addresses[i], word))
                throw std::runtime_error("a write is refused");
        }
        return 0;
    });
}

int64_t faults_begin(FaultHandle* handle, uint64_t image, const uint32_t* words, size_t count,
                     int endless) {
    return handle->guard([&] { handle->harness.begin(image, words, count, endless); return 0; });
}

int64_t faults_run(FaultHandle* handle, uint64_t clocks) {
    return handle->guard([&] { return int64_t(handle->harness.run(clocks)); });
}

int faults_irq(FaultHandle* handle) { return handle->harness.irq(); }

uint64_t faults_closed(FaultHandle* handle) { return handle->harness.closed(); }

uint64_t faults_clocks(FaultHandle* handle) { return handle->harness.clocks(); }

int64_t faults_records(FaultHandle* handle, int kind, const void** data, size_t* count) {
    return handle->guard([&] {
        const auto view = handle->harness.records(kind);
        *data = view.first;
        *count = view.second;
        return 0;
    });
}

}
