//! Passwords, the served folder, and the rights that the programs give up.

mod client_passwords;
mod passwords;
mod root;
pub(crate) mod sandbox;
pub(crate) mod user;
