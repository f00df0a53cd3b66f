//! Passwords, the served folder, and the rights that the programs give up.

mod client_passwords;
mod passwords;
mod pushed;
mod root;
mod sandbox;
mod user;
mod writable;
