"""Images on the Verilated chip, several processes at once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
import multiprocessing
import os
import queue
import signal

import numpy as np
from numpy.typing import NDArray

from golden.chip import Chip, Phases
from golden.chip.registers import registers as chip_registers
from golden.execute import execute
from golden.macro import Macro
from golden.physics import MacroPhysics
from golden.program import Program
from sim.compare import Comparison, compare_image
from sim.host import RegisterMap, image_writes, input_words, load_writes, output_packets
from sim.record import RtlImage, registers_read
from sim.registers import RegisterModel

from .exercise import try_chip
from .library import Harness, HarnessError, MacroSettings, build_harness
from .waves import Waves, WavesWindow

__all__ = ["ImageError", "RtlRun", "Verification", "image_result", "load_program", "run_on_rtl",
           "start_image", "verify_on_rtl"]

#: Called with images done and images in all.
Progress = Callable[[int, int], None]

#: Clocks between two looks at the keyboard.
_SLICE = 200_000


@dataclass(frozen=True, eq=False)
class RtlRun:
    """Result of `run_on_rtl`: ``outputs`` int8 [images, outputs], ``images`` what each did."""

    outputs: NDArray[np.int8]
    images: tuple[RtlImage, ...]


@dataclass(frozen=True, eq=False)
class Verification:
    """Result of `verify_on_rtl`.

    ``outputs`` int8 [images, outputs] of the RTL; ``comparisons`` one per image; ``cycles``
    int64 [images], the chip's cycle counter; ``layer_cycles`` int64 [images, layers];
    ``counters`` all of the chip's counters after each image; ``clocks`` simulated, bus
    transactions included.
    """

    outputs: NDArray[np.int8]
    comparisons: tuple[Comparison, ...]
    cycles: NDArray[np.int64]
    layer_cycles: NDArray[np.int64]
    counters: tuple[Mapping[str, int], ...]
    clocks: int

    @property
    def comparison(self) -> Comparison:
        """All images together."""
        return Comparison.add(self.comparisons)


@dataclass(frozen=True, eq=False)
class _Job:
    """What every worker is given."""

    library: Path
    program: Program
    macro: Macro
    images: NDArray[np.int8]
    seed: int
    first_image: int
    phases: Phases | None
    cycles: Sequence[Sequence[int]] | None
    compare: bool
    waves: tuple[Path, WavesWindow] | None

    def results(self, indices: Sequence[int]) -> Iterator[tuple[int, object]]:
        """(index, result) of each image in ``indices``, on one chip, back to back."""
        if self.waves is None:
            yield from self._results(indices, None)
            return
        path, window = self.waves
        with _whole_waves(path) as partial:
            yield from self._results(indices, (partial, window))

    def _results(self, indices: Sequence[int], waves: tuple[Path, WavesWindow] | None
                 ) -> Iterator[tuple[int, object]]:
        program = self.program
        settings = MacroSettings(program, self.macro, self.seed, self.phases or program.chip.phases)
        stream = input_words(program, self.images)
        with Harness(self.library, settings, program.chip.tiles, waves) as harness:
            model = RegisterModel(program.chip) if self.compare else None
            load_program(harness, program, self.phases, model)
            for index in indices:
                image = image_result(harness, program, stream[index], self.first_image + index)
                yield index, image if model is None else self._compared(index, image, model)

    def _compared(self, index: int, image: RtlImage, model: RegisterModel
                  ) -> tuple[RtlImage, Comparison]:
        golden = execute(self.program, self.macro, self.images[index:index + 1], self.seed,
                         self.first_image + index, trace=True)
        assert golden.layers is not None
        cycles = None if self.cycles is None else self.cycles[index]
        comparison = compare_image(self.program, golden.layers, 0, image, cycles, model)
        # The traces have served: only the small results travel back.
        nothing = np.zeros(0)
        return RtlImage(image.stored, (), nothing, nothing, image.layers, image.counters,
                        image.clocks), comparison


@contextmanager
def _whole_waves(path: Path) -> Iterator[Path]:
    """A file that gets the name ``path`` when the block ends, or when the chip has failed.

    Waves up to a HarnessError are whole, and wanted; after any other exception there are none.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            yield partial
        except HarnessError:
            partial.rename(path)
            raise
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)


def load_program(harness: Harness, program: Program, phases: Phases | None,
                 model: RegisterModel | None = None) -> None:
    """Write ``program`` into the chip, and ``phases`` if they are not its reset values.

    ``model``, if given, learns what the registers hold then.
    """
    registers = RegisterMap(program.chip)
    found = harness.read(registers.address("configuration"))
    expected = registers.field("configuration", "value").reset
    if found != expected:
        raise HarnessError(f"the configuration register reads {found:#x}, not {expected:#x}")
    writes = load_writes(program, phases)
    interrupts = registers.mask("interrupt", "done") | registers.mask("interrupt", "error")
    enable = np.array([[registers.address("interrupt"), interrupts]], np.uint32)
    harness.write(writes)
    harness.write(enable)
    if model is not None:
        for address, data in (*writes.tolist(), *enable.tolist()):
            model.write(address, data)


def start_image(harness: Harness, program: Program, words: NDArray[np.uint32], image: int) -> None:
    """Offer image number ``image``, the stream ``words``, to a loaded chip and start it."""
    registers = RegisterMap(program.chip)
    harness.write(image_writes(program))
    harness.begin(image, words, output_packets(program), tiles=program.used_tiles)
    harness.write([(registers.address("control"), registers.mask("control", "start"))])


class ImageError(HarnessError):
    """An image did not come to its end; ``layer`` is where."""

    def __init__(self, text: str, layer: str = "") -> None:
        super().__init__(text)
        self.layer = layer


def _image_error(harness: Harness, program: Program, error: HarnessError) -> ImageError:
    """``error`` with its place: the layer that ran and the product begun last."""
    names = [layer.name for layer in program.layers] + ["END"]
    layer = names[min(len(harness.layers()), len(names) - 1)]
    products = max(len(harness.rows(tile, program.chip.array.granules))
                   for tile in range(program.chip.tiles))
    product = f", product {products - 1}" if products else ""
    return ImageError(f"{error}, in layer {layer!r}{product}", layer)


def image_result(harness: Harness, program: Program, words: NDArray[np.uint32],
                 image: int, limit: int | None = None,
                 while_running: Callable[[], None] | None = None) -> RtlImage:
    """Run image number ``image``, the stream ``words``, on a loaded chip.

    ImageError where a rule of the macro's pins is broken or the chip does not do what its host
    expects, also if it takes more than ``limit`` clocks. ``while_running`` is called after every
    `_SLICE` clocks; what it raises ends the run.
    """
    try:
        return _image_result(harness, program, words, image, limit, while_running)
    except HarnessError as error:
        raise _image_error(harness, program, error) from error


def _image_result(harness: Harness, program: Program, words: NDArray[np.uint32], image: int,
                  limit: int | None, while_running: Callable[[], None] | None) -> RtlImage:
    registers = RegisterMap(program.chip)
    before = harness.clocks
    start_image(harness, program, words, image)
    while not harness.run(_SLICE):
        if limit is not None and harness.clocks - before > limit + _SLICE:
            raise HarnessError(f"image {image} has not ended after {limit} clocks")
        if while_running is not None:
            while_running()
    status = harness.read(registers.address("status"))
    done = registers.mask("status", "done")
    if status & registers.mask("status", "error") or not status & done:
        raise HarnessError(f"image {image} ended with status {status:#010x}")
    harness.write([(registers.address("status"), done)])
    harness.finish()
    values = {register.name: harness.read(register.offset)
              for register in chip_registers(program.chip)}
    # Or they would be those of the next image, too.
    flags = (f"tile_flags{tile}" for tile in range(program.chip.tiles))
    harness.write([(registers.address(name), values[name]) for name in flags if values[name]])
    counters = {name: values.pop(name) for name in registers_read(program.chip)}
    return RtlImage(harness.outputs(),
                    tuple(harness.codes(tile) for tile in range(program.chip.tiles)),
                    harness.sums(), harness.words(), harness.layers(), counters,
                    harness.clocks - before, values,
                    tuple(harness.rows(tile, program.chip.array.granules)
                          for tile in range(program.chip.tiles)),
                    tuple(harness.masks(tile, program.chip.array.columns)
                          for tile in range(program.chip.tiles)), harness.activity(),
                    harness.host_waits())


def _worker(job: _Job, indices: Sequence[int], results: multiprocessing.Queue) -> None:
    # Ctrl-C reaches the whole process group; the parent ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for item in job.results(indices):
            results.put(item)
    except Exception as error:
        results.put((-1, error))


def _parallel(job: _Job, processes: int) -> Iterator[tuple[int, object]]:
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue = context.Queue()
    workers = [context.Process(target=_worker, daemon=True,
                               args=(job, range(k, len(job.images), processes), results))
               for k in range(processes)]
    try:
        for worker in workers:
            worker.start()
        for _ in range(len(job.images)):
            yield _next_result(results, workers)
        for worker in workers:
            worker.join()
    finally:
        for worker in workers:
            if worker.is_alive():
                worker.terminate()
                worker.join()
        results.close()
        results.cancel_join_thread()


def _next_result(results: multiprocessing.Queue, workers: list) -> tuple[int, object]:
    while True:
        try:
            index, result = results.get(timeout=1)
        except queue.Empty:
            failed = [w.exitcode for w in workers if w.exitcode]
            if failed:
                raise HarnessError(f"a simulation process died with status {failed[0]}") from None
            continue
        if isinstance(result, Exception):
            raise result
        return index, result


def _all_results(job: _Job, processes: int, progress: Progress | None) -> list:
    count = len(job.images)
    processes = min(processes, count)
    ordered: list = [None] * count
    items = (job.results(range(count)) if processes <= 1 else _parallel(job, processes))
    for done, (index, result) in enumerate(items, 1):
        ordered[index] = result
        if progress is not None:
            progress(done, count)
    return ordered


def _job(program: Program, macro: Macro, images: NDArray[np.int8], seed: int, first_image: int,
         processes: int, phases: Phases | None, waves: Waves | None, twin: bool,
         library: Path | None, *, compare: bool,
         cycles: Sequence[Sequence[int]] | None = None) -> _Job:
    if processes < 1:
        raise ValueError(f"processes must be at least 1, not {processes!r}")
    if waves is not None and processes != 1:
        raise ValueError(f"processes must be 1 where waves are written, not {processes!r}")
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"seed must be 0 to 2**64 - 1, not {seed!r}")
    if len(images) == 0:
        raise ValueError("images must hold at least one image")
    if macro.chip.hash != program.chip.hash:
        raise ValueError(f"macro is of chip {macro.chip.name!r}, the program of "
                         f"{program.chip.name!r}")
    if not np.array_equal(macro.weights, program.weights):
        raise ValueError("macro must hold the program's weights")
    input_words(program, images)
    if twin and macro.physics != MacroPhysics.ideal():
        raise ValueError("macro must have ideal physics where a twin stands for it, "
                         f"not {macro.physics!r}")
    window = None if waves is None else (Path(waves.path), waves.window(program))
    if library is None:
        library = build_harness(program.chip, None if waves is None else waves.format, twin)
    elif waves is not None or twin:
        raise ValueError("library must be None where waves are written or a twin is simulated, "
                         f"not {library!r}")
    return _Job(library, program, macro, images, seed, first_image, phases, cycles, compare,
                window)


def _outputs(program: Program, images: Sequence[RtlImage]) -> NDArray[np.int8]:
    stored = np.stack([image.stored for image in images])
    return stored.view(np.int8)[:, :program.outputs]


def run_on_rtl(program: Program, macro: Macro, images: NDArray[np.int8], seed: int,
               first_image: int = 0, *, processes: int = 1, phases: Phases | None = None,
               progress: Progress | None = None, waves: Waves | None = None,
               twin: bool = False, library: Path | None = None) -> RtlRun:
    """Run images on the Verilated chip.

    Parameters
    ----------
    program, macro, images, seed, first_image
        As for `golden.execute.execute`.
    processes
        Simulations at once; each loads the program and then runs its share back to back.
    phases
        Phase lengths to write to the registers; None leaves the chip's reset values.
    progress
        Called after each image.
    waves
        Waves to write, for one process.
    twin
        The chip's macros are digital twins (rtl.twin); ``macro``, which must be ideal, checks
        their answers as well as the pins. ``phases`` must be those of `rtl.twin.twin_phases`
        or longer.

    library
        The chip as `build_harness` or `sim.fast.guided` built it; the former's if None.

    Raises HarnessError where the chip breaks a rule of the macro's pins, hangs or reports an
    error; ValueError for arguments that do not fit.
    """
    job = _job(program, macro, images, seed, first_image, processes, phases, waves, twin, library,
               compare=False)
    results: list[RtlImage] = _all_results(job, processes, progress)
    return RtlRun(_outputs(program, results), tuple(results))


@cache
def _try_chip(library: Path, chip: Chip, phases: Phases | None, twin: bool) -> None:
    """`try_chip`, once: a library that has passed does the same again."""
    try_chip(lambda settings: Harness(library, settings, chip.tiles), chip, phases, twin)


def verify_on_rtl(program: Program, macro: Macro, images: NDArray[np.int8], seed: int,
                  first_image: int = 0, *, processes: int = 1, phases: Phases | None = None,
                  cycles: Sequence[Sequence[int]] | None = None,
                  progress: Progress | None = None, waves: Waves | None = None,
                  twin: bool = False, library: Path | None = None) -> Verification:
    """Run images on the Verilated chip and on golden, and compare every word.

    Before them the chip is brought up and exercised (sim.fast.exercise), once per ``library`` and
    process: BringUpError where it does not do what it must.

    Arguments as for `run_on_rtl`; ``cycles`` [images][layers], if given, are the expected clocks
    of each descriptor. Each process compares its own images, so memory stays that of one
    image's trace per process.
    """
    if cycles is not None and len(cycles) != len(images):
        raise ValueError(f"cycles must have a row per image ({len(images)}), not {len(cycles)}")
    job = _job(program, macro, images, seed, first_image, processes, phases, waves, twin, library,
               compare=True, cycles=cycles)
    _try_chip(job.library, program.chip, phases, twin)
    results: list[tuple[RtlImage, Comparison]] = _all_results(job, processes, progress)
    images_ = [image for image, _ in results]
    return Verification(
        _outputs(program, images_), tuple(comparison for _, comparison in results),
        np.array([image.counters["cycles"] for image in images_], np.int64),
        np.array([image.layers["cycles"] for image in images_], np.int64),
        tuple(image.counters for image in images_), sum(image.clocks for image in images_))
