//! `client --push`: files and folders that arrive on a server, runs that stop and resume, and what
//! the server refuses.

mod auto;
mod files;
mod final_word;
mod folders;
mod input;
mod kills;
mod network;
mod options;
mod readers;
mod refusals;
mod resume;
