"""Two tenants on one chip: the words and clocks that each has alone, in the order foretold."""

from dataclasses import replace

import numpy as np

from golden.chip import preset
from golden.chip.registers import WAITS
from golden.execute import execute
from golden.macro import Macro
from golden.physics import MacroPhysics
from golden.placement import place
from golden.program import Transfer
from golden.timing import FETCH_CLOCKS, layer_clocks
from golden.turns import turns
from sim.compare import compare_image
from sim.faults import FaultChip
from sim.host import RegisterMap, input_words, load_writes
from sim.random_programs import random_pair
from sim.record import RtlImage, registers_read

#: The tiny preset with another tile, and memories for two tenants.
TINY = preset("tiny")
CHIP = replace(TINY, name="shared", tiles=3, tenants=2, memories=replace(
    TINY.memories, program_words=512, coefficient_words=2048, constant_entries=128,
    activation_words=512))
#: Clocks from the start pulse inside the chip to the answer's being seen at the bus.
START_TO_ANSWER = 3


class Tenants:
    """A chip with two programs on it; runs them side by side, each in several images."""

    def __init__(self, chip, programs, images, seed):
        self.chip, self.programs, self.images, self.seed = chip, programs, images, seed
        self.macro = Macro(CHIP, MacroPhysics(), programs[0].weights, seed)
        self.placements = place(programs)
        self.maps = [RegisterMap(CHIP, tenant) for tenant in range(2)]
        self.golden = [
            execute(program, self.macro, image[None], seed, tenant=tenant, trace=True)
            for tenant, (program, image) in enumerate(zip(programs, images, strict=True))]
        self.clocks = [layer_clocks(program, None, golden.layers)
                       for program, golden in zip(programs, self.golden, strict=True)]

    def load(self):
        chip = self.chip
        chip.comparators(chip.all_tiles)
        chip.bind(self.programs, self.macro, self.seed)
        chip.strict(sum(1 << tile for tile in {tile for program in self.programs
                                               for tile in program.used_tiles}))
        for program, placement, map_ in zip(self.programs, self.placements, self.maps,
                                            strict=True):
            chip.write_all(load_writes(program, None, placement))
            interrupts = map_.mask("interrupt", "done") | map_.mask("interrupt", "error")
            assert chip.write(map_.address("interrupt"), interrupts) == 0

    def start(self, tenant, forget):
        """Offer the image and start; the clock of the start pulse."""
        words = input_words(self.programs[tenant], self.images[tenant][None])[0]
        self.chip.begin(0, words, endless=False, tenant=tenant, tiles=forget)
        map_ = self.maps[tenant]
        assert self.chip.write(map_.address("control"), map_.mask("control", "start")) == 0
        return self.chip.clocks - START_TO_ANSWER

    def wait(self, limit):
        """Until both have ended; the interrupt is raised by each."""
        ended, began = set(), self.chip.clocks
        while len(ended) < 2:
            assert self.chip.clocks - began < limit, "the tenants do not end"
            self.chip.run(limit)
            for tenant, map_ in enumerate(self.maps):
                status = self.chip.read(map_.address("status"))
                assert not status & map_.mask("status", "error"), (tenant, hex(status))
                if status & map_.mask("status", "done"):
                    ended.add(tenant)
                    self.chip.write(map_.address("status"), map_.mask("status", "done"))

    def result(self, tenant):
        codes, sums, words, layers, outputs = self.chip.traces(tenant)
        counters = {name: self.chip.read(self.maps[tenant].address(name))
                    for name in registers_read(CHIP)}
        return RtlImage(outputs, codes, sums, words, layers, counters, 0)

    def compare(self, tenant, clocks=True):
        """Every word, sum and code; the clocks of each layer."""
        rtl = self.result(tenant)
        compare_image(self.programs[tenant], self.golden[tenant].layers, 0, rtl,
                      self.clocks[tenant] if clocks else None).check()
        return rtl


def check_counters(tenants, tenant, rtl):
    """Each clock is counted once, and those that golden foretells are as foretold."""
    program, clocks, counters = tenants.programs[tenant], tenants.clocks[tenant], rtl.counters
    assert counters["cycles"] == counters["converting"] + sum(counters[name] for name in WAITS)
    assert counters["fetch"] == FETCH_CLOCKS * (len(program.layers) + 1)
    assert counters["comparator"] == counters["host"] == counters["buffer"] == 0
    assert counters["transfer"] == sum(
        count - FETCH_CLOCKS for layer, count in zip(program.layers, clocks, strict=True)
        if isinstance(layer, Transfer))
    assert counters["cycles"] == counters["turn"] + sum(clocks) + FETCH_CLOCKS


TILES = [((0, 1), (2,)), ((1,), (0, 2)), ((0, 1, 2), (0, 1, 2)), ((0, 2), (1, 2))]


def test_words_clocks_and_order():
    """On tiles of their own and on shared ones; started in either order, at any distance."""
    rng = np.random.default_rng(4)
    overlaps = 0
    with FaultChip(CHIP) as chip:
        chip.reset(4)
        last = 0
        for seed in range(16):
            programs, images = random_pair(CHIP, seed, TILES[seed % len(TILES)])
            tenants = Tenants(chip, programs, images, seed)
            tenants.load()
            first = int(rng.integers(2))
            starts = [0, 0]
            starts[first] = tenants.start(first, None)
            chip.run(int(rng.integers(200)))
            starts[1 - first] = tenants.start(1 - first, 0)
            tenants.wait(40 * sum(map(sum, tenants.clocks)))
            foretold = turns(programs, tenants.clocks, starts, last)
            last = foretold[-1].tenant
            for tenant in range(2):
                rtl = tenants.compare(tenant)
                check_counters(tenants, tenant, rtl)
                mine = [turn for turn in foretold if turn.tenant == tenant]
                assert [turn.end for turn in mine] == chip.ends(tenant).tolist()
            transfers = [turn for turn in foretold
                         if turn.layer < len(programs[turn.tenant].layers)
                         and isinstance(programs[turn.tenant].layers[turn.layer], Transfer)]
            overlaps += sum(other.begin < turn.end and turn.begin < other.end
                            for turn in transfers for other in foretold
                            if other.tenant != turn.tenant)
    assert overlaps > 16
