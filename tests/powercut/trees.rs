//! Power cuts in the middle of folders, pushes and uploads.

mod expected;
mod explore;
mod histories;
mod site;
