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
#if VM_COVERAGE
#include "verilated_cov.h"
#endif

namespace crossloom {

class FaultHarness {
public:
    FaultHarness() : top_(&context_) {
        top_.s_axi_bready = top_.s_axi_rready = 1;
        for (int tenant = 0; tenant < TENANTS; tenant++) set_output_ready(tenant, true);
    }

    ~FaultHarness() { top_.final(); }

    // Macros for the programs of `settings`, one per tenant, all with the same weights.
    void bind(const MacroSettings* const* settings, size_t tenants) {
        macros_.clear();
        const Draws::Table table = Draws::copy(settings[0]->table);
        for (int tile = 0; tile < TILES; tile++) {
            macros_.emplace_back(tile, *settings[0], table);
            for (size_t tenant = 1; tenant < tenants; tenant++)
                macros_.back().add_tenant(tenant, *settings[tenant]);
        }
    }

    void set_reset(bool low) { top_.aresetn = !low; }
    // A bit per tile: its macro keeps every rule.
    void set_strict(uint64_t tiles) { strict_ = tiles; }
    void set_output_ready(int tenant, bool ready) {
        hosts_[tenant].ready = ready;
        set_ready(top_, tenant, ready);
    }
    // Bit t: the comparator of tile t decides. Bit 32 + t: it answers one, else at random.
    void set_comparators(uint64_t decided, uint64_t stuck_high) {
        decided_ = decided;
        stuck_high_ = stuck_high;
    }

    // `strobe`: a bit for each byte of a write.
    uint32_t access(bool is_write, uint32_t address, uint32_t& data, uint32_t strobe = 0xF) {
        (is_write ? top_.s_axi_awaddr : top_.s_axi_araddr) = address;
        if (is_write) {
            top_.s_axi_wdata = data;
            top_.s_axi_wstrb = strobe;
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

    // Words at a tenant's input stream; past their end zeros, or nothing where `endless` is unset.
    // Of the macros of `tiles` nothing is under way.
    void begin(int tenant, uint64_t image, const uint32_t* words, size_t count, bool endless,
               uint64_t tiles) {
        Host& host = hosts_[tenant];
        const bool ready = host.ready;
        host = Host();
        host.ready = ready;
        host.input.assign(words, words + count);
        host.endless = endless;
        offer(tenant);
        for (int tile = 0; tile < TILES; tile++) {
            if (!(strict_ >> tile & 1)) continue;
            macros_[tile].start_image(image, tenant);
            if (tiles >> tile & 1) macros_[tile].forget();
        }
        last_event_ = clock_;
    }

    // Up to `clocks` clocks, fewer once the interrupt rises; clocks since anything happened.
    uint64_t run(uint64_t clocks) {
        for (uint64_t i = 0; i < clocks && !top_.irq; i++) clock();
        return clock_ - last_event_;
    }

    bool irq() const { return top_.irq; }

    std::pair<const void*, size_t> records(int tenant, int kind) const {
        const Host& host = hosts_[tenant];
        if (kind < TILES) return view(host.codes[kind]);
        switch (kind - TILES) {
            case 0: return view(host.sums);
            case 1: return view(host.words);
            case 2: return view(host.layers);
            case 3: return view(host.outputs);
            case 4: return view(host.ends);
            default: throw std::runtime_error("no such trace");
        }
    }

    // What has been reached, for sim/coverage.
    void write_coverage([[maybe_unused]] const char* path) {
#if VM_COVERAGE
        context_.coveragep()->write(path);
#else
        throw std::runtime_error("built without coverage");
#endif
    }

    uint64_t closed() const { return closed_; }
    uint64_t clocks() const { return clock_; }

private:
    static constexpr int BUS_LIMIT = 1000;

    template <typename T> static std::pair<const void*, size_t> view(const std::vector<T>& items) {
        return {items.data(), items.size()};
    }

    // A tenant's streams, and what its program did.
    struct Host {
        bool endless = false, ready = true;
        std::vector<uint32_t> input;
        size_t sent = 0;
        std::vector<Code> codes[TILES];
        std::vector<Sum> sums;
        std::vector<Word> words;
        std::vector<Layer> layers;
        std::vector<uint32_t> outputs;
        std::vector<uint64_t> ends;     // clocks in which the layers ended
        uint64_t layer_begin = 0;       // clock of the first word of the present one
    };

    void offer(int tenant) {
        const Host& host = hosts_[tenant];
        const bool some = host.sent < host.input.size();
        set_input(top_, tenant, host.endless || some, some ? host.input[host.sent] : 0);
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
        if (strict_ >> TILE & 1) {
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
        hosts_[present_tenant(top_)].codes[TILE].push_back(code);
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
        bool input_taken[TENANTS];
        for (int tenant = 0; tenant < TENANTS; tenant++)
            input_taken[tenant] = takes_input(top_, tenant);
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
        for (int tenant = 0; tenant < TENANTS; tenant++) {
            if (!input_taken[tenant]) continue;
            last_event_ = clock_;
            hosts_[tenant].sent++;
            offer(tenant);
        }
        closed_ = 0;
        tiles_clock(std::make_integer_sequence<int, TILES>());
    }

    void sample() {
        if (!top_.aresetn) return;
        tiles_trace(std::make_integer_sequence<int, TILES>());
        if (sum_valid(top_)) {
            auto& sums = hosts_[present_tenant(top_)].sums;
            sums.emplace_back();
            read_sum(top_, sums.back());
            last_event_ = clock_;
        }
        for (int tenant = 0; tenant < TENANTS; tenant++) {
            Host& host = hosts_[tenant];
            uint32_t output;
            Word word;
            uint32_t index;
            if (gives_output(top_, tenant, output)) {
                host.outputs.push_back(output);
                last_event_ = clock_;
            }
            if (writes_word(top_, tenant, word)) {
                host.words.push_back(word);
                if (word.address >= BUFFER_WORDS)
                    throw Violation("a word beyond the activation buffer is written");
                last_event_ = clock_;
            }
            if (begins_layer(top_, tenant)) host.layer_begin = clock_;
            if (ends_layer(top_, tenant, index)) {
                host.layers.push_back({index, uint32_t(clock_ - host.layer_begin + 1)});
                host.ends.push_back(clock_);
                last_event_ = clock_;
            }
        }
    }

    struct Switches {
        uint32_t array = 0, adder = 0;
    };

    VerilatedContext context_;
    Vchip top_;
    std::vector<Macro> macros_;
    std::array<Switches, TILES> before_{};
    bool answered_ = false;
    uint64_t strict_ = 0;
    uint64_t decided_ = ~uint64_t(0), stuck_high_ = 0, closed_ = 0;
    uint64_t clock_ = 0, last_event_ = 0, noise_ = 88172645463325252u;
    uint32_t response_ = 0, read_data_ = 0;
    std::array<Host, TENANTS> hosts_;
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

void faults_bind(FaultHandle* handle, const crossloom::MacroSettings* const* settings,
                 size_t tenants) {
    handle->harness.bind(settings, tenants);
}

void faults_reset(FaultHandle* handle, int low) { handle->harness.set_reset(low); }

void faults_strict(FaultHandle* handle, uint64_t tiles) { handle->harness.set_strict(tiles); }

void faults_output_ready(FaultHandle* handle, int tenant, int ready) {
    handle->harness.set_output_ready(tenant, ready);
}

void faults_comparators(FaultHandle* handle, uint64_t decided, uint64_t stuck_high) {
    handle->harness.set_comparators(decided, stuck_high);
}

// The response of the bus, -1 on an error.
int64_t faults_access(FaultHandle* handle, int is_write, uint32_t address, uint32_t* data,
                      uint32_t strobe) {
    return handle->guard([&] { return handle->harness.access(is_write, address, *data, strobe); });
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

int64_t faults_begin(FaultHandle* handle, int tenant, uint64_t image, const uint32_t* words,
                     size_t count, int endless, uint64_t tiles) {
    return handle->guard([&] {
        handle->harness.begin(tenant, image, words, count, endless, tiles);
        return 0;
    });
}

int64_t faults_run(FaultHandle* handle, uint64_t clocks) {
    return handle->guard([&] { return int64_t(handle->harness.run(clocks)); });
}

int64_t faults_write_coverage(FaultHandle* handle, const char* path) {
    return handle->guard([&] {
        handle->harness.write_coverage(path);
        return 0;
    });
}

int faults_irq(FaultHandle* handle) { return handle->harness.irq(); }

uint64_t faults_closed(FaultHandle* handle) { return handle->harness.closed(); }

uint64_t faults_clocks(FaultHandle* handle) { return handle->harness.clocks(); }

int64_t faults_records(FaultHandle* handle, int tenant, int kind, const void** data,
                       size_t* count) {
    return handle->guard([&] {
        const auto view = handle->harness.records(tenant, kind);
        *data = view.first;
        *count = view.second;
        return 0;
    });
}

}
