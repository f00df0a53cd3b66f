//! A server that another program reaches over its standard input and output.

mod ends;
mod failures;
mod files;
mod logins;
mod pushes;
mod sshd;
