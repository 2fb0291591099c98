"""One thread a process: pytest-xdist runs as many processes as there are cores."""

import os

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # read when torch is imported, which is later than this
