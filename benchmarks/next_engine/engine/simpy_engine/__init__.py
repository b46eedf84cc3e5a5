"""The readable engine: SimPy processes, one event per arrival, each part a short story told with ``yield``.

It is the specification that people read and subclass. The compiled kernel (`capsim.engine.kernel`) plays the same
rules; the two share addresses of draws, lives of processes and the layout of outputs, and no code.
"""
