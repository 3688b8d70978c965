"""python -m m3rt_kernels: compile every kernel now, as when a container's image is built."""

from .compiler.warm import warm

if __name__ == "__main__":
    warm()
