//! What an installed server runs under: an init system, an old kernel, a bare container.

mod activation;
mod containers;
mod old_kernel;
