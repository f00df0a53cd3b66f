//! What the four programs share above the data plane: options, HTTP over a
//! socket, jobs, signals, supervision, the terminal.
