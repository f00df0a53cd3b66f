//! What moving a file needs besides bytes: plans, queues, part files.
