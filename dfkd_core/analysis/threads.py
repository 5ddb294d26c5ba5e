"""Matrix products on one thread: on cores that others use too, the threads of a product wait for each other.

Measured on two busy cores, principal components of 4,500 × 512 took 96 ms with one thread and 948 ms with two.
"""

from __future__ import annotations

import numpy  # noqa: F401 - the controller below finds only what is loaded
from threadpoolctl import ThreadpoolController

one_thread = ThreadpoolController().wrap(limits=1, user_api="blas")  # a decorator
