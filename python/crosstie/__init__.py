"""crosstie: multi-task, multi-scenario models of what people do after they see something.

    import crosstie as ct

    model = ct.Model("ektm", tasks=[ct.task("click"), ct.task("buy", after="click")])
    model.fit(train, valid)
    model.predict(frame)

Data are frames of pandas, polars, pyarrow or DuckDB, dicts of NumPy arrays, or names of
files, which the library reads itself. What `crosstie train` writes, `load` reads, and
what `Model.save` writes, every command of the binary does.
"""

from ._callbacks import progress
from ._comparison import Comparison, compare
from ._evaluation import Evaluation
from ._model import Model, load
from ._native import CrosstieError, version
from ._report import Report
from ._schema import Field, Proposal, Task, field, propose, task
from ._warning import CrosstieWarning

__all__ = [
    "Comparison",
    "CrosstieError",
    "CrosstieWarning",
    "Evaluation",
    "Field",
    "Model",
    "Proposal",
    "Report",
    "Task",
    "compare",
    "field",
    "load",
    "progress",
    "propose",
    "task",
]
__version__ = version()
