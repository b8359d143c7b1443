"""Which descriptors this chip can run."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib.wiring import Component, In, Out

from golden.chip import ACTIVATIONS_PER_WORD, AVERAGING_LIMIT, Chip, bits_for
from golden.chip.descriptor import FIELDS, Measure, Opcode

from .arithmetic import modulo
from .descriptor import DescriptorLayout, read_field
from .tenants import tenant_windows

__all__ = ["DescriptorCheck"]

#: Bits of a third of the row groups, one of which is multiplied in a clock.
_THIRD_BITS = -(-FIELDS["row_groups"].width // 3)


class DescriptorCheck(Component):
    """Compares the fields of a descriptor with the sizes of the chip, while it is fetched.

    Addresses count from the start of the tenant's windows, and are compared with their lengths.
    What a descriptor cannot tell without multiplying its sizes is found while it runs: an image
    beyond the activation buffer, chunks that are not those of the window, a list of jobs without
    an end (`TileScheduler.illegal`); nothing is written outside the window even so (rtl.buffer).

    Parameters
    ----------
    chip
        Configuration.

    Members
    -------
    descriptor : in
        Holds word i from clock ``i + 3`` of its fetch on.
    window : in
        The tenant's windows, from clock 2 of the fetch on.
    clock : in
        Clock of the fetch, from 0.
    legal : out
        From clock ``DESCRIPTOR_WORDS`` on: every field that the opcode uses is in range. High for
        opcodes that do not exist.

    Latency
    -------
    One clock for each comparison and one to join them, so that words up to 11 are looked at; the
    products of a position take the clocks between word 8 and the end of the fetch, and are
    compared on their own.
    """

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        super().__init__({"descriptor": In(DescriptorLayout), "window": In(tenant_windows(chip)),
                          "clock": In(5), "legal": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        chip, window = self.chip, self.window
        activation_words = window.activation_words

        def field(name: str) -> Value:
            return read_field(self.descriptor, name)

        def within(name: str, low: int, high: int) -> Value:
            top = (1 << FIELDS[name].width) - 1
            checks = [field(name) >= low] if low else []
            checks += [field(name) <= high] if high < top else []
            return Cat(*checks).all() if checks else Value.cast(1)

        def end(first: str, count: str) -> Signal:
            # A register, so that no clock holds an addition and a comparison.
            total = Signal(max(FIELDS[first].width, FIELDS[count].width) + 1,
                           name=f"{first}_end")
            m.d.sync += total.eq(field(first) + field(count))
            return total

        images = [field(name) < activation_words for name in ("source", "destination")]
        shape = images + [within(name, 1, (1 << FIELDS[name].width) - 1) for name in (
            "in_width", "in_height", "out_width", "out_height", "kernel_width", "kernel_height",
            "stride")]
        pool = shape + [within("channel_words", 1, 4095),
                        field("destination_pixel_words") >= field("channel_words")]
        add = pool + [
            within("kernel_width", 1, 1), within("kernel_height", 1, 1),
            within("second_stride", 1, 15), field("second_source") < activation_words]
        kernel_words = Signal(FIELDS["kernels"].width)
        m.d.sync += kernel_words.eq(
            (field("kernels") + (ACTIVATIONS_PER_WORD - 1)) >> bits_for(ACTIVATIONS_PER_WORD - 1))
        products = chip.accumulator.products
        convolve = shape + [
            within("resolution", chip.converter.minimum_bits, chip.converter.bits),
            within("averaging", 0, AVERAGING_LIMIT),
            within("block_words", 1, 4095), within("blocks", 1, 4095),
            within("chunk_words", 1, chip.array.row_words),
            within("chunks", 1, products), within("row_groups", 1, products),
            within("group_granules", 1, chip.array.granules),
            within("kernels", 1, chip.accumulator.kernels),
            within("columns", 1, chip.array.columns),
            within("reference", 1, (1 << chip.reference_bits) - 1),
            field("coefficients") < window.coefficient_words,
            end("constants", "kernels") <= window.constant_entries, window.tiles.any(),
            field("destination_pixel_words") >= kernel_words]
        calibrate = shape + [
            within("resolution", chip.converter.minimum_bits, chip.converter.bits),
            within("measure", 0, max(Measure)), field("stream"),
            within("out_width", 1, 1), within("out_height", 1, 1), within("blocks", 1, 1),
            within("kernel_width", 1, 1), within("kernel_height", 1, 1),
            within("block_words", 1, chip.array.row_words),
            field("block_words") == field("chunk_words"),
            within("chunks", 1, 1), within("row_groups", 1, 1),
            within("group_granules", 0, chip.array.granules), within("kernels", 1, 1),
            within("columns", 1, chip.array.columns), window.tiles.any(),
            within("reference", 1, (1 << chip.reference_bits) - 1)]
        load = [field("count") != 0, end("destination", "count") <= activation_words]
        store = [field("count") != 0, end("source", "count") <= activation_words]

        opcode = field("opcode")
        joined = Signal()       # all checks but one
        few = Signal()          # a position has no more products than an accumulator can sum
        m.d.sync += few.eq((self._products(m) <= products) | (opcode != Opcode.CONVOLVE))
        m.d.comb += self.legal.eq(joined & few)
        for checks, opcodes in (
                (convolve, (Opcode.CONVOLVE,)), (calibrate, (Opcode.CALIBRATE,)),
                (add, (Opcode.ADD,)),
                (pool, (Opcode.AVERAGE_POOL, Opcode.MAX_POOL)), (load, (Opcode.LOAD,)),
                (store, (Opcode.STORE,))):
            passed = Signal(len(checks), name=f"{opcodes[0].name.lower()}_passed")
            m.d.sync += passed.eq(Cat(*checks))
            with m.If(Cat(*(opcode == each for each in opcodes)).any()):
                m.d.sync += joined.eq(passed.all())
        with m.If((opcode == Opcode.END) | (opcode > max(Opcode))):
            m.d.sync += joined.eq(1)
        return m

    def _products(self, m: Module) -> Value:
        """Chunks times row groups, by shift and add, a bit of each third of the groups at once.

        Neither factor is cut by more than what its own check refuses.
        """
        bits = bits_for(self.chip.accumulator.products)
        chunks = read_field(self.descriptor, "chunks")[:bits]
        groups = read_field(self.descriptor, "row_groups")
        # Word 8, the later factor, is there from this clock on; the highest bits come first.
        first = FIELDS["row_groups"].word + 3
        product = Signal(len(chunks) + len(groups))
        thirds = []
        for low in range(0, len(groups), _THIRD_BITS):
            third = groups[low:low + _THIRD_BITS]
            total = Signal(len(chunks) + _THIRD_BITS, name=f"products{low}")
            with m.Switch(self.clock):
                for clock, place in enumerate(reversed(range(_THIRD_BITS)), first):
                    with m.Case(clock):
                        bit = third[place] if place < len(third) else 0
                        m.d.sync += total.eq(modulo((total << 1) + Mux(bit, chunks, 0),
                                                    len(total)))
                with m.Case(0):
                    m.d.sync += total.eq(0)
            thirds.append(total << low)
        m.d.sync += product.eq(modulo(sum(thirds[1:], thirds[0]), len(product)))
        return product
