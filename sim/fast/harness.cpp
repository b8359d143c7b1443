// The Verilated chip with a host on its buses and a macro on the pins of every tile.
//
// In a clock: handshakes and traces are sampled; the host's inputs are set; aclk rises, which gives
// them to the chip, and its pins ask the comparators, which answer before the next rising edge; the
// macros read their pins. Where both edges of aclk are rising ones to the chip, there is one
// evaluation per clock instead of two.
#include <array>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "svdpi.h"
#include "Vchip.h"
#include "activity.h"
#include "macro.h"
#include "ports.h"
#include "trace.h"
#if VM_TRACE_FST
#include "verilated_fst_c.h"
using WavesFile = VerilatedFstC;
#elif VM_TRACE
#include "verilated_vcd_c.h"
using WavesFile = VerilatedVcdC;
#endif

namespace crossloom {

// Columns that a conversion sums, in the layer of this number.
struct Mask {
    uint64_t layer;
    std::array<uint64_t, COLUMN_WORDS> select, negate;
};

// A tenant's streams, and what its program has done since it began.
struct Tenant {
    std::vector<uint32_t> input, outputs;
    size_t sent = 0, packets = 0;       // words of the input, packets that have come out whole
    std::vector<uint64_t> ends;         // outputs after each packet
    std::vector<Code> codes[TILES];
    std::vector<std::array<uint64_t, GRANULE_WORDS>> rows[TILES];   // of each product
    std::vector<Mask> masks[TILES];     // of the first conversions of each layer
    size_t ended[TILES] = {};           // products of layers that have ended
    std::vector<Sum> sums;
    std::vector<Word> words;
    std::vector<Layer> layers;
    uint64_t layer_begin = 0;           // clock of the first word of the present one
    uint64_t host_waits = 0;            // clocks in which its streams waited for their host

    uint64_t expected() const { return ends.empty() ? 0 : ends.back(); }
};

class Harness {
public:
    explicit Harness(const MacroSettings& settings) : top_(&context_) {
        const Draws::Table table = Draws::copy(settings.table);
        for (int tile = 0; tile < TILES; tile++) macros_.emplace_back(tile, settings, table);
        decide(~uint64_t(0));
        tenants_ready(std::make_integer_sequence<int, TENANTS>());
        top_.s_axi_bready = 1;
        top_.s_axi_rready = 1;
    }

    ~Harness() {
        top_.final();
#if VM_TRACE
        if (waves_) waves_->close();
#endif
    }

    // Waves of the layer of this index (any: -1), once so many products have begun, until so many
    // sums are out.
    void open_waves(const std::string& path, int64_t layer, uint64_t products, uint64_t sums) {
        waves_layer_ = layer;
        waves_products_ = products;
        waves_sums_ = sums;
#if VM_TRACE
        context_.traceEverOn(true);
        waves_ = std::make_unique<WavesFile>();
        top_.trace(waves_.get(), 99);
        waves_->open(path.c_str());
        if (!waves_->isOpen()) throw std::runtime_error("cannot write waves to " + path);
#else
        throw std::runtime_error("built without waves, asked for " + path);
#endif
    }

    // What a macro's comparator answers; outside a conversion, where it means nothing, noise.
    bool answer(int tile, bool converting, uint32_t side, int32_t trial) {
        if (converting) return running_ && macros_[tile].answer(side, trial);
        noise_ = next_random(noise_);
        return noise_ >> 63;
    }

    // The harness whose chip is being evaluated.
    static inline thread_local Harness* evaluating = nullptr;

    void select(uint64_t mutant) { select_mutant(top_, mutant); }

    // Lets the power-on reset pass; neither macros nor traces look before its end.
    void reset(uint64_t clocks) {
        evaluate();
        for (uint64_t i = 0; i < clocks; i++) clock();
        running_ = true;
    }

    void write(uint32_t address, uint32_t data) {
        if (const uint32_t response = write_response(address, data, 0xF))
            bus_error("write to", address, "answered " + std::to_string(response));
    }

    uint32_t read(uint32_t address) {
        if (const uint32_t response = read_response(address))
            bus_error("read of", address, "answered " + std::to_string(response));
        return read_data_;
    }

    // One access, whatever its answer (AXI4-Lite response); `strobe`: a bit per byte to write.
    uint32_t write_response(uint32_t address, uint32_t data, uint32_t strobe) {
        top_.s_axi_awaddr = address;
        top_.s_axi_wdata = data;
        top_.s_axi_wstrb = strobe;
        top_.s_axi_awvalid = top_.s_axi_wvalid = 1;
        write_done_ = false;
        for (int i = 0; !write_done_; i++) {
            if (i == BUS_LIMIT) bus_error("write to", address, "is not answered");
            clock();
        }
        last_event_ = clock_;
        return response_;
    }

    uint32_t read_response(uint32_t address) {
        top_.s_axi_araddr = address;
        top_.s_axi_arvalid = 1;
        read_done_ = false;
        for (int i = 0; !read_done_; i++) {
            if (i == BUS_LIMIT) bus_error("read of", address, "is not answered");
            clock();
        }
        last_event_ = clock_;
        return response_;
    }

    // A tenant's program: what its products convert, and all tenants' weights and phases.
    void set_program(uint32_t tenant, const MacroSettings& settings) {
        for (Macro& macro : macros_) macro.set_program(tenant, settings);
    }

    // The next image of a tenant: its words wait at the stream, the macros take its index for
    // their draws. `tiles`: a bit for each that it uses, or 0 where other tenants' programs run.
    void begin(int tenant, uint64_t image, const uint32_t* words, size_t count,
               const uint64_t* ends, size_t packets, uint64_t tiles) {
        tenants_[tenant] = Tenant();
        tenants_[tenant].ends.assign(ends, ends + packets);
        tenants_[tenant].input.assign(words, words + count);
        if (tiles) {
            activity_.clear();
            first_tile_ = __builtin_ctzll(tiles);
            tiles_ = __builtin_popcountll(tiles);
        }
        tenants_offer(std::make_integer_sequence<int, TENANTS>());
        for (Macro& macro : macros_) {
            macro.start_image(image, tenant);
            if (tiles) macro.forget();
        }
        last_event_ = clock_;
    }

    // Whether macros and traces are looked at; an abort opens switches in mid-phase.
    void watch(bool looking) {
        running_ = looking;
        if (!looking) return;
        for (int tile = 0; tile < TILES; tile++) {
            macros_[tile].forget();
            resetting_[tile] = clearing_[tile] = false;
        }
    }

    // The comparators that decide, a bit for each tile.
    void decide(uint64_t tiles) {
        deciding_ = tiles;
        tiles_decide(std::make_integer_sequence<int, TILES>());
    }

    // Hosts and comparators wait in clocks that `seed`, if it is not 0, draws.
    void hinder(uint64_t seed) {
        waits_ = seed;
        if (seed) return;
        tiles_decide(std::make_integer_sequence<int, TILES>());
        tenants_ready(std::make_integer_sequence<int, TENANTS>());
        tenants_offer(std::make_integer_sequence<int, TENANTS>());
    }

    // Up to `clocks` clocks; true once the chip raises its interrupt.
    bool run(uint64_t clocks) {
        for (uint64_t i = 0; i < clocks && !top_.irq; i++) {
            clock();
            if (clock_ - last_event_ > QUIET_LIMIT)
                throw std::runtime_error("watchdog: for " + std::to_string(QUIET_LIMIT)
                                         + " clocks no code, sum or word has come; "
                                         + std::to_string(tenants_[0].layers.size()) + " layers have ended");
        }
        return top_.irq;
    }

    void finish(int tenant) const {
        const Tenant& its = tenants_[tenant];
        if (its.sent != its.input.size())
            throw std::runtime_error("the program ended with " + std::to_string(its.sent) + " of "
                                     + std::to_string(its.input.size()) + " input words taken");
        if (its.packets != its.ends.size())
            throw std::runtime_error("the program ended with "
                                     + std::to_string(its.outputs.size()) + " of "
                                     + std::to_string(its.expected()) + " output words sent");
    }

    uint64_t clocks() const { return clock_; }

    const Activity::Counts& counts() const { return activity_.counts(); }

    uint64_t host_waits(int tenant) const { return tenants_[tenant].host_waits; }

    std::pair<const void*, size_t> records(int tenant, int kind) const {
        const Tenant& its = tenants_[tenant];
        if (kind < TILES) return view(its.codes[kind]);
        if (kind < 2 * TILES) return view(its.rows[kind - TILES]);
        if (kind < 3 * TILES) return view(its.masks[kind - 2 * TILES]);
        switch (kind - 3 * TILES) {
            case 0: return view(its.sums);
            case 1: return view(its.outputs);
            case 2: return view(its.words);
            case 3: return view(its.layers);
        }
        throw std::runtime_error("no such trace");
    }

private:
    // A register access takes three clocks; this many without an answer is a hang.
    static constexpr int BUS_LIMIT = 1000;
    // The longest silence of a working chip: a product's phases, 63 clocks each, a chunk's load.
    static constexpr uint64_t QUIET_LIMIT = 50000;

    // Knuth's generator for 64 bits, of which the highest is used.
    static uint64_t next_random(uint64_t state) {
        return state * 6364136223846793005u + 1442695040888963407u;
    }

    template <typename T> static std::pair<const void*, size_t> view(const std::vector<T>& items) {
        return {items.data(), items.size()};
    }

    [[noreturn]] static void bus_error(const char* what, uint32_t address, const std::string& how) {
        char text[16];
        snprintf(text, sizeof text, "0x%06x", address);
        throw std::runtime_error(std::string("AXI4-Lite ") + what + " " + text + " " + how);
    }

    template <int TILE> Pins pins() const {
        Pins pins;
        read_pins<TILE>(top_, pins);
        return pins;
    }

    template <int TILE> void tile_clock() {
        const Pins pins = this->pins<TILE>();
        const bool comparator = macros_[TILE].clock(pins, clock_);
        if (pins.convert && answered<TILE>(top_) != comparator) contradict(TILE, comparator);
        Tenant& its = tenants_[present_tenant(top_)];
        if (pins.reset && !resetting_[TILE])
            its.rows[TILE].push_back(std::to_array(pins.row_enable));
        resetting_[TILE] = pins.reset;
        // A position's products come first; two more may have begun before its last conversion.
        if (pins.clear && !clearing_[TILE]
            && its.rows[TILE].size() - its.ended[TILE] <= PRODUCTS + 2)
            its.masks[TILE].push_back({its.layers.size(), std::to_array(pins.select),
                                       std::to_array(pins.negate)});
        clearing_[TILE] = pins.clear;
        converting_ += pins.convert;
    }

    [[noreturn, gnu::cold, gnu::noinline]] void contradict(int tile, bool comparator) const {
        throw Violation("tile " + std::to_string(tile) + ", clock " + std::to_string(clock_)
                        + ": the comparator answered " + std::to_string(!comparator)
                        + ", the model says " + std::to_string(comparator));
    }

    template <int TILE> void tile_trace() {
        Code code{};
        if (!read_trace<TILE>(top_, code)) return;
        tenants_[present_tenant(top_)].codes[TILE].push_back(code);
        last_event_ = clock_;
    }

    template <int... TILE> void tiles_clock(std::integer_sequence<int, TILE...>) {
        converting_ = 0;
        (tile_clock<TILE>(), ...);
        ((TILE == first_tile_ ? activity_.clock(pins<TILE>(), converting_, tiles_) : void()), ...);
    }

    template <int... TILE> void tiles_trace(std::integer_sequence<int, TILE...>) {
        (tile_trace<TILE>(), ...);
    }

    template <int TENANT> void tenant_trace() {
        Tenant& its = tenants_[TENANT];
        Word word{};
        if (read_word<TENANT>(top_, word)) {
            its.words.push_back(word);
            last_event_ = clock_;
        }
        if (begins_layer<TENANT>(top_)) its.layer_begin = clock_;
        uint32_t index;
        if (ends_layer<TENANT>(top_, index)) {
            its.layers.push_back({index, uint32_t(clock_ - its.layer_begin + 1)});
            activity_.restart();
            for (int tile = 0; tile < TILES; tile++) its.ended[tile] = its.rows[tile].size();
        }
        uint32_t output;
        bool last;
        const bool gives = gives_output<TENANT>(top_, output, last);
        if (gives && shown_.ready[TENANT]) take_output(its, output, last);
        its.host_waits += (gives && !shown_.ready[TENANT])
            || (takes_input<TENANT>(top_) && !shown_.input[TENANT]);
    }

    template <int... TENANT> void tenants_trace(std::integer_sequence<int, TENANT...>) {
        (tenant_trace<TENANT>(), ...);
    }

    // Whether whoever may wait goes on with this clock.
    bool goes_on() {
        if (!waits_) return true;
        waits_ = next_random(waits_);
        return waits_ >> 63;
    }

    template <int... TILE> void tiles_decide(std::integer_sequence<int, TILE...>) {
        (set_decided<TILE>(top_, (deciding_ >> TILE & 1) && goes_on()), ...);
    }

    template <int... TENANT> void tenants_ready(std::integer_sequence<int, TENANT...>) {
        (set_ready<TENANT>(top_, goes_on()), ...);
    }

    // The next word, if there is one and its host does not wait; what is offered already stays.
    template <int TENANT> void offer() {
        const Tenant& its = tenants_[TENANT];
        const bool some = its.sent < its.input.size() && goes_on();
        set_input<TENANT>(top_, some, some ? its.input[its.sent] : 0,
                          its.sent + 1 == its.input.size());
    }

    template <int... TENANT> void offer_late(std::integer_sequence<int, TENANT...>) {
        ((offers_input<TENANT>(top_) ? void() : offer<TENANT>()), ...);
    }

    template <int... TENANT> void tenants_offer(std::integer_sequence<int, TENANT...>) {
        (offer<TENANT>(), ...);
    }

    // What the chip takes of what it has been shown; the next word after it.
    template <int TENANT> void take_input() {
        if (!input_taken_[TENANT]) return;
        last_event_ = clock_;
        tenants_[TENANT].sent++;
        offer<TENANT>();
    }

    template <int... TENANT> void look_at_inputs(std::integer_sequence<int, TENANT...>) {
        ((input_taken_[TENANT] = shown_.input[TENANT] && takes_input<TENANT>(top_)), ...);
    }

    template <int... TENANT> void take_inputs(std::integer_sequence<int, TENANT...>) {
        (take_input<TENANT>(), ...);
    }

    template <int... TENANT> void show_streams(std::integer_sequence<int, TENANT...>) {
        ((shown_.input[TENANT] = offers_input<TENANT>(top_)), ...);
        ((shown_.ready[TENANT] = is_ready<TENANT>(top_)), ...);
    }

    void take_output(Tenant& its, uint32_t word, bool last) {
        its.outputs.push_back(word);
        last_event_ = clock_;
        const bool ends = its.packets < its.ends.size()
            && its.outputs.size() == its.ends[its.packets];
        if (last != ends)
            throw std::runtime_error("m_axis_tlast is " + std::to_string(last)
                                     + " on output word " + std::to_string(its.outputs.size())
                                     + " of " + std::to_string(its.expected()));
        its.packets += ends;
    }

    void evaluate() {
        // The comparators ask for it.
        evaluating = this;
        top_.eval();
    }

    void clock() {
        if constexpr (!BOTH_EDGES) {
            top_.aclk = 0;
            evaluate();
            dump(2 * clock_ + 1);
        }

        const bool address_taken = shown_.address && top_.s_axi_awready;
        const bool data_taken = shown_.data && top_.s_axi_wready;
        const bool read_taken = shown_.read && top_.s_axi_arready;
        look_at_inputs(std::make_integer_sequence<int, TENANTS>());
        // Nothing more is taken before its answer is: what is on the bus then would be lost.
        if ((owed_.address && top_.s_axi_awready) || (owed_.data && top_.s_axi_wready)
            || (owed_.read && top_.s_axi_arready))
            throw std::runtime_error("the bus is ready again before it has answered");
        if (top_.s_axi_bvalid) {
            write_done_ = true;
            owed_.address = owed_.data = false;
            response_ = top_.s_axi_bresp;
        }
        if (top_.s_axi_rvalid) {
            read_done_ = true;
            owed_.read = false;
            read_data_ = top_.s_axi_rdata;
            response_ = top_.s_axi_rresp;
        }
        if (running_) {
            tiles_trace(std::make_integer_sequence<int, TILES>());
            if (sum_valid(top_)) {
                auto& sums = tenants_[present_tenant(top_)].sums;
                sums.emplace_back();
                read_sum(top_, sums.back());
                last_event_ = clock_;
            }
            tenants_trace(std::make_integer_sequence<int, TENANTS>());
        }
        if (address_taken) top_.s_axi_awvalid = 0;
        if (data_taken) top_.s_axi_wvalid = 0;
        if (read_taken) top_.s_axi_arvalid = 0;
        owed_.address |= address_taken;
        owed_.data |= data_taken;
        owed_.read |= read_taken;
        take_inputs(std::make_integer_sequence<int, TENANTS>());
        if (waits_) [[unlikely]] {
            tiles_decide(std::make_integer_sequence<int, TILES>());
            tenants_ready(std::make_integer_sequence<int, TENANTS>());
            offer_late(std::make_integer_sequence<int, TENANTS>());
        }

        top_.aclk = !top_.aclk;
        evaluate();
        clock_++;
        dump(2 * clock_);
        shown_.address = top_.s_axi_awvalid;
        shown_.data = top_.s_axi_wvalid;
        shown_.read = top_.s_axi_arvalid;
        show_streams(std::make_integer_sequence<int, TENANTS>());
        if (running_) tiles_clock(std::make_integer_sequence<int, TILES>());
    }

    void dump([[maybe_unused]] uint64_t time) {
#if VM_TRACE
        if (!waves_) return;
        const bool here = waves_layer_ < 0 || (running_ && tenants_[0].layers.size() == size_t(waves_layer_));
        if (here && macros_[0].next_product() >= waves_products_ && tenants_[0].sums.size() < waves_sums_)
            waves_->dump(time);
#endif
    }

    VerilatedContext context_;
    Vchip top_;
    std::vector<Macro> macros_;
#if VM_TRACE
    std::unique_ptr<WavesFile> waves_;
#endif
    int64_t waves_layer_ = -1;
    uint64_t waves_products_ = 0, waves_sums_ = 0;
    uint64_t clock_ = 0, last_event_ = 0;
    uint64_t noise_ = 1, waits_ = 0;        // states of generators; nobody waits where it is 0
    uint64_t deciding_ = 0;
    // What the host offers, as the chip sees it: its inputs reach the chip at the next edge.
    struct { bool address, data, read, input[TENANTS], ready[TENANTS]; } shown_{};
    // What the bus has taken and not answered.
    struct { bool address, data, read; } owed_{};
    bool input_taken_[TENANTS] = {};
    bool running_ = false, write_done_ = false, read_done_ = false;
    uint32_t response_ = 0, read_data_ = 0;
    Activity activity_;
    int first_tile_ = 0, tiles_ = TILES;     // whose activity is counted
    int converting_ = 0;        // tiles
    bool resetting_[TILES] = {}, clearing_[TILES] = {};
    std::array<Tenant, TENANTS> tenants_;
};

// A harness and the text of its last error: exceptions do not cross into Python.
struct Handle {
    std::unique_ptr<Harness> harness;
    std::string error;

    template <typename F> int guard(F action) {
        try {
            return action();
        } catch (const std::exception& exception) {
            error = exception.what();
            return -1;
        }
    }
};

}  // namespace crossloom

using crossloom::Handle;

extern "C" {

svBit comparator_answer(int tile, svBit convert, svBit side, int trial) {
    return crossloom::Harness::evaluating->answer(tile, convert, side, trial);
}

Handle* harness_open(const crossloom::MacroSettings* settings) {
    Handle* handle = new Handle;
    handle->guard([&] {
        handle->harness = std::make_unique<crossloom::Harness>(*settings);
        return 0;
    });
    return handle;
}

void harness_close(Handle* handle) { delete handle; }

const char* harness_error(Handle* handle) { return handle->error.c_str(); }

int harness_waves(Handle* handle, const char* path, int64_t layer, uint64_t products,
                  uint64_t sums) {
    return handle->guard([&] {
        handle->harness->open_waves(path, layer, products, sums);
        return 0;
    });
}

int harness_select(Handle* handle, uint64_t mutant) {
    return handle->guard([&] { handle->harness->select(mutant); return 0; });
}

// Whether the selected mutant has changed a bit since.
int harness_excited(Handle*) { return crossloom::excited; }

int harness_reset(Handle* handle, uint64_t clocks) {
    return handle->guard([&] { handle->harness->reset(clocks); return 0; });
}

int harness_write(Handle* handle, const uint32_t* addresses, const uint32_t* data, size_t count) {
    return handle->guard([&] {
        for (size_t i = 0; i < count; i++) handle->harness->write(addresses[i], data[i]);
        return 0;
    });
}

int harness_read(Handle* handle, uint32_t address, uint32_t* data) {
    return handle->guard([&] { *data = handle->harness->read(address); return 0; });
}

int harness_write_response(Handle* handle, uint32_t address, uint32_t data, uint32_t strobe) {
    return handle->guard([&] {
        return int(handle->harness->write_response(address, data, strobe));
    });
}

int harness_read_response(Handle* handle, uint32_t address) {
    return handle->guard([&] { return int(handle->harness->read_response(address)); });
}

int harness_program(Handle* handle, uint32_t tenant, const crossloom::MacroSettings* settings) {
    return handle->guard([&] { handle->harness->set_program(tenant, *settings); return 0; });
}

int harness_begin(Handle* handle, int tenant, uint64_t image, const uint32_t* words, size_t count,
                  const uint64_t* ends, size_t packets, uint64_t tiles) {
    return handle->guard([&] {
        handle->harness->begin(tenant, image, words, count, ends, packets, tiles);
        return 0;
    });
}

int harness_watch(Handle* handle, int looking) {
    return handle->guard([&] { handle->harness->watch(looking); return 0; });
}

int harness_decide(Handle* handle, uint64_t tiles) {
    return handle->guard([&] { handle->harness->decide(tiles); return 0; });
}

int harness_hinder(Handle* handle, uint64_t seed) {
    return handle->guard([&] { handle->harness->hinder(seed); return 0; });
}

// 1 when the interrupt is raised, 0 when `clocks` have passed, -1 on an error.
int harness_run(Handle* handle, uint64_t clocks) {
    return handle->guard([&] { return int(handle->harness->run(clocks)); });
}

int harness_finish(Handle* handle, int tenant) {
    return handle->guard([&] { handle->harness->finish(tenant); return 0; });
}

void harness_activity(Handle* handle, uint64_t* counts) {
    const auto& counted = handle->harness->counts();
    counts[0] = counted.adder;
    counts[1] = counted.array;
    counts[2] = counted.contests;
}

uint64_t harness_host_waits(Handle* handle, int tenant) {
    return handle->harness->host_waits(tenant);
}

uint64_t harness_clocks(Handle* handle) { return handle->harness->clocks(); }

int harness_records(Handle* handle, int tenant, int kind, const void** data, size_t* count) {
    return handle->guard([&] {
        const auto view = handle->harness->records(tenant, kind);
        *data = view.first;
        *count = view.second;
        return 0;
    });
}

}
