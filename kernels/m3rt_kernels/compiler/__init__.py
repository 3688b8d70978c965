"""numba and LLVM: when kernels are compiled, for which instruction set, and where the code is kept."""
