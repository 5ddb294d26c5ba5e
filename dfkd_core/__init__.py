"""The engine of DFKD Lab: data-free knowledge distillation as a stream of events.

``run`` executes one specification into one folder, ``engine`` decides where that happens,
``methods`` holds one file per algorithm. Nothing in here imports streamlit.
"""

__version__ = "0.1.0"
