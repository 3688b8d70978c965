"""python -m m3rt_kernels: compile every kernel now, for example when the image of a container is built."""

from .compiler.warm import warm

if __name__ == "__main__":
    warm()
