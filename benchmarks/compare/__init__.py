"""One model, several ways to run it: ``python -m benchmarks.compare --checkpoint DIR --bundle DIR --output DIR``.

Each rival works in a process of its own, so that its memory is its own and a crash of one is a line of the table.
In every round, for each search and batch size, the rivals take turns on the very same prompts, in an order that
rotates; one works at a time, the others wait for a command. All get the same token ids, all processors that this
process may use, five beams and five hypotheses, and are timed from ids to texts. Where a rival has settings to choose
from, each is tried on a few prompts first and the fastest is taken; the table says which. The first call of each
batch size in a process is not timed.

Memory. Each rival is opened alone first, which shows what it takes. The smallest stay open as long as there is room
for the largest of the others beside them. Each of the others is opened once a round for all its turns.
"""
