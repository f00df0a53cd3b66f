//! What tests share: programs that always end, peers that tests play by hand, a
//! relay that harms what passes, and proof from /proc that nothing stays.

pub(crate) mod exit;
pub(crate) mod harness;
pub(crate) mod http;
pub(crate) mod kills;
pub(crate) mod namespace;
pub(crate) mod path;
pub(crate) mod peers;
pub(crate) mod piped;
pub(crate) mod preload;
pub(crate) mod proof;
pub(crate) mod pty;
pub(crate) mod relay;
pub(crate) mod site;
pub(crate) mod socket;
pub(crate) mod system;
pub(crate) mod through;
pub(crate) mod trees;
pub(crate) mod uploads;
pub(crate) mod user;
