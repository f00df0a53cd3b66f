//! `client --push`: files and folders that arrive on a server, runs that stop and resume, and what
//! the server refuses.

mod files;
mod folders;
mod kills;
mod network;
mod readers;
mod refusals;
mod resume;
