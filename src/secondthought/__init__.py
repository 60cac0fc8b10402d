"""Train language models to reflect on their own mistakes, and measure whether the reflection is real.

What a user needs to write a task, a protocol, a credit, a recipe or a probe stands here, and is imported when it is asked for:

>>> import secondthought
>>> secondthought.Task.of("2 + 2?", answer="4", family="sums").answer
'4'
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
