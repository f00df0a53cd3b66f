//! The server as an HTTP client sees it.

mod changes;
mod connections;
mod digests;
mod files;
mod index;
mod metrics;
mod offers;
mod pages;
mod requests;
mod tools;
mod upload_tools;
mod uploads;
