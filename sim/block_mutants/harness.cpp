// A Verilated block whose ports are words of two arrays, and a recording of what they were.
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "Vblock.h"
#include "verilated.h"

namespace {

// A port of N words of 64 bits: integers up to 64 bits, arrays of 32-bit words beyond.
template <typename T> void store(T& port, const uint64_t* words) { port = T(words[0]); }

template <size_t W> void store(VlWide<W>& port, const uint64_t* words) {
    for (size_t i = 0; i < W; i++) port[i] = uint32_t(words[i / 2] >> (32 * (i % 2)));
}

template <typename T> void load(uint64_t* words, const T& port) { words[0] = port; }

template <size_t W> void load(uint64_t* words, const VlWide<W>& port) {
    for (size_t i = 0; i < (W + 1) / 2; i++)
        words[i] = port[2 * i] | (2 * i + 1 < W ? uint64_t(port[2 * i + 1]) << 32 : 0);
}

}  // namespace

#include "ports.h"

namespace {

// What the ports were at one evaluation, which a clock edge follows or not.
struct Entry {
    uint64_t edge;
    uint64_t inputs[INPUT_WORDS], outputs[OUTPUT_WORDS];
};

struct Block {
    VerilatedContext context;
    Vblock top{&context};
    Entry entry{};
    bool recording = false;
    std::vector<Entry> record;
    std::string error;

    // Yosys keeps no initial value of a register that a mutant splits: a reset, without the mutant.
    explicit Block(uint64_t mutant) {
        const uint64_t none = 0;
        store(top.SELECT_PORT, &none);
        top.clk = 0;
        entry.inputs[RESET_WORD] = 1;
        evaluate();
        edge();
        entry.inputs[RESET_WORD] = 0;
        evaluate();
        store(top.SELECT_PORT, &mutant);
    }
    void evaluate() {
        write_inputs(top, entry.inputs);
        top.eval();
        read_outputs(top, entry.outputs);
    }
    // The flip-flops take what the last evaluation showed them.
    void edge() {
        top.clk = 1;
        top.eval();
        top.clk = 0;
    }
    void keep(bool clocked) {
        if (!recording) return;
        entry.edge = clocked;
        record.push_back(entry);
    }
};

// What a call of the model throws; it must not leave the library.
template <typename F> int64_t guarded(Block& block, F call) {
    try {
        return call();
    } catch (const std::exception& exception) {
        block.error = exception.what();
        return -2;
    }
}

}  // namespace

// A mutant may close a loop of gates, which never settles: an answer, not an end of the process.
void vl_fatal(const char* file, int line, const char*, const char* message) VL_MT_UNSAFE {
    throw std::runtime_error(std::string(file) + ":" + std::to_string(line) + ": " + message);
}

extern "C" {

Block* block_open(uint64_t mutant) { return new Block(mutant); }
void block_close(Block* block) { delete block; }
const char* block_error(Block* block) { return block->error.c_str(); }
uint64_t* block_inputs(Block* block) { return block->entry.inputs; }
uint64_t* block_outputs(Block* block) { return block->entry.outputs; }
void block_recording(Block* block, int on) { block->recording = on; }

// The outputs that the inputs give in this clock.
int64_t block_evaluate(Block* block) {
    return guarded(*block, [&] { block->evaluate(); block->keep(false); return int64_t(0); });
}

// A clock edge, and the outputs after it.
int64_t block_clock(Block* block) {
    return guarded(*block, [&] {
        block->evaluate();
        block->keep(true);
        block->edge();
        block->evaluate();
        return int64_t(0);
    });
}

const Entry* block_record(Block* block, uint64_t* entries) {
    *entries = block->record.size();
    return block->record.data();
}

// Gives a block, just opened, the recorded inputs. The first entry whose outputs differ from the
// recorded ones; -1 if there is none, -2 if the model failed.
int64_t block_replay(Block* block, const Entry* record, uint64_t entries) {
    return guarded(*block, [&] {
        for (uint64_t i = 0; i < entries; i++) {
            std::memcpy(block->entry.inputs, record[i].inputs, sizeof record[i].inputs);
            block->evaluate();
            if (std::memcmp(block->entry.outputs, record[i].outputs, sizeof record[i].outputs))
                return int64_t(i);
            if (record[i].edge) block->edge();
        }
        return int64_t(-1);
    });
}

}  // extern "C"
