// sim/fast/macro.h alone, for tests that drive its pins from Python.
#include <string>

#include "macro.h"

struct Handle {
    crossloom::Macro* macro = nullptr;
    std::string error;
};

extern "C" {

Handle* macro_open(int tile, const crossloom::MacroSettings* settings) {
    return new Handle{new crossloom::Macro(
        tile, *settings, crossloom::Draws::copy(settings->table)), ""};
}

void macro_close(Handle* handle) {
    delete handle->macro;
    delete handle;
}

const char* macro_error(Handle* handle) { return handle->error.c_str(); }

int macro_start_image(Handle* handle, uint64_t image) {
    try {
        handle->macro->start_image(image);
        handle->macro->forget();
        return 0;
    } catch (const crossloom::Violation& violation) {
        handle->error = violation.what();
        return -1;
    }
}

// The comparator's answer, or -1 for a violation.
int macro_clock(Handle* handle, const crossloom::Pins* pins, uint64_t clock) {
    try {
        return handle->macro->clock(*pins, clock);
    } catch (const crossloom::Violation& violation) {
        handle->error = violation.what();
        return -1;
    }
}

double macro_noise(uint64_t seed, const double* table, double sigma, const uint64_t* address) {
    crossloom::Draws draws(crossloom::Draws::copy(table));
    draws.set_seed(seed);
    return draws.noise(
        sigma, draws.ask({address[0], address[1], address[2], address[3], address[4]}));
}

}
