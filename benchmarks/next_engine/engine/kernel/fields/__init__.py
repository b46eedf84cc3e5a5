"""Where everything stands in the kernel's memory.

The memory is one array of whole numbers. Its head holds what concerns the whole (`whole`) and what does not change in a
run (`setting`); behind it stand rows: of each process (`process`), of its writers (`writer`), of calls and of whatever
else an event has to remember (`call`), of visits (`visit`), of bins (`bin`). A row is known by its address, and
``m[s + S.OPEN]`` reads a column of it. These modules only number the columns.
"""
