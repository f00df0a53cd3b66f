//! ropewalk's library: the code that the four programs share.
//!
//! ```text
//! error <- sys <- hash <- codec <- transfer <- app <- (src/bin)
//! ```
//!
//! Each layer imports only itself and the layers to its left. `make lint` checks that
//! (`scripts/check/layers.sh`).

#![deny(unsafe_code)]

// A panic must end one connection, never every transfer of a server.
#[cfg(not(panic = "unwind"))]
compile_error!("ropewalk must be built with unwinding: see Cargo.toml");

pub mod app;
pub mod codec;
pub mod error;
pub mod hash;
pub mod sys;
#[cfg(test)]
mod testing;
pub mod transfer;

/// The version of all four programs.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
