// Linked into a library that counts branches: a process that is killed when its work is done, as
// those of Python's multiprocessing are, must have its counts written before.
extern "C" {

void __gcov_dump();

void harness_write_counts() { __gcov_dump(); }

}
