"""numba and LLVM: what is compiled, when, for which instruction set, and where it is kept."""
