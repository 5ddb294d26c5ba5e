"""Studies: questions that take many runs. A study is a folder, and a conductor carries it out.

Importing this package does not import torch (``study.kinds`` does), so that a page can show studies at once.
"""

from dfkd_core.study.conductor import Conductor
from dfkd_core.study.folder import Cell, CellState, Progress, Record, Study, find_study, studies_in

__all__ = ["Cell", "CellState", "Conductor", "Progress", "Record", "Study", "find_study", "studies_in"]
